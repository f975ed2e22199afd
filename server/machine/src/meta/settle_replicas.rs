//! Settle replicas: the members of a shard's group are those that the catalog names, and nobody else.
//!
//! Said by the leader of the group, who has seen it, of the revision that it has seen: a message that comes late must not
//! clear a replica that has been made a member again since. What left may be cleared from here on.

use lentic_types::{Epoch, ShardId};

use super::catalog::ShardPlace;
use super::move_replica::home;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Forgets which nodes the shard has left, for it and for those that ride in its group.
pub(super) fn apply(
    meta: &mut Meta,
    shard: ShardId,
    epoch: Epoch,
    revision: u64,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let place = home(meta, shard, epoch)?;
    if place.shape.leaving.is_empty() {
        return Ok(MetaOutcome::Done);
    }
    if meta.catalog.revision != revision {
        return Err(MetaRefusal::Superseded { revision: meta.catalog.revision });
    }
    let riders = meta.catalog.riders_of(shard);
    let mut places: Vec<ShardPlace> = std::iter::once(place).chain(riders).cloned().collect();
    places.iter_mut().for_each(|place| place.shape.leaving.clear());
    places.into_iter().for_each(|place| meta.put_shard(place, change));
    Ok(MetaOutcome::Done)
}
