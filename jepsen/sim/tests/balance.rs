//! Leaders are spread over the nodes, while clients write; and stay where they are when that is switched off.

use std::time::Duration;

use lentic_client::{Client, NodeId, Options, TableOptions};
use lentic_node::{Node, NodeOptions};
use lentic_runtime::spawn;
use lentic_sim::{Cluster, Shape, run};
use tokio::time::{Instant, sleep};

const HOSTS: usize = 3;
const SHARDS: u32 = 9;
const EVERY: Duration = Duration::from_secs(2);

fn shape() -> Shape {
    Shape { hosts: HOSTS, node: NodeOptions { balance_every: EVERY, ..NodeOptions::default() }, ..Shape::default() }
}

/// How many shards each host leads.
fn leads(cluster: &Cluster) -> Vec<usize> {
    let led = |host| {
        let groups = cluster.node(host).map(Node::groups).unwrap_or_default();
        groups.into_iter().filter(|(name, status)| name.starts_with("shard") && status.is_leader).count()
    };
    (0..HOSTS).map(led).collect()
}

async fn until(cluster: &Cluster, within: Duration, what: &str, is_so: impl Fn(&[usize]) -> bool) {
    let began = Instant::now();
    loop {
        let leads = leads(cluster);
        if is_so(&leads) {
            return;
        }
        assert!(began.elapsed() < within, "{what} not within {within:?}: {leads:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// One node is asked to lead all shards, until it does.
async fn all_to(client: &Client, cluster: &Cluster, host: usize) {
    let node = NodeId(host as u64 + 1);
    let began = Instant::now();
    while leads(cluster)[host] < SHARDS as usize {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", leads(cluster));
        for shard in client.describe_table("t").await.expect("it is known").shards {
            if shard.leader != Some(node) {
                // It may not be ready yet.
                let _ = client.transfer_leader(shard.shard, Some(node)).await;
            }
        }
    }
}

fn handed_over(cluster: &Cluster) -> u64 {
    let of = |host| {
        let metrics = cluster.node(host).map(Node::metrics).unwrap_or_default();
        metrics.iter().filter(|metric| metric.name == "lentic_node_balance_handovers_count").map(|it| it.value).sum()
    };
    (0..HOSTS).map(|host| -> u64 { of(host) }).sum()
}

#[test]
fn leaders_are_spread_and_stay_when_that_is_switched_off() {
    for seed in 1..=3 {
        let outcome = run(seed, false, move |dice, trace| async move {
            let mut cluster = Cluster::start(&dice, trace, shape()).await;
            let client = cluster.client(Options::default());
            client.create_table("t", TableOptions { shards: SHARDS, ..TableOptions::default() }).await.expect("made");
            // Every shard gets its three replicas first.
            let have_three = |cluster: &Cluster| {
                (0..HOSTS).all(|host| {
                    let groups = cluster.node(host).expect("it runs").groups();
                    groups.len() == SHARDS as usize + 1 && groups.iter().all(|(_, status)| status.voters.len() == 3)
                })
            };
            while !have_three(&cluster) {
                sleep(Duration::from_millis(50)).await;
            }
            let off = client.set_balance(false).await.expect("it is switched");
            assert!(!off.is_on);
            all_to(&client, &cluster, 1).await;
            sleep(10 * EVERY).await;
            assert_eq!(leads(&cluster), [0, 9, 0], "seed {seed}: it is off");
            let shown = client.balance().await.expect("it is shown");
            assert_eq!((shown.is_on, shown.every), (false, Some(EVERY)));
            assert_eq!(shown.steps.len(), 6, "{:?}", shown.steps);
            assert!(shown.steps.iter().all(|step| step.from == NodeId(2)), "{:?}", shown.steps);
            let before = handed_over(&cluster);

            client.set_balance(true).await.expect("it is switched");
            let writer = {
                let table = client.table("t");
                spawn(async move {
                    let mut longest = Duration::ZERO;
                    for number in 0..2_000_u32 {
                        let sent = Instant::now();
                        table.put(number.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec(), "v").await.expect("put");
                        longest = longest.max(sent.elapsed());
                        sleep(Duration::from_millis(5)).await;
                    }
                    longest
                })
            };
            until(&cluster, 10 * EVERY, "even", |leads| leads == [3, 3, 3]).await;
            let moved = handed_over(&cluster) - before;
            let longest = writer.await.expect("it ends");
            assert!(longest < Duration::from_secs(1), "seed {seed}: a put waited {longest:?}");
            // It has come to rest.
            sleep(10 * EVERY).await;
            assert_eq!(leads(&cluster), [3, 3, 3], "seed {seed}");
            assert_eq!(handed_over(&cluster) - before, moved, "seed {seed}: nothing goes to and fro");
            assert!((6..=9).contains(&moved), "seed {seed}: {moved} were handed over, and six had to be");
        });
        assert_eq!(outcome.value, Ok(()), "seed {seed}");
    }
}

#[test]
fn a_node_that_comes_back_leads_again() {
    let outcome = run(7, false, |dice, trace| async move {
        let mut cluster = Cluster::start(&dice, trace, shape()).await;
        let client = cluster.client(Options::default());
        client.create_table("t", TableOptions { shards: SHARDS, ..TableOptions::default() }).await.expect("made");
        until(&cluster, 30 * EVERY, "even", |leads| leads == [3, 3, 3]).await;
        cluster.crash(2, true);
        until(&cluster, 30 * EVERY, "even among two", |leads| leads.iter().sum::<usize>() == 9 && leads[2] == 0).await;
        cluster.start_host(2).await;
        until(&cluster, 30 * EVERY, "even again", |leads| leads == [3, 3, 3]).await;
    });
    assert_eq!(outcome.value, Ok(()));
}
