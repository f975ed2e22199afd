//! Bounds: bytes in flight, the window of a session, sessions, and what ends with a client.

use std::time::Duration;

use futures_util::future::join_all;
use lentic_client::{Client, ErrorKind, KeyRange, MergeOperator, Options, Row, Table, TableOptions};
use lentic_runtime::{Random, Scope};
use tokio::time::Instant;

use crate::fake::{Cluster, all_done};

async fn table_of(client: &Client) -> Table {
    client.create_table("t", TableOptions { shards: 2, ..TableOptions::default() }).await.expect("the cluster is well");
    client.table("t")
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_bounded_by_bytes() {
    let cluster = Cluster::new(1);
    let options = Options { pipeline_bytes_max: 1 << 20, ..Options::default() };
    let table = table_of(&cluster.client_with(options)).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.held.insert(1));
    let value = vec![0; 100 << 10];
    let puts = join_all((0..100).map(|number| table.put(format!("a{number}"), value.clone())));
    let watch = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let written = cluster.asked("write");
        assert!((8..=11).contains(&written), "10 of 100 KiB are 1 MiB: {written} were sent");
        cluster.fault(|faults| faults.held.clear());
    };
    let (puts, ()) = tokio::join!(puts, watch);
    all_done(puts);
    table.put("large", vec![0; 4 << 20]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_small_requests_are_in_flight_at_once() {
    let cluster = Cluster::new(1);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.held.insert(1));
    let puts = join_all((0..500).map(|number| table.put(format!("a{number}"), "x")));
    let watch = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cluster.asked("write"), 501, "none waits for another");
        cluster.fault(|faults| faults.held.clear());
    };
    let began = Instant::now();
    let (puts, ()) = tokio::join!(puts, watch);
    all_done(puts);
    assert!(began.elapsed() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_client_takes_more_ids_when_many_writes_are_in_flight() {
    let cluster = Cluster::new(1);
    let options = Options { sessions_max: 3, ..Options::default() };
    let table = table_of(&cluster.client_with(options)).await;
    table.put("a", "1").await.unwrap();
    assert_eq!(cluster.asked("issue"), 1);
    cluster.fault(|faults| faults.held.insert(1));
    let puts = join_all((0..4_000).map(|number| table.add_i64(format!("a{}", number % 7), 1)));
    let watch = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cluster.asked("write"), 1_001, "the others wait for client ids, which are held back too");
        cluster.fault(|faults| faults.held.clear());
    };
    let (puts, ()) = tokio::join!(puts, watch);
    all_done(puts);
    assert!((2..=3).contains(&cluster.asked("issue")), "{}", cluster.asked("issue"));
    assert_eq!(cluster.committed(), 4_001);
    let world = cluster.world();
    assert!(world.widest_window < 1_024, "{} between a sequence and what it acknowledges", world.widest_window);
}

