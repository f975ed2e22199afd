//! Opening: from the files to the memory of a log that can be appended to.
//!
//! ```text
//!   00000004.log      00000005.log      00000007.log         00000008.log
//!   prev 3 @ 9000     prev 4 @ 61440    prev 5 @ 8192        prev 7 @ E     ◄── begun by this opening
//!   ├───── E4 ────┤   ├─ E5 ┤           ├──── E, then torn
//!    ▲ a release record has said that nothing below 4 is needed
//! ```
//!
//! 1. Lock the directory. Read every header. From the newest segment go back by the links; a segment that no link names
//!    was given up by an earlier opening.
//! 2. Read each segment once, oldest first, and replay its records into the groups. The end of each is in the link of
//!    the next; the end of the last is its last good gather ([`scan`](crate::scan)).
//! 3. Write the last good gather once more, as it is, and sync: what was read may have been in the kernel's memory only.
//!    A sync alone does not do after one that failed, for the kernel may take the pages for written since. Gathers before
//!    it are on disk, for a log whose sync has failed writes no more.
//! 4. Begin a new segment whose link says where the last one ends. **Nothing is ever written behind a torn end**, so what
//!    was torn cannot come back later: the link decides for ever. If anything fails before the link is durable, the next
//!    opening starts over with the same bytes.
//!
//! Nothing is changed before step 4, and after it only files are touched that the log no longer needs.

use crate::error::OpenError;
use crate::format::{BLOCK_BYTES, HeaderError, Link, Record, SegmentHeader, Sequence, VERSION, narrow};
use crate::fs::{DirLock, Fs, LockError};
use crate::group::{Group, Kept, Location, Purged};
use crate::limits::LogOptions;
use crate::scan::{End, ScanError, Scanned, scan};
use crate::segment::{Directory, Failed, Segment};
use crate::writer::Tail;
use bytes::Bytes;
use lentic_types::codec::DecodeError;
use lentic_types::{ClusterId, GroupId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// A log as found on disk, ready for new gathers.
pub(crate) struct Recovered {
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) segments: BTreeMap<Sequence, Arc<Segment>>,
    pub(crate) directory: Directory,
    pub(crate) tail: Tail,
    pub(crate) lock: DirLock,
}

/// A segment with what its header says.
struct Opened {
    segment: Arc<Segment>,
    header: SegmentHeader,
}

/// Opens the directory.
pub(crate) fn recover(fs: Arc<dyn Fs>, cluster: ClusterId, options: &LogOptions) -> Result<Recovered, OpenError> {
    let lock = fs.lock().map_err(|error| match error {
        LockError::Held { process } => OpenError::Locked { directory: fs.path("."), process },
        LockError::Io(source) => OpenError::Io { action: "locking", path: fs.path("."), source },
    })?;
    let names = fs.list().map_err(|source| OpenError::Io { action: "listing", path: fs.path("."), source })?;
    let spares: BTreeSet<String> = names.iter().filter(|name| Sequence::is_spare_name(name)).cloned().collect();
    let sequences: BTreeSet<Sequence> = names.iter().filter_map(|name| Sequence::from_file_name(name)).collect();
    let mut directory = Directory::new(fs, cluster, spares);
    let mut opened = BTreeMap::new();
    for sequence in sequences {
        opened.insert(sequence, open_segment(&directory, cluster, sequence)?);
    }

    let chain = chain(&opened);
    let mut replay = Replay::default();
    let last = replay_chain(&directory, &chain, &mut replay)?;
    replay.check(&directory, &chain)?;

    let sequence = opened.last_key_value().map_or(Sequence(1), |(newest, _)| newest.next());
    let previous = match &last {
        Some(last) => last.prove(&directory)?,
        None => None,
    };
    let segment = directory.begin(sequence, options.capacity_for(0), previous)?;

    let needed = |sequence: &Sequence| replay.released.is_none_or(|below| *sequence >= below);
    let kept = chain.iter().map(|opened| (opened.segment.sequence, Arc::clone(&opened.segment)));
    let mut segments: BTreeMap<_, _> = kept.filter(|(sequence, _)| needed(sequence)).collect();
    if let Some(last) = last {
        segments.remove(&last.segment.sequence);
        if last.scanned.any {
            segments.insert(last.segment.sequence, last.cut(&directory)?);
        }
    }
    drop(chain);
    opened.retain(|sequence, _| !segments.contains_key(sequence));
    let unneeded = opened.into_values().map(|opened| opened.segment).collect();
    directory.give_back(unneeded, options.segment_bytes)?;
    segments.insert(sequence, Arc::clone(&segment));
    let tail = Tail { segment, offset: BLOCK_BYTES, unproven: false };
    Ok(Recovered { groups: replay.groups, segments, directory, tail, lock })
}

