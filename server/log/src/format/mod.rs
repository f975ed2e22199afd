//! The bytes on disk, version 1.
//!
//! ```text
//!  a segment file, NNNNNNNN.log            a gather: one write, one fdatasync
//!  0        4096                            0        20
//!  ┌────────┬──────────┬──────────┬─────    ┌────────┬────────┬────────┬─────────┐
//!  │ header │ gather 1 │ gather 2 │ ...     │ header │ record │ record │ 0 0 0 0 │ to the next
//!  └────────┴──────────┴──────────┴─────    └────────┴────────┴────────┴─────────┘ multiple of 4096
//! ```
//!
//! All integers are big endian; offsets count from the start of the file.
//!
//! | segment header | bytes | |
//! |---|---|---|
//! | magic | 8 | `LENTICLG` |
//! | version | 4 | 1; any other is refused |
//! | cluster | 16 | the cluster's id |
//! | sequence | 4 | the segment's number, from 1, never used twice |
//! | capacity | 4 | the file's length when the header was written |
//! | previous sequence | 4 | the segment before this one in the log; 0 for the first of all |
//! | previous end | 4 | where that segment ends; 0 for the first of all |
//! | crc | 4 | crc32 (IEEE) of the 44 bytes before |
//! | padding | 4048 | zeros |
//!
//! | gather header | bytes | |
//! |---|---|---|
//! | magic | 4 | `GTHR` |
//! | crc | 4 | seeded crc32 of the 12 bytes that follow |
//! | offset | 4 | its own place in the file |
//! | bytes | 4 | of its records, without header and padding |
//! | records | 4 | how many |
//!
//! | record | bytes | |
//! |---|---|---|
//! | crc | 4 | seeded crc32 of everything that follows in the record |
//! | length | 4 | of the body |
//! | kind | 1 | see [`record`]; never reused |
//! | body | length | see [`record`] |
//!
//! **The seed of a segment's checksums is crc32(cluster, sequence).** A crc is a bijection of its seed, and for one
//! cluster the seed is a bijection of the sequence. So bytes of a recycled file's earlier life never pass, not even
//! by chance; and someone who can write values but does not know the cluster's id cannot forge a gather inside one.
//!
//! **A block of 4096 bytes that was synced is never written again** in the same life of a file: gathers begin and end
//! on blocks. So a torn write cannot hurt its neighbour, which was acknowledged. The price is on average half a block
//! per fdatasync, which the file system would have written anyway. (FoundationDB's disk queue does the same.)

mod gather;
mod header;
pub(crate) mod record;

pub(crate) use gather::{GATHER_HEADER_BYTES, GatherHeader, begin_gather, finish_gather, gather_bytes};
pub(crate) use header::{HeaderError, Link, SegmentHeader};
pub(crate) use record::{ENTRY_FRAME_BYTES, RECORD_HEADER_BYTES, Record, RecordError};

/// The only version of the format so far.
pub(crate) const VERSION: u32 = 1;

/// What gathers and the segment header are aligned to: the page of the file system and the physical sector of disks.
pub(crate) const BLOCK_BYTES: u32 = 4096;

/// The number of a segment: it orders the files, and no two lives of a file share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence(pub(crate) u32);

impl Sequence {
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log has fewer than 2^32 segments"))
    }

    /// The name of the segment's file.
    pub(crate) fn file_name(self) -> String {
        format!("{:08}.log", self.0)
    }

    /// The name of a file that holds nothing and waits to become a segment.
    pub(crate) fn spare_name(self) -> String {
        format!("spare-{:08}", self.0)
    }

    /// The segment with this file name, if it is one.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let sequence = Self(name.strip_suffix(".log")?.parse().ok()?);
        (sequence.file_name() == name && sequence.0 > 0).then_some(sequence)
    }

    /// Whether this is the name of a spare file.
    pub(crate) fn is_spare_name(name: &str) -> bool {
        name.strip_prefix("spare-").and_then(|digits| digits.parse().ok()).is_some_and(|n| Self(n).spare_name() == name)
    }
}

/// The start value of the checksums inside one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(cluster: lentic_types::ClusterId, sequence: Sequence) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&cluster.0);
        hasher.update(&sequence.0.to_be_bytes());
        Self(hasher.finalize())
    }

    /// The seeded checksum of `bytes`.
    pub(crate) fn crc(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// A length inside a segment, as the format stores it.
pub(crate) fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("everything inside a segment is bounded far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_types::ClusterId;

    #[test]
    fn names_are_read_back_in_their_only_form() {
        for sequence in [1, 99_999_999, 100_000_000, u32::MAX].map(Sequence) {
            assert_eq!(Sequence::from_file_name(&sequence.file_name()), Some(sequence));
            assert!(Sequence::is_spare_name(&sequence.spare_name()));
        }
        for name in ["1.log", "00000000.log", "+0000001.log", "00000001.lo", "LOCK", "spare-00000001"] {
            assert_eq!(Sequence::from_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_checksum_of_one_life_never_passes_in_another() {
        let cluster = ClusterId([7; 16]);
        let crcs: std::collections::BTreeSet<u32> =
            (1..10_000).map(|sequence| Seed::new(cluster, Sequence(sequence)).crc(b"the same bytes")).collect();
        assert_eq!(crcs.len(), 9_999);
    }
}
