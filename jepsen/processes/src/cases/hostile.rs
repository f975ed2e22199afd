//! Callers who say what nobody should, and callers who do not listen.
//!
//! One node, for what a caller can do to a node it can do to each. A load writes to it all the time: what the hostile
//! callers get is an error that says what is wrong, and everyone else plain service. After each of them the memory of
//! the process is looked at, and at the end its log: nothing may have panicked.

mod crowd;
mod large;
mod unread;
mod words;

use std::time::Duration;

use lentic_client::{Client, TableOptions, WriteBatch};
use lentic_workloads::{Pace, Recorder, longest_gap};

use super::STRICT;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::memory::Memory;
use crate::node::Node;
use crate::report::{Report, Stand};

const TABLE: &str = "bystander";
/// What is read stays in the store's cache, which has its own bound: with a small one, what a caller costs is seen.
const SMALL_CACHE: &[&str] = &["store.block_cache_bytes=16777216"];

/// The table that hostile callers read, with this many rows of this size.
const BIG: &str = "big";
const BIG_ROWS: usize = 96;
const BIG_VALUE_BYTES: usize = 1 << 20;

/// How much, and what is demanded.
#[derive(Clone, Copy, Debug)]
pub struct Hostile {
    /// Connections that are opened and do nothing.
    pub connections: usize,
    /// Scans that nobody reads, on one connection.
    pub scans: usize,
    /// The longest that the load may wait for an acknowledgement.
    pub gap_max: Duration,
}

/// What each hostile caller works with.
struct Scene<'a> {
    node: &'a Node,
    client: &'a Client,
    plan: Hostile,
    report: &'a mut Report,
}

/// Everything that a caller can do wrong, one after the other.
///
/// # Panics
/// If a caller got no clear error, the node took more memory than it may or panicked, or another caller was not served.
pub async fn hostile(stand: &Stand, plan: Hostile) -> Report {
    let home = stand.home_of("hostile");
    let recorder = Recorder::to_files(&home);
    let mut cluster = Cluster::start(&stand.settings("hostile", 1, SMALL_CACHE)).await;
    let (client, _) = cluster.table(TABLE, 1).await;
    fill(&client).await;
    let load = Load::start(&client, TABLE, &recorder, Pace::REAL, STRICT).await;
    let mut report = Report::new("hostile");
    let began = recorder.now();
    let mut scene = Scene { node: &cluster.nodes[0], client: &client, plan, report: &mut report };
    words::oversized(&mut scene).await;
    words::garbage(&mut scene).await;
    words::foreign_cluster(&mut scene).await;
    large::keys_values_and_batches(&mut scene).await;
    large::answers(&mut scene).await;
    unread::pipe(&mut scene).await;
    unread::calls(&mut scene).await;
    unread::scans(&mut scene).await;
    crowd::idle_connections(&mut scene).await;
    let ended = recorder.now();
    cluster.check_well();
    let gap = longest_gap(&load.world().tally().ack_times(0), began, ended);
    report.add("longest gap of everyone else's writes", format!("{} ms", gap.as_millis()));
    report.add("there, once", load.stop().await);
    assert!(gap <= plan.gap_max, "others waited for too long: {report}");
    report.close(&home, &recorder)
}

async fn fill(client: &Client) {
    client.create_table(BIG, TableOptions::default()).await.expect("the table is made");
    let table = client.table(BIG);
    let rows: Vec<usize> = (0..BIG_ROWS).collect();
    for rows in rows.chunks(8) {
        let put = |batch: WriteBatch, row: &usize| batch.put(key(*row), vec![b'v'; BIG_VALUE_BYTES]);
        table.write(rows.iter().fold(WriteBatch::new(), put)).await.expect("the node takes it");
    }
}

/// The key of a row of the big table.
fn key(row: usize) -> String {
    format!("big/{row:06}")
}

impl Scene<'_> {
    /// What the process holds before a hostile caller comes.
    fn before(&self) -> Memory {
        self.node.reset_memory_peak();
        self.node.memory()
    }

    /// Checks that the process has taken no more than `bytes_max` beyond what it held before, at any time.
    fn bounded(&mut self, what: &str, before: Memory, bytes_max: u64) {
        let peak = self.node.memory().peak_bytes;
        let taken = peak.saturating_sub(before.now_bytes);
        let mib = |bytes: u64| bytes >> 20;
        self.report.add(
            what,
            format!("{} MiB taken, of {} MiB that may be; {} MiB in all", mib(taken), mib(bytes_max), mib(peak)),
        );
        assert!(
            taken <= bytes_max,
            "{what}: the node took {} MiB, expected {} MiB at most: from {} to {}",
            mib(taken),
            mib(bytes_max),
            mib(before.now_bytes),
            mib(peak)
        );
    }
}