/// Opens one file and reads its header.
fn open_segment(directory: &Directory, cluster: ClusterId, sequence: Sequence) -> Result<Opened, OpenError> {
    let path = || directory.path(sequence);
    let failed = |action| move |source| OpenError::from(Failed { action, path: directory.path(sequence), source });
    let damaged = |offset, what| OpenError::Damaged { path: path(), offset, what };
    let file = directory.fs().open(&sequence.file_name()).map_err(failed("opening"))?;
    let length = file.length().map_err(failed("reading"))?;
    let bytes =
        u32::try_from(length).map_err(|_| damaged(0, format!("expected less than 4 GiB, found {length} bytes")))?;
    let mut block = vec![0; BLOCK_BYTES as usize];
    match file.read_at(&mut block, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(damaged(length, "the file ends inside its header".to_owned()));
        }
        result => result.map_err(failed("reading"))?,
    }
    let header = SegmentHeader::decode(&block).map_err(|error| match error {
        HeaderError::Version(found) => OpenError::Version { path: path(), found, expected: VERSION },
        HeaderError::Damaged(DecodeError::Invalid { field: "magic" }) => {
            damaged(0, "this is not a segment of a Lentic log".to_owned())
        }
        HeaderError::Damaged(error) => damaged(0, error.to_string()),
    })?;
    if header.cluster != cluster {
        return Err(OpenError::Cluster { path: path(), found: header.cluster, expected: cluster });
    }
    if header.sequence != sequence {
        return Err(damaged(0, format!("expected segment {}, found {}", sequence.0, header.sequence.0)));
    }
    let segment = Segment { sequence, seed: directory.seed(sequence), file, bytes };
    Ok(Opened { segment: Arc::new(segment), header })
}

/// The segments that are linked with the newest, oldest first.
fn chain(opened: &BTreeMap<Sequence, Opened>) -> Vec<&Opened> {
    let mut chain = Vec::new();
    let mut next = opened.last_key_value().map(|(_, newest)| newest);
    while let Some(found) = next {
        chain.push(found);
        // A link goes back, always; one that does not would end the walk, and be reported as missing.
        let previous = found.header.previous.filter(|link| link.sequence < found.header.sequence);
        next = previous.and_then(|link| opened.get(&link.sequence));
    }
    chain.reverse();
    chain
}

/// The last segment of the chain, with its end.
struct Last {
    segment: Arc<Segment>,
    previous: Option<Link>,
    scanned: Scanned,
}

impl Last {
    /// Makes durable what was read, and says what the next segment links to. A segment without records is passed over,
    /// so that a node that starts again and again does not collect files.
    fn prove(&self, directory: &Directory) -> Result<Option<Link>, OpenError> {
        let Segment { sequence, ref file, .. } = *self.segment;
        let failed = |action| move |source| OpenError::Io { action, path: directory.path(sequence), source };
        let Scanned { last, end, any } = self.scanned;
        let mut gather = vec![0; (end - last) as usize];
        file.read_at(&mut gather, u64::from(last)).map_err(failed("reading"))?;
        file.write_at(&gather, u64::from(last)).map_err(failed("writing"))?;
        file.sync_data().map_err(failed("syncing"))?;
        Ok(match any {
            true => Some(Link { sequence, end }),
            false => self.previous,
        })
    }

