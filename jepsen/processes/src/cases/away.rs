//! A node that is away: it catches up from the log, or by snapshot when the log is gone, while the others serve.

use std::time::Duration;

use lentic_client::Client;
use lentic_workloads::{Counts, Pace, Recorder};

use super::STRICT;
use crate::alike::lead_all;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::report::{Report, Stand};
use crate::wait::until;

const NODES: usize = 3;
const SHARDS: u32 = 2;
const TABLE: &str = "away";
/// Who is away.
const PLACE: usize = 2;
const RECEIVED: &str = "lentic_raft_snapshots_received_count";
/// How long the log of the others may take to let go of what the node lacks.
const LETS_GO_WITHIN: Duration = Duration::from_secs(60);

/// A small log, so that what a node lacks is gone soon: few entries are kept, and memtables are flushed often.
const SMALL_LOG: &[&str] = &[
    "raft.log_keep_entries=50",
    "log.segment_bytes=262144",
    "log.bytes_max=1048576",
    "store.memtable_bytes=262144",
    "store.upkeep_ms=200",
];

/// Enough to fill a small log many times.
const MUCH: Pace = Pace { beat: Duration::from_millis(20), value_bytes: 16 << 10, ..Pace::REAL };

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    /// How long the node is away the first time, when the log is there still.
    pub short: Duration,
}

/// Takes a node away for a short time, then until the log of the others has let go of what it lacks. Each time it comes
/// back, catches up and answers for all shards.
///
/// # Panics
/// If it does not, or not in the way that it should; or if what it answers is not what was acknowledged.
pub async fn away(stand: &Stand, plan: Away) -> Report {
    let home = stand.home_of("away");
    let recorder = Recorder::to_files(&home);
    let mut cluster = Cluster::start(&stand.settings("away", NODES, &[])).await;
    let (client, _) = cluster.table(TABLE, SHARDS).await;
    let mut report = Report::new("away");

    let load = Load::start(&client, TABLE, &recorder, Pace::REAL, STRICT).await;
    leave(&mut cluster, &recorder);
    tokio::time::sleep(plan.short).await;
    come_back(&mut cluster, &recorder).await;
    let counts = answers_for_all(&cluster, &client, load).await;
    let received = cluster.nodes[PLACE].metric(RECEIVED).await.expect("nodes count snapshots");
    assert!(received < 1.0, "the log was there, and the node was sent {received} snapshots");
    report.add("after a short time, from the log", format!("{counts}, no snapshot"));
    drop(cluster);

    let home = stand.home_of("away-long");
    let recorder = Recorder::to_files(&home);
    let mut cluster = Cluster::start(&stand.settings("away-long", NODES, SMALL_LOG)).await;
    let (client, _) = cluster.table(TABLE, SHARDS).await;
    let load = Load::start(&client, TABLE, &recorder, MUCH, STRICT).await;
    leave(&mut cluster, &recorder);
    until_let_go(&cluster).await;
    come_back(&mut cluster, &recorder).await;
    let counts = answers_for_all(&cluster, &client, load).await;
    let received = cluster.nodes[PLACE].metric(RECEIVED).await.expect("nodes count snapshots");
    let expected = f64::from(SHARDS);
    assert!(received >= expected, "the log was gone, and of {expected} snapshots {received} were sent");
    report.add("after a long time, by snapshot", format!("{counts}, {received} snapshots"));
    cluster.check_well();
    report.close(&home, &recorder)
}

fn leave(cluster: &mut Cluster, recorder: &Recorder) {
    recorder.nemesis("kill", cluster.nodes[PLACE].name());
    cluster.nodes[PLACE].kill();
}

async fn come_back(cluster: &mut Cluster, recorder: &Recorder) {
    recorder.nemesis("start", cluster.nodes[PLACE].name());
    cluster.nodes[PLACE].start();
    cluster.well("a node that was away").await;
}

/// Waits until the leaders of both shards have let go of what the node lacks.
async fn until_let_go(cluster: &Cluster) {
    until("logs that have let go of what a node lacks", LETS_GO_WITHIN, || async {
        let mut behind = 0.0;
        for node in cluster.nodes.iter().filter(|node| node.is_up()) {
            behind += node.metric("lentic_raft_followers_behind_log_count").await?;
        }
        if behind >= f64::from(SHARDS) { Ok(()) } else { Err(format!("of {behind} shards")) }
    })
    .await;
}

/// Makes the node lead every shard, and ends the load: what it says is compared with what was acknowledged.
async fn answers_for_all(cluster: &Cluster, client: &Client, load: Load) -> Counts {
    lead_all(cluster, client, PLACE).await;
    let counts = load.stop().await;
    let leaders = cluster.leaders().await;
    assert!(leaders.shards.values().all(|leader| *leader == PLACE), "others have answered: {leaders:?}");
    counts
}
