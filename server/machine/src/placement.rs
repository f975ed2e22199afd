//! Which nodes hold which shards: a function of the catalog and of which nodes are to be avoided.
//!
//! Each shard first gets its preferred leader, then its other replicas; each time the node is taken that has the fewest so
//! far. What counts first is the table that is being placed, so that its load is spread whatever the nodes hold already,
//! and a node that has just joined does not get all of it; what counts next is all that a node holds.
//!
//! Of one table no node holds two replicas or two leaderships more than another. Over many tables it stays near that.
//!
//! Not done: zones, sizes of nodes and of shards, moving what is placed already.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lentic_types::{NodeId, ShardId};

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

/// What each node of the catalog holds, by id.
#[must_use]
pub fn loads(catalog: &Catalog) -> Vec<Load> {
    loads_of(catalog, catalog.shards.values())
}

fn loads_of<'a>(catalog: &Catalog, shards: impl Iterator<Item = &'a ShardPlace>) -> Vec<Load> {
    let empty = |node: &NodeId| (*node, Load { node: *node, replicas: 0, leaders: 0 });
    let mut loads: BTreeMap<_, _> = catalog.nodes.keys().map(empty).collect();
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
/// one more: by id.
pub fn under_replicated<'a>(catalog: &'a Catalog, avoid: &'a [NodeId]) -> impl Iterator<Item = &'a ShardPlace> {
    let alive = |nodes: &mut dyn Iterator<Item = &NodeId>| nodes.filter(|node| !avoid.contains(node)).count();
    let nodes = alive(&mut catalog.nodes.keys());
    catalog
        .shards
        .values()
        .filter(move |place| alive(&mut place.replicas.iter()) < catalog.replicas_of(place.table).min(nodes))
}

fn is_free(place: &ShardPlace, node: NodeId, avoid: &[NodeId]) -> bool {
    !avoid.contains(&node) && !place.replicas.contains(&node)
}
