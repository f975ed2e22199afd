//! Tests of plans.

use super::*;
use crate::meta::{Node, NodeState, Shape, ShardPlace, Splitting};
use bytes::Bytes;
use lentic_types::{ClusterId, Epoch, KeyRange, TableId};
use proptest::prelude::*;

/// `nodes` nodes, and a table of shards that are on the nodes given for each.
fn catalog(nodes: u64, shards: &[Vec<u64>]) -> Catalog {
    let mut catalog = Catalog::new(ClusterId::default());
    for id in 1..=nodes {
        let node = Node {
            node: NodeId(id),
            address: format!("n{id}"),
            http_address: String::new(),
            incarnation: [u8::try_from(id).unwrap(); 16],
            state: NodeState::Active,
        };
        catalog.nodes.insert(node.node, node);
    }
    for (position, replicas) in (0_u64..).zip(shards) {
        let (start, end) = (key(position), key(position + 1));
        let start = if position == 0 { Bytes::new() } else { start };
        let end = (position + 1 < shards.len() as u64).then_some(end);
        catalog.put_shard(ShardPlace {
            shard: ShardId(position + 2),
            table: TableId(1),
            range: KeyRange::new(start, end).unwrap(),
            epoch: Epoch(1),
            replicas: replicas.iter().copied().map(NodeId).collect(),
            shape: Shape::default(),
        });
    }
    catalog
}

fn key(position: u64) -> Bytes {
    Bytes::copy_from_slice(&position.to_be_bytes())
}

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Shard 2 is led by the first of `leaders`, and so on.
fn led(leaders: &[(u64, u64)]) -> BTreeMap<ShardId, Led> {
    let one = |(position, (leader, work)): (u64, &(u64, u64))| {
        (ShardId(position + 2), Led { leader: NodeId(*leader), work: *work })
    };
    (0..).zip(leaders).map(one).collect()
}

fn carry_out(led: &mut BTreeMap<ShardId, Led>, plan: &[HandOver]) {
    for step in plan {
        let led = led.get_mut(&step.shard).unwrap();
        assert_eq!(led.leader, step.from);
        led.leader = step.to;
    }
}

fn counts(led: &BTreeMap<ShardId, Led>, able: &BTreeSet<NodeId>) -> Vec<usize> {
    able.iter().map(|node| led.values().filter(|led| led.leader == *node).count()).collect()
}

#[test]
fn what_one_node_leads_is_spread() {
    let catalog = catalog(3, &vec![vec![1, 2, 3]; 6]);
    let (mut led, able) = (led(&[(1, 0); 6]), nodes(&[1, 2, 3]));
    let steps = plan(&catalog, &led, &able, 100);
    assert_eq!(steps.len(), 4, "no more than must");
    carry_out(&mut led, &steps);
    assert_eq!(counts(&led, &able), [2, 2, 2]);
}

#[test]
fn two_hot_shards_are_led_by_two_nodes() {
    let catalog = catalog(2, &vec![vec![1, 2]; 4]);
    let (mut led, able) = (led(&[(1, 9_000), (1, 9_000), (2, 10), (2, 10)]), nodes(&[1, 2]));
    let steps = plan(&catalog, &led, &able, 100);
    carry_out(&mut led, &steps);
    assert_ne!(led[&ShardId(2)].leader, led[&ShardId(3)].leader);
    assert_eq!(counts(&led, &able), [2, 2], "and a cold one goes the other way");
}

#[test]
fn few_requests_say_nothing() {
    let catalog = catalog(2, &vec![vec![1, 2]; 4]);
    let (led, able) = (led(&[(1, 100), (1, 0), (2, 0), (2, 0)]), nodes(&[1, 2]));
    assert_eq!(plan(&catalog, &led, &able, 100), []);
}

