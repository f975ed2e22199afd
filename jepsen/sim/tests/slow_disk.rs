//! Disks that turn slow: who leads on one hands over, and nobody else notices.

use std::time::Duration;

use lentic_client::{Client, Options, TableOptions};
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use tokio::time::{Instant, sleep, timeout};

/// A sync takes half of it on average.
const SLOW_US_MAX: u64 = 1_000_000;
const SHARDS: u32 = 3;
const SEEDS: u64 = 3;

/// Three nodes, a table, and as long a look at it as a leader needs to be elected.
async fn three_nodes(dice: &Dice, trace: Trace) -> (Cluster, Client) {
    let mut cluster = Cluster::start(dice, trace, Shape::default()).await;
    let client = cluster.client(Options::default());
    client.create_table("t", TableOptions { shards: SHARDS, ..TableOptions::default() }).await.expect("it is made");
    let groups = usize::try_from(SHARDS).expect("a few") + 1;
    let all_have_three = |cluster: &Cluster| {
        (0..3).all(|host| {
            let found = cluster.node(host).expect("it runs").groups();
            found.len() == groups && found.iter().all(|(_, status)| status.voters.len() == 3)
        })
    };
    let settled = async {
        while !all_have_three(&cluster) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), settled).await.expect("every group gets its members");
    (cluster, client)
}

/// Puts keys of all shards for so long, one after the other. How long each took, shortest first.
async fn write(client: &Client, for_: Duration) -> Vec<Duration> {
    let (table, began, mut took) = (client.table("t"), Instant::now(), Vec::new());
    while began.elapsed() < for_ {
        let number = u8::try_from(took.len() % 256).expect("it is below 256");
        let sent = Instant::now();
        table.put(vec![number.wrapping_mul(101), 0], "value").await.expect("it is put");
        took.push(sent.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    took
}

fn percentile_99(took: &[Duration]) -> Duration {
    took[took.len() * 99 / 100]
}

/// The groups that a host leads.
fn led(cluster: &Cluster, host: usize) -> Vec<String> {
    let groups = cluster.node(host).expect("it runs").groups();
    groups.into_iter().filter(|(_, status)| status.is_leader).map(|(name, _)| name).collect()
}

fn metric(cluster: &Cluster, host: usize, name: &str) -> u64 {
    let metrics = cluster.node(host).expect("it runs").metrics();
    metrics.iter().find(|metric| metric.name == name).expect("there is such a figure").value
}

fn handovers(cluster: &Cluster) -> u64 {
    (0..3).map(|host| metric(cluster, host, "lentic_node_disk_handovers_count")).sum()
}

#[test]
fn who_leads_on_a_slow_disk_hands_over_within_ten_seconds() {
    let mut handed_over = 0;
    for seed in 1..=SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let (mut cluster, client) = three_nodes(&dice, trace).await;
            let quick = write(&client, Duration::from_secs(20)).await;
            let host = (0..3).find(|host| led(&cluster, *host).contains(&"meta group".to_owned())).expect("one leads");
            let groups = led(&cluster, host).len();
            assert!(groups >= 2, "host {host} leads {groups} groups, which shows too little");
            cluster.slow_disk(host, SLOW_US_MAX);
            let began = Instant::now();
            while !led(&cluster, host).is_empty() {
                assert!(began.elapsed() < Duration::from_secs(10), "still led: {:?}", led(&cluster, host));
                write(&client, Duration::from_millis(100)).await;
            }
            assert!(began.elapsed() > Duration::from_secs(3), "it was judged after {:?}", began.elapsed());
            assert_eq!(metric(&cluster, host, "lentic_node_disk_slow_count"), 1);
            let mut after = Vec::new();
            for _ in 0..30 {
                after.extend(write(&client, Duration::from_secs(1)).await);
                assert_eq!(led(&cluster, host), [""; 0], "leadership came back");
            }
            after.sort();
            let (quick, after) = (percentile_99(&quick), percentile_99(&after));
            assert!(10 * after <= 13 * quick, "p99 of {after:?} beside {quick:?}");
            // A slow leader may also lose an election before it is judged.
            let handed_over = handovers(&cluster);
            assert!(handed_over <= u64::try_from(groups).unwrap(), "each of its groups once at most");
            cluster.slow_disk(host, 2_000);
            write(&client, Duration::from_secs(15)).await;
            assert_eq!(metric(&cluster, host, "lentic_node_disk_slow_count"), 0, "a quick disk is trusted again");
            handed_over
        });
        handed_over += outcome.value.unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
    }
    assert!(handed_over > 0, "no leader has handed over, which shows nothing");
}

#[test]
fn nobody_waits_for_a_follower_with_a_slow_disk() {
    for seed in 1..=SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let (mut cluster, client) = three_nodes(&dice, trace).await;
            let host = (0..3).find(|host| !led(&cluster, *host).contains(&"meta group".to_owned())).expect("two");
            // It is to lead nothing.
            let described = client.describe_table("t").await.expect("it is known");
            for shard in described.shards.iter().filter(|shard| led(&cluster, host).contains(&name_of(shard.shard))) {
                client.transfer_leader(shard.shard, None).await.expect("it hands over");
            }
            write(&client, Duration::from_secs(1)).await;
            assert_eq!(led(&cluster, host), [""; 0]);
            let leaders = |cluster: &Cluster| (0..3).map(|host| led(cluster, host)).collect::<Vec<_>>();
            let (quick, before) = (write(&client, Duration::from_secs(20)).await, leaders(&cluster));
            cluster.slow_disk(host, SLOW_US_MAX);
            let slow = write(&client, Duration::from_secs(20)).await;
            assert_eq!(leaders(&cluster), before, "no leader moves for a follower");
            assert_eq!((metric(&cluster, host, "lentic_node_disk_slow_count"), handovers(&cluster)), (1, 0));
            let (quick, slow) = (percentile_99(&quick), percentile_99(&slow));
            assert!(10 * slow <= 13 * quick, "p99 of {slow:?} beside {quick:?}");
            // The others vote for each other; or for the slow one, and then it hands over.
            let leader = (0..3).find(|host| led(&cluster, *host).contains(&"meta group".to_owned())).expect("one");
            cluster.crash(leader, true);
            write(&client, Duration::from_secs(15)).await;
            assert_eq!(led(&cluster, host), [""; 0], "the disk that is slow leads");
        });
        assert_eq!(outcome.value, Ok(()), "seed {seed}");
    }
}

fn name_of(shard: lentic_client::ShardId) -> String {
    format!("shard {shard}")
}

#[test]
fn leadership_does_not_go_round_among_slow_disks() {
    for seed in 1..=SEEDS {
        let outcome = run(seed, false, |dice, trace| async move {
            let (mut cluster, client) = three_nodes(&dice, trace).await;
            write(&client, Duration::from_secs(5)).await;
            (0..3).for_each(|host| cluster.slow_disk(host, SLOW_US_MAX));
            write(&client, Duration::from_secs(20)).await;
            let early = handovers(&cluster);
            assert!(early <= u64::from(SHARDS) + 1, "{early} groups were handed over");
            write(&client, Duration::from_secs(60)).await;
            assert_eq!(handovers(&cluster), early, "all are slow, and it is known");
            assert!((0..3).all(|host| metric(&cluster, host, "lentic_node_disk_slow_count") == 1));
        });
        assert_eq!(outcome.value, Ok(()), "seed {seed}");
    }
}
