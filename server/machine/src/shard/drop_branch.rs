//! Drop branch: a branch's shard rides in the group no more.
//!
//! It is a row that says so. What the branch kept, each node clears when that row is durable there.

use lentic_engine::View;
use lentic_types::{GroupId, Index, ShardId, Version};

use super::apply::{Context, Fatal};
use super::outcome::{Outcome, Refusal};
use super::riders::{self, Gone};
use super::state::Shard;

/// Drops a rider of `shard`'s group. It has no effect if there is none of this number.
pub(super) fn apply<V: View>(
    shard: &Shard,
    index: Index,
    version: Version,
    dropped: ShardId,
    context: &mut Context<'_, '_, V>,
) -> Result<Outcome, Fatal> {
    let is_left = |id: ShardId| context.riders.left.iter().any(|(left, _)| *left == id);
    let (Some(rider), Some(revision)) = (shard.rider(dropped), shard.riders.revision_of(dropped)) else {
        return Ok(Outcome::Committed { version });
    };
    if is_left(dropped) {
        return Ok(Outcome::Committed { version });
    }
    if shard.riders.children_of(GroupId::from(dropped)).any(|child| !is_left(child)) {
        return Ok(Refusal::Invalid("a branch has branches; drop those first").into());
    }
    let gone = Gone::new(rider, revision, index);
    riders::put_gone(context.overlay.batch(), shard.home, dropped, &gone);
    context.riders.left.push((dropped, gone));
    Ok(Outcome::Committed { version })
}
