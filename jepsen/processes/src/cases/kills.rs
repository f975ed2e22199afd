//! kill -9 of a leader under load, again and again.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::load::{Load, Pace, places_of};
use crate::outage::{Distribution, longest_gap};
use crate::recorder::Recorder;
use crate::report::{Report, Stand};
use crate::verify::verify;

const NODES: usize = 3;
const SHARDS: u32 = 6;
const TABLE: &str = "kills";
/// How long the load runs undisturbed before each kill.
const CALM: Duration = Duration::from_millis(700);
/// How long acknowledgements are looked at after all shards have gone on.
const AFTER: Duration = Duration::from_millis(500);
/// How long a shard may take to go on at all: the figures say how long it did.
const RESUMES_WITHIN: Duration = Duration::from_secs(30);

/// How often, and what is demanded.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// How many kills.
    pub kills: usize,
    /// The longest gap between two acknowledgements of any shard that half of the kills may cause.
    pub gap_half_max: Duration,
    /// The longest that any may.
    pub gap_max: Duration,
    /// The load.
    pub pace: Pace,
}

/// The gaps that kills caused, by who led the shard.
#[derive(Default)]
struct Gaps {
    /// The killed node led the shard.
    led: Distribution,
    /// It led the meta group, and so the oracle, but not the shard.
    oracle: Distribution,
    /// It led neither.
    others: Distribution,
}

/// Kills a node that leads shards, and every second time the one that leads the meta group; each time when the cluster
/// is well again.
///
/// # Panics
/// If an acknowledged write is lost, one took effect twice, a client saw an error, or writes went on too late.
pub async fn kills(stand: &Stand, plan: Kills) -> Report {
    let home = stand.home_of("kills");
    let recorder = Recorder::new(&home);
    let mut cluster = Cluster::start(&stand.settings("kills", NODES, &[])).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let load = Load::start(&client, TABLE, &recorder, plan.pace).await;
    let mut gaps = Gaps::default();
    let mut meta_kills = 0;
    for round in 0..plan.kills {
        cluster.well("a kill").await;
        tokio::time::sleep(CALM).await;
        let leaders = cluster.leaders().await;
        let victim = leaders.victim(round);
        let (led, is_meta) = (places_of(&shards, &leaders.of(victim)), leaders.meta == victim);
        meta_kills += usize::from(is_meta);
        let from = recorder.nemesis("kill", cluster.nodes[victim].name());
        cluster.nodes[victim].kill();
        let all: Vec<usize> = (0..shards.len()).collect();
        load.until_acknowledged(&all, from, RESUMES_WITHIN).await;
        tokio::time::sleep(AFTER).await;
        let to = recorder.now();
        for shard in all {
            let gap = longest_gap(&load.ledger().ack_times(shard), from, to);
            match (led.contains(&shard), is_meta) {
                (true, _) => gaps.led.add(gap),
                (false, true) => gaps.oracle.add(gap),
                (false, false) => gaps.others.add(gap),
            }
        }
        recorder.nemesis("start", cluster.nodes[victim].name());
        cluster.nodes[victim].start();
    }
    cluster.well("the last kill").await;
    let ledger = load.stop().await;
    let mut report = Report::new("kills");
    report.add("kills", format!("{}, {meta_kills} of them of the meta group's leader", plan.kills));
    report.add("longest gap, shards that the killed node led", &gaps.led);
    report.add("longest gap, others, when it led the meta group", &gaps.oracle);
    report.add("longest gap, others, when it did not", &gaps.others);
    ledger.check_no_error();
    let verified = verify(&client.table(TABLE), &ledger, plan.pace.value_bytes).await;
    report.add("there, once", format!("{} rows, {} counters", verified.rows, verified.counters));
    cluster.check_well();
    assert!(gaps.led.count() >= plan.kills, "a kill of a node that leads no shard shows nothing");
    let (half, worst) = (gaps.led.percentile(50), gaps.led.worst().max(gaps.oracle.worst()));
    assert!(half <= plan.gap_half_max && worst <= plan.gap_max, "writes went on too late: {report}");
    report.close(&home, &recorder)
}
