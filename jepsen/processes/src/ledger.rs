//! What was acknowledged, and what is not known.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a row that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// It must be there.
    Acknowledged,
    /// It may be there.
    Unknown,
    /// It must not be there.
    Refused,
}

/// What is known of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Must have been added.
    pub acknowledged: i64,
    /// May have been added.
    pub unknown: i64,
}

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// When it was meant to begin.
    pub meant: Duration,
    /// When it was acknowledged.
    pub at: Duration,
}

/// What was written, and what is known of it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Rows by key. A row's value is a function of its key.
    pub rows: BTreeMap<Vec<u8>, Row>,
    /// Counters by key.
    pub counters: BTreeMap<Vec<u8>, Sum>,
    /// What was acknowledged, by the place of the shard in the table.
    pub acks: Vec<Vec<Ack>>,
    /// Errors that a client saw.
    pub errors: Vec<String>,
    /// Writes that were not begun, for too many were open.
    pub skipped: u64,
}

impl Ledger {
    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acks.iter().map(Vec::len).sum()
    }

    /// Checks that no client saw an error, and that the load was as it was meant to be.
    ///
    /// # Panics
    /// If not.
    pub fn check_no_error(&self) {
        let errors = &self.errors;
        assert!(errors.is_empty(), "{} operations failed, the first: {}", errors.len(), errors[0]);
        assert_eq!(self.skipped, 0, "writes were not begun, for too many were open");
    }

    /// The times at which writes to a shard were acknowledged, in order.
    #[must_use]
    pub fn ack_times(&self, shard: usize) -> Vec<Duration> {
        let mut times: Vec<Duration> = self.acks[shard].iter().map(|ack| ack.at).collect();
        times.sort_unstable();
        times
    }
}
