//! Rollback: a range goes back to a version, in place.
//!
//! The mask hides what was written since; the new fence, in the same step, keeps out whoever wrote it. No data moves.

use lentic_engine::Mask;
use lentic_types::Version;
use lentic_types::limits::MASKS_MAX;

use super::acquire;
use super::apply::Context;
use super::command::Rollback;
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Applies a rollback at `version`.
pub(super) fn apply<V: lentic_engine::View>(
    shard: &mut Shard,
    version: Version,
    Rollback { range, to, owner, force }: &Rollback,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    let watermark = shard.descriptor.watermark;
    // At a pin all is there that a reader at it sees, and that is what the range shows from now on.
    if *to < watermark && !shard.pins.holds(*to) {
        return Refusal::VersionTooOld { watermark }.into();
    }
    if *to >= version {
        return Refusal::VersionTooNew { newest: version }.into();
    }
    if shard.masks.masks().len() >= MASKS_MAX {
        return Refusal::TooLarge { position: 0 }.into();
    }
    if let Err(refusal) = acquire::check(shard, range, owner, *force) {
        return refusal.into();
    }
    let token = acquire::take(shard, version, range, owner, context);
    let mask = Mask { range: range.clone(), from: *to, end: version };
    shard.put_mask(context.overlay.batch(), &mask);
    shard.masks.add(mask);
    // The newest visible record of every key in the range may be another one now.
    shard.heads.clear();
    *context.rules_changed = true;
    Outcome::RolledBack { token }
}
