//! Puts as a table grows: 10 thousand, 1 million, 10 million keys, in 1, 4 and 16 shards.
//!
//! A cluster for each number of shards; its table is filled in between, and puts go to random keys of those that are
//! there. What the filling has left to compact is compacted before puts are measured; what they leave themselves is in
//! the figure.

use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Table, WriteBatch};
use tokio::task::JoinSet;

use crate::Size;
use crate::cluster::Lentic;
use crate::drive::{Load, drive, scatter, value};
use crate::figures::{Figures, Target, median};

const VALUE_BYTES: usize = 256;
const CALLERS: u64 = 256;
const FILL_BATCH: u64 = 1_000;
const FILLERS: u64 = 8;

pub(crate) fn run(size: Size, figures: &mut Figures) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let sizes: &[u64] = if size.quick { &[10_000, 100_000] } else { &[10_000, 1_000_000, 10_000_000] };
    for shards in [1, 4, 16] {
        let rates = runtime.block_on(grow(size, shards, sizes));
        for (keys, rates) in sizes.iter().zip(&rates) {
            figures.add(&format!("put_rate_{shards}_shards_{keys}_keys"), rates, "puts/s", Target::Stated);
        }
        let (small, large) = (median(&rates[0]), median(&rates[rates.len() - 1]));
        figures.add(&format!("put_rate_grown_{shards}_shards"), &[large / small], "ratio", Target::AtLeast(0.7));
    }
}

/// Rates at each size, one for each repetition.
async fn grow(size: Size, shards: u32, sizes: &[u64]) -> Vec<Vec<f64>> {
    let cluster = Lentic::start().await;
    let client = cluster.client().await;
    cluster.table(&client, "growth", shards).await;
    let table = client.table("growth");
    let (mut filled, mut rates) = (0, Vec::new());
    for keys in sizes.iter().copied() {
        fill(&table, filled, keys).await;
        filled = keys;
        cluster.processes.settle().await;
        let mut of_size = Vec::new();
        for _ in 0..size.repetitions {
            let seconds = if size.quick { 1 } else { 4 };
            let load =
                Load { callers: CALLERS, warm_up: Duration::from_secs(1), measured: Duration::from_secs(seconds) };
            let table = table.clone();
            let seen = drive(load, move |caller, number| {
                let table = table.clone();
                async move {
                    let key = key(scatter(caller << 40 | number) % keys);
                    table.put(key, value(number, VALUE_BYTES)).await.expect("the cluster takes writes");
                }
            });
            of_size.push(seen.await.rate);
        }
        rates.push(of_size);
    }
    rates
}

async fn fill(table: &Table, from: u64, to: u64) {
    let mut fillers = JoinSet::new();
    for filler in 0..FILLERS {
        let table = table.clone();
        fillers.spawn(async move {
            let batches = (to - from).div_ceil(FILL_BATCH);
            for first in (0..batches).filter(|batch| batch % FILLERS == filler).map(|batch| from + batch * FILL_BATCH) {
                let put = |batch: WriteBatch, number| batch.put(key(number), value(number, VALUE_BYTES));
                let batch = (first..(first + FILL_BATCH).min(to)).fold(WriteBatch::new(), put);
                table.write_in_parts(batch).await.expect("the cluster takes writes");
            }
        });
    }
    while let Some(filled) = fillers.join_next().await {
        filled.expect("a filler failed");
    }
}

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&scatter(number).to_be_bytes())
}
