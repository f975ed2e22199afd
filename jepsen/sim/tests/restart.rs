//! A young cluster loses its power.

use std::time::Duration;

use lentic_client::{Options, TableOptions};
use lentic_sim::{Cluster, Shape, run};
use tokio::time::{sleep, timeout};

/// The meta group has its three members, and none of them has flushed: the founder finds the others in its log alone.
#[test]
fn who_has_not_flushed_finds_the_others_again() {
    for seed in 1..=6 {
        let outcome = run(seed, false, |dice, trace| async move {
            let mut cluster = Cluster::start(&dice, trace, Shape::default()).await;
            let client = cluster.client(Options::default());
            client.create_table("t", TableOptions::default()).await.expect("the table is made");
            client.table("t").put("key", "value").await.expect("it is put");
            timeout(Duration::from_secs(60), has_members(&cluster)).await.expect("the meta group gets its members");
            (0..3).for_each(|host| cluster.crash(host, true));
            for host in 0..3 {
                cluster.start_host(host).await;
            }
            let found = client.table("t").get("key").await.expect("the cluster serves again");
            assert_eq!(found.map(|found| found.value), Some("value".into()));
        });
        assert_eq!(outcome.value, Ok(()), "seed {seed}");
    }
}

async fn has_members(cluster: &Cluster) {
    let members = || {
        let groups = cluster.node(0).expect("it runs").groups();
        groups.iter().find(|(name, _)| name == "meta group").map_or(0, |(_, status)| status.voters.len())
    };
    while members() < 3 {
        sleep(Duration::from_millis(50)).await;
    }
}
