//! Reads at versions from any replica: without the leader, and the same.

use std::time::Duration;

use lentic_client::{Client, KeyRange, Options, ReadFrom, Row, TableOptions, Version};
use lentic_sim::{Cluster, Shape, run};
use tokio::time::{Instant, sleep, timeout};

const KEYS: u8 = 30;
const SEEDS: u64 = 3;

fn metric(cluster: &Cluster, host: usize, name: &str) -> u64 {
    let metrics = cluster.node(host).expect("it runs").metrics();
    metrics.iter().find(|metric| metric.name == name).expect("there is such a figure").value
}

/// Reads that were answered without asking the leader.
fn served(cluster: &Cluster) -> u64 {
    (0..3).map(|host| metric(cluster, host, "lentic_node_replica_reads_count")).sum()
}

async fn all(client: &Client, at: Version, from: ReadFrom) -> Vec<Row> {
    let (mut scan, mut rows) = (client.table("t").read_from(from).scan(KeyRange::all()).at(at).start(), Vec::new());
    while let Some(row) = scan.next().await {
        rows.push(row.expect("it is read"));
    }
    rows
}

async fn written(cluster: &mut Cluster) -> (Client, Version) {
    let client = cluster.client(Options::default());
    client.create_table("t", TableOptions { shards: 3, ..TableOptions::default() }).await.expect("it is made");
    for number in 0..KEYS {
        client.table("t").put(vec![number * 8, 1], vec![number]).await.expect("it is put");
    }
    let now = client.now().await.expect("it is told");
    (client, now)
}

#[test]
fn an_idle_shard_is_read_without_its_leader() {
    for seed in 1..=SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let mut cluster = Cluster::start(&dice, trace, Shape::default()).await;
            let (client, at) = written(&mut cluster).await;
            let expected = all(&client, at, ReadFrom::Leader).await;
            assert_eq!(expected.len(), usize::from(KEYS));
            assert_eq!(served(&cluster), 0, "nobody has asked for it");
            // Nothing is written any more, so replicas hear how far it is once somebody would read there.
            let began = Instant::now();
            while served(&cluster) < 60 {
                assert!(began.elapsed() < Duration::from_secs(5), "{} reads in 5 s", served(&cluster));
                assert_eq!(all(&client, at, ReadFrom::Any).await, expected);
                sleep(Duration::from_millis(20)).await;
            }
            let now = client.now().await.expect("it is told");
            sleep(Duration::from_millis(400)).await;
            let before = served(&cluster);
            for _ in 0..10 {
                assert_eq!(all(&client, now, ReadFrom::Any).await, expected);
            }
            assert!(served(&cluster) >= before + 24, "later versions follow by themselves: each scan has three pages");
            for host in 0..3 {
                assert!(metric(&cluster, host, "lentic_node_resolved_lag_ms") < 400);
            }
        });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}

#[test]
fn what_is_old_is_read_while_nobody_leads() {
    for seed in 1..=SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let mut cluster = Cluster::start(&dice, trace, Shape::default()).await;
            let (client, at) = written(&mut cluster).await;
            let expected = all(&client, at, ReadFrom::Leader).await;
            // Every shard is written to, at all nodes.
            for number in 0..KEYS {
                client.table("t").delete(vec![number * 8, 1]).await.expect("it is deleted");
            }
            sleep(Duration::from_secs(1)).await;
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                cluster.cut(a, b, false);
            }
            sleep(Duration::from_secs(3)).await;
            let before = served(&cluster);
            let read = timeout(Duration::from_secs(5), all(&client, at, ReadFrom::Any)).await;
            assert_eq!(read.expect("nobody is asked"), expected);
            assert!(served(&cluster) >= before + 3);
        });
        outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
}
