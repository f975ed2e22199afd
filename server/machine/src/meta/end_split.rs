//! End split: a shard has been cut in two.
//!
//! Its leader says so, when its log has the split. From then on the child is found by its keys.

use lentic_types::{Epoch, Index, KeyRange, ShardId};

use super::catalog::{Shape, ShardPlace, Splitting};
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Puts the child beside its parent, on the same nodes: what is behind the entry `born` is of two shards.
pub(super) fn apply(
    meta: &mut Meta,
    (parent, child): (ShardId, ShardId),
    epoch: Epoch,
    born: Index,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let catalog = &meta.catalog;
    if catalog.shards.contains_key(&child) {
        return Ok(MetaOutcome::Done);
    }
    let Some(place) = catalog.shards.get(&parent) else {
        return Err(MetaRefusal::NoSuchShard { shard: parent });
    };
    if place.epoch != epoch {
        return Err(MetaRefusal::WrongEpoch { epoch: place.epoch });
    }
    let Some(Splitting { at, .. }) = place.shape.splitting.as_ref().filter(|splitting| splitting.child == child) else {
        return Err(MetaRefusal::Invalid("the shard is not being split so; look at the catalog, and begin it".into()));
    };
    if born == Index(0) {
        return Err(MetaRefusal::Invalid("a split is an entry of the shard's log; say which one".into()));
    }
    let cut = || MetaRefusal::Invalid("a shard is split at a key within it".into());
    let below = KeyRange::new(place.range.start().clone(), Some(at.clone())).map_err(|_| cut())?;
    let above = KeyRange::new(at.clone(), place.range.end().cloned()).map_err(|_| cut())?;
    let shape = Shape { born, splitting: None, ..place.shape.clone() };
    let half =
        |shard, range| ShardPlace { shard, range, epoch: Epoch(epoch.0 + 1), shape: shape.clone(), ..place.clone() };
    let halves = [half(parent, below), half(child, above)];
    catalog.check_room_for_split(&halves)?;
    halves.into_iter().for_each(|place| meta.put_shard(place, change));
    Ok(MetaOutcome::Done)
}
