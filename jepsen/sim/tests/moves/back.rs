//! A replica that leaves a node and comes back.

use std::time::Duration;

use lentic_client::{NodeId, ShardDescription};
use lentic_raft::Options as RaftOptions;
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::time::{Instant, sleep, timeout};

use crate::field::{SEEDS, all_is_there, host_of, is_placed, meta_group, of_shape, settled};

#[test]
fn a_replica_that_left_and_came_back_while_its_node_was_down_forgets_nothing() {
    let of = |seed| run(seed, false, |dice, trace| async move { comes_back(&dice, trace).await });
    let done = SEEDS.filter(|seed| of(*seed).value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}")));
    assert!(done.count() > 0, "no seed places a shard as it is needed");
}

/// A replica leaves a node that is down, and comes back. When the node is up again, the shard's leader reaches it and the meta
/// group's does not: it is a voter, and its catalog is the one from before. Then it hears of the catalogs one by one, and first
/// of one that does not name it.
///
/// Whether the shards are placed as it takes: the node is in the meta group, whose leader is neither it nor the shard's leader.
async fn comes_back(dice: &Dice, trace: Trace) -> bool {
    let raft = RaftOptions { append_bytes_max: 1, ..RaftOptions::default() };
    let (mut cluster, client) = of_shape(dice, trace, Shape { hosts: 4, raft, ..Shape::default() }).await;
    let (meta, members) = meta_group(&cluster).expect("it is led");
    let leads = |node: NodeId| host_of(&cluster, node) == meta;
    let described = client.describe_table("t").await.expect("it is known");
    let suits = |shard: &ShardDescription| {
        let leader = shard.leader.filter(|leader| !leads(*leader))?;
        let back = shard.replicas.iter().find(|node| **node != leader && members.contains(node) && !leads(**node))?;
        Some((shard.shard, leader, *back))
    };
    let Some((shard, leader, back)) = described.shards.iter().find_map(suits) else { return false };
    let place = described.shards.iter().position(|found| found.shard == shard).expect("it was found");
    let spare = (1..=4).map(NodeId).find(|node| !described.shards[place].replicas.contains(node));
    let spare = spare.expect("four nodes, three replicas");
    let host = host_of(&cluster, back);
    cluster.flush(host);
    cluster.crash(host, false);
    client.move_replica(shard, Some(back), spare).await.expect("it moves");
    is_placed(&client, place, |nodes| nodes.contains(&spare) && !nodes.contains(&back)).await;
    // Entries, so that it hears of the way back some time after it has heard of the way there.
    for number in 0..40 {
        client.set_balance(number % 2 == 1).await.expect("it is set");
    }
    client.move_replica(shard, Some(spare), back).await.expect("it moves back");
    cluster.cut(meta, host, true);
    cluster.start_host(host).await;
    let name = format!("shard {shard}");
    let status = |cluster: &Cluster, host: usize| {
        let groups = cluster.node(host).expect("it runs").groups();
        groups.into_iter().find(|(found, _)| *found == name).map(|(_, status)| status)
    };
    let votes = async {
        let leads = host_of(&cluster, leader);
        while !status(&cluster, leads).is_some_and(|status| status.voters.contains(&back) && !status.is_changing) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), votes).await.expect("it is made a voter again");
    let acknowledged = status(&cluster, host).expect("it is here").last;
    cluster.heal(meta, host);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let last = status(&cluster, host).map(|status| status.last);
        assert!(last.is_none_or(|last| last >= acknowledged), "{last:?} of {acknowledged:?} are left");
        sleep(Duration::from_millis(1)).await;
    }
    settled(&cluster, &client, |places| places[place].contains(&back) && !places[place].contains(&spare)).await;
    all_is_there(&client).await;
    true
}
