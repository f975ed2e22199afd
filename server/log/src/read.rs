//! Reading entries: what is in memory is taken under the lock, the rest is fetched from the files without it.
//!
//! A reader shares the segments it reads from. A segment given back meanwhile keeps its file until the reader is done,
//! so **a read never sees the bytes of a file's next life**.

use crate::error::ReadError;
use crate::format::{ENTRY_FRAME_BYTES, Record, RecordError};
use crate::fs::Fs;
use crate::group::{Found, Location};
use crate::limits::READ_BYTES;
use crate::segment::Segment;
use crate::state::{Shared, State};
use bytes::Bytes;
use lentic_types::codec::Reader;
use lentic_types::{GroupId, Index};
use std::ops::Range;
use std::sync::Arc;

/// What a read will return, in order, before the files are read.
enum Part {
    Memory(Bytes),
    Disk { index: Index, location: Location, segment: Arc<Segment> },
}

/// Reads entries as [`Log::read`](crate::Log::read) says.
pub(crate) fn read(
    shared: &Shared,
    fs: &dyn Fs,
    group: GroupId,
    range: Range<Index>,
    bytes_max: usize,
) -> Result<Vec<Bytes>, ReadError> {
    let parts = plan(&mut *shared.lock()?, group, range, bytes_max)?;
    let mut entries = Vec::with_capacity(parts.len());
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        match part {
            Part::Memory(data) => entries.push(data),
            Part::Disk { index, location, segment } => {
                let mut run = vec![(index, location)];
                while let Some(next) = parts.next_if(|part| extends(part, run[0].1)) {
                    if let Part::Disk { index, location, .. } = next {
                        run.push((index, location));
                    }
                }
                fetch(&segment, fs, group, &run, &mut entries)?;
            }
        }
    }
    Ok(entries)
}

/// Decides what to read: entries up to `bytes_max` in sum, but the first whatever its size.
fn plan(state: &mut State, group_id: GroupId, range: Range<Index>, bytes_max: usize) -> Result<Vec<Part>, ReadError> {
    let Some(group) = state.groups.get(&group_id) else { return Ok(Vec::new()) };
    let end = range.end.min(group.next());
    if range.start >= end {
        return Ok(Vec::new());
    }
    if range.start < group.start() {
        return Err(ReadError::Purged { group: group_id, first: group.start() });
    }
    let (mut parts, mut bytes, mut hits) = (Vec::new(), 0usize, 0);
    for index in (range.start.0..end.0).map(Index) {
        let found = group.find(index);
        bytes = bytes.saturating_add(match &found {
            Found::Memory(data) => data.len(),
            Found::Disk(location) => location.length as usize,
        });
        if bytes > bytes_max && !parts.is_empty() {
            break;
        }
        parts.push(match found {
            Found::Memory(data) => {
                hits += 1;
                Part::Memory(data)
            }
            Found::Disk(location) => {
                let segment = state.segments.get(&location.segment).expect("a segment lives while an entry is in it");
                Part::Disk { index, location, segment: Arc::clone(segment) }
            }
        });
    }
    state.stats.cache_hits += hits;
    state.stats.cache_misses += parts.len() as u64 - hits;
    Ok(parts)
}

/// Whether `part` can come from the same read as the entry at `first`.
fn extends(part: &Part, first: Location) -> bool {
    match part {
        Part::Disk { location, .. } => {
            location.segment == first.segment && record_end(*location) - first.offset as usize <= READ_BYTES
        }
        Part::Memory(_) => false,
    }
}

fn record_end(location: Location) -> usize {
    location.offset as usize + ENTRY_FRAME_BYTES + location.length as usize
}

/// Reads a run of entries of one segment at once, and checks each.
fn fetch(
    segment: &Segment,
    fs: &dyn Fs,
    group: GroupId,
    run: &[(Index, Location)],
    entries: &mut Vec<Bytes>,
) -> Result<(), ReadError> {
    let path = || fs.path(&segment.sequence.file_name());
    let start = run[0].1.offset as usize;
    let mut bytes = vec![0; record_end(run[run.len() - 1].1) - start];
    segment.file.read_at(&mut bytes, start as u64).map_err(|source| ReadError::Io { path: path(), source })?;
    for (expected, location) in run {
        let record = &bytes[location.offset as usize - start..record_end(*location) - start];
        let damaged = |what| ReadError::Damaged { path: path(), offset: u64::from(location.offset), what };
        match Record::decode(&mut Reader::new(record), segment.seed) {
            Ok(Record::Entry { group: found, index, data }) if found == group && index == *expected => {
                entries.push(Bytes::copy_from_slice(data));
            }
            Ok(other) => return Err(damaged(format!("expected entry {expected} of {group}, found {other:?}"))),
            Err(RecordError::Broken(error) | RecordError::Foreign(error)) => return Err(damaged(error.to_string())),
        }
    }
    Ok(())
}
