//! Which replica moves next so that replicas are spread evenly: by count, and then by bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lentic_types::{NodeId, ShardId};

use super::{Load, is_free, loads_of};
use crate::meta::{Catalog, ShardPlace};

/// By how many bytes two nodes must be apart for a replica to move for nothing but its bytes, beside what it has itself: to copy
/// it costs more than to leave it. And by which part of what nodes hold on the average.
const BYTES_APART: u64 = 64 << 20;
const BYTES_APART_PART: u64 = 10;

/// The replica that should move next, from one node to another, so that replicas are spread evenly: those of each table, and
/// all, and then their bytes. `bytes` are those of a replica of each shard; while those of one are not known, counts alone
/// decide. The shards that move or split now, and nodes to be avoided, are left alone.
///
/// No node of a table then holds two replicas more than another, and no move between nodes is left that would bring all
/// that they hold nearer together without drawing a table apart. Each move makes the sum of the squares of a table's counts
/// less, or leaves them and makes that of all counts less, or leaves both and makes that of the bytes less; so while shards are
/// as large as they are, a series of moves comes to its end.
#[must_use]
pub fn spread<'a>(
    catalog: &'a Catalog,
    bytes: &BTreeMap<ShardId, u64>,
    avoid: &[NodeId],
) -> Option<(&'a ShardPlace, NodeId, NodeId)> {
    let is_home = |place: &&ShardPlace| catalog.home_of(place) == Some(place.shard);
    let is_idle = |place: &&ShardPlace| place.shape.is_idle();
    let all = loads_of(catalog, catalog.shards.values().filter(is_home));
    let held = Held::new(catalog.shards.values().filter(is_home), bytes);
    let mut best = None;
    for table in catalog.tables.keys() {
        let of_table = loads_of(catalog, catalog.shards_of(*table).filter(is_home));
        let seats: Vec<(Load, Load)> = of_table.into_iter().zip(all.iter().copied()).collect();
        for place in catalog.shards_of(*table).filter(is_home).filter(is_idle) {
            let holds = |(load, _): &&(Load, Load)| place.replicas.contains(&load.node) && !avoid.contains(&load.node);
            for from in seats.iter().filter(holds) {
                for to in seats.iter().filter(|(load, _)| is_free(place, load.node, avoid)) {
                    let of_table = from.0.replicas.saturating_sub(to.0.replicas);
                    let of_all = from.1.replicas.saturating_sub(to.1.replicas);
                    let (from, to) = (from.0.node, to.0.node);
                    let of_bytes = held.as_ref().map_or(0, |held| held.gain(place.shard, from, to));
                    let is_for_bytes = (of_table, of_all) == (1, 1) && of_bytes > 0;
                    if of_table >= 2 || (of_table == 1 && of_all >= 2) || is_for_bytes {
                        // A leader that stays spares an election.
                        let follows = place.replicas.first() != Some(&from);
                        let key = (of_table, of_all, of_bytes, follows, Reverse(place.shard), Reverse(to));
                        if best.as_ref().is_none_or(|(other, _)| key > *other) {
                            best = Some((key, (place, from, to)));
                        }
                    }
                }
            }
        }
    }
    best.map(|(_, step)| step)
}

/// The bytes of shards, and what each node holds of them.
struct Held<'a> {
    shards: &'a BTreeMap<ShardId, u64>,
    nodes: BTreeMap<NodeId, u64>,
    /// How far apart is too far.
    apart: u64,
}

