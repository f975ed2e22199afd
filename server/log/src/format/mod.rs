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
//! | kind | 1 | see `record.rs`; never reused |
//! | body | length | see `record.rs` |
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
mod life;
mod record;

pub(crate) use gather::{GATHER_HEADER_BYTES, GatherHeader, begin_gather, finish_gather, gather_bytes, narrow};
pub(crate) use header::{HeaderError, Link, SegmentHeader};
pub(crate) use life::{Seed, Sequence};
pub(crate) use record::{ENTRY_FRAME_BYTES, RECORD_HEADER_BYTES, Record, RecordError};

/// The only version of the format so far.
pub(crate) const VERSION: u32 = 1;

/// What gathers and the segment header are aligned to: the page of the file system and the physical sector of disks.
pub(crate) const BLOCK_BYTES: u32 = 4096;
