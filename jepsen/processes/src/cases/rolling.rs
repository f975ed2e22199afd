//! SIGTERM and a new start of each node in turn, under load.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::load::{Load, Pace, places_of};
use crate::outage::{Distribution, longest_gap};
use crate::recorder::Recorder;
use crate::report::{Report, Stand};
use crate::verify::verify;

const NODES: usize = 3;
const SHARDS: u32 = 6;
const TABLE: &str = "rolling";
const CALM: Duration = Duration::from_millis(700);
/// How long a node may take to stop in order.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// How long acknowledgements are looked at when its process has ended.
const AFTER: Duration = Duration::from_millis(500);

/// How often, and what is demanded.
#[derive(Clone, Copy, Debug)]
pub struct Rolling {
    /// How many times each node is restarted.
    pub rounds: usize,
    /// The longest gap between two acknowledgements of any shard that half of the stops may cause.
    pub gap_half_max: Duration,
    /// The longest that any may.
    pub gap_max: Duration,
    /// The load.
    pub pace: Pace,
}

/// Stops each node in order and starts it again, one after the other.
///
/// # Panics
/// If an operation fails, a write is lost or took effect twice, or writes to a shard stall for too long.
pub async fn rolling(stand: &Stand, plan: Rolling) -> Report {
    let home = stand.home_of("rolling");
    let recorder = Recorder::new(&home);
    let mut cluster = Cluster::start(&stand.settings("rolling", NODES, &[])).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let load = Load::start(&client, TABLE, &recorder, plan.pace).await;
    let (mut led_gaps, mut other_gaps, mut calm_gaps) = <(Distribution, Distribution, Distribution)>::default();
    let mut stops = Distribution::default();
    for place in (0..plan.rounds).flat_map(|_| 0..NODES) {
        cluster.well("a restart").await;
        let calm = recorder.now();
        tokio::time::sleep(CALM).await;
        let leaders = cluster.leaders().await;
        let led = places_of(&shards, &leaders.of(place));
        let from = recorder.nemesis("terminate", cluster.nodes[place].name());
        let status = cluster.nodes[place].terminate(STOPS_WITHIN).await;
        assert!(status.success(), "{} did not stop in order: {status}", cluster.nodes[place].name());
        stops.add(recorder.now().saturating_sub(from));
        tokio::time::sleep(AFTER).await;
        let to = recorder.now();
        for shard in 0..shards.len() {
            let acks = load.ledger().ack_times(shard);
            let gap = longest_gap(&acks, from, to);
            if led.contains(&shard) {
                led_gaps.add(gap);
            } else {
                other_gaps.add(gap);
            };
            calm_gaps.add(longest_gap(&acks, calm, from));
        }
        recorder.nemesis("start", cluster.nodes[place].name());
        cluster.nodes[place].start();
    }
    cluster.well("the last restart").await;
    let ledger = load.stop().await;
    let mut report = Report::new("rolling");
    report.add("longest gap, shards that the node led", &led_gaps);
    report.add("longest gap, other shards", &other_gaps);
    report.add("longest gap before, with nothing done", &calm_gaps);
    report.add("from SIGTERM to the end of the process", &stops);
    ledger.check_no_error();
    let verified = verify(&client.table(TABLE), &ledger, plan.pace.value_bytes).await;
    report.add("there, once", format!("{} rows, {} counters", verified.rows, verified.counters));
    cluster.check_well();
    assert!(led_gaps.count() > 0, "nodes that lead no shard show nothing");
    let (half, worst) = (led_gaps.percentile(50), led_gaps.worst().max(other_gaps.worst()));
    assert!(half <= plan.gap_half_max && worst <= plan.gap_max, "writes stalled for too long: {report}");
    report.close(&home, &recorder)
}
