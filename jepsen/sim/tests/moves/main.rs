//! Replicas that move to other nodes while they are written, and leaders that are lost half way.

mod back;
mod beside;
mod field;

use std::time::Duration;

use lentic_client::{NodeId, Options, ShardDescription, TableOptions};
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::time::{Instant, sleep, timeout};

use crate::field::{KEYS, SEEDS, all_is_there, four_nodes, host_of, meta_group, of_shape, settled};

#[test]
fn a_leaders_replica_moves_and_a_leader_is_lost_half_way() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { moves(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn moves(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = four_nodes(dice, trace).await;
    let described = client.describe_table("t").await.expect("it is known");
    let mut expected = Vec::new();
    for shard in &described.shards {
        let from = shard.leader.expect("it has been written");
        let to = (1..=4).map(NodeId).find(|node| !shard.replicas.contains(node)).expect("four nodes, three replicas");
        client.move_replica(shard.shard, Some(from), to).await.expect("it moves");
        let again = client.move_replica(shard.shard, Some(from), from).await;
        again.expect_err("no node holds two");
        expected.push((from, to));
    }
    sleep(Duration::from_millis(dice.between(0..=1_500))).await;
    let lost = host_of(&cluster, expected[0].0);
    cluster.crash(lost, true);
    sleep(Duration::from_secs(2)).await;
    cluster.start_host(lost).await;
    settled(&cluster, &client, |places| {
        let is_moved =
            |(place, (from, to)): (&Vec<NodeId>, &(NodeId, NodeId))| place.contains(to) && !place.contains(from);
        places.iter().zip(&expected).all(is_moved)
    })
    .await;
    all_is_there(&client).await;
}

#[test]
fn a_replica_stays_until_the_one_that_replaces_it_has_all() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { stays(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// The node that a shard moves to gets nothing from its leader; then one of the three that have it is lost. The other two
/// serve, the one among them that is to leave.
async fn stays(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = four_nodes(dice, trace).await;
    let described = client.describe_table("t").await.expect("it is known");
    let lacks = |shard: &ShardDescription| (1..=4).map(NodeId).find(|node| !shard.replicas.contains(node));
    let (meta, _) = meta_group(&cluster).expect("it is led");
    // The meta group's leader has to hear of both.
    let is_apart = |node: Option<NodeId>| node.is_some_and(|node| host_of(&cluster, node) != meta);
    let suits = |shard: &ShardDescription| is_apart(lacks(shard)) && is_apart(shard.leader);
    let place = described.shards.iter().position(suits).expect("three shards have three leaders");
    let shard = &described.shards[place];
    let (leader, to) = (shard.leader.expect("it has been written"), lacks(shard).expect("four nodes, three replicas"));
    let others: Vec<NodeId> = shard.replicas.iter().copied().filter(|node| *node != leader).collect();
    let (from, lost) = (others[0], host_of(&cluster, others[1]));
    let (leads, gets) = (host_of(&cluster, leader), host_of(&cluster, to));
    cluster.cut(leads, gets, false);
    client.move_replica(shard.shard, Some(from), to).await.expect("it moves");
    sleep(Duration::from_millis(dice.between(500..=2_000))).await;
    cluster.crash(lost, true);
    let table = client.table("t");
    let put = table.put(shard.range.start().clone(), "two of three are there");
    timeout(Duration::from_secs(20), put).await.expect("two of three are enough").expect("it is put");
    cluster.heal(leads, gets);
    cluster.start_host(lost).await;
    settled(&cluster, &client, |places| places[place].contains(&to) && !places[place].contains(&from)).await;
    all_is_there(&client).await;
}

#[test]
fn a_node_that_loses_its_power_as_it_joins_joins_when_it_is_back() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { joins(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// A node that a shard moves to loses its power soon after the first word of the leader, when the snapshot is not there yet.
async fn joins(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = four_nodes(dice, trace).await;
    let described = client.describe_table("t").await.expect("it is known");
    let shard = &described.shards[0];
    let (from, to) = (shard.replicas[0], (1..=4).map(NodeId).find(|node| !shard.replicas.contains(node)));
    let to = to.expect("four nodes, three replicas");
    let (host, name) = (host_of(&cluster, to), format!("shard {}", shard.shard));
    client.move_replica(shard.shard, Some(from), to).await.expect("it moves");
    for _ in 0..3 {
        let has_heard = async {
            let hears = || {
                let groups = cluster.node(host)?.groups();
                groups.into_iter().find(|(found, status)| *found == name && status.term > 0)
            };
            while hears().is_none() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), has_heard).await.expect("the leader speaks to it");
        sleep(Duration::from_millis(dice.between(0..=5))).await;
        cluster.crash(host, true);
        cluster.start_host(host).await;
    }
    settled(&cluster, &client, |places| places[0].contains(&to) && !places[0].contains(&from)).await;
    all_is_there(&client).await;
}

#[test]
fn a_node_is_emptied_and_removed_and_the_others_go_on_without_it() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { drains(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn drains(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = four_nodes(dice, trace).await;
    let drained = NodeId(dice.between(1..=4));
    client.remove_node(drained).await.expect_err("it is in use");
    client.drain_node(drained).await.expect("three are left");
    let other = NodeId(1 + drained.0 % 4);
    client.drain_node(other).await.expect_err("two are too few");
    settled(&cluster, &client, |places| places.iter().all(|place| !place.contains(&drained))).await;
    let began = Instant::now();
    while let Err(error) = client.remove_node(drained).await {
        assert!(began.elapsed() < Duration::from_secs(60), "not removed: {error}");
        sleep(Duration::from_millis(100)).await;
    }
    client.undrain_node(drained).await.expect_err("it is gone for good");
    cluster.crash(host_of(&cluster, drained), false);
    all_is_there(&client).await;
    client.table("t").put("more", "all goes on").await.expect("it is put");
}

#[test]
fn what_a_dead_node_held_is_made_anew_elsewhere() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { heals(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn heals(dice: &Dice, trace: Trace) {
    let mut shape = Shape { hosts: 4, ..Shape::default() };
    shape.node.replace_after = Duration::from_secs(20);
    let (mut cluster, client) = of_shape(dice, trace, shape).await;
    let dead = NodeId(dice.between(1..=4));
    cluster.crash(host_of(&cluster, dead), true);
    sleep(Duration::from_secs(10)).await;
    let is_on_it = |place: &Vec<NodeId>| place.contains(&dead);
    let described = client.describe_table("t").await.expect("it is known");
    let before: Vec<Vec<NodeId>> = described.shards.iter().map(|shard| shard.replicas.clone()).collect();
    assert!(before.iter().any(is_on_it), "it is soon to say that it is dead");
    settled(&cluster, &client, |places| !places.iter().any(is_on_it)).await;
    all_is_there(&client).await;
}

#[test]
fn a_node_that_is_used_again_gets_its_part() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { grows(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn grows(dice: &Dice, trace: Trace) {
    let mut shape = Shape { hosts: 4, ..Shape::default() };
    shape.node.balance_every = Duration::from_millis(500);
    let mut cluster = Cluster::start(dice, trace, shape).await;
    let client = cluster.client(Options::default());
    let empty = NodeId(dice.between(1..=4));
    client.drain_node(empty).await.expect("three are left");
    let options = TableOptions { shards: 6, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    for key in 0..KEYS {
        client.table("t").put(vec![key.wrapping_mul(101), 0], vec![key]).await.expect("it is put");
    }
    let held = |places: &[Vec<NodeId>], node: u64| places.iter().filter(|place| place.contains(&NodeId(node))).count();
    let described = client.describe_table("t").await.expect("it is known");
    let before: Vec<Vec<NodeId>> = described.shards.iter().map(|shard| shard.replicas.clone()).collect();
    assert_eq!(held(&before, empty.0), 0, "it is being emptied");
    client.undrain_node(empty).await.expect("it was being emptied");
    settled(&cluster, &client, |places| (1..=4).all(|node| (4..=5).contains(&held(places, node)))).await;
    let described = client.describe_table("t").await.expect("it is known");
    let arrived = |(after, before): (&lentic_client::ShardDescription, &Vec<NodeId>)| {
        after.replicas.iter().filter(|node| !before.contains(node)).count()
    };
    let moved: usize = described.shards.iter().zip(&before).map(arrived).sum();
    assert_eq!(moved, 4, "the 18 replicas of four nodes: no more move than must");
    all_is_there(&client).await;
}

#[test]
fn a_member_of_the_meta_group_that_is_emptied_and_used_again_hears_of_new_tables() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { hears_again(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// A node that is let go by the meta group need not hear of it, and then takes its last leader for the leader. Used again, it
/// has to find out, also when another leads by then.
async fn hears_again(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = four_nodes(dice, trace).await;
    let (leader, voters) = meta_group(&cluster).expect("it is led");
    let member = voters.into_iter().find(|node| host_of(&cluster, *node) != leader).expect("there are three");
    client.drain_node(member).await.expect("three are left");
    settled(&cluster, &client, |places| places.iter().all(|place| !place.contains(&member))).await;
    let host = host_of(&cluster, member);
    let is_let_go = async {
        while meta_group(&cluster).is_none_or(|(_, voters)| voters.contains(&member)) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), is_let_go).await.expect("it is let go");
    client.undrain_node(member).await.expect("it was being emptied");
    sleep(Duration::from_secs(3)).await;
    for (name, shards) in [("later", 2), ("later_still", 4)] {
        let options = TableOptions { shards: 2, replicas: 4, ..TableOptions::default() };
        client.create_table(name, options).await.expect("it is made");
        let has_heard = async {
            while cluster.node(host).is_none_or(|node| node.groups().len() != 1 + shards) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), has_heard).await.unwrap_or_else(|_| panic!("it has not heard of {name}"));
        let (leader, _) = meta_group(&cluster).expect("it is led");
        cluster.crash(leader, true);
        sleep(Duration::from_secs(3)).await;
        cluster.start_host(leader).await;
    }
}
