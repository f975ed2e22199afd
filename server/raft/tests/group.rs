//! Groups on a cluster in one process: who leads, what is applied, what survives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Cluster, GROUP, node, nodes, simulate};
use tokio::time::sleep;

#[test]
fn three_nodes_elect_one_and_apply_what_it_is_given() {
    simulate(1, async {
        let mut cluster = Cluster::new(1, 3).await;
        cluster.begin(GROUP, [1, 2, 3]).await;
        let leader = cluster.leader().await;
        let (index, count) = cluster.propose(leader, "a").await.unwrap();
        assert_eq!(count, 1);
        for number in 1..=3 {
            cluster.applied(node(number), index).await;
            assert_eq!(cluster.tape(node(number)).commands(), ["a"]);
        }
    });
}

#[test]
fn a_group_of_one_needs_nobody() {
    simulate(2, async {
        let mut cluster = Cluster::new(2, 1).await;
        cluster.begin(GROUP, [1]).await;
        let leader = cluster.leader().await;
        assert_eq!(cluster.propose(leader, "a").await.unwrap().1, 1);
        let started = tokio::time::Instant::now();
        let group = cluster.group(leader);
        let point = cluster.scope(leader).run(group.read_index()).await.unwrap();
        assert!(point.index >= group.status().applied);
        assert!(started.elapsed() < Duration::from_millis(5), "a read takes no round: {:?}", started.elapsed());
    });
}
