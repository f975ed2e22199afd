//! Set replicas: a shard is on other nodes, or prefers another leader.
//!
//! Whoever moves a shard says so here after the members of its group have changed. The epoch counts changes of shape, and
//! this is none.

use lentic_types::{Epoch, NodeId, ShardId};

use super::catalog::ShardPlace;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Puts `replicas` in place of the shard's, and of those that ride in its group.
pub(super) fn apply(
    meta: &mut Meta,
    shard: ShardId,
    epoch: Epoch,
    replicas: &[NodeId],
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let Some(place) = meta.catalog.shards.get(&shard) else {
        return Err(MetaRefusal::NoSuchShard { shard });
    };
    if place.epoch != epoch {
        return Err(MetaRefusal::WrongEpoch { epoch: place.epoch });
    }
    if meta.catalog.home_of(place) != Some(shard) {
        return Err(MetaRefusal::Invalid("a branch's shard is where its parent's is; move that one".into()));
    }
    if place.shape.splitting.is_some() {
        return Err(MetaRefusal::UnderWay { shard });
    }
    meta.catalog.check_replicas(replicas)?;
    if place.replicas == replicas {
        return Ok(MetaOutcome::Done);
    }
    if !place.shape.leaving.is_empty() {
        return Err(MetaRefusal::UnderWay { shard });
    }
    let riders = meta.catalog.riders_of(shard);
    let moved = |place: &ShardPlace| ShardPlace { replicas: replicas.to_vec(), ..place.clone() };
    let places: Vec<ShardPlace> = std::iter::once(place).chain(riders).map(moved).collect();
    meta.catalog.check_room_for_shards(&places)?;
    places.into_iter().for_each(|place| meta.put_shard(place, change));
    Ok(MetaOutcome::Done)
}