#[test]
fn one_apart_is_even() {
    let catalog = catalog(3, &vec![vec![1, 2, 3]; 4]);
    let (led, able) = (led(&[(1, 0), (1, 0), (2, 0), (3, 0)]), nodes(&[1, 2, 3]));
    assert_eq!(plan(&catalog, &led, &able, 100), []);
}

#[test]
fn nothing_goes_to_a_node_that_may_not_lead() {
    let catalog = catalog(3, &vec![vec![1, 2, 3]; 6]);
    let (mut led, able) = (led(&[(1, 0); 6]), nodes(&[1, 3]));
    let steps = plan(&catalog, &led, &able, 100);
    assert!(steps.iter().all(|step| step.to == NodeId(3)), "{steps:?}");
    carry_out(&mut led, &steps);
    assert_eq!(counts(&led, &able), [3, 3]);
    let others = plan(&catalog, &led, &nodes(&[2, 3]), 100);
    assert!(others.iter().all(|step| step.from == NodeId(3)), "what others lead is not looked at: {others:?}");
}

#[test]
fn a_shard_that_is_being_changed_stays() {
    let mut catalog = catalog(2, &[vec![1, 2], vec![1, 2]]);
    for shard in [2, 3] {
        let mut place = catalog.shards[&ShardId(shard)].clone();
        let at = Bytes::from([&key(shard - 2)[..], b"\x01"].concat());
        place.shape.splitting = Some(Splitting { at, child: ShardId(shard + 10) });
        catalog.put_shard(place);
    }
    assert_eq!(plan(&catalog, &led(&[(1, 0), (1, 0)]), &nodes(&[1, 2]), 100), []);
}

#[test]
fn what_is_not_in_the_catalog_is_left_out() {
    let catalog = catalog(2, &[vec![1, 2], vec![1, 2]]);
    let led = led(&[(1, 5), (1, u64::MAX), (1, u64::MAX), (7, 9)]);
    let steps = plan(&catalog, &led, &nodes(&[1, 2]), 100);
    assert!(steps.iter().all(|step| step.shard.0 < 4), "{steps:?}");
}

proptest! {
    /// Steps are between replicas that may lead, and a plan that was carried out leaves nothing to do.
    #[test]
    fn a_plan_ends_and_the_next_is_empty(
        shards in prop::collection::vec((prop::sample::subsequence(vec![1_u64, 2, 3, 4, 5], 1..=4), 0_u64..5_000), 1..40),
        able in prop::sample::subsequence(vec![1_u64, 2, 3, 4, 5], 1..=5),
    ) {
        let replicas: Vec<_> = shards.iter().map(|(replicas, _)| replicas.clone()).collect();
        let leaders: Vec<_> = shards.iter().map(|(replicas, work)| (replicas[0], *work)).collect();
        let (catalog, mut led, able) = (catalog(5, &replicas), led(&leaders), nodes(&able));
        // A plan hands each shard over once; a few plans may come before it is even.
        for _ in 0..20 {
            let steps = plan(&catalog, &led, &able, usize::MAX);
            for step in &steps {
                prop_assert!(able.contains(&step.to) && able.contains(&step.from) && step.from != step.to);
                prop_assert!(catalog.shards[&step.shard].replicas.contains(&step.to));
            }
            if steps.is_empty() {
                return Ok(());
            }
            carry_out(&mut led, &steps);
        }
        prop_assert!(false, "it goes on and on");
    }

    /// Where all nodes hold all shards and work says nothing, all come to lead as many, up to one.
    #[test]
    fn what_can_be_even_is(leaders in prop::collection::vec(1_u64..=4, 1..60)) {
        let catalog = catalog(4, &vec![vec![1, 2, 3, 4]; leaders.len()]);
        let leaders: Vec<_> = leaders.into_iter().map(|leader| (leader, 0)).collect();
        let (mut led, able) = (led(&leaders), nodes(&[1, 2, 3, 4]));
        let steps = plan(&catalog, &led, &able, usize::MAX);
        carry_out(&mut led, &steps);
        let counts = counts(&led, &able);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
}
