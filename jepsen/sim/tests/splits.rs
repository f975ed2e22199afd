//! Shards that are cut while they are written, and leaders that are lost half way.

use std::time::Duration;

use lentic_client::{Client, Options, TableOptions};
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::time::{sleep, timeout};

const KEYS: u8 = 200;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;

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

/// Writes until a shard begins with each of these keys, and all have taken a write.
async fn are_cut(client: &Client, cuts: &[u8]) {
    let waits = async {
        let table = client.table("t");
        loop {
            for key in (0..KEYS).step_by(7) {
                table.put(vec![key, 1], "while it is cut").await.expect("it is put");
            }
            let described = client.describe_table("t").await.expect("it is known");
            let starts: Vec<_> = described.shards.iter().map(|shard| shard.range.start().to_vec()).collect();
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
