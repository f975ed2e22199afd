//! Move replica: a shard shall have a replica on another node, in place of one that it has or beside those.
//!
//! The catalog says at once how it shall be, and that the node it leaves still has it; the leader of the shard's group makes
//! it so, and [`settle_replicas`](super::settle_replicas) says when. One move of a shard is under way at a time.
//!
//! Whoever proposes this has seen the group at work: from here on no replica of it begins with the members of the catalog,
//! which `born` says: else it could begin a second group with the new ones. It is another with each move: what a split has made
//! is for those who were there, and not for a node that has left and comes back.

use lentic_types::limits::REPLICAS_MAX;
use lentic_types::{Epoch, NodeId, ShardId};

use super::catalog::{NodeState, ShardPlace};
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Puts `to` among the replicas of the shard and of those that ride in its group, in place of `from` if that is given.
pub(super) fn apply(
    meta: &mut Meta,
    shard: ShardId,
    epoch: Epoch,
    (from, to): (Option<NodeId>, NodeId),
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let place = home(meta, shard, epoch)?;
    let holds = |node: NodeId| place.replicas.contains(&node);
    if holds(to) && from.is_none_or(|from| !holds(from)) {
        return Ok(MetaOutcome::Done);
    }
    check_nodes(meta, place, from, to)?;
    if !place.shape.leaving.is_empty() || place.shape.splitting.is_some() {
        return Err(MetaRefusal::UnderWay { shard });
    }
    let changed = |place: &ShardPlace| {
        let mut place = place.clone();
        place.replicas.retain(|node| Some(*node) != from);
        place.replicas.push(to);
        place.shape.leaving.extend(from);
        if place.shard == shard {
            place.shape.born = place.shape.born.next();
        }
        place
    };
    let places: Vec<_> = std::iter::once(place).chain(meta.catalog.riders_of(shard)).map(changed).collect();
    meta.catalog.check_room_for_shards(&places)?;
    places.into_iter().for_each(|place| meta.put_shard(place, change));
    Ok(MetaOutcome::Done)
}

/// The place of a shard that has a group of its own.
pub(super) fn home(meta: &Meta, shard: ShardId, epoch: Epoch) -> Result<&ShardPlace, MetaRefusal> {
    let place = meta.catalog.shards.get(&shard).ok_or(MetaRefusal::NoSuchShard { shard })?;
    if place.epoch != epoch {
        return Err(MetaRefusal::WrongEpoch { epoch: place.epoch });
    }
    if meta.catalog.home_of(place) != Some(shard) {
        return Err(MetaRefusal::Invalid("a branch's shard is where its parent's is; move that one".into()));
    }
    Ok(place)
}

fn check_nodes(meta: &Meta, place: &ShardPlace, from: Option<NodeId>, to: NodeId) -> Result<(), MetaRefusal> {
    let shard = place.shard;
    match meta.catalog.nodes.get(&to) {
        None => return Err(MetaRefusal::NoSuchNode { node: to }),
        Some(node) if node.state != NodeState::Active => {
            return Err(MetaRefusal::NotActive { node: to, state: node.state });
        }
        Some(_) => {}
    }
    if place.replicas.contains(&to) {
        let reason = format!("node {to} holds a replica of shard {shard}; name a node that holds none");
        return Err(MetaRefusal::Invalid(reason.into()));
    }
    match from {
        Some(from) if !place.replicas.contains(&from) => {
            let reason = format!("node {from} holds no replica of shard {shard}; name one that does");
            Err(MetaRefusal::Invalid(reason.into()))
        }
        None if place.replicas.len() >= REPLICAS_MAX => {
            Err(MetaRefusal::TooMany { of: "replicas of a shard".into(), most: REPLICAS_MAX as u64 })
        }
        _ => Ok(()),
    }
}
