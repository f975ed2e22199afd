//! Raise watermark: below it, versions may go, but for those at pins.
//!
//! The command only says so; GC acts on it once it is durable, and readers below it are refused from now on. Masks that
//! nobody can use any more go at once: what readers see and what GC may drop is the same without them.

use lentic_types::Version;

use super::apply::Context;
use super::command::RaiseWatermark;
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Raises the watermark to `to`, which never goes down, and replaces the pins. With a list of pins that is older than what
/// the shard knows it does nothing.
pub(super) fn apply<V: lentic_engine::View>(
    shard: &mut Shard,
    version: Version,
    RaiseWatermark { to, revision, pins }: &RaiseWatermark,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    let watermark = shard.descriptor.watermark;
    if *to > version {
        return Refusal::VersionTooNew { newest: version }.into();
    }
    if *revision < shard.pins.revision() {
        return Outcome::Raised { watermark };
    }
    // What is prepared may commit at its version, and then there must be no hole below; nor where it goes back to, also if
    // that is a pin below the watermark.
    if let Some(holder) = shard.locks.oldest_below(watermark.max(*to)) {
        return Refusal::Blocked { holder }.into();
    }
    let pins = shard.pins.replaced(*revision, pins, watermark);
    if pins != shard.pins {
        *context.rules_changed |= pins.versions() != shard.pins.versions();
        pins.put(context.overlay.batch(), shard.group);
        shard.pins = pins;
    }
    if *to > watermark {
        shard.descriptor.watermark = *to;
        shard.put_descriptor(context.overlay.batch());
        *context.rules_changed = true;
    }
    if *context.rules_changed {
        let unused = shard.masks.unused(shard.descriptor.watermark, shard.pins.versions());
        shard.remove_masks(context.overlay.batch(), &unused);
        let gone = &mut context.riders.unmasked.get_or_insert_with(|| (shard.descriptor.table, Vec::new())).1;
        gone.extend(unused);
    }
    Outcome::Raised { watermark: shard.descriptor.watermark }
}
