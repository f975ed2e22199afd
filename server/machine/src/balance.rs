//! Who should lead which shard: a function of the catalog and of what each node leads.
//!
//! Leading costs: proposals, syncs that callers wait for, reads. A shard weighs one for being led and one more, on the
//! average over all shards, for the work that comes to it; a node has the sum over what it leads, of either. A plan hands
//! shards over as long as that makes the sum of the squares smaller by a margin. Each step makes it smaller, so a plan
//! ends, and where load stays the same the next one is empty: nothing goes to and fro.
//!
//! A shard goes only to a node that holds a replica of it and may lead. Not done: replicas that move for balance.

use std::collections::{BTreeMap, BTreeSet};

use lentic_types::{NodeId, ShardId};

use crate::meta::Catalog;

/// By how much a step must even things out, over the mean: where work says nothing, nodes that lead up to forty shards come
/// to be one apart, and those that lead more a fortieth.
const GAIN_MIN: f64 = 0.1;
/// Operations per second over all shards below which work counts for nothing: what a few requests say is chance.
const WORK_MIN: u64 = 200;

/// A shard that is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// By whom.
    pub leader: NodeId,
    /// Operations per second that come to it.
    pub work: u64,
}

/// A shard that should be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandOver {
    /// The shard.
    pub shard: ShardId,
    /// Who leads it.
    pub from: NodeId,
    /// Who should.
    pub to: NodeId,
}

/// At most `most` shards to hand over, the one that helps most first, each once; empty if all is even enough.
///
/// `led` says who leads what, as far as it is known. `able` are the nodes that may lead; what others lead is not looked
/// at, for whoever finds that they should not lead sees to it. A shard that is being cut or moved stays where it is, as
/// does one that rides in the group of another.
#[must_use]
pub fn plan(catalog: &Catalog, led: &BTreeMap<ShardId, Led>, able: &BTreeSet<NodeId>, most: usize) -> Vec<HandOver> {
    let mut board = Board::new(catalog, led, able);
    std::iter::from_fn(|| board.step()).take(most).collect()
}

/// A plan in the making.
struct Board<'a> {
    /// What may be handed over.
    shards: BTreeMap<ShardId, Seat<'a>>,
    /// What each node that may lead does.
    nodes: BTreeMap<NodeId, Weight>,
    /// The mean number of shards that such a node leads.
    mean: f64,
}

/// A shard that may be handed over.
struct Seat<'a> {
    leader: NodeId,
    replicas: &'a [NodeId],
    weight: Weight,
}

/// For being led, and for work: on the average over all shards, one of each.
#[derive(Clone, Copy, Default)]
struct Weight {
    count: f64,
    work: f64,
}

impl<'a> Board<'a> {
    fn new(catalog: &'a Catalog, led: &BTreeMap<ShardId, Led>, able: &BTreeSet<NodeId>) -> Self {
        let known: Vec<_> = led
            .iter()
            .filter(|(_, led)| able.contains(&led.leader))
            .filter_map(|(shard, led)| Some((led, catalog.shards.get(shard)?)))
            .filter(|(_, place)| catalog.home_of(place) == Some(place.shard))
            .collect();
        let total = known.iter().fold(0_u64, |total, (led, _)| total.saturating_add(led.work));
        let share = |work: u64| if total < WORK_MIN { 1.0 } else { ratio(work, total) * ratio(known.len() as u64, 1) };
        let mut nodes: BTreeMap<_, _> = able.iter().map(|node| (*node, Weight::default())).collect();
        let mut shards = BTreeMap::new();
        for (led, place) in &known {
            let weight = Weight { count: 1.0, work: share(led.work) };
            let node = nodes.entry(led.leader).or_default();
            *node = node.plus(weight);
            if place.shape.is_idle() {
                shards.insert(place.shard, Seat { leader: led.leader, replicas: &place.replicas, weight });
            }
        }
        let mean = ratio(known.len() as u64, able.len().max(1) as u64).max(1.0);
        Self { shards, nodes, mean }
    }

    /// The step that helps most, taken; `None` if none helps enough. What was handed over stays where it went.
    fn step(&mut self) -> Option<HandOver> {
        let all = self.shards.iter().flat_map(|(shard, seat)| {
            let step = |to: &NodeId| HandOver { shard: *shard, from: seat.leader, to: *to };
            seat.replicas.iter().filter(|to| **to != seat.leader).map(step)
        });
        let gains = all.filter_map(|step| Some((step, self.gain(step)?))).filter(|(_, gain)| *gain >= GAIN_MIN);
        // The last of equals would be taken: by that, one node would get all.
        let (step, _) = gains.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let seat = self.shards.remove(&step.shard)?;
        for (node, sign) in [(step.from, -1.0), (step.to, 1.0)] {
            let weight = self.nodes.get_mut(&node)?;
            *weight = weight.plus(seat.weight.times(sign));
        }
        Some(step)
    }

    /// By how much the step makes the sum of the squares smaller, over the mean; `None` if its aim may not lead.
    fn gain(&self, step: HandOver) -> Option<f64> {
        let (from, to) = (self.nodes.get(&step.from)?, self.nodes.get(&step.to)?);
        let shard = self.shards.get(&step.shard)?.weight;
        // f² + t² - (f - s)² - (t + s)²
        let half = |from: f64, to: f64, shard: f64| 2.0 * shard * (from - to - shard);
        Some((half(from.count, to.count, shard.count) + half(from.work, to.work, shard.work)) / self.mean)
    }
}

impl Weight {
    fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, work: self.work + other.work }
    }

    fn times(self, factor: f64) -> Self {
        Self { count: self.count * factor, work: self.work * factor }
    }
}

/// `part / whole`, as near as a float can.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a float has")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests;
