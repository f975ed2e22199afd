//! Where replicas go whose nodes are emptied or dead, where one lacks, and which go to nodes that hold fewer: said by the
//! leader of the meta group.

use std::collections::BTreeMap;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, MetaCommand, ShardPlace};
use lentic_machine::placement;
use lentic_types::{Index, NodeId, ShardId};
use tokio::time::sleep;
use tracing::{debug, info};

use crate::ask::{Answer, Question};
use crate::gateway::Gateway;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Shards that move at once. Each is a snapshot that is sent, and its node has others to serve.
const MOVES_MAX: usize = 4;
/// Moves of a plan that is shown.
const PLANNED_MAX: usize = 256;
/// How long another node may take to answer.
const ASK_WITHIN: Duration = Duration::from_millis(500);

/// Says it, while this node leads the meta group.
pub(crate) async fn keep<S: Portable>(gateway: &Gateway<S>) {
    loop {
        sleep(LOOK_EVERY).await;
        if !gateway.meta.leads() {
            continue;
        }
        let catalog = gateway.meta.catalog_after_apply();
        let dead = gateway.meta.dead(gateway.options.replace_after);
        let alive = gateway.meta.alive();
        let shy: Vec<_> = alive.iter().filter(|(_, (alive, _))| !*alive).map(|(node, _)| *node).collect();
        let mut moves = wanted(&catalog, &dead, &shy);
        // What is needed comes before what is nice.
        if moves.is_empty() && gateway.meta.is_balanced() && !gateway.options.balance_every.is_zero() {
            moves.extend(evened_out(&catalog, &bytes_of(gateway), &shy));
        }
        for (place, from, to) in moves {
            if !has_leader(gateway, place).await {
                continue;
            }
            let (shard, epoch) = (place.shard, place.epoch);
            match gateway.meta.propose(&MetaCommand::MoveReplica { shard, epoch, from, to }).await {
                Ok(_) => info!(shard = shard.0, from = from.map(|from| from.0), to = to.0, "a replica shall move"),
                Err(failure) => debug!(shard = shard.0, reason = failure.message, "no replica moves"),
            }
        }
    }
}

/// The moves that are to come, as far as this node knows, one after the other: of the leader of the meta group.
pub(crate) fn planned<S: Portable>(gateway: &Gateway<S>) -> Vec<(ShardId, Option<NodeId>, NodeId)> {
    let dead = gateway.meta.dead(gateway.options.replace_after);
    let alive = gateway.meta.alive();
    let shy: Vec<_> = alive.iter().filter(|(_, (alive, _))| !*alive).map(|(node, _)| *node).collect();
    plan(Catalog::clone(&gateway.meta.catalog_after_apply()), &bytes_of(gateway), (&dead, &shy))
}

/// The bytes of a replica of each shard, as far as their leaders have said.
fn bytes_of<S: Portable>(gateway: &Gateway<S>) -> BTreeMap<ShardId, u64> {
    gateway.balance.bytes(gateway.meta.group.watch().borrow().term)
}

/// As if each move were done at once.
fn plan(
    mut catalog: Catalog,
    bytes: &BTreeMap<ShardId, u64>,
    (dead, shy): (&[NodeId], &[NodeId]),
) -> Vec<(ShardId, Option<NodeId>, NodeId)> {
    let mut moves = Vec::new();
    while moves.len() < PLANNED_MAX {
        let next = wanted(&catalog, dead, shy).into_iter().next().or_else(|| evened_out(&catalog, bytes, shy));
        let Some((shard, from, to)) = next.map(|(place, from, to)| (place.shard, from, to)) else { break };
        moves.push((shard, from, to));
        if let Some(place) = catalog.shards.get_mut(&shard) {
            place.replicas.retain(|node| Some(*node) != from);
            place.replicas.push(to);
        }
    }
    moves
}

/// The next move that spreads replicas evenly, if there is room for one.
fn evened_out<'a>(
    catalog: &'a Catalog,
    bytes: &BTreeMap<ShardId, u64>,
    shy: &[NodeId],
) -> Option<(&'a ShardPlace, Option<NodeId>, NodeId)> {
    let moving = catalog.shards.values().filter(|place| !place.shape.leaving.is_empty());
    if moving.count() >= MOVES_MAX {
        return None;
    }
    placement::spread(catalog, bytes, shy).map(|(place, from, to)| (place, Some(from), to))
}

/// Which replicas should move, and to where: as many as there is room for. `dead` nodes are given up, and none of `shy` gets
/// anything.
fn wanted<'a>(catalog: &'a Catalog, dead: &[NodeId], shy: &[NodeId]) -> Vec<(&'a ShardPlace, Option<NodeId>, NodeId)> {
    let active = catalog.nodes.values().filter(|node| node.state.is_active()).count();
    // Whoever hears from few is himself cut off.
    let dead = if dead.len() * 2 >= active { &[] } else { dead };
    let is_idle = |place: &&ShardPlace| place.shape.is_idle();
    let homes = || catalog.shards.values().filter(|place| catalog.home_of(place) == Some(place.shard));
    let room = MOVES_MAX.saturating_sub(homes().filter(|place| !place.shape.leaving.is_empty()).count());
    let leaves =
        |node: &&NodeId| dead.contains(node) || catalog.nodes.get(*node).is_none_or(|node| !node.state.is_active());
    let moves = homes().filter(is_idle).filter_map(|place| {
        let from = *place.replicas.iter().find(leaves)?;
        Some((place, Some(from), placement::add_replica(catalog, place.shard, shy)?))
    });
    let more = placement::under_replicated(catalog, &[])
        .filter(is_idle)
        .filter_map(|place| Some((place, None, placement::add_replica(catalog, place.shard, shy)?)));
    moves.chain(more).take(room).collect()
}

