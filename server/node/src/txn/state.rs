//! What the transactions of a node share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lentic_types::{NodeId, TxnId, Version};

/// Names for attempts, counts, and which recoveries are under way.
#[derive(Debug, Default)]
pub(crate) struct Txns {
    attempts: AtomicU64,
    recovering: Mutex<BTreeSet<TxnId>>,
    pub(crate) counts: Counts,
}

/// What became of transactions over several shards that this node coordinated.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) committed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) attempts_aborted: AtomicU64,
    /// Rounds of consensus, one after the other, before committed ones were answered.
    pub(crate) rounds: AtomicU64,
    pub(crate) recovered: AtomicU64,
}

pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

impl Txns {
    /// A name for a new attempt at a transaction that began at `begun`.
    pub(super) fn name(&self, begun: Version, node: NodeId) -> TxnId {
        TxnId { begun, node, number: self.attempts.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Notes a recovery, unless there is one of this transaction or there are too many.
    pub(super) fn begin_recovery(&self, txn: TxnId, most: usize) -> bool {
        let mut recovering = self.recovering.lock().unwrap_or_else(PoisonError::into_inner);
        recovering.len() < most && recovering.insert(txn)
    }

    pub(super) fn end_recovery(&self, txn: TxnId) {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner).remove(&txn);
    }
}
