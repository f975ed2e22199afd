//! Every limit of the log, with the relations between them, and the knobs below the limits.

use crate::format::{BLOCK_BYTES, ENTRY_FRAME_BYTES, gather_bytes};
use lentic_types::limits::ENTRY_BYTES_MAX;

/// Largest saved state and largest purge marker of a group in bytes: votes and log ids, not data.
pub const STATE_BYTES_MAX: usize = 4 << 10;
/// Smallest segment: header, one small gather, the closing block, and room to see what a segment does.
pub const SEGMENT_BYTES_MIN: u32 = 4 * BLOCK_BYTES;
/// Largest segment: offsets and lengths fit 32 bits with room for one entry of the largest size.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// Largest sum of entries that one gather takes, unless one entry alone is larger.
pub const GATHER_BYTES_MAX: usize = 64 << 20;
/// What the queue holds above `queue_bytes_max` for everything but entries. Votes, truncations and purges are few and
/// small, and a group that cannot take back entries because others wait would be stuck for no reason.
pub(crate) const QUEUE_RESERVE_BYTES: usize = 4 << 20;
/// What one entry costs in memory beside its bytes; a cache bound without it would not hold for small entries.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 96;
/// Recycled files kept ready. Two cover a burst of purges; a third would only hold space.
pub(crate) const SPARES_MAX: usize = 2;
/// What recovery and reads of many entries take from a file at a time.
pub(crate) const READ_BYTES: usize = 1 << 20;

const _: () =
    assert!(ENTRY_BYTES_MAX + ENTRY_FRAME_BYTES + STATE_BYTES_MAX < SEGMENT_BYTES_MAX as usize, "offsets fit");
const _: () = assert!(GATHER_BYTES_MAX < (SEGMENT_BYTES_MAX as usize), "a gather of many entries fits a segment");
const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX / 2, "the sum of two lengths in a segment fits 32 bits");

/// The knobs of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Length of a segment file. Too small: a roll, with its three syncs, comes often. Too large: one quiet group
    /// holds more, and the space in the last segment is reserved long before it is used.
    pub segment_bytes: u32,
    /// Live segments above this make the log ask for flushes. It is a request, not a wall: nothing is refused above
    /// it, what a snapshot under way needs stays up to twice this, and a store that cannot flush fills the disk. Too
    /// small: memtables are flushed while they are small, and who was away gets snapshots.
    pub bytes_max: u64,
    /// Entries waiting for the writer and in its hands. An append above it is refused as full. Too small: gathers are
    /// small while an fdatasync runs. Too large: memory, and an append waits long behind it.
    pub queue_bytes_max: usize,
    /// Most bytes of entries in one gather, unless one entry alone is larger. Too small: more fdatasyncs under load.
    /// Too large: a small append waits for the write of everyone else's.
    pub gather_bytes_max: usize,
    /// Written entries kept in memory to be read again, newest first. Too small: followers that lag a little, and
    /// apply, read files.
    pub cache_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            bytes_max: 4 << 30,
            queue_bytes_max: 64 << 20,
            gather_bytes_max: 4 << 20,
            cache_bytes_max: 64 << 20,
        }
    }
}

/// A knob out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {found}, expected {min} to {max}; set it within that in the configuration")]
pub struct OptionError {
    /// The configuration's name of the knob.
    pub name: &'static str,
    /// What was configured.
    pub found: u64,
    /// The smallest value that works.
    pub min: u64,
    /// The largest value that works.
    pub max: u64,
}

impl LogOptions {
    /// Checks each knob against its bounds. [`Log::open`](crate::Log::open) does it, too.
    pub fn check(&self) -> Result<(), OptionError> {
        let segment = u64::from(self.segment_bytes);
        let rows = [
            ("segment_bytes", segment, u64::from(SEGMENT_BYTES_MIN), u64::from(SEGMENT_BYTES_MAX)),
            ("bytes_max", self.bytes_max, 2 * segment, u64::MAX),
            ("queue_bytes_max", self.queue_bytes_max as u64, 1, u64::MAX),
            ("gather_bytes_max", self.gather_bytes_max as u64, 1, GATHER_BYTES_MAX as u64),
            ("cache_bytes_max", self.cache_bytes_max as u64, 0, u64::MAX),
        ];
        match rows.into_iter().find(|(_, found, min, max)| !(min..=max).contains(&found)) {
            Some((name, found, min, max)) => Err(OptionError { name, found, min, max }),
            None => Ok(()),
        }
    }

    /// The length of a segment that can take a gather with this many bytes of records.
    pub(crate) fn capacity_for(&self, record_bytes: usize) -> u32 {
        // Header, gather, and the block that stays free for closing the log.
        self.segment_bytes.max(BLOCK_BYTES + gather_bytes(record_bytes) + BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_have_bounds() {
        assert_eq!(LogOptions::default().check(), Ok(()));
        let small = LogOptions { segment_bytes: 4096, ..LogOptions::default() };
        let message = "segment_bytes is 4096, expected 16384 to 1073741824; set it within that in the configuration";
        assert_eq!(small.check().unwrap_err().to_string(), message);
        let narrow = LogOptions { bytes_max: 1 << 20, ..LogOptions::default() };
        assert_eq!(narrow.check().unwrap_err().name, "bytes_max");
    }
}
