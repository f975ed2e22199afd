//! What goes wrong, one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lentic_client::{
    Address, Client, Error, ErrorKind, KeyRange, NodeId, Options, ShardId, Table, TableOptions, WriteBatch,
};
use tokio::time::Instant;

use crate::fake::{Cluster, address, all_done};

/// Keys below "g", from "g" to "p", and from "p" on.
async fn table_of(client: &Client) -> Table {
    let options = TableOptions { split_points: vec!["g".into(), "p".into()], ..TableOptions::default() };
    client.create_table("t", options).await.expect("the cluster is well");
    client.table("t")
}

fn short(deadline_ms: u64) -> Options {
    Options { deadline: Duration::from_millis(deadline_ms), ..Options::default() }
}

fn shard_of(cluster: &Cluster, key: &str) -> u64 {
    cluster.world().shard_of("t", key.as_bytes()).expect("shards cover a table")
}

async fn sum(table: &Table, key: &'static str) -> i64 {
    table.get(key).await.expect("the cluster is well").and_then(|found| found.as_i64()).unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_stale_route_is_corrected_by_its_failure() {
    let cluster = Cluster::new(3);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    let described = cluster.asked("describe");
    for round in 0..6u64 {
        let shard = shard_of(&cluster, "a");
        cluster.world().lead(shard, Some(1 + round % 3));
        cluster.world().raise_epoch(shard);
        let began = Instant::now();
        table.put("a", "2").await.unwrap();
        table.get("a").await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "with the right route at hand there is nothing to wait for");
    }
    assert_eq!(cluster.asked("describe"), described, "and nothing to ask");
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_the_table_is_described_once_for_all() {
    let cluster = Cluster::new(3);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.no_hints = true);
    let shard = shard_of(&cluster, "a");
    let leader = cluster.world().shards[&shard].leader.unwrap();
    cluster.world().lead(shard, Some(1 + leader % 3));
    let described = cluster.asked("describe");
    let put = |number: u32| table.put(format!("a{number}"), "x");
    all_done(join_all((0..200).map(put)).await);
    assert!(cluster.asked("describe") <= described + 3, "200 callers share the answer");
}

