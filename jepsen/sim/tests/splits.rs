//! Shards that are cut while they are written, and leaders that are lost half way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lentic_client::{Client, ErrorKind, KeyRange, Options, TableOptions, Take, WriteBatch};
use lentic_node::NodeOptions;
use lentic_runtime::spawn;
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::time::{Instant, sleep, timeout};

const KEYS: u8 = 200;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
/// Of tests that take minutes of the cluster's time.
const FEW_SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

async fn three_nodes(dice: &Dice, trace: Trace) -> (Cluster, Client) {
    let mut cluster = Cluster::start(dice, trace, Shape::default()).await;
    let client = cluster.client(Options::default());
    let options = TableOptions { shards: 1, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    for key in 0..KEYS {
        client.table("t").put(vec![key, 0], vec![key]).await.expect("it is put");
    }
    (cluster, client)
}

/// The first key of each shard.
async fn starts(client: &Client) -> Vec<Vec<u8>> {
    let described = client.describe_table("t").await.expect("it is known");
    described.shards.iter().map(|shard| shard.range.start().to_vec()).collect()
}

/// Writes until a shard begins with each of these keys, and all have taken a write.
async fn are_cut(client: &Client, cuts: &[u8]) {
    let waits = async {
        let table = client.table("t");
        loop {
            for key in (0..KEYS).step_by(7) {
                table.put(vec![key, 1], "while it is cut").await.expect("it is put");
            }
            let starts = starts(client).await;
            if cuts.iter().all(|cut| starts.contains(&vec![*cut])) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.expect("they are cut in time");
}

async fn all_is_there(client: &Client) {
    for key in 0..KEYS {
        let found = client.table("t").get(vec![key, 0]).await.expect("it is read");
        assert_eq!(found.map(|found| found.value.to_vec()), Some(vec![key]), "key {key}");
    }
}

#[test]
fn a_shard_is_cut_again_and_again_and_nothing_is_missing() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move { cuts(&dice, trace).await });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

async fn cuts(dice: &Dice, trace: Trace) {
    let (mut cluster, client) = three_nodes(dice, trace).await;
    client.split_shard("t", vec![]).await.expect_err("nothing is below the first key");
    let first = client.split_shard("t", vec![100]).await.expect("it is begun");
    are_cut(&client, &[100]).await;
    assert_eq!(client.split_shard("t", vec![100]).await, Ok(first), "it is cut there");
    let lost = usize::try_from(dice.between(0..=2)).expect("few hosts");
    for cut in [50, 150, 75] {
        client.split_shard("t", vec![cut]).await.expect("it is begun");
        if cut == 150 {
            sleep(Duration::from_millis(dice.between(0..=40))).await;
            cluster.crash(lost, true);
            sleep(Duration::from_secs(1)).await;
            cluster.start_host(lost).await;
        }
    }
    are_cut(&client, &[50, 75, 100, 150]).await;
    all_is_there(&client).await;
    // All of it comes back from what is on disk.
    (0..3).for_each(|host| cluster.crash(host, true));
    for host in 0..3 {
        cluster.start_host(host).await;
    }
    all_is_there(&client).await;
}

/// Who writes while a shard is cut waits at the node that leads both parts. Nobody is sent away to come back after a pause, which
/// takes seconds here.
#[test]
fn who_writes_to_a_shard_that_is_cut_waits_for_no_pause() {
    for seed in FEW_SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let (mut cluster, client) = three_nodes(&dice, trace).await;
            let pause = Duration::from_secs(2);
            let slow = cluster.client(Options { backoff_min: pause, backoff_max: pause, ..Options::default() });
            let (longest, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let writers = (0..10_u8).map(|writer| {
                let (table, longest, ends) = (slow.table("t"), Arc::clone(&longest), Arc::clone(&ends));
                spawn(async move {
                    while !ends.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        table.put(vec![writer * 20, 1], "while it is cut").await.expect("it is put");
                        let took = u64::try_from(began.elapsed().as_millis()).expect("it is short");
                        longest.fetch_max(took, Ordering::Relaxed);
                        sleep(Duration::from_millis(5)).await;
                    }
                })
            });
            let writers: Vec<_> = writers.collect();
            for cut in [100, 50, 150] {
                // The table may be described at once again, and all have found their shards.
                sleep(2 * pause).await;
                if cut == 100 {
                    longest.store(0, Ordering::Relaxed);
                }
                client.split_shard("t", vec![cut]).await.expect("it is begun");
                is_cut(&client, cut).await;
            }
            sleep(Duration::from_millis(500)).await;
            ends.store(true, Ordering::Relaxed);
            for writer in writers {
                writer.await.expect("it writes");
            }
            let longest = longest.load(Ordering::Relaxed);
            assert!((1..500).contains(&longest), "a put took {longest} ms");
        });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// Waits until a shard begins with this key, of a table that only its owner writes.
async fn is_cut(client: &Client, cut: u8) {
    let waits = async {
        while !starts(client).await.contains(&vec![cut]) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.expect("it is cut in time");
}

/// A job owns a range, and has taken back what it wrote after its checkpoint, when the range's shard is cut.
#[test]
fn both_parts_know_who_owns_them_and_what_was_taken_back() {
    for seed in SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let (_cluster, client) = three_nodes(&dice, trace).await;
            let (table, all) = (client.table("t"), KeyRange::all());
            let old = table.acquire(all.clone(), "job").await.expect("nobody owns it");
            let named = table.checkpoint(&all, old, 1).await.expect("it owns it");
            for key in [20, 120] {
                let late = WriteBatch::new().fence(old).put(vec![key, 0], "after the checkpoint");
                table.write(late).await.expect("it owns it");
            }
            let new =
                table.take(Take::new(all.clone(), "job").restore(&all, named.token)).await.expect("it is the same job");
            client.split_shard("t", vec![100]).await.expect("it is begun");
            is_cut(&client, 100).await;
            all_is_there(&client).await;
            for key in [20, 120] {
                let by = |fence| table.write(WriteBatch::new().fence(fence).put(vec![key, 1], "owned"));
                let by_anybody = table.put(vec![key, 1], "by anybody").await;
                assert_eq!(by_anybody.expect_err("it is owned").kind(), ErrorKind::Fenced, "{key}");
                assert_eq!(by(old).await.expect_err("it was replaced").kind(), ErrorKind::Fenced, "{key}");
                by(new).await.expect("it owns it");
            }
        });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// What the table has come to.
async fn shards_of(client: &Client) -> usize {
    client.describe_table("t").await.expect("it is known").shards.len()
}

#[test]
fn a_shard_that_grows_is_cut_where_half_of_its_bytes_are() {
    for seed in FEW_SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let node = NodeOptions { split_bytes: 64 << 10, ..NodeOptions::default() };
            let mut cluster = Cluster::start(&dice, trace, Shape { node, ..Shape::default() }).await;
            let client = cluster.client(Options::default());
            client.create_table("t", TableOptions { shards: 1, ..TableOptions::default() }).await.expect("it is made");
            let table = client.table("t");
            // About 400 KiB.
            for key in 0..400_u32 {
                table.put(key.to_be_bytes().to_vec(), vec![7; 1_000]).await.expect("it is put");
            }
            let cut = async {
                // So that none is too large, and none smaller than a part that a cut leaves.
                while !(7..=32).contains(&shards_of(&client).await) {
                    sleep(Duration::from_secs(1)).await;
                }
                sleep(Duration::from_secs(60)).await;
            };
            timeout(Duration::from_secs(300), cut).await.expect("it is cut in time");
            let shards = client.describe_table("t").await.expect("it is known").shards;
            assert!((7..=32).contains(&shards.len()), "{}", shards.len());
            for key in 0..400_u32 {
                assert!(table.get(key.to_be_bytes().to_vec()).await.expect("it is read").is_some(), "{key}");
            }
        });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