#[tokio::test(start_paused = true)]
async fn one_write_that_is_stuck_does_not_hold_back_the_others() {
    let cluster = Cluster::new(2);
    let client = cluster.client();
    let table = table_of(&client).await;
    for key in ["a", "\u{e9}"] {
        table.put(key, "1").await.unwrap();
    }
    let (first, second) = {
        let world = cluster.world();
        (world.shard_of("t", b"a").unwrap(), world.shard_of("t", "\u{e9}".as_bytes()).unwrap())
    };
    assert_ne!(first, second);
    cluster.world().lead(first, None);
    cluster.world().lead(second, Some(1));
    let stuck = table.put("a", "2");
    let others = async {
        for number in 0..3_000 {
            table.put(format!("\u{e9}{number}"), "x").await.unwrap();
        }
        assert!(cluster.asked("issue") > 1, "another client id took over");
        cluster.world().lead(first, Some(1));
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    stuck.unwrap();
    assert!(cluster.world().widest_window < 1_024);
}

#[tokio::test(start_paused = true)]
async fn keys_are_fresh_after_a_long_silence() {
    let cluster = Cluster::new(1);
    let client = cluster.client();
    let table = table_of(&client).await;
    table.put("a", "1").await.unwrap();
    for _ in 0..5 {
        // Others write meanwhile, and the shard forgets answers for their age.
        tokio::time::sleep(Duration::from_secs(20 * 60)).await;
        let other = cluster.client();
        for number in 0..20 {
            other.table("t").put(format!("a{number}"), "x").await.unwrap();
        }
        table.put("a", "2").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_answer_is_an_unknown_outcome() {
    let cluster = Cluster::new(1);
    let table = table_of(&cluster.client()).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.forgetful = true);
    let error = table.put("a", "2").await.unwrap_err();
    assert!(error.is_unknown() && error.kind() == ErrorKind::Unknown, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_operation_leaves_nothing_behind() {
    let cluster = Cluster::new(1);
    let client = cluster.client();
    let table = table_of(&client).await;
    table.put("a", "1").await.unwrap();
    cluster.fault(|faults| faults.held.insert(1));
    for round in 0..50 {
        let puts = join_all((0..100).map(|number| table.put(format!("a{number}"), vec![0; 1_000])));
        assert!(tokio::time::timeout(Duration::from_millis(5), puts).await.is_err(), "round {round}");
    }
    cluster.fault(|faults| faults.held.clear());
    let began = Instant::now();
    table.put("a", "2").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(cluster.world().widest_window < 1_024);
}

#[tokio::test(start_paused = true)]
async fn tasks_end_with_the_last_clone() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    let table = table_of(&client).await;
    for key in ["a", "\u{e9}"] {
        table.put(key, "1").await.unwrap();
    }
    let scan = table.scan(KeyRange::all()).start();
    assert!(cluster.world().links > 0);
    drop((client, table));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(cluster.world().links > 0, "the scan is left");
    drop(scan);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.world().links, 0);
}

#[tokio::test(start_paused = true)]
async fn options_that_cannot_work_are_refused() {
    let cluster = Cluster::new(1);
    let make = |options| Client::with_network(std::sync::Arc::new(cluster.clone()), vec!["http://a:1".into()], options);
    assert!(make(Options::default()).is_ok());
    let bad = [
        Options { deadline: Duration::ZERO, ..Options::default() },
        Options { sessions_max: 0, ..Options::default() },
        Options { sessions_max: 65, ..Options::default() },
        Options { pipeline_bytes_max: 0, ..Options::default() },
        Options { backoff_max: Duration::ZERO, ..Options::default() },
    ];
    for options in bad {
        assert_eq!(make(options).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let none = Client::with_network(std::sync::Arc::new(cluster.clone()), vec![], Options::default());
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn lingering_makes_one_request_of_many() {
    let cluster = Cluster::new(1);
    let linger = Duration::from_millis(5);
    let client = cluster.client_with(Options { linger, batch_operations_max: 100, ..Options::default() });
    let table = table_of(&client).await;
    let puts = join_all((0..250).map(|number| table.put(format!("a{number}"), "x"))).await;
    all_done(puts);
    assert_eq!(cluster.asked("write"), 3, "two full ones, and the rest");
    table.put("text", "text").await.unwrap();
    let sent = cluster.asked("write");
    let (good, bad, other) = tokio::join!(
        table.put("b", "1"),
        table.merge("text", MergeOperator::AddI64, vec![0; 8]),
        table.add_i64("n", 1)
    );
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::WrongKind, "who is at fault is told so");
    assert!(good.is_ok() && other.is_ok(), "and the others are not");
    assert_eq!(cluster.asked("write"), sent + 4, "together, then one by one");
    assert_eq!(table.get("n").await.unwrap().unwrap().as_i64(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_scan_goes_on_where_it_was_when_leaders_move() {
    for seed in 0..20 {
        let cluster = Cluster::new(3);
        let client = cluster.client();
        client.create_table("t", TableOptions { shards: 4, ..TableOptions::default() }).await.unwrap();
        let table = client.table("t");
        let keys: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte, 1]).collect();
        let fill = |value: &'static str| {
            keys.iter().fold(lentic_client::WriteBatch::new(), |batch, key| batch.put(key.clone(), value))
        };
        table.write_in_parts(fill("old")).await.unwrap();
        cluster.fault(|faults| {
            faults.random = Some(Random::seeded(seed));
            faults.delay_ms_max = 3;
            faults.cut_permille = 30;
            faults.move_permille = 50;
        });
        let builder = table.scan(KeyRange::all()).page_bytes(40);
        let mut scan = if seed % 2 == 0 { builder.start() } else { builder.reverse().start() };
        let mut rows: Vec<Row> = vec![scan.next().await.unwrap().unwrap()];
        table.write_in_parts(fill("new")).await.unwrap();
        while let Some(row) = scan.next().await {
            rows.push(row.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        }
        if seed % 2 == 1 {
            rows.reverse();
        }
        assert!(rows.iter().map(|row| &row.key[..]).eq(keys.iter().map(|key| &key[..])), "seed {seed}: each row once");
        assert!(rows.iter().all(|row| row.value == "old" && Some(row.version) <= scan.version()), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_holds_two_pages_and_outlasts_a_slow_reader() {
    let cluster = Cluster::new(1);
    let client = cluster.client();
    let table = table_of(&client).await;
    for number in 0..50u8 {
        table.put(vec![number], "x").await.unwrap();
    }
    let mut scan = table.scan(KeyRange::all()).page_bytes(20).start();
    scan.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(cluster.asked("scan"), 2, "a page that is read, and the next one");
    let mut count = 1;
    while let Some(row) = scan.next().await {
        row.unwrap();
        count += 1;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(count, 50);
}

/// A run is a function of its seed.
#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
            .build()
            .unwrap();
        runtime.block_on(async {
            let scope = Scope::new(Random::seeded(seed));
            let work = async {
                let cluster = Cluster::new(3);
                cluster.fault(|faults| {
                    faults.random = Some(Random::seeded(seed));
                    faults.delay_ms_max = 7;
                    faults.cut_permille = 20;
                    faults.move_permille = 20;
                });
                let table = table_of(&cluster.client()).await;
                let add = |number: usize| table.add_i64(format!("a{}", number % 5), 1);
                all_done(join_all((0..200).map(add)).await);
                let mut scan = table.scan(KeyRange::all()).page_bytes(1).start();
                while let Some(row) = scan.next().await {
                    row.unwrap();
                }
                cluster.world().trace.clone()
            };
            scope.run(work).await
        })
    };
    let fresh = |seed| std::thread::spawn(move || run(seed)).join().unwrap();
    for seed in 0..5 {
        assert_eq!(fresh(seed), fresh(seed), "seed {seed}");
    }
    assert_ne!(fresh(1), fresh(2));
}

#[tokio::test(start_paused = true)]
async fn a_commit_after_the_deadline_sends_nothing() {
    let cluster = Cluster::new(3);
    let client = cluster.client_with(Options { deadline: Duration::from_secs(1), ..Options::default() });
    client.create_table("t", TableOptions::default()).await.unwrap();
    client.table("t").put("warm", "up").await.unwrap();
    let txn = client.begin();
    txn.table("t").put("a", "late").unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    let error = txn.commit().await.unwrap_err();
    assert!(error.is_retryable() && !error.is_unknown(), "{error}");
    assert!(client.table("t").get("a").await.unwrap().is_none());
}
