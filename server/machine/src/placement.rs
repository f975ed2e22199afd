//! Which nodes hold which shards: a function of the catalog and of which nodes are to be avoided.
//!
//! Each shard first gets its preferred leader, then its other replicas; each time the node is taken that has the fewest so
//! far. What counts first is the table that is being placed, so that its load is spread whatever the nodes hold already,
//! and a node that has just joined does not get all of it; what counts next is all that a node holds.
//!
//! Of one table no node holds two replicas or two leaderships more than another. Over many tables they come to be a few
//! apart, leaderships fewer than replicas.
//!
//! What is placed is spread anew when nodes join or are used again, and when some have come to hold more bytes than others
//! ([`spread()`]).
//!
//! Not done: zones, sizes of nodes.

mod spread;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lentic_types::{NodeId, ShardId};

pub use self::spread::spread;
use crate::meta::{Catalog, ShardPlace};

/// A node and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The node.
    pub node: NodeId,
    /// Its replicas.
    pub replicas: usize,
    /// Those of them that are preferred leaders.
    pub leaders: usize,
}

/// There is no node to place anything on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no node to place a replica on; start one, and send again")]
pub struct NoNodes;

/// What each node of the catalog holds that gets replicas, by id.
#[must_use]
pub fn loads(catalog: &Catalog) -> Vec<Load> {
    loads_of(catalog, catalog.shards.values())
}

fn loads_of<'a>(catalog: &Catalog, shards: impl Iterator<Item = &'a ShardPlace>) -> Vec<Load> {
    let empty = |node: &NodeId| (*node, Load { node: *node, replicas: 0, leaders: 0 });
    let active = catalog.nodes.values().filter(|node| node.state.is_active()).map(|node| &node.node);
    let mut loads: BTreeMap<_, _> = active.map(empty).collect();
    for place in shards {
        for (position, node) in place.replicas.iter().enumerate() {
            if let Some(load) = loads.get_mut(node) {
                load.replicas += 1;
                load.leaders += usize::from(position == 0);
            }
        }
    }
    loads.into_values().collect()
}

/// Places the `shards` shards of a new table, each with `replicas` replicas on different nodes, or with as many as there
/// are nodes. The first of each is its preferred leader.
///
/// # Errors
/// [`NoNodes`] if all nodes are to be avoided, or there are none.
pub fn place(nodes: &[Load], shards: u32, replicas: u32, avoid: &[NodeId]) -> Result<Vec<Vec<NodeId>>, NoNodes> {
    let mut seats: Vec<_> = nodes.iter().filter(|load| !avoid.contains(&load.node)).map(Seat::new).collect();
    if seats.is_empty() {
        return Err(NoNodes);
    }
    let followers = (replicas.max(1) as usize).min(seats.len()) - 1;
    Ok((0..shards).map(|_| next(&mut seats, followers)).collect())
}

/// A node while a table is being placed.
struct Seat {
    /// All that it holds.
    load: Load,
    /// What it holds of the table.
    replicas: usize,
    leaders: usize,
}

impl Seat {
    const fn new(load: &Load) -> Self {
        Self { load: *load, replicas: 0, leaders: 0 }
    }

    fn take(&mut self, leads: bool) -> NodeId {
        self.replicas += 1;
        self.load.replicas += 1;
        self.leaders += usize::from(leads);
        self.load.leaders += usize::from(leads);
        self.load.node
    }
}

/// Places one shard.
fn next(seats: &mut [Seat], followers: usize) -> Vec<NodeId> {
    let key = |seat: &Seat| (seat.leaders, seat.replicas, seat.load.leaders, seat.load.replicas, seat.load.node);
    let first = (0..seats.len()).min_by_key(|seat| key(&seats[*seat])).expect("there is a node");
    seats.swap(0, first);
    let (leader, others) = seats.split_first_mut().expect("there is a node");
    // Whoever has led holds a replica, so those who have led more are taken first: the others are kept free to lead.
    let key = |seat: &Seat| {
        let (led, led_of_all) = (Reverse(seat.leaders), Reverse(seat.load.leaders));
        (seat.replicas, led, seat.load.replicas, led_of_all, seat.load.node)
    };
    if (1..others.len()).contains(&followers) {
        others.select_nth_unstable_by_key(followers - 1, key);
    }
    let others = &mut others[..followers];
    others.sort_unstable_by_key(key);
    let followers = others.iter_mut().map(|seat| seat.take(false));
    [leader.take(true)].into_iter().chain(followers).collect()
}

/// The node that should hold one more replica of `shard`: of those that hold none and are not to be avoided, the one with
/// the fewest of its table, then the fewest of all. `None` if there is no such node, or no such shard.
#[must_use]
pub fn add_replica(catalog: &Catalog, shard: ShardId, avoid: &[NodeId]) -> Option<NodeId> {
    let place = catalog.shards.get(&shard)?;
    let of_table = loads_of(catalog, catalog.shards_of(place.table));
    let all = loads(catalog);
    let free = of_table.iter().zip(&all).filter(|(load, _)| is_free(place, load.node, avoid));
    free.min_by_key(|(of_table, all)| (of_table.replicas, all.replicas, all.node)).map(|(load, _)| load.node)
}

/// The shards that have fewer replicas than they should on nodes that are not to be avoided, though there is a node for
/// one more: by id. Those that ride in the groups of others are where those are.
pub fn under_replicated<'a>(catalog: &'a Catalog, avoid: &'a [NodeId]) -> impl Iterator<Item = &'a ShardPlace> {
    let alive = |nodes: &mut dyn Iterator<Item = &NodeId>| nodes.filter(|node| !avoid.contains(node)).count();
    let active = catalog.nodes.values().filter(|node| node.state.is_active());
    let nodes = alive(&mut active.map(|node| &node.node));
    catalog
        .shards
        .values()
        .filter(|place| catalog.home_of(place) == Some(place.shard))
        .filter(move |place| alive(&mut place.replicas.iter()) < catalog.replicas_of(place.table).min(nodes))
}

