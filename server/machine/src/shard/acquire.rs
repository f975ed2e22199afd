//! Acquire: become the only writer of a range.
//!
//! The same owner (a job, by name) may always take over, from its own earlier attempt or from tasks whose ranges were cut
//! otherwise: an older fence keeps what lies outside the new range. Another owner is refused, or forces its way.

use bytes::Bytes;
use lentic_types::limits::FENCES_MAX;
use lentic_types::{KeyRange, Version};

use super::apply::Context;
use super::command::Acquire;
use super::fences::{Fence, Token};
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Applies an acquisition at `version`.
pub(super) fn apply<V: lentic_engine::View>(
    shard: &mut Shard,
    version: Version,
    Acquire { range, owner, force }: &Acquire,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    match check(shard, range, owner, *force) {
        Ok(()) => Outcome::Acquired { token: take(shard, version, range, owner, context) },
        Err(refusal) => refusal.into(),
    }
}

/// Checks that `owner` may take `range`.
pub(super) fn check(shard: &Shard, range: &KeyRange, owner: &Bytes, force: bool) -> Result<(), Refusal> {
    if !shard.descriptor.range.covers(range) {
        return Err(Refusal::OutOfRange);
    }
    if let Some(other) = shard.fences.of_range(range).find(|fence| fence.owner != *owner && !force) {
        return Err(Refusal::Owned { owner: other.owner.clone() });
    }
    // What is prepared was checked against the owner of that time, and may yet commit.
    if let Some(holder) = shard.locks.holds_in(range) {
        return Err(Refusal::Blocked { holder });
    }
    if shard.fences.len_with(range) > FENCES_MAX {
        return Err(Refusal::TooLarge { position: 0 });
    }
    Ok(())
}

/// Gives `range` to `owner`.
pub(super) fn take<V: lentic_engine::View>(
    shard: &mut Shard,
    version: Version,
    range: &KeyRange,
    owner: &Bytes,
    context: &mut Context<'_, '_, V>,
) -> Token {
    let token = Token(version);
    let before = shard.fences.clone();
    // A copy: the name may be a slice of a whole entry.
    let owner = Bytes::copy_from_slice(owner);
    shard.fences.insert(Fence { range: range.clone(), owner, token });
    shard.put_fences(context.overlay.batch(), &before);
    token
}
