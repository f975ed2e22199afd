//! Segment files: begun from a spare or from nothing, given back when no group needs them.
//!
//! ```text
//!   (nothing) ──create, allocate──► spare-N ──write header, sync──► spare-N ──rename, sync names──► N.log
//!                                     ▲                                                                │
//!                                     └───────── rename, sync names ◄── release record synced ◄────────┘
//! ```
//!
//! **A file has a segment's name only while its header is durable**, so a bad header is damage, never a torn creation.
//! **No record is written into a segment before its name is durable.** The names are synced again before a file given
//! back is written over, so an old name never shows a new life's bytes.

use crate::error::{OpenError, Poisoned, failure};
use crate::format::{Link, Seed, SegmentHeader, Sequence};
use crate::fs::{File, Fs};
use crate::limits::SPARES_MAX;
use lentic_types::ClusterId;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// A live segment. Readers share it, and keep its file readable after it has been given back.
pub(crate) struct Segment {
    pub(crate) sequence: Sequence,
    pub(crate) seed: Seed,
    pub(crate) file: Arc<dyn File>,
    /// What the file takes on disk, as far as the log counts it.
    pub(crate) bytes: u32,
}

/// An operation that the system refused.
pub(crate) struct Failed {
    pub(crate) action: &'static str,
    pub(crate) path: String,
    pub(crate) source: io::Error,
}

impl From<Failed> for OpenError {
    fn from(failed: Failed) -> Self {
        Self::Io { action: failed.action, path: failed.path, source: failed.source }
    }
}

impl From<Failed> for Poisoned {
    fn from(failed: Failed) -> Self {
        failure(failed.action, &failed.path, &failed.source)
    }
}

/// The directory with its spare files.
pub(crate) struct Directory {
    fs: Arc<dyn Fs>,
    cluster: ClusterId,
    spares: BTreeSet<String>,
    /// Spares of an earlier process, whose last sync may have failed: of these, not even the length is known to be on disk.
    found: BTreeSet<String>,
}

impl Directory {
    pub(crate) fn new(fs: Arc<dyn Fs>, cluster: ClusterId, found: BTreeSet<String>) -> Self {
        Self { fs, cluster, spares: BTreeSet::new(), found }
    }

    pub(crate) fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    pub(crate) fn path(&self, sequence: Sequence) -> String {
        self.fs.path(&sequence.file_name())
    }

    pub(crate) fn seed(&self, sequence: Sequence) -> Seed {
        Seed::new(self.cluster, sequence)
    }

    /// Begins a segment that follows `previous`. **Everything before the end of `previous` must be synced.** When it
    /// returns, the segment is durable, empty and named.
    pub(crate) fn begin(
        &mut self,
        sequence: Sequence,
        capacity: u32,
        previous: Option<Link>,
    ) -> Result<Arc<Segment>, Failed> {
        let spare = self.spares.pop_first();
        let found = if spare.is_none() { self.found.pop_first() } else { None };
        let name = spare.clone().or_else(|| found.clone()).unwrap_or_else(|| sequence.spare_name());
        let failed = |action| {
            let path = self.fs.path(&name);
            move |source| Failed { action, path, source }
        };
        let file = match spare.or_else(|| found.clone()) {
            Some(_) => self.fs.open(&name).map_err(failed("opening"))?,
            None => self.fs.create(&name).map_err(failed("creating"))?,
        };
        if found.is_some() {
            // It may still have the name of a segment on disk.
            self.fs.sync_dir().map_err(failed("syncing the directory of"))?;
            file.cut(0).map_err(failed("cutting"))?;
        }
        let header = SegmentHeader { cluster: self.cluster, sequence, capacity, previous };
        file.allocate(u64::from(capacity)).map_err(failed("reserving space for"))?;
        file.write_at(&header.encode(), 0).map_err(failed("writing"))?;
        file.sync_data().map_err(failed("syncing"))?;
        self.fs.rename(&name, &sequence.file_name()).map_err(failed("renaming"))?;
        self.fs.sync_dir().map_err(failed("syncing the directory of"))?;
        Ok(Arc::new(Segment { sequence, seed: self.seed(sequence), file, bytes: capacity }))
    }

    /// Gives segments back: as spares if they have the length of new ones and nobody reads them, else to the file
    /// system. **The record that releases them must be synced.**
    pub(crate) fn give_back(&mut self, segments: Vec<Arc<Segment>>, segment_bytes: u32) -> Result<(), Failed> {
        for segment in segments {
            let name = segment.sequence.file_name();
            let keep = segment.bytes == segment_bytes
                && self.spares.len() + self.found.len() < SPARES_MAX
                // Nobody can find the segment any more, so a count of one stays one.
                && Arc::strong_count(&segment) == 1;
            let failed = |source| Failed { action: "giving back", path: self.fs.path(&name), source };
            if keep {
                let spare = segment.sequence.spare_name();
                self.fs.rename(&name, &spare).map_err(failed)?;
                self.spares.insert(spare);
            } else {
                self.fs.remove(&name).map_err(failed)?;
            }
        }
        self.fs.sync_dir().map_err(|source| Failed { action: "syncing", path: self.fs.path("."), source })
    }
}
