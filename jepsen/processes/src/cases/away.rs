//! A node that is away: it catches up from the log, or by snapshot when the log is gone, while the others serve.

use std::time::Duration;

use lentic_client::{Client, ShardId};

use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::load::{Load, Pace};
use crate::recorder::Recorder;
use crate::report::{Report, Stand};
use crate::verify::verify;
use crate::wait::until;

const NODES: usize = 3;
const SHARDS: u32 = 2;
const TABLE: &str = "away";
/// Who is away.
const PLACE: usize = 2;
const RECEIVED: &str = "lentic_raft_snapshots_received_count";
/// How long the log of the others may take to let go of what the node lacks.
const LETS_GO_WITHIN: Duration = Duration::from_secs(60);
/// How long a leader may take to hand over.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(20);

/// A small log, so that what a node lacks is gone soon: few entries are kept, and memtables are flushed often.
const SMALL_LOG: &[&str] = &[
    "raft.log_keep_entries=50",
    "log.segment_bytes=262144",
    "log.bytes_max=1048576",
    "store.memtable_bytes=262144",
    "store.upkeep_ms=200",
];

/// Enough to fill a small log many times.
const MUCH: Pace = Pace { every: Duration::from_millis(20), value_bytes: 16 << 10 };

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    /// How long the node is away the first time, when the log is there still.
    pub short: Duration,
    /// The load.
    pub pace: Pace,
}

/// Takes a node away for a short time, then until the log of the others has let go of what it lacks. Each time it comes
/// back, catches up and answers for all shards.
///
/// # Panics
/// If it does not, or not in the way that it should; or if what it answers is not what was acknowledged.
pub async fn away(stand: &Stand, plan: Away) -> Report {
    let home = stand.home_of("away");
    let recorder = Recorder::new(&home);
    let mut cluster = Cluster::start(&stand.settings("away", NODES, &[])).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let mut report = Report::new("away");

    let load = Load::start(&client, TABLE, &recorder, plan.pace).await;
    leave(&mut cluster, &recorder);
    tokio::time::sleep(plan.short).await;
    come_back(&mut cluster, &recorder).await;
    let rows = answers_for_all(&cluster, &client, &shards, load.stop().await, plan.pace).await;
    let received = cluster.nodes[PLACE].metric(RECEIVED).await.expect("nodes count snapshots");
    assert!(received < 1.0, "the log was there, and the node was sent {received} snapshots");
    report.add("after a short time, from the log", format!("{rows} rows, no snapshot"));
    drop(cluster);

    let home = stand.home_of("away-long");
    let recorder = Recorder::new(&home);
    let mut cluster = Cluster::start(&stand.settings("away-long", NODES, SMALL_LOG)).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let load = Load::start(&client, TABLE, &recorder, MUCH).await;
    leave(&mut cluster, &recorder);
    until_let_go(&cluster).await;
    come_back(&mut cluster, &recorder).await;
    let rows = answers_for_all(&cluster, &client, &shards, load.stop().await, MUCH).await;
    let received = cluster.nodes[PLACE].metric(RECEIVED).await.expect("nodes count snapshots");
    let expected = f64::from(SHARDS);
    assert!(received >= expected, "the log was gone, and of {expected} snapshots {received} were sent");
    report.add("after a long time, by snapshot", format!("{rows} rows, {received} snapshots"));
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

/// Makes the node lead every shard, and compares what it says with what was acknowledged. Returns the number of rows.
async fn answers_for_all(cluster: &Cluster, client: &Client, shards: &[ShardId], ledger: Ledger, pace: Pace) -> usize {
    ledger.check_no_error();
    let id = cluster.id(PLACE);
    until("a node that was away, and leads", HANDS_OVER_WITHIN, || async {
        let leaders = cluster.leaders().await;
        let others: Vec<_> = shards.iter().filter(|shard| leaders.shards.get(shard) != Some(&PLACE)).collect();
        for shard in &others {
            // It may not be ready yet, or have been asked already.
            let _ = client.transfer_leader(**shard, Some(id)).await;
        }
        if others.is_empty() { Ok(()) } else { Err(format!("others lead {others:?}")) }
    })
    .await;
    verify(&client.table(TABLE), &ledger, pace.value_bytes).await.rows
}
