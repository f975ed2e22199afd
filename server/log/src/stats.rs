//! Plain counters of what the log has done; whoever serves metrics gives them names.

/// Counts by powers of two: bucket n holds the values below 2^n that no smaller bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The counts; the last bucket holds everything larger, too.
    pub buckets: [u64; 28],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.buckets[bucket.min(self.buckets.len() - 1)] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What the log has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Gathers: each is one write and one fdatasync.
    pub gathers: u64,
    /// Bytes written, with frames and padding.
    pub written_bytes: u64,
    /// Entries written.
    pub entries: u64,
    /// Segments begun.
    pub rolls: u64,
    /// Segments given back.
    pub released: u64,
    /// Microseconds of each fdatasync.
    pub sync_micros: Histogram,
    /// Entries of each gather.
    pub gather_entries: Histogram,
    /// Entries that a read found in memory.
    pub cache_hits: u64,
    /// Entries that a read fetched from a file.
    pub cache_misses: u64,
    /// Bytes counted against `cache_bytes_max`.
    pub cache_bytes: usize,
    /// Bytes waiting for the writer or in its hands.
    pub queue_bytes: usize,
    /// Live segments.
    pub segments: usize,
    /// Bytes of live segments, counted against `bytes_max`.
    pub segment_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_below_their_bucket() {
        let mut histogram = Histogram::default();
        [0, 1, 2, 3, 4, u64::MAX].into_iter().for_each(|value| histogram.record(value));
        assert_eq!(histogram.buckets[..4], [1, 1, 2, 1]);
        assert_eq!(histogram.buckets[27], 1);
        assert_eq!(histogram.count(), 6);
    }
}