    /// Frees the space behind the end, which is never written.
    fn cut(&self, directory: &Directory) -> Result<Arc<Segment>, OpenError> {
        let Segment { sequence, seed, ref file, .. } = *self.segment;
        let cut = file.cut(u64::from(self.scanned.end));
        cut.map_err(|source| OpenError::Io { action: "cutting", path: directory.path(sequence), source })?;
        Ok(Arc::new(Segment { sequence, seed, file: Arc::clone(file), bytes: self.scanned.end }))
    }
}

fn replay_chain(directory: &Directory, chain: &[&Opened], replay: &mut Replay) -> Result<Option<Last>, OpenError> {
    let mut last = None;
    for (position, opened) in chain.iter().enumerate() {
        let segment = &opened.segment;
        let end = match chain.get(position + 1).and_then(|next| next.header.previous) {
            Some(link) => End::Known(link.end),
            None => End::Open,
        };
        // The file had its full length before its name was durable, and is cut only once its end is linked.
        let length = match end {
            End::Known(end) => end,
            End::Open => opened.header.capacity,
        };
        let path = || directory.path(segment.sequence);
        if segment.bytes < length {
            let what = format!("expected {length} bytes, found {}: the file was cut", segment.bytes);
            return Err(OpenError::Damaged { path: path(), offset: u64::from(segment.bytes), what });
        }
        let scanned = scan(segment, end, |record, offset| replay.apply(record, segment.sequence, offset));
        let scanned = scanned.map_err(|error| match error {
            ScanError::Io(source) => OpenError::Io { action: "reading", path: path(), source },
            ScanError::Damaged { offset, what } => OpenError::Damaged { path: path(), offset: u64::from(offset), what },
        })?;
        last = Some(Last { segment: Arc::clone(segment), previous: opened.header.previous, scanned });
    }
    Ok(last)
}

/// What the records add up to.
#[derive(Default)]
struct Replay {
    groups: BTreeMap<GroupId, Group>,
    /// No segment before this one is needed.
    released: Option<Sequence>,
}

impl Replay {
    /// Applies one record, or says why no log can have it here.
    fn apply(&mut self, record: Record<'_>, segment: Sequence, offset: u32) -> Result<(), String> {
        match record {
            Record::Entry { group: id, index, data } => {
                let length = narrow(data.len());
                let group = self.groups.entry(id).or_default();
                if !group.replay(index, Location { segment, offset, length }) {
                    return Err(format!("entry {index} of {id} does not follow what is before it"));
                }
            }
            Record::Save { group, data } => {
                let kept = Kept { value: Bytes::copy_from_slice(data), segment };
                self.groups.entry(group).or_default().saved = Some(kept);
            }
            Record::Truncate { group, from } => self.groups.entry(group).or_default().truncate(from),
            Record::Purge { group: id, through, marker } => {
                let group = self.groups.entry(id).or_default();
                if group.purged.as_ref().is_some_and(|kept| kept.value.through > through) {
                    return Err(format!("the purge point of {id} goes back to {through}"));
                }
                group.purge(Purged { through, marker: Bytes::copy_from_slice(marker) }, segment);
            }
            Record::Remove { group } => {
                self.groups.remove(&group);
            }
            Record::Release { below } => self.released = self.released.max(Some(below)),
        }
        Ok(())
    }

    /// Checks that nothing is missing: no segment, and no entry after a purge point.
    fn check(&self, directory: &Directory, chain: &[&Opened]) -> Result<(), OpenError> {
        let Some(oldest) = chain.first() else { return Ok(()) };
        let missing = oldest.header.previous.map(|link| link.sequence);
        if let Some(missing) = missing.filter(|missing| self.released.is_none_or(|below| *missing >= below)) {
            return Err(OpenError::Missing { path: directory.path(missing) });
        }
        for (id, group) in &self.groups {
            group.check();
            let released = group.oldest_segment().filter(|segment| Some(*segment) < self.released);
            if !group.is_whole() || released.is_some() {
                let segment = group.oldest_segment().unwrap_or(oldest.segment.sequence);
                let what = format!("entries of {id} from {} on do not follow its purge point", group.start());
                return Err(OpenError::Damaged { path: directory.path(segment), offset: 0, what });
            }
        }
        Ok(())
    }
}
