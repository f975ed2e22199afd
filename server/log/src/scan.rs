//! Reading a segment from front to back at recovery.
//!
//! ```text
//!   offset of a bad gather:     B                        the segment's end is ...
//!   ├ good ┤├ good ┤├ bad ┤├ good ┤                      known by the next segment: damage
//!                                                        not known, and a gather follows: B was synced: damage
//!   ├ good ┤├ good ┤├ bad ┤ zeros or an earlier life     not known, nothing follows: torn, the log ends at B
//! ```
//!
//! So in the last segment **only the last gather can be lost**, and only if the log was not closed. That gather may have
//! been torn by a crash before its sync, or damaged after it: the file cannot tell, and no log can.

use crate::format::{
    BLOCK_BYTES, GATHER_HEADER_BYTES, GatherHeader, RECORD_HEADER_BYTES, Record, RecordError, gather_bytes, narrow,
};
use crate::fs::File;
use crate::limits::READ_BYTES;
use crate::segment::Segment;
use lentic_types::codec::Reader;
use std::io;

/// Why a segment cannot be read.
pub(crate) enum ScanError {
    Io(io::Error),
    Damaged { offset: u32, what: String },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A part of a file in memory, read in large pieces.
struct Window<'a> {
    file: &'a dyn File,
    length: u32,
    start: u32,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset` on; the caller has checked that they are in the file.
    fn bytes(&mut self, offset: u32, length: usize) -> io::Result<&[u8]> {
        let held = offset >= self.start && (offset - self.start) as usize + length <= self.bytes.len();
        if !held {
            let left = (self.length - offset) as usize;
            self.bytes.resize(length.max(READ_BYTES).min(left), 0);
            self.start = offset;
            self.file.read_at(&mut self.bytes, u64::from(offset))?;
        }
        let start = (offset - self.start) as usize;
        Ok(&self.bytes[start..start + length])
    }
}

/// Where a scan ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// Where the next segment says.
    Known(u32),
    /// At the last good gather.
    Open,
}

/// What a scan found.
#[derive(Clone, Copy)]
pub(crate) struct Scanned {
    /// Where the last gather begins; the end, if there is none.
    pub(crate) last: u32,
    /// Where the last gather ends.
    pub(crate) end: u32,
    /// Whether there is any record.
    pub(crate) any: bool,
}

/// Passes every record of the segment to `apply`, in order, with its offset. `apply` refuses a record by saying why.
pub(crate) fn scan(
    segment: &Segment,
    end: End,
    mut apply: impl FnMut(Record<'_>, u32) -> Result<(), String>,
) -> Result<Scanned, ScanError> {
    let limit = match end {
        End::Known(end) => end,
        End::Open => segment.bytes,
    };
    let mut window = Window { file: &*segment.file, length: segment.bytes, start: 0, bytes: Vec::new() };
    let mut scanned = Scanned { last: BLOCK_BYTES, end: BLOCK_BYTES, any: false };
    while scanned.end < limit {
        match gather(&mut window, segment, scanned.end, limit)? {
            Gather::Good { records, next } => {
                for (record, offset) in records {
                    scanned.any = true;
                    apply(record, offset).map_err(|what| ScanError::Damaged { offset, what })?;
                }
                (scanned.last, scanned.end) = (scanned.end, next);
            }
            Gather::Foreign { offset, what } => return Err(ScanError::Damaged { offset, what }),
            Gather::Bad { offset: bad, what } => {
                let durable = match end {
                    End::Known(_) => Some("the next segment begins after it".to_owned()),
                    End::Open => later_gather(&mut window, segment, scanned.end)?,
                };
                return match durable {
                    Some(proof) => Err(ScanError::Damaged { offset: bad, what: format!("{what}, and {proof}") }),
                    None => Ok(scanned),
                };
            }
        }
    }
    Ok(scanned)
}

enum Gather<'a> {
    /// Whole: its records with their offsets, and where the next gather begins.
    Good { records: Vec<(Record<'a>, u32)>, next: u32 },
    /// Not what was written, if anything was.
    Bad { offset: u32, what: String },
    /// Written, but not by this release.
    Foreign { offset: u32, what: String },
}

/// Reads the gather at `offset`, which must end at `limit` or before.
fn gather<'w>(window: &'w mut Window<'_>, segment: &Segment, offset: u32, limit: u32) -> io::Result<Gather<'w>> {
    let bad = |what: String| Ok(Gather::Bad { offset, what });
    if limit - offset < BLOCK_BYTES {
        return bad("expected a gather, found less than a block".to_owned());
    }
    let header = match GatherHeader::decode(window.bytes(offset, GATHER_HEADER_BYTES)?, segment.seed, offset) {
        Ok(header) => header,
        Err(error) => return bad(error.to_string()),
    };
    if header.disk_bytes() > u64::from(limit - offset) {
        return bad(format!("a gather of {} bytes goes beyond the end", header.bytes));
    }
    let next = offset + gather_bytes(header.bytes as usize);
    let all = window.bytes(offset, (next - offset) as usize)?;
    let (records_bytes, padding) = all[GATHER_HEADER_BYTES..].split_at(header.bytes as usize);
    // A record is at least a frame, so the count is bounded by the bytes that are there.
    let mut records = Vec::with_capacity((header.records as usize).min(records_bytes.len() / RECORD_HEADER_BYTES));
    let mut reader = Reader::new(records_bytes);
    while !reader.rest().is_empty() {
        let at = next - narrow(padding.len() + reader.rest().len());
        match Record::decode(&mut reader, segment.seed) {
            Ok(record) => records.push((record, at)),
            Err(RecordError::Broken(error)) => return Ok(Gather::Bad { offset: at, what: error.to_string() }),
            Err(RecordError::Foreign(error)) => return Ok(Gather::Foreign { offset: at, what: error.to_string() }),
        }
    }
    if records.len() != header.records as usize {
        return bad(format!("expected {} records, found {}", header.records, records.len()));
    }
    match padding.iter().all(|byte| *byte == 0) {
        true => Ok(Gather::Good { records, next }),
        false => bad("expected zeros after the last record".to_owned()),
    }
}

/// Looks for a gather after a bad one: its presence proves that the bad one was synced.
fn later_gather(window: &mut Window<'_>, segment: &Segment, bad: u32) -> io::Result<Option<String>> {
    let blocks = (bad..segment.bytes).step_by(BLOCK_BYTES as usize).skip(1);
    for offset in blocks.filter(|offset| segment.bytes - offset >= BLOCK_BYTES) {
        let header = window.bytes(offset, GATHER_HEADER_BYTES)?;
        if GatherHeader::decode(header, segment.seed, offset).is_ok() {
            return Ok(Some(format!("the gather at {offset} was written after it was durable")));
        }
    }
    Ok(None)
}
