//! Take: become the only writer of a range, and go back to older versions in parts of it.
//!
//! The same owner (a job, by name) may always take over, from its own earlier attempt or from tasks whose ranges were cut
//! otherwise: an older fence keeps what lies outside the new range. Another owner is refused, or forces its way.
//!
//! Where the range goes back, a mask hides what was written since; the new fence, in the same step, keeps out whoever wrote
//! it. No data moves. Over several shards it is prepared in each and carried out at one version: everywhere or nowhere.

use bytes::Bytes;
use lentic_engine::{Mask, View};
use lentic_types::Version;
use lentic_types::limits::{FENCES_MAX, MASKS_MAX};

use super::apply::Context;
use super::command::Take;
use super::fences::{Fence, Token};
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// What a fence that is still to come adds to the owned ranges, at most: itself, and one for one that it cuts in two.
const FENCES_ADDED_MAX: usize = 2;

/// Takes a range of one shard at `version`.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    version: Version,
    take: &Take,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    if let Err(refusal) = check(shard, version, take) {
        return refusal.into();
    }
    // What is prepared was checked against the owner of that time, and may yet commit.
    if let Some(holder) = shard.locks.holds_in(&take.range, None) {
        return Refusal::Blocked { holder }.into();
    }
    carry_out(shard, version, take, context);
    Outcome::Taken { token: Token(version) }
}

/// Checks that the range could be taken at `version` or above, but for transactions that hold it.
pub(super) fn check(shard: &Shard, version: Version, take: &Take) -> Result<(), Refusal> {
    if !shard.descriptor.range.covers(&take.range) {
        return Err(Refusal::OutOfRange);
    }
    let watermark = shard.descriptor.watermark;
    // At a pin all is there that a reader at it sees, and that is what the range shows from now on.
    if take.back.iter().any(|back| back.to < watermark && !shard.pins.holds(back.to)) {
        return Err(Refusal::VersionTooOld { watermark });
    }
    if take.back.iter().any(|back| back.to >= version) {
        return Err(Refusal::VersionTooNew { newest: version });
    }
    if let Some(other) = shard.fences.of_range(&take.range).find(|fence| fence.owner != take.owner && !take.force) {
        return Err(Refusal::Owned { owner: other.owner.clone() });
    }
    // Those that are prepared find room when they commit.
    let (_, masks) = shard.locks.takes_to_come();
    let is_full = shard.fences.len_with(&take.range) + fences_to_come(shard) > FENCES_MAX
        || shard.masks.masks().len() + masks + take.back.len() > MASKS_MAX;
    if is_full { Err(Refusal::TooLarge { position: 0 }) } else { Ok(()) }
}

/// How many owned ranges those takes may add that are prepared.
pub(super) fn fences_to_come(shard: &Shard) -> usize {
    shard.locks.takes_to_come().0 * FENCES_ADDED_MAX
}

/// Takes a range that nobody holds, at a version above all that was written to it.
pub(super) fn carry_out<V: View>(
    shard: &mut Shard,
    version: Version,
    Take { range, owner, back, force: _ }: &Take,
    context: &mut Context<'_, '_, V>,
) {
    let before = shard.fences.clone();
    // A copy: the name may be a slice of a whole entry.
    let owner = Bytes::copy_from_slice(owner);
    shard.fences.insert(Fence { range: range.clone(), owner, token: Token(version) });
    shard.put_fences(context.overlay.batch(), &before);
    for back in back {
        let mask = Mask { range: back.range.clone(), from: back.to, end: version };
        shard.put_mask(context.overlay.batch(), &mask);
        shard.masks.add(mask);
    }
    if !back.is_empty() {
        // The newest visible record of every key in the range may be another one now.
        shard.heads.clear();
        *context.rules_changed = true;
    }
}
