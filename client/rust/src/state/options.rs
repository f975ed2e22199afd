//! The knobs of a task's state.

use super::error::StateError;

/// The knobs of a task's state. Its memory is bounded by `cache_bytes` and twice `dirty_bytes_max`, what timers hold, and what the
/// last [prefetch](super::ValueState::prefetch) was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// Most bytes of what was read or flushed that is kept to be read again, bookkeeping among them. 0: nothing is kept.
    /// Too small: each event reads the table.
    pub cache_bytes: usize,
    /// Bytes of changes after which a flush begins beside the events. Too small: many small requests; too large: a
    /// checkpoint has much to flush.
    pub flush_bytes: usize,
    /// Bytes of changes at which a task waits for the flush that is under way. At least `flush_bytes`. Too large: memory
    /// is all that a slow table fills.
    pub dirty_bytes_max: usize,
    /// Most operations of one request of a flush.
    pub batch_operations: usize,
    /// About how many bytes one request of a flush has.
    pub batch_bytes: usize,
    /// How many requests of a flush are under way at once.
    pub batches_in_flight: usize,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            flush_bytes: 8 << 20,
            dirty_bytes_max: 32 << 20,
            batch_operations: 2_000,
            batch_bytes: 1 << 20,
            batches_in_flight: 4,
        }
    }
}

impl StateOptions {
    pub(super) fn check(&self) -> Result<(), StateError> {
        let rows = [
            ("flush_bytes", self.flush_bytes > 0, "more than 0"),
            ("dirty_bytes_max", self.dirty_bytes_max >= self.flush_bytes, "at least flush_bytes"),
            ("batch_operations", (1..=10_000).contains(&self.batch_operations), "1 to 10000"),
            ("batch_bytes", (1..=16 << 20).contains(&self.batch_bytes), "1 to 16 MiB"),
            ("batches_in_flight", (1..=64).contains(&self.batches_in_flight), "1 to 64"),
        ];
        match rows.into_iter().find(|(_, is_right, _)| !is_right) {
            Some((name, _, expected)) => Err(StateError::Invalid(format!("{name} of a task: expected {expected}"))),
            None => Ok(()),
        }
    }
}
