//! Raise watermark: below it, versions may go.
//!
//! The command only says so; GC acts on it once it is durable, and readers below it are refused from now on.

use lentic_types::Version;

use super::apply::Context;
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Raises the watermark to `to`; it never goes down.
pub(super) fn apply<V: lentic_engine::View>(
    shard: &mut Shard,
    version: Version,
    to: Version,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    if to > version {
        return Refusal::VersionTooNew { newest: version }.into();
    }
    // What is prepared may commit at its version, and then there must be no hole below.
    if let Some(holder) = shard.locks.oldest_below(to) {
        return Refusal::Blocked { holder }.into();
    }
    if to > shard.descriptor.watermark {
        shard.descriptor.watermark = to;
        shard.put_descriptor(context.overlay.batch());
        *context.rules_changed = true;
    }
    Outcome::Raised { watermark: shard.descriptor.watermark }
}
