//! Moves beside what else a shard does, and beside other changes of where replicas are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, FeedEvent, KeyRange, MergeOperator, NodeId, Options, Snapshot, TableOptions, Transaction};
use lentic_client::{Version, WriteBatch};
use lentic_runtime::spawn;
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::field::{SEEDS, all_is_there, four_nodes, host_of, is_placed, of_shape, settled};

const ACCOUNTS: u64 = 30;
const EACH_BEGINS_WITH: i64 = 100;

type Rows = BTreeMap<Bytes, Bytes>;

#[test]
fn transactions_feeds_and_reads_of_the_past_go_on_while_every_replica_moves() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { all_move(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn all_move(dice: &Dice, trace: Trace) {
    let mut cluster = Cluster::start(dice, trace, Shape { hosts: 4, ..Shape::default() }).await;
    let client = cluster.client(Options::default());
    let options = TableOptions { shards: 3, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    let opened = (0..ACCOUNTS).fold(WriteBatch::new(), |batch, of| batch.put(account(of), number(EACH_BEGINS_WITH)));
    client.commit(Transaction::new().with("t", opened)).await.expect("it is committed");
    let before = client.snapshot().await.expect("it is named");
    let (ends, until) = (Arc::new(AtomicBool::new(false)), watch::channel(None::<Version>));
    let transfers = [(); 3].map(|()| spawn(transfer(client.clone(), dice.fork(), Arc::clone(&ends))));
    let looks = spawn(look(client.clone(), before.clone(), Arc::clone(&ends)));
    let follows = spawn(follow(client.clone(), before.version(), until.1));
    let lost = usize::try_from(dice.between(0..=3)).expect("few hosts");
    for shard in client.describe_table("t").await.expect("it is known").shards {
        let mut to =
            (1..=4).map(NodeId).find(|node| !shard.replicas.contains(node)).expect("four nodes, three replicas");
        for from in shard.replicas {
            client.move_replica(shard.shard, Some(from), to).await.expect("it moves");
            if dice.one_in(4) {
                sleep(Duration::from_millis(dice.between(0..=300))).await;
                cluster.crash(lost, true);
                sleep(Duration::from_millis(dice.between(0..=1_500))).await;
                cluster.start_host(lost).await;
            }
            is_moved(&client, (shard.range.start(), from, to)).await;
            to = from;
        }
    }
    ends.store(true, Ordering::Relaxed);
    let mut done = 0;
    for transfers in transfers {
        done += transfers.await.expect("transfers go on");
    }
    assert!(done > 0, "nothing was transferred");
    let looked = looks.await.expect("the past is as it was, and nothing is lost");
    assert!(looked > 0, "nobody looked");
    let after = client.snapshot().await.expect("it is named");
    until.0.send_replace(Some(after.version()));
    let told = timeout(Duration::from_secs(60), follows).await.expect("the feed comes to the end");
    assert_eq!(told.expect("the feed goes on"), rows(&after).await, "what the feed told is what is there");
}

/// Waits until the shard that begins there has moved.
async fn is_moved(client: &Client, (start, from, to): (&Bytes, NodeId, NodeId)) {
    let shards = client.describe_table("t").await.expect("it is known").shards;
    let place = shards.iter().position(|shard| shard.range.start() == start).expect("it is not cut");
    is_placed(client, place, |nodes| nodes.contains(&to) && !nodes.contains(&from)).await;
}

fn account(of: u64) -> Vec<u8> {
    vec![u8::try_from(of * 8).expect("they are few")]
}

fn number(of: i64) -> Vec<u8> {
    of.to_be_bytes().to_vec()
}

/// Moves amounts from account to account. How often.
async fn transfer(client: Client, dice: Dice, ends: Arc<AtomicBool>) -> u64 {
    let mut done = 0;
    while !ends.load(Ordering::Relaxed) {
        let (from, way) = (dice.between(0..=ACCOUNTS - 1), dice.between(1..=ACCOUNTS - 1));
        let amount = i64::try_from(dice.between(1..=9)).expect("small");
        let add = |batch: WriteBatch, of: u64, amount| batch.merge(account(of), MergeOperator::AddI64, number(amount));
        let batch = add(add(WriteBatch::new(), from, -amount), (from + way) % ACCOUNTS, amount);
        client.commit(Transaction::new().with("t", batch)).await.expect("merges do not exclude each other");
        done += 1;
        sleep(Duration::from_millis(dice.between(0..=20))).await;
    }
    done
}

/// Looks at what was before all, which stays as it was, and at what is, which comes to the same sum. How often.
async fn look(client: Client, before: Snapshot, ends: Arc<AtomicBool>) -> u64 {
    let (expected, mut done) = (rows(&before).await, 0);
    while !ends.load(Ordering::Relaxed) {
        assert_eq!(rows(&before).await, expected, "the past has changed");
        let now = rows(&client.snapshot().await.expect("it is named")).await;
        let of = |value: &Bytes| i64::from_be_bytes(value[..].try_into().expect("eight bytes"));
        let all = EACH_BEGINS_WITH * i64::try_from(ACCOUNTS).expect("few");
        assert_eq!((now.len() as u64, now.values().map(of).sum::<i64>()), (ACCOUNTS, all));
        done += 1;
        sleep(Duration::from_millis(50)).await;
    }
    done
}

async fn rows(at: &Snapshot) -> Rows {
    let (mut scan, mut rows) = (at.table("t").scan(KeyRange::all()).start(), Rows::new());
    while let Some(row) = scan.next().await {
        let row = row.expect("it is read");
        rows.insert(row.key, row.value);
    }
    rows
}

/// What a feed has told, from a version on and through the last one, once that is known.
async fn follow(client: Client, from: Version, mut until: watch::Receiver<Option<Version>>) -> Rows {
    let mut feed = client.table("t").subscribe(KeyRange::all()).from(from).start();
    let mut told: BTreeMap<Bytes, (Version, Bytes)> = BTreeMap::new();
    let mut rows = rows(&client.snapshot_at(from)).await;
    let mut resolved = from;
    while until.borrow_and_update().is_none_or(|last| resolved < last) {
        match feed.next().await.expect("it has no end").expect("it goes on") {
            FeedEvent::Change(change) if until.borrow().is_none_or(|last| change.version <= last) => {
                assert!(change.version > resolved, "{change:?} after all up to {resolved} was told");
                let value = change.value.expect("no account is closed");
                let before = told.insert(change.key.clone(), (change.version, value.clone()));
                assert!(before.is_none_or(|(version, _)| version < change.version), "a change was told twice");
                rows.insert(change.key, value);
            }
            FeedEvent::Change(_) => {}
            FeedEvent::Resolved(version) => {
                assert!(version >= resolved, "{version} after {resolved}");
                resolved = version;
            }
            FeedEvent::RolledBack { .. } => panic!("nobody goes back"),
        }
    }
    rows
}

#[test]
fn a_node_is_emptied_though_leaders_are_lost_again_and_again() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { drains_and_loses(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn drains_and_loses(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = four_nodes(dice, trace).await;
    let drained = NodeId(dice.between(1..=4));
    client.drain_node(drained).await.expect("three are left");
    for _ in 0..4 {
        sleep(Duration::from_millis(dice.between(0..=400))).await;
        let shards = client.describe_table("t").await.expect("it is known").shards;
        let leads = |shard: &lentic_client::ShardDescription| shard.leader;
        let Some(leader) = shards.iter().filter(|shard| shard.replicas.contains(&drained)).find_map(leads) else {
            break;
        };
        let host = host_of(&cluster, leader);
        cluster.crash(host, true);
        sleep(Duration::from_millis(dice.between(500..=2_000))).await;
        cluster.start_host(host).await;
    }
    settled(&cluster, &client, |places| places.iter().all(|place| place.len() == 3 && !place.contains(&drained))).await;
    all_is_there(&client).await;
}

#[test]
fn a_second_node_is_lost_while_what_the_first_held_is_made_anew() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { loses_two(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// The first is gone for good; the second comes back, for shards that were on both have lost their majority.
async fn loses_two(dice: &Dice, trace: Trace) {
    let mut shape = Shape { hosts: 5, ..Shape::default() };
    shape.node.replace_after = Duration::from_secs(5);
    let (mut cluster, client) = of_shape(dice, trace, shape).await;
    let (first, step) = (dice.between(1..=5), dice.between(1..=4));
    let (first, second) = (NodeId(first), NodeId(1 + (first - 1 + step) % 5));
    let hosts = (host_of(&cluster, first), host_of(&cluster, second));
    cluster.crash(hosts.0, true);
    sleep(Duration::from_millis(5_000 + dice.between(0..=2_500))).await;
    cluster.crash(hosts.1, true);
    sleep(Duration::from_millis(dice.between(500..=4_000))).await;
    cluster.start_host(hosts.1).await;
    settled(&cluster, &client, |places| places.iter().all(|place| place.len() == 3 && !place.contains(&first))).await;
    all_is_there(&client).await;
}

#[test]
fn replicas_that_are_moved_by_hand_beside_the_balance_come_to_rest() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { moves_and_balances(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn moves_and_balances(dice: &Dice, trace: Trace) {
    let mut shape = Shape { hosts: 4, ..Shape::default() };
    shape.node.balance_every = Duration::from_millis(500);
    let (cluster, client) = of_shape(dice, trace, shape).await;
    let mut taken = 0;
    for _ in 0..30 {
        let shards = client.describe_table("t").await.expect("it is known").shards;
        let shard = &shards[usize::try_from(dice.between(0..=2)).expect("small")];
        let from = shard.replicas[usize::try_from(dice.between(0..=2)).expect("small")];
        if let Some(to) = (1..=4).map(NodeId).find(|node| !shard.replicas.contains(node)) {
            // While it moves already it is refused.
            taken += u32::from(client.move_replica(shard.shard, Some(from), to).await.is_ok());
        }
        sleep(Duration::from_millis(dice.between(0..=1_000))).await;
    }
    assert!(taken >= 3, "{taken} moves were taken");
    let held = |places: &[Vec<NodeId>], node: u64| places.iter().filter(|place| place.contains(&NodeId(node))).count();
    // Nine replicas of four nodes.
    let is_even = |places: &[Vec<NodeId>]| (1..=4).all(|node| (2..=3).contains(&held(places, node)));
    settled(&cluster, &client, |places| places.iter().all(|place| place.len() == 3) && is_even(places)).await;
    let places = async || {
        let shards = client.describe_table("t").await.expect("it is known").shards;
        shards.into_iter().map(|shard| shard.replicas).collect::<Vec<_>>()
    };
    let rest = places().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(places().await, rest, "what is even is not moved");
    all_is_there(&client).await;
}
