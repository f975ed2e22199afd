//! All nodes killed at once under load, and started again.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::load::{Load, Pace};
use crate::outage::{Distribution, longest_gap};
use crate::recorder::Recorder;
use crate::report::{Report, Stand};
use crate::verify::verify;

const NODES: usize = 3;
const SHARDS: u32 = 4;
const TABLE: &str = "blackout";
/// How long the load runs before each.
const CALM: Duration = Duration::from_secs(1);
/// How long shards may take to go on once the nodes are started.
const RESUMES_WITHIN: Duration = Duration::from_secs(20);

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct Blackout {
    /// How many times.
    pub times: usize,
    /// The load.
    pub pace: Pace,
}

/// Kills all nodes at once, and starts them again.
///
/// # Panics
/// If anything that was acknowledged is not there, or took effect twice, or a client saw an error.
pub async fn blackout(stand: &Stand, plan: Blackout) -> Report {
    let home = stand.home_of("blackout");
    let recorder = Recorder::new(&home);
    let mut cluster = Cluster::start(&stand.settings("blackout", NODES, &[])).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let load = Load::start(&client, TABLE, &recorder, plan.pace).await;
    let all: Vec<usize> = (0..shards.len()).collect();
    let mut gaps = Distribution::default();
    for _ in 0..plan.times {
        tokio::time::sleep(CALM).await;
        load.until_acknowledged(&all, recorder.now(), RESUMES_WITHIN).await;
        let from = recorder.nemesis("kill", "all");
        cluster.nodes.iter_mut().for_each(crate::node::Node::kill);
        let down = recorder.nemesis("start", "all");
        cluster.nodes.iter_mut().for_each(crate::node::Node::start);
        load.until_acknowledged(&all, down, RESUMES_WITHIN).await;
        let to = recorder.now();
        all.iter().for_each(|shard| gaps.add(longest_gap(&load.ledger().ack_times(*shard), from, to)));
        cluster.well("a blackout").await;
    }
    let ledger = load.stop().await;
    ledger.check_no_error();
    let mut report = Report::new("blackout");
    report.add("times that all nodes were killed at once", plan.times);
    report.add("longest gap of a shard, start of the processes included", &gaps);
    let verified = verify(&client.table(TABLE), &ledger, plan.pace.value_bytes).await;
    report.add("there, once", format!("{} rows, {} counters", verified.rows, verified.counters));
    cluster.check_well();
    report.close(&home, &recorder)
}