impl<'a> Held<'a> {
    /// `None` while the bytes of a shard are not known.
    fn new<'b>(places: impl Iterator<Item = &'b ShardPlace>, shards: &'a BTreeMap<ShardId, u64>) -> Option<Self> {
        let mut nodes: BTreeMap<NodeId, u64> = BTreeMap::new();
        for place in places {
            let bytes = shards.get(&place.shard)?;
            place.replicas.iter().for_each(|node| *nodes.entry(*node).or_default() += bytes);
        }
        let mean = nodes.values().sum::<u64>() / nodes.len().max(1) as u64;
        Some(Self { shards, nodes, apart: BYTES_APART.max(mean / BYTES_APART_PART) })
    }

    /// The bytes that would move, if that brings the two nodes nearer together by enough to be worth it; else 0.
    fn gain(&self, shard: ShardId, from: NodeId, to: NodeId) -> u64 {
        let of = |node| self.nodes.get(&node).copied().unwrap_or(0);
        let bytes = self.shards.get(&shard).copied().unwrap_or(0);
        let apart = of(from).saturating_sub(of(to));
        if apart >= bytes.saturating_add(self.apart) { bytes } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::{Meta, MetaCommand, TableOptions};
    use lentic_engine::{Batch, MemStore, Store as _};
    use lentic_types::ClusterId;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// Nodes, and tables of one shard each.
    fn tables(nodes: u8, count: usize, replicas: u32) -> Meta {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Meta::create(&mut batch, ClusterId([7; 16]));
        store.write(&batch).unwrap();
        let mut meta = Meta::load(&store).unwrap().unwrap();
        let register = (1..=nodes).map(|node| MetaCommand::RegisterNode {
            node: None,
            address: format!("n:{node}"),
            http_address: String::new(),
            incarnation: [node; 16],
        });
        let options = TableOptions { shards: 1, replicas, ..TableOptions::default() };
        let create = |number| MetaCommand::CreateTable {
            name: format!("t{number}"),
            options: options.clone(),
            avoid: Vec::new(),
        };
        for command in register.chain((0..count).map(create)) {
            meta.apply(meta.applied().next(), Some(&command)).unwrap();
        }
        meta
    }

    fn sizes(meta: &Meta, mib: &[u64]) -> BTreeMap<ShardId, u64> {
        meta.catalog().shards.keys().copied().zip(mib.iter().map(|mib| mib * MIB)).collect()
    }

    /// Moves until none is left; which shards.
    fn all_moves(meta: &mut Meta, bytes: &BTreeMap<ShardId, u64>, most: usize) -> Vec<ShardId> {
        let mut moves = Vec::new();
        while let Some((place, from, to)) = spread(&meta.catalog(), bytes, &[]) {
            let (shard, epoch) = (place.shard, place.epoch);
            let step = MetaCommand::MoveReplica { shard, epoch, from: Some(from), to };
            meta.apply(meta.applied().next(), Some(&step)).unwrap();
            let revision = meta.catalog().revision;
            let settled = MetaCommand::SettleReplicas { shard, epoch, revision };
            meta.apply(meta.applied().next(), Some(&settled)).unwrap();
            moves.push(shard);
            assert!(moves.len() <= most, "they have no end");
        }
        moves
    }

    fn held(meta: &Meta, bytes: &BTreeMap<ShardId, u64>) -> Vec<u64> {
        let catalog = meta.catalog();
        let of = |node: &NodeId| catalog.shards_on(*node).map(|place| bytes[&place.shard] / MIB).sum();
        catalog.nodes.keys().map(of).collect()
    }

    #[test]
    fn where_counts_are_even_bytes_decide() {
        let mut meta = tables(2, 3, 1);
        let bytes = sizes(&meta, &[500, 100, 400]);
        assert_eq!(held(&meta, &bytes), [900, 100]);
        assert_eq!(spread(&meta.catalog(), &BTreeMap::new(), &[]), None, "by count they are even");
        let few = bytes.iter().skip(1).map(|(shard, bytes)| (*shard, *bytes)).collect();
        assert_eq!(spread(&meta.catalog(), &few, &[]), None, "those of one are not known");
        let shards: Vec<ShardId> = bytes.keys().copied().collect();
        assert_eq!(all_moves(&mut meta, &bytes, 2), shards[..2], "the largest there, and then the smallest back");
        assert_eq!(held(&meta, &bytes), [500, 500]);
    }

    #[test]
    fn a_little_is_not_worth_a_copy() {
        let mut meta = tables(2, 3, 1);
        let bytes = sizes(&meta, &[30, 10, 60]);
        assert_eq!(all_moves(&mut meta, &bytes, 0), []);
        // A tenth of what a node has is a little, too.
        let bytes = sizes(&meta, &[300, 5_000, 5_200]);
        assert_eq!(all_moves(&mut meta, &bytes, 0), []);
    }

    proptest! {
        /// Whatever the shards have.
        #[test]
        fn moves_come_to_an_end_and_counts_stay_even(
            mib in proptest::collection::vec(0u64..2_000, 1..16),
            nodes in 2u8..6,
            replicas in 1u32..4,
        ) {
            let mut meta = tables(nodes, mib.len(), replicas);
            let bytes = sizes(&meta, &mib);
            let squares = |meta: &Meta| held(meta, &bytes).iter().map(|held| held * held).sum::<u64>();
            let before = squares(&meta);
            all_moves(&mut meta, &BTreeMap::new(), 100);
            let even = squares(&meta);
            all_moves(&mut meta, &bytes, 100);
            prop_assert!(squares(&meta) <= even, "{before} {even} {}", squares(&meta));
            let catalog = meta.catalog();
            let counts = || catalog.nodes.keys().map(|node| catalog.shards_on(*node).count());
            prop_assert!(counts().max() <= counts().min().map(|least| least + 1), "{:?}", counts().collect::<Vec<_>>());
        }
    }
}