#[tokio::test(start_paused = true)]
async fn a_shard_without_a_leader_is_waited_for() {
    let cluster = Cluster::new(3);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    let shard = shard_of(&cluster, "a");
    cluster.world().lead(shard, None);
    let later = cluster.clone();
    let election = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        later.world().lead(shard, Some(2));
    };
    let began = Instant::now();
    let (put, ()) = tokio::join!(table.put("a", "2"), election);
    put.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_600), "{:?} after an election of 900 ms", began.elapsed());
    cluster.world().lead(shard, None);
    let error = table.with_deadline(Duration::from_secs(2)).put("a", "3").await.unwrap_err();
    assert!(error.is_retryable() && error.kind() == ErrorKind::NotLeader, "nothing was done: {error}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_shard_goes_on_when_another_is_served_there() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    let table = table_of(&client).await;
    table.put("a", "1").await.unwrap();
    let shard = shard_of(&cluster, "a");
    cluster.fault(|faults| faults.electing.insert(shard));
    let later = cluster.clone();
    let first = async {
        // By now the pauses of those who wait are long.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        later.fault(|faults| faults.electing.clear());
        table.put("a-new", "x").await.unwrap();
    };
    let began = Instant::now();
    let put = |number: u32| table.put(format!("a{number}"), "x");
    let (puts, ()) = tokio::join!(join_all((0..50).map(put)), first);
    all_done(puts);
    assert!(began.elapsed() < Duration::from_millis(1_530), "{:?} after an election of 1.5 s", began.elapsed());
    // What is served elsewhere wakes nobody.
    cluster.fault(|faults| faults.electing.insert(shard));
    let asked = cluster.asked("write");
    let elsewhere = async {
        for number in 0..500 {
            table.put(format!("z{number}"), "x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waits = table.clone().with_deadline(Duration::from_millis(600));
    let (waits, ()) = tokio::join!(waits.put("a", "2"), elsewhere);
    assert_eq!(waits.unwrap_err().kind(), ErrorKind::NotLeader);
    assert!(cluster.asked("write") < asked + 500 + 20, "it asks at its own pace");
}

/// The heart of the matter: wherever a link is cut, a write has its effect once, and the caller sees no error.
#[tokio::test(start_paused = true)]
async fn a_link_cut_at_any_point_costs_nothing_but_time() {
    for cut_at in 0..40 {
        let cluster = Cluster::new(3);
        cluster.fault(|faults| faults.cut_at = Some(cut_at));
        let table = table_of(&cluster.client()).await;
        for _ in 0..3 {
            table.add_i64("a", 1).await.unwrap();
            table.add_i64("q", 1).await.unwrap();
        }
        assert_eq!([sum(&table, "a").await, sum(&table, "q").await], [3, 3], "cut at {cut_at}");
        assert_eq!(cluster.committed(), 6, "cut at {cut_at}");
        assert!(table.scan(KeyRange::all()).start().next().await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_cut_under_many_writes_repeats_none() {
    for seed in 0..20 {
        let cluster = Cluster::new(3);
        let client = cluster.client();
        let table = table_of(&client).await;
        cluster.fault(|faults| {
            faults.random = Some(lentic_runtime::Random::seeded(seed));
            faults.delay_ms_max = 10;
            faults.cut_permille = 20;
            faults.move_permille = 20;
            faults.throttled = 30;
            faults.no_hints = seed % 2 == 1;
        });
        let add = |number: usize| table.add_i64(["a", "h", "q"][number % 3], 1);
        let added: Result<Vec<_>, Error> = join_all((0..300).map(add)).await.into_iter().collect();
        added.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        cluster.fault(|faults| faults.cut_permille = 0);
        assert_eq!([sum(&table, "a").await, sum(&table, "h").await, sum(&table, "q").await], [100; 3], "seed {seed}");
        assert_eq!(cluster.committed(), 300, "seed {seed}");
        assert!(cluster.asked("write") > 320, "seed {seed}: there was something to repeat");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_left_within_the_time_of_an_election() {
    let cluster = Cluster::new(3);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    let shard = shard_of(&cluster, "a");
    let leader = cluster.world().shards[&shard].leader.unwrap();
    cluster.fault(|faults| faults.down.insert(leader));
    let later = cluster.clone();
    let election = async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        later.world().lead(shard, Some(1 + leader % 3));
    };
    let began = Instant::now();
    let put = |number: u32| table.put(format!("a{number}"), "x");
    let (puts, ()) = tokio::join!(join_all((0..256).map(put)), election);
    all_done(puts);
    // The first that asks finds the new leader for all.
    assert!(began.elapsed() < Duration::from_millis(1_150), "{:?} after an election of 1 s", began.elapsed());
    assert!(cluster.asked("describe") < 200, "256 callers do not each ask: {}", cluster.asked("describe"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_left_for_the_new_one() {
    let cluster = Cluster::new(3);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    let shard = shard_of(&cluster, "a");
    let leader = cluster.world().shards[&shard].leader.unwrap();
    cluster.fault(|faults| faults.stuck.insert(leader));
    let later = cluster.clone();
    let election = async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        later.world().lead(shard, Some(1 + leader % 3));
    };
    let began = Instant::now();
    let (added, ()) = tokio::join!(table.add_i64("a1", 1), election);
    added.unwrap();
    assert!(began.elapsed() < Duration::from_millis(3_000), "{:?}", began.elapsed());
    assert_eq!(sum(&table, "a1").await, 1);
    // When it goes on, it does what it was sent.
    cluster.fault(|faults| faults.stuck.clear());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(sum(&table, "a1").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_out_of_reach_is_reached_through_another_node() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    let table = table_of(&client).await;
    let shard = shard_of(&cluster, "a");
    cluster.world().lead(shard, Some(2));
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.unreachable.insert(2));
    let began = Instant::now();
    table.put("a", "2").await.unwrap();
    assert_eq!(table.get("a").await.unwrap().unwrap().value, "2");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_with_an_error_that_says_what_is_known() {
    let cluster = Cluster::new(1);
    let client = cluster.client_with(short(3_000));
    let table = table_of(&client).await;
    table.put("a", "1").await.unwrap();
    let took = |began: Instant| assert_eq!(began.elapsed().as_millis(), 3_000);

    cluster.fault(|faults| faults.mute.insert(1));
    let began = Instant::now();
    let error = table.put("a", "2").await.unwrap_err();
    took(began);
    assert!(error.is_unknown() && error.kind() == ErrorKind::Unknown && !error.is_retryable(), "{error}");
    let began = Instant::now();
    let error = table.get("a").await.unwrap_err();
    took(began);
    assert!(error.is_retryable() && !error.is_unknown(), "a read has no effect: {error}");

    cluster.fault(|faults| faults.mute.clear());
    assert_eq!(table.get("a").await.unwrap().unwrap().value, "2", "it had its effect");
    cluster.fault(|faults| faults.down.insert(1));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    let error = table.put("a", "3").await.unwrap_err();
    took(began);
    assert!(error.is_retryable() && !error.is_unknown(), "it was never sent: {error}");
    assert!(error.message().contains("http://node-1:7420"), "{error}");
    let error = client.table("other").get("a").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_waits_as_it_is_told() {
    let cluster = Cluster::new(1);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.throttled = 3);
    let began = Instant::now();
    table.put("a", "2").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(60), "three times 20 ms: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    cluster.fault(|faults| faults.throttled = u32::MAX);
    let error = table.with_deadline(Duration::from_secs(1)).put("a", "3").await.unwrap_err();
    // The deadline may fall while the last request is on its way: then nobody knows, and the error says what came before.
    let is_told =
        matches!((error.kind(), error.is_retryable()), (ErrorKind::Throttled, true) | (ErrorKind::Unknown, false));
    assert!(is_told && error.to_string().contains("throttled"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_sends_garbage_is_hung_up_on_and_avoided() {
    let cluster = Cluster::new(3);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    let shard = shard_of(&cluster, "a");
    let leader = cluster.world().shards[&shard].leader.unwrap();
    cluster.fault(|faults| faults.garbage.insert(leader));
    let began = Instant::now();
    table.add_i64("a1", 1).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(sum(&table, "a1").await, 1, "another node passed it on, and it was done once");

    let cluster = Cluster::new(1);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.garbage.insert(1));
    let error = table.with_deadline(Duration::from_secs(20)).get("a").await.unwrap_err();
    assert!(error.is_retryable() && error.message().contains("no answer"), "{error}");
    assert!((5..100).contains(&cluster.world().dialled), "with pauses: {} times", cluster.world().dialled);
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_hung_up_on() {
    let cluster = Cluster::new(1);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    // A node that is asked nothing may be silent for as long as it likes.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    table.put("a", "1").await.unwrap();
    assert_eq!(cluster.world().dialled, 1);
    cluster.fault(|faults| faults.stuck.insert(1));
    let later = cluster.clone();
    let rescue = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(later.world().dialled, 1, "it may only be slow");
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(later.world().dialled, 2, "silent for 5 s");
        later.fault(|faults| faults.stuck.clear());
    };
    let (added, ()) = tokio::join!(table.add_i64("a1", 1), rescue);
    added.unwrap();
    assert_eq!(sum(&table, "a1").await, 1);
    // One that answers questions, but no requests, is slow; it is waited for.
    let dialled = cluster.world().dialled;
    cluster.fault(|faults| faults.held.insert(1));
    let rescue = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        cluster.fault(|faults| faults.held.clear());
    };
    let (added, ()) = tokio::join!(table.add_i64("a1", 1), rescue);
    added.unwrap();
    assert_eq!((sum(&table, "a1").await, cluster.world().dialled), (2, dialled));
}

#[tokio::test(start_paused = true)]
async fn a_transfer_finds_the_leader_and_a_drop_counts_its_first_try() {
    let cluster = Cluster::new(5);
    let client = cluster.client();
    let table = table_of(&client).await;
    for round in 1..=5u64 {
        let shard = shard_of(&cluster, "a");
        let to = 1 + round % 5;
        let began = Instant::now();
        client.transfer_leader(ShardId(shard), Some(NodeId(to))).await.unwrap();
        assert_eq!((cluster.world().shards[&shard].leader, began.elapsed()), (Some(to), Duration::ZERO));
    }
    table.put("a", "1").await.unwrap();
    // Of the drop's three points, its answer is lost at the second: it is done, and asked for again.
    let point = cluster.world().faults.points + 1;
    cluster.fault(|faults| faults.cut_at = Some(point));
    client.drop_table("t").await.unwrap();
    assert_eq!(client.drop_table("t").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(table.get("a").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn nodes_of_another_cluster_are_refused() {
    let (one, other) = (Cluster::new(1), Cluster::new(1));
    let client = one.client_with(short(1_000));
    table_of(&client).await.put("a", "1").await.unwrap();
    other.world().cluster = *b"another cluster!";
    // The address leads to another cluster from now on.
    one.world().cluster = *b"another cluster!";
    one.fault(|faults| faults.down.insert(1));
    tokio::time::sleep(Duration::from_millis(1)).await;
    one.fault(|faults| faults.down.clear());
    let error = client.table("t").get("a").await.unwrap_err();
    assert!(error.message().contains("another cluster"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn seeds_are_tried_in_turn_and_others_are_learned() {
    let cluster = Cluster::new(3);
    let seeds: Vec<Address> = ["http://nobody:1", "http://node-2:7420", "http://nobody:2"].map(Address::from).to_vec();
    let client = Client::with_network(Arc::new(cluster.clone()), seeds, Options::default()).unwrap();
    let table = table_of(&client).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.down.insert(2));
    for key in ["a", "h", "q"] {
        let shard = shard_of(&cluster, key);
        cluster.world().lead(shard, Some(3));
    }
    assert_eq!(client.list_tables().await.unwrap().len(), 1, "a node that nobody named answers");
    table.put("a", "2").await.unwrap();
    assert_ne!(address(1), address(2));
}

#[tokio::test(start_paused = true)]
async fn a_split_under_way_loses_nothing() {
    for seed in 0..10 {
        let cluster = Cluster::new(2);
        let table = table_of(&cluster.client()).await;
        table.put("a", "1").await.unwrap();
        cluster.fault(|faults| {
            faults.random = Some(lentic_runtime::Random::seeded(seed));
            faults.delay_ms_max = 20;
            faults.cut_permille = 20;
        });
        let splitter = cluster.clone();
        let split = async {
            for key in ["c", "j", "e", "s", "b"] {
                tokio::time::sleep(Duration::from_millis(15)).await;
                splitter.world().split("t", key);
            }
        };
        let add = |number: usize| table.add_i64(["b1", "c1", "e1", "k1", "t1"][number % 5], 1);
        let keys: Vec<String> = (0..26u8).map(|letter| char::from(b'a' + letter).to_string()).collect();
        let batch =
            |value: &'static str| keys.iter().fold(WriteBatch::new(), |batch, key| batch.put(key.clone(), value));
        let parts = async {
            for value in ["x", "y", "z"] {
                // A batch whose shard was split while its answer was lost cannot be told from one that was not done.
                while let Err(error) = table.write_in_parts(batch(value)).await {
                    assert!(error.is_unknown(), "seed {seed}: {error}");
                }
            }
        };
        let (added, (), ()) = tokio::join!(join_all((0..200).map(add)), split, parts);
        all_done(added);
        for key in ["b1", "c1", "e1", "k1", "t1"] {
            assert_eq!(sum(&table, key).await, 40, "seed {seed}: {key}");
        }
        assert!(table.multi_get(keys.clone()).await.unwrap().iter().all(|found| found.as_ref().unwrap().value == "z"));
        let mut scan = table.scan_prefix("").page_bytes(1).start();
        let mut count = 0;
        while let Some(row) = scan.next().await {
            row.unwrap();
            count += 1;
            if count == 5 {
                cluster.world().split("t", "d");
                cluster.world().split("t", "k");
            }
        }
        assert_eq!(count, 31, "seed {seed}");
    }
}