/// Whether the group of a shard is at work: one of its replicas says that it leads.
pub(crate) async fn has_leader<S: Portable>(gateway: &Gateway<S>, place: &ShardPlace) -> bool {
    let question = Question::Member { shard: place.shard }.encode();
    for node in place.holders() {
        let answer = gateway.meta.host.ask(node, question.clone(), ASK_WITHIN).await;
        let answer = answer.ok().and_then(|answer| Answer::decode(&answer).ok());
        if matches!(answer, Some(Answer::Member { leads: true, applied }) if applied > Index(0)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_engine::{Batch, MemStore, Store as _};
    use lentic_machine::Meta;
    use lentic_machine::meta::{NodeState, TableOptions};
    use lentic_types::{ClusterId, ShardId};
    use std::sync::Arc;

    /// The catalog after these commands, with four nodes and a table of two shards with two replicas each.
    fn catalog(commands: &[MetaCommand]) -> Arc<Catalog> {
        meta(2, commands).catalog()
    }

    fn meta(shards: u32, commands: &[MetaCommand]) -> Meta {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Meta::create(&mut batch, ClusterId([7; 16]));
        store.write(&batch).unwrap();
        let mut meta = Meta::load(&store).unwrap().unwrap();
        let register = (1..=4).map(|node| MetaCommand::RegisterNode {
            node: None,
            address: format!("n:{node}"),
            http_address: String::new(),
            incarnation: [node; 16],
        });
        let options = TableOptions { shards, replicas: 2, ..TableOptions::default() };
        let table = MetaCommand::CreateTable { name: "t".to_owned(), options, avoid: vec![NodeId(3), NodeId(4)] };
        for command in register.chain([table]).chain(commands.iter().cloned()) {
            meta.apply(meta.applied().next(), Some(&command)).unwrap();
        }
        meta
    }

    fn shown(catalog: &Catalog, dead: &[u64], shy: &[u64]) -> Vec<(u64, u64, u64)> {
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        let wanted = wanted(catalog, &nodes(dead), &nodes(shy));
        wanted.into_iter().map(|(place, from, to)| (place.shard.0, from.map_or(0, |from| from.0), to.0)).collect()
    }

    #[test]
    fn what_drains_is_emptied_and_what_is_dead_is_replaced() {
        let plain = catalog(&[]);
        assert_eq!(shown(&plain, &[], &[]), []);
        assert_eq!(shown(&plain, &[1], &[1]), [(2, 1, 3), (3, 1, 3)]);
        assert_eq!(shown(&plain, &[1], &[1, 3]), [(2, 1, 4), (3, 1, 4)]);
        assert_eq!(shown(&plain, &[1], &[1, 3, 4]), [], "nowhere to go");
        assert_eq!(shown(&plain, &[1, 2], &[1, 2]), [], "half of them: it is this node that is cut off");
        let drain = MetaCommand::SetNodeState { node: NodeId(2), state: NodeState::Draining };
        assert_eq!(shown(&catalog(&[drain]), &[], &[]), [(2, 2, 3), (3, 2, 3)]);
    }

    #[test]
    fn nodes_that_are_new_get_their_part_and_no_more_moves() {
        let mut meta = meta(11, &[]);
        let (before, mut moves) = (meta.catalog(), 0);
        while let Some((place, from, to)) = evened_out(&meta.catalog(), &BTreeMap::new(), &[NodeId(4)]) {
            let (shard, epoch) = (place.shard, place.epoch);
            assert_ne!(to, NodeId(4), "it is not heard from");
            meta.apply(meta.applied().next(), Some(&MetaCommand::MoveReplica { shard, epoch, from, to })).unwrap();
            let revision = meta.catalog().revision;
            meta.apply(meta.applied().next(), Some(&MetaCommand::SettleReplicas { shard, epoch, revision })).unwrap();
            moves += 1;
        }
        assert_eq!(
            plan(Catalog::clone(&before), &BTreeMap::new(), (&[], &[NodeId(4)])).len(),
            moves,
            "as was planned before the first"
        );
        let held = |meta: &Meta| (1..=4).map(|node| meta.catalog().shards_on(NodeId(node)).count()).collect::<Vec<_>>();
        assert_eq!((moves, held(&meta)), (7, vec![8, 7, 7, 0]), "22 replicas, and two nodes had 11 each");
        while let Some((place, from, to)) = evened_out(&meta.catalog(), &BTreeMap::new(), &[]) {
            let (shard, epoch) = (place.shard, place.epoch);
            meta.apply(meta.applied().next(), Some(&MetaCommand::MoveReplica { shard, epoch, from, to })).unwrap();
            moves += 1;
            if moves == 7 + MOVES_MAX {
                assert_eq!(evened_out(&meta.catalog(), &BTreeMap::new(), &[]), None, "enough are under way");
                break;
            }
        }
        assert_eq!(
            (moves, held(&meta).iter().sum::<usize>()),
            (11, 22 + 4),
            "a node that is left holds its replica yet"
        );
    }

    #[test]
    fn what_is_under_way_is_left_alone() {
        let (epoch, from, to) = (lentic_types::Epoch(1), Some(NodeId(1)), NodeId(3));
        let moving = catalog(&[MetaCommand::MoveReplica { shard: ShardId(2), epoch, from, to }]);
        assert_eq!(shown(&moving, &[1], &[1]), [(3, 1, 4)]);
    }
}
