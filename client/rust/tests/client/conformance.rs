//! The conformance suite, on a cluster where all is well, and on one where little is.

use lentic_client::{Client, Options, conformance};
use lentic_runtime::Random;

use crate::fake::Cluster;

async fn run_all(make: impl Fn(u64) -> Client) {
    for (seed, case) in conformance::CASES.iter().enumerate() {
        let client = make(seed as u64);
        (case.run)(client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_cluster_that_is_well() {
    run_all(|_| Cluster::new(3).client()).await;
}

#[tokio::test(start_paused = true)]
async fn on_one_node() {
    run_all(|_| Cluster::new(1).client()).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_cluster_that_cuts_links_and_moves_leaders() {
    run_all(|seed| {
        let cluster = Cluster::new(3);
        cluster.fault(|faults| {
            faults.random = Some(Random::seeded(seed));
            faults.delay_ms_max = 5;
            faults.cut_permille = 3;
            faults.move_permille = 10;
            faults.no_hints = seed % 2 == 0;
        });
        cluster.client()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_a_linger() {
    let linger = std::time::Duration::from_millis(2);
    run_all(|seed| {
        let cluster = Cluster::new(3);
        // Without it time would stand still for a reader who never waits, and so for the linger.
        cluster.fault(|faults| {
            faults.random = Some(Random::seeded(seed));
            faults.delay_ms_max = 2;
        });
        cluster.client_with(Options { linger, ..Options::default() })
    })
    .await;
}
