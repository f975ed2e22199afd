//! A job's state grows from a tenth of a gigabyte to ten; at each size it is named, gone back to, restored and branched.

use std::time::{Duration, Instant};

use lentic_client::{Checkpoint, Client, Fence, KeyRange, Table, Take, WriteBatch};

use super::fill::{Fill, SHARDS, fill, key};
use crate::Size;
use crate::cluster::Lentic;
use crate::drive::{Pace, paced, value};
use crate::figures::{Figures, Target, median, percentile};

const VALUE_BYTES: usize = 1_000;
const TABLE: &str = "state";
const OWNER: &str = "job";
/// Keys that are written between a checkpoint and the way back to it.
const DIRTY_KEYS: u64 = 1_000;
/// What the job writes while its checkpoints are timed.
const WRITES: Pace = Pace { every: Duration::from_millis(20), at_once: 10 };

pub(crate) async fn run(size: Size, figures: &mut Figures) {
    let mb: &[u64] = if size.quick { &[10, 100] } else { &[100, 1_000, 10_000] };
    let cluster = Lentic::start().await;
    let client = cluster.client().await;
    cluster.table(&client, TABLE, SHARDS).await;
    let table = client.table(TABLE);
    let fence = table.acquire(KeyRange::all(), OWNER).await.expect("nobody owns it");
    let mut job = Job { table, fence, keys: 0, number: 0 };
    let mut p99s = Vec::new();
    for mb in mb {
        job.grow(mb * 1_000_000 / VALUE_BYTES as u64).await;
        cluster.processes.settle().await;
        let gone = Gone::take(size, &mut job, &cluster).await;
        let (branch, first_write) = branches(size, &client).await;
        let named = |figure: &str| format!("{figure}_{mb}_mb");
        figures.add(&named("checkpoint_p99"), &[percentile(&gone.quiet, 99)], "ms", Target::AtMost(20.0));
        figures.add(&named("checkpoint_p50"), &[median(&gone.quiet)], "ms", Target::Stated);
        let beside = percentile(&gone.beside_writes, 99);
        figures.add(&named("checkpoint_beside_writes_p99"), &[beside], "ms", Target::Stated);
        figures.add(&named("checkpoints_disk_growth"), &[gone.growth_bytes], "bytes", Target::AtMost(0.0));
        figures.add(&named("rollback"), &gone.rollback, "ms", Target::AtMost(50.0));
        figures.add(&named("restore_to_first_read"), &gone.restore, "ms", Target::AtMost(200.0));
        figures.add(&named("branch"), &branch, "ms", Target::AtMost(20.0));
        figures.add(&named("branch_to_first_write"), &first_write, "ms", Target::Stated);
        p99s.push(percentile(&gone.quiet, 99));
    }
    let ratio = p99s[p99s.len() - 1] / p99s[0];
    figures.add("checkpoint_p99_largest_to_smallest", &[ratio], "ratio", Target::AtMost(1.5));
}

/// A job of one task that owns the table.
struct Job {
    table: Table,
    fence: Fence,
    keys: u64,
    /// Of its newest checkpoint.
    number: u64,
}

impl Job {
    async fn grow(&mut self, keys: u64) {
        fill(&self.table, Fill { from: self.keys, to: keys, value_bytes: VALUE_BYTES, fence: Some(self.fence) }).await;
        self.keys = keys;
    }

    async fn checkpoint(&mut self) -> Checkpoint {
        self.number += 1;
        self.table.checkpoint(&KeyRange::all(), self.fence, self.number).await.expect("the job owns the table")
    }

    /// Writes what a restore takes back; returns one of the keys with what it was before.
    async fn dirty(&self) -> u64 {
        let first = self.number * DIRTY_KEYS % self.keys.saturating_sub(DIRTY_KEYS).max(1);
        let put = |batch: WriteBatch, number| batch.put(key(number), "dirty");
        let batch = (first..first + DIRTY_KEYS).fold(WriteBatch::new().fence(self.fence), put);
        self.table.write_in_parts(batch).await.expect("the job owns the table");
        first
    }

    async fn go_back(&mut self, to: &Checkpoint) {
        let take = Take::new(KeyRange::all(), OWNER).restore(&KeyRange::all(), to.token.clone());
        self.fence = self.table.take(take).await.expect("the checkpoint is kept");
    }
}

/// What was timed at one size, in milliseconds.
struct Gone {
    quiet: Vec<f64>,
    beside_writes: Vec<f64>,
    growth_bytes: f64,
    rollback: Vec<f64>,
    restore: Vec<f64>,
}

impl Gone {
    async fn take(size: Size, job: &mut Job, cluster: &Lentic) -> Self {
        let count = size.pick(200, 50);
        let before = cluster.processes.disk_bytes();
        let quiet = checkpoints(job, count).await;
        let growth_bytes = (cluster.processes.disk_bytes() - before) as f64;
        let (table, fence, keys) = (job.table.clone(), job.fence, job.keys);
        let writes = paced(WRITES, move |number| {
            let table = table.clone();
            async move {
                let number = number % keys;
                let batch = WriteBatch::new().fence(fence).put(key(number), value(number, VALUE_BYTES));
                table.write(batch).await.expect("the job owns the table");
            }
        });
        let beside_writes = checkpoints(job, count).await;
        writes.stop().await;
        let (mut rollback, mut restore) = (Vec::new(), Vec::new());
        for _ in 0..size.pick(20, 5) {
            let checkpoint = job.checkpoint().await;
            let dirtied = job.dirty().await;
            let began = Instant::now();
            job.go_back(&checkpoint).await;
            rollback.push(ms(began));
            let found = job.table.get(key(dirtied)).await.expect("the cluster answers");
            restore.push(ms(began));
            assert!(found.is_some_and(|found| found.value.len() == VALUE_BYTES), "the restored key has its old value");
        }
        Self { quiet, beside_writes, growth_bytes, rollback, restore }
    }
}

/// Branches of the whole table, one after the other: until they are made, and until they have taken a first write.
async fn branches(size: Size, client: &Client) -> (Vec<f64>, Vec<f64>) {
    const BRANCH: &str = "branch";
    let (mut made, mut written) = (Vec::new(), Vec::new());
    for _ in 0..size.pick(20, 5) {
        let began = Instant::now();
        client.branch(BRANCH, TABLE, None).await.expect("the table can be branched");
        made.push(ms(began));
        client.table(BRANCH).put(key(0), "mine").await.expect("the branch takes writes");
        written.push(ms(began));
        let shown = client.table(BRANCH).get(key(1)).await.expect("the cluster answers");
        assert!(shown.is_some_and(|shown| shown.value.len() == VALUE_BYTES), "the parent's value shows");
        client.drop_table(BRANCH).await.expect("the branch is there");
    }
    (made, written)
}

async fn checkpoints(job: &mut Job, count: usize) -> Vec<f64> {
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        job.checkpoint().await;
        took.push(ms(began));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
