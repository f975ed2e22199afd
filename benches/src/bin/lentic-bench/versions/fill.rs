//! Tables and their keys.

use bytes::Bytes;
use lentic_client::{Fence, Table, WriteBatch};
use tokio::task::JoinSet;

use crate::drive::{scatter, value};

/// Shards of a table.
pub(super) const SHARDS: u32 = 4;
const BATCH: u64 = 500;
const FILLERS: u64 = 8;

/// What is filled in, and under which fence.
#[derive(Clone, Copy)]
pub(super) struct Fill {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) value_bytes: usize,
    pub(super) fence: Option<Fence>,
}

/// Puts the keys of numbers from `from` to `to`.
pub(super) async fn fill(table: &Table, what: Fill) {
    let mut fillers = JoinSet::new();
    for filler in 0..FILLERS {
        let table = table.clone();
        fillers.spawn(async move {
            let batches = (what.to - what.from).div_ceil(BATCH);
            for first in (0..batches).filter(|batch| batch % FILLERS == filler).map(|batch| what.from + batch * BATCH) {
                let put = |batch: WriteBatch, number| batch.put(key(number), value(number, what.value_bytes));
                let batch = (first..(first + BATCH).min(what.to)).fold(batch_of(what.fence), put);
                table.write_in_parts(batch).await.expect("the cluster takes writes");
            }
        });
    }
    while let Some(filled) = fillers.join_next().await {
        filled.expect("a filler failed");
    }
}

/// An empty batch of who owns the keys, or of anybody.
fn batch_of(fence: Option<Fence>) -> WriteBatch {
    match fence {
        Some(fence) => WriteBatch::new().fence(fence),
        None => WriteBatch::new(),
    }
}

/// The keys are spread evenly over the shards.
pub(super) fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&scatter(number).to_be_bytes())
}
