//! All nodes lose their power, with much in their logs.

use bytes::Bytes;
use lentic_client::TableOptions;
use lentic_workloads::Distribution;

use super::field::{Field, Needed};
use super::table::{Measure, TIMES};
use crate::nemesis::Fault;
use crate::report::{Report, Stand};

const SHARDS: u32 = 4;
/// Bytes that each log is given before.
const FILL_BYTES: usize = 1 << 30;
const VALUE_BYTES: usize = 1 << 20;
const FILLED: &str = "filled";
/// A log that holds them, and stores that do not let go of them before.
const KNOBS: &[&str] = &[
    "log.segment_bytes=67108864",
    "log.bytes_max=3221225472",
    "store.memtable_bytes=1610612736",
    "store.memtables_bytes_max=3221225472",
];
const SEGMENT_MIB: f64 = 64.0;
const DISK_BYTES: u64 = 8 << 30;

/// Cuts the power of all nodes at once, again and again.
pub(super) async fn blackout(stand: &Stand, measure: &Measure) -> Report {
    let needed =
        Needed { name: measure.name, faults: &[Fault::PowerAll], shards: SHARDS, knobs: KNOBS, disk_bytes: DISK_BYTES };
    let mut field = Field::start(stand, needed).await;
    fill(&field).await;
    let all: Vec<usize> = (0..field.cluster.nodes.len()).collect();
    let (mut firsts, mut mib_min) = (Distribution::default(), f64::MAX);
    for _ in 0..TIMES {
        field.cluster.well("a blackout").await;
        field.all_go_on().await;
        for node in &field.cluster.nodes {
            let segments = node.metric("lentic_log_segments_count").await.expect("nodes tell the size of their log");
            mib_min = mib_min.min(segments * SEGMENT_MIB);
        }
        let struck = field.strike(Fault::PowerAll, all.clone()).await;
        field.mend(struck).await;
        let started = field.recorder.now();
        field.all_go_on().await;
        (0..field.shards()).for_each(|shard| firsts.add(field.first_after(shard, started)));
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("the smallest log at any of them", format!("{mib_min:.0} MiB"));
    report.add("from the start of the processes to the first write of a shard", &firsts);
    field.end(report).await
}

/// Fills the logs.
async fn fill(field: &Field) {
    field.admin.create_table(FILLED, TableOptions::default()).await.expect("the table is made");
    let table = field.admin.table(FILLED);
    let value = Bytes::from(vec![0x5a; VALUE_BYTES]);
    for number in 0..FILL_BYTES / VALUE_BYTES {
        table.put(format!("{number:08}"), value.clone()).await.expect("a cluster that is well takes it");
    }
}
