//! A node is down for long, and the others serve without it, wherever replicas are.

use std::time::Duration;

use lentic_client::{Client, Options, TableOptions, Transaction, WriteBatch};
use lentic_node::Node;
use lentic_raft::Status;
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const SHARDS: u8 = 6;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;
/// How long a transaction may take while a node is down: two of three replicas of each shard are there.
const SERVES_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn nodes_find_the_leaders_of_shards_that_they_do_not_hold_while_another_is_down() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { each_is_down(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn each_is_down(dice: &Dice, trace: Trace) {
    let mut cluster = Cluster::start(dice, trace, Shape { hosts: 5, ..Shape::default() }).await;
    let client = cluster.client(Options::default());
    let split_points = (1..SHARDS).map(|shard| vec![shard].into()).collect();
    let options = TableOptions { split_points, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    for shard in 0..SHARDS {
        client.table("t").put(vec![shard], "before").await.expect("it is put");
    }
    for down in 0..cluster.hosts() {
        leader_of_three(&cluster).await;
        cluster.crash(down, true);
        sleep(Duration::from_secs(3)).await;
        for first in 0..SHARDS {
            let over_all = (0..SHARDS).map(|step| vec![(first + step) % SHARDS, 1]);
            let written = timeout(SERVES_WITHIN, commit(&client, over_all)).await;
            assert!(written.is_ok(), "n{} is down, and a transaction from shard {first} on does not end", down + 1);
        }
        cluster.start_host(down).await;
    }
}

#[test]
fn a_new_shard_is_led_also_when_the_first_of_its_nodes_is_lost_at_once() {
    for seed in 1..=200 {
        let outcome = run(seed, false, |dice, trace| async move { one_is_lost_at_once(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn one_is_lost_at_once(dice: &Dice, trace: Trace) {
    let mut cluster = Cluster::start(dice, trace, Shape { hosts: 3, ..Shape::default() }).await;
    let client = cluster.client(Options::default());
    leader_of_three(&cluster).await;
    let split_points = (1..SHARDS).map(|shard| vec![shard].into()).collect();
    let options = TableOptions { split_points, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    sleep(Duration::from_millis(dice.between(0..=60))).await;
    let lost = usize::try_from(dice.between(0..=2)).expect("small");
    cluster.crash(lost, dice.between(0..=1) == 1);
    let written = timeout(SERVES_WITHIN, commit(&client, (0..SHARDS).map(|shard| vec![shard]))).await;
    assert!(written.is_ok(), "n{} is lost, and a shard is led by nobody", lost + 1);
    cluster.start_host(lost).await;
    let again = timeout(SERVES_WITHIN, commit(&client, (0..SHARDS).map(|shard| vec![shard, 1]))).await;
    assert!(again.is_ok(), "n{} is back, and a shard is led by nobody", lost + 1);
}

/// Waits until the meta group has all its members, and one of them leads it.
async fn leader_of_three(cluster: &Cluster) -> usize {
    let leads = async {
        loop {
            if let Some(host) = (0..cluster.hosts()).find(|host| leads_three(cluster, *host)) {
                return host;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), leads).await.expect("the meta group can lose one")
}

/// Whether a host leads the meta group, which has all its members, and all of them by an entry that a quorum has.
fn leads_three(cluster: &Cluster, host: usize) -> bool {
    let groups = cluster.node(host).map(Node::groups).unwrap_or_default();
    let is_whole = |meta: &Status| !meta.is_changing && meta.applied >= meta.members_at && meta.voters.len() == 3;
    groups.first().is_some_and(|(_, meta)| meta.is_leader && is_whole(meta))
}

async fn commit(client: &Client, keys: impl Iterator<Item = Vec<u8>>) {
    let batch = keys.fold(WriteBatch::new(), |batch, key| batch.put(key, "while one is down"));
    client.commit(Transaction::new().with("t", batch)).await.expect("it is committed");
}

#[test]
fn what_a_dead_coordinator_asked_for_holds_no_keys_also_when_the_oracle_died_with_it() {
    for seed in 1..=20 {
        let outcome = run(seed, false, |dice, trace| async move { coordinator_dies(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// The node that leads the meta group coordinates transactions and dies. What it had asked others for waits there for a tick,
/// until the meta group has another leader: it must not take keys then, from which on they would be held for as long again.
async fn coordinator_dies(dice: &Dice, trace: Trace) {
    /// Until somebody looks for the coordinator, and until what it left is ended.
    const FREE_WITHIN: Duration = Duration::from_millis(2_000 + 800);
    let mut cluster = Cluster::start(dice, trace, Shape { hosts: 3, ..Shape::default() }).await;
    let client = cluster.client(Options::default());
    let split_points = (1..SHARDS).map(|shard| vec![shard].into()).collect();
    let options = TableOptions { split_points, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    commit(&client, (0..SHARDS).map(|shard| vec![shard])).await;
    let dies = leader_of_three(&cluster).await;
    let node = cluster.node(dies).expect("it runs").id();
    let shards = client.describe_table("t").await.expect("it is known").shards;
    let led = |by_it: bool| {
        shards.iter().position(|shard| (shard.leader == Some(node)) == by_it).expect("leaders are spread")
    };
    let (anchor, other) = (led(true), led(false));
    let key = |shard: usize, pair: u8| vec![u8::try_from(shard).expect("small"), 1, pair];
    let dying = cluster.client(Options::default());
    let mut commits = JoinSet::new();
    for pair in 0..16 {
        let (dying, keys) = (dying.clone(), [key(anchor, pair), key(other, pair)]);
        commits.spawn(async move {
            loop {
                commit(&dying, keys.iter().cloned()).await;
            }
        });
    }
    sleep(Duration::from_millis(dice.between(100..=200))).await;
    cluster.crash(dies, true);
    commits.shutdown().await;
    let began = Instant::now();
    for pair in 0..16 {
        client.table("t").put(key(other, pair), "free").await.expect("it is put");
    }
    let took = began.elapsed();
    assert!(took <= FREE_WITHIN, "keys of a dead coordinator were held for {took:?}");
}