fn is_free(place: &ShardPlace, node: NodeId, avoid: &[NodeId]) -> bool {
    !avoid.contains(&node) && place.holders().all(|holder| holder != node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn apart(counts: impl Iterator<Item = usize> + Clone) -> usize {
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    }

    /// Adds what was placed to what the nodes hold.
    fn add(loads: &mut [Load], places: &[Vec<NodeId>]) {
        for (position, node) in places.iter().flat_map(|place| place.iter().enumerate()) {
            let load = loads.iter_mut().find(|load| load.node == *node).expect("a node that is there");
            load.replicas += 1;
            load.leaders += usize::from(position == 0);
        }
    }

    fn nodes(count: u64) -> Vec<Load> {
        (1..=count).map(|node| Load { node: NodeId(node), replicas: 0, leaders: 0 }).collect()
    }

    fn spreads(loads: &[Load]) -> (usize, usize) {
        (apart(loads.iter().map(|load| load.replicas)), apart(loads.iter().map(|load| load.leaders)))
    }

    #[test]
    fn the_first_tables_of_three_nodes() {
        let ids = |places: Vec<Vec<NodeId>>| {
            places.iter().map(|place| place.iter().map(|node| node.0).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let mut loads = nodes(3);
        let places = place(&loads, 4, 3, &[]).unwrap();
        add(&mut loads, &places);
        assert_eq!(ids(places), [[1, 2, 3], [2, 1, 3], [3, 1, 2], [1, 2, 3]]);
        // The next table goes on where this one ended.
        assert_eq!(ids(place(&loads, 1, 3, &[]).unwrap()), [[2, 1, 3]]);
        assert_eq!(ids(place(&loads, 1, 3, &[NodeId(2)]).unwrap()), [[3, 1]]);
        assert_eq!(place(&loads, 1, 3, &[NodeId(1), NodeId(2), NodeId(3)]), Err(NoNodes));
        assert_eq!(place(&[], 1, 3, &[]), Err(NoNodes));
    }

    #[test]
    fn the_largest_table_on_the_most_nodes() {
        use lentic_types::limits::{NODES_MAX, REPLICAS_MAX, SHARDS_PER_TABLE_MAX};
        let mut loads = nodes(NODES_MAX as u64);
        let [shards, replicas] = [SHARDS_PER_TABLE_MAX, REPLICAS_MAX].map(|limit| u32::try_from(limit).unwrap());
        let places = place(&loads, shards, replicas, &[]).unwrap();
        add(&mut loads, &places);
        let (replicas, leaders) = spreads(&loads);
        assert!(replicas <= 1 && leaders <= 1);
    }

    fn loaded() -> impl Strategy<Value = Vec<Load>> {
        let load = (0usize..12, 0usize..12);
        proptest::collection::vec(load, 1..12).prop_map(|loads| {
            let numbered = (1..).zip(loads);
            numbered
                .map(|(node, (leaders, more))| Load { node: NodeId(node), replicas: leaders + more, leaders })
                .collect()
        })
    }

    proptest! {
        /// Whatever the nodes hold, and whichever are avoided.
        #[test]
        fn a_table_is_spread_evenly(loads in loaded(), shards in 0u32..40, replicas in 0u32..9, avoid in proptest::collection::vec(0u64..14, 0..5)) {
            let avoid: Vec<_> = avoid.into_iter().map(NodeId).collect();
            let alive: Vec<_> = loads.iter().filter(|load| !avoid.contains(&load.node)).copied().collect();
            let Ok(places) = place(&loads, shards, replicas, &avoid) else {
                prop_assert!(alive.is_empty());
                return Ok(());
            };
            prop_assert_eq!(places.len(), shards as usize);
            for place in &places {
                prop_assert_eq!(place.len(), (replicas.max(1) as usize).min(alive.len()));
                prop_assert_eq!(place.iter().collect::<BTreeSet<_>>().len(), place.len(), "one replica a node");
                prop_assert!(place.iter().all(|node| alive.iter().any(|load| load.node == *node)), "on nodes alive");
            }
            let mut table: Vec<_> = alive.iter().map(|load| Load { replicas: 0, leaders: 0, ..*load }).collect();
            add(&mut table, &places);
            let (replicas_apart, leaders_apart) = spreads(&table);
            prop_assert!(replicas_apart <= 1 && leaders_apart <= 1, "{:?}", table);
            let mut reversed = loads.clone();
            reversed.reverse();
            prop_assert_eq!(Ok(places), place(&reversed, shards, replicas, &avoid), "the order of the nodes says nothing");
        }

        #[test]
        fn many_tables_are_spread_evenly(count in 1u64..10, replicas in 1u32..6, tables in proptest::collection::vec(prop_oneof![Just(1u32), 1u32..30], 1..12)) {
            let mut loads = nodes(count);
            for shards in tables {
                let places = place(&loads, shards, replicas, &[]).unwrap();
                add(&mut loads, &places);
                let (replicas_apart, leaders_apart) = spreads(&loads);
                prop_assert!(replicas_apart <= 4 && leaders_apart <= 4, "{:?}", loads);
            }
        }

        #[test]
        fn one_shard_goes_to_the_nodes_with_least(loads in loaded()) {
            let places = place(&loads, 1, 1, &[]).unwrap();
            let least = loads.iter().min_by_key(|load| (load.leaders, load.replicas, load.node)).unwrap();
            prop_assert_eq!(places, [[least.node]]);
        }
    }
}