/// Puts some of `keys`, some hundreds a second, for so long.
async fn busy(client: &Client, dice: &Dice, keys: u64, lasts: Duration) {
    let began = Instant::now();
    while began.elapsed() < lasts {
        sleep(Duration::from_millis(10)).await;
        let puts = (0..8).map(|_| {
            let key = dice.between(1..=keys);
            let table = client.table("t");
            spawn(async move { table.put(key.to_be_bytes().to_vec(), "v").await })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.expect("it does not panic").expect("it is put");
        }
    }
}

#[test]
fn a_shard_that_is_busy_is_cut_within_seconds_and_one_busy_key_is_not() {
    for seed in FEW_SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let node = NodeOptions { split_operations: 100, ..NodeOptions::default() };
            let mut cluster = Cluster::start(&dice, trace, Shape { node, ..Shape::default() }).await;
            let client = cluster.client(Options::default());
            client.create_table("t", TableOptions { shards: 1, ..TableOptions::default() }).await.expect("it is made");
            busy(&client, &dice, 1, Duration::from_secs(20)).await;
            assert_eq!(shards_of(&client).await, 1, "one key has it all");
            let passes = Duration::from_secs(2);
            sleep(Duration::from_secs(30)).await;
            busy(&client, &dice, 1_000, passes).await;
            sleep(Duration::from_secs(30)).await;
            assert_eq!(shards_of(&client).await, 1, "it was busy for a moment");
            client.set_balance(false).await.expect("it is switched off");
            busy(&client, &dice, 1_000, Duration::from_secs(15)).await;
            assert_eq!(shards_of(&client).await, 1, "nothing changes its shape while that is switched off");
            client.set_balance(true).await.expect("it is switched on");
            busy(&client, &dice, 1_000, Duration::from_secs(15)).await;
            let shards = client.describe_table("t").await.expect("it is known").shards;
            assert!(shards.len() >= 2, "{}", shards.len());
        });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}
