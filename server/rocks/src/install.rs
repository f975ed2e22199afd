//! Files of another store as ranges of this one.
//!
//! RocksDB lets files in atomically for one family, not for several, and what was in the range before must go first. So a crash
//! can leave part of it; but what was to be done is [on disk](crate::pending) then, and is done again before anybody can read.

use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;

use lentic_engine::store::portable::check_spans;
use lentic_engine::store::{PortableFile, TransferError};
use lentic_engine::{Cursor as _, Family, Span, Store as _, StoreError, View as _};
use rocksdb::{ErrorKind, IngestExternalFileOptions, WriteBatch};

use crate::error::{OpenError, store_error};
use crate::import::RocksImport;
use crate::pending::Pending;
use crate::store::RocksStore;
use crate::transfer::io_error;

/// How often it is tried again to let files in before RocksDB's request to do so is taken for a failure.
const INGEST_AGAIN_MAX: u32 = 100;

impl RocksStore {
    pub(crate) fn install_files(
        &self,
        import: &RocksImport,
        spans: &[Span],
        files: &[PortableFile],
    ) -> Result<(), TransferError> {
        check_spans(spans)?;
        let arrivals = import.check(spans, files)?;
        let _installs = self.installs.read().unwrap_or_else(PoisonError::into_inner);
        let directory = self.home.next_install();
        let prepared = Pending::prepare(directory.clone(), spans, &arrivals);
        let pending = prepared.map_err(io_error("prepare an install in", &directory))?;
        let failed = |error: io::Error| StoreError::Failed(format!("an install in {}: {error}", directory.display()));
        pending.begin().map_err(failed)?;
        self.replace(&pending)?;
        Ok(pending.end().map_err(failed)?)
    }

    /// Does what installs were about to do that a crash has cut short.
    pub(crate) fn finish_installs(&self) -> Result<(), OpenError> {
        let installs = self.home.installs();
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => OpenError::Damaged { path: installs.clone(), reason: error.to_string() },
            _ => OpenError::io(&installs, &error),
        };
        let store = |error| match error {
            StoreError::Failed(reason) => OpenError::rocks(&installs, &reason),
            StoreError::Damaged { .. } => OpenError::Damaged { path: installs.clone(), reason: error.to_string() },
        };
        for pending in Pending::left_in(&installs).map_err(io)? {
            self.replace(&pending).map_err(store)?;
            pending.end().map_err(io)?;
        }
        Ok(())
    }

    /// What `pending` says, durably; from the beginning, if it is not the first time.
    fn replace(&self, pending: &Pending) -> Result<(), StoreError> {
        let _pause = self.buried.pause();
        pending.spans.iter().try_for_each(|span| self.clear_paused(span))?;
        // It makes the deletes durable. And RocksDB would flush what lies in memory for the files' range, too, but hold up all
        // writers meanwhile.
        self.flush()?;
        let links = pending.links().map_err(|error| StoreError::Failed(error.to_string()))?;
        links.iter().try_for_each(|(family, paths)| self.ingest(*family, paths))
    }

    /// Lets files in, for whose range nothing lies in memory. Where something does, and another flush ends at that moment,
    /// RocksDB may find its memtables in disorder, change nothing, and ask to be tried again.
    fn ingest(&self, family: Family, paths: &[PathBuf]) -> Result<(), StoreError> {
        // The rest is as we need it: a file is synced, it is newer than all that is there, and cursors of before do not
        // see it.
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let ingest = || self.db.ingest_external_file_cf_opts(self.handle(family), &options, paths.iter().collect());
        let mut ended = ingest();
        for _ in 0..INGEST_AGAIN_MAX {
            if !ended.as_ref().is_err_and(|error| error.kind() == ErrorKind::TryAgain) {
                break;
            }
            self.flush_families(true)?;
            ended = ingest();
        }
        ended.map_err(store_error)
    }

    /// Whole files are dropped, and one tombstone covers the rest: the cost is that of two files, not of the range.
    ///
    /// **Files first.** A dropped file takes its deletes with it, and what they hid in deeper files is seen again
    /// until the tombstone covers it. The other way round, the tombstone could itself lie in a dropped file.
    fn clear_paused(&self, span: &Span) -> Result<(), StoreError> {
        let Some(last) = self.last_key(span)? else { return Ok(()) };
        let handle = self.handle(span.family);
        // RocksDB takes the end as inclusive: with `upper` it would drop a file that ends with that very key, which
        // is a neighbour's.
        self.db.delete_file_in_range_cf(handle, &span.lower, &last).map_err(store_error)?;
        let end = span.upper.clone().unwrap_or_else(|| [last.as_slice(), &[0]].concat());
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(handle, &span.lower, &end);
        self.write_raw(batch)
    }

    fn last_key(&self, span: &Span) -> Result<Option<Vec<u8>>, StoreError> {
        let mut rows = self.cursor(span.family, span.bounds())?;
        rows.seek_to_last()?;
        Ok(rows.entry().map(|(key, _)| key.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::path::Path;

    use lentic_engine::gc::GcHandle;
    use lentic_engine::keys::sys;
    use lentic_engine::store::{Export as _, Import as _};
    use lentic_engine::{Batch, Portable as _};
    use lentic_types::{ClusterId, GroupId, Index};

    use super::*;
    use crate::StoreOptions;

    const GROUP: GroupId = GroupId(5);

    fn try_open(path: &Path) -> Result<RocksStore, OpenError> {
        RocksStore::open(path, ClusterId([7; 16]), &StoreOptions::default(), GcHandle::new())
    }

    fn open(path: &Path) -> RocksStore {
        try_open(path).unwrap()
    }

    fn apply(store: &RocksStore, index: u64) {
        let mut batch = Batch::new();
        batch.put(Family::Data, &index.to_be_bytes(), b"v");
        sys::put_applied(&mut batch, GROUP, Index(index));
        store.write(&batch).unwrap();
    }

    fn copy_of(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_of(&entry.path(), &to);
                continue;
            }
            let copied = fs::copy(entry.path(), to).map(drop);
            assert!(copied.is_ok() || copied.is_err_and(|error| error.kind() == ErrorKind::NotFound));
        }
    }

    /// What a process that dies now leaves: all files as they are. RocksDB removes what it no longer needs in the background:
    /// not while they are copied, and what went before was not needed.
    fn crash(store: &RocksStore, path: &Path, copy: &Path) {
        store.db.disable_file_deletions().unwrap();
        copy_of(path, copy);
        store.db.enable_file_deletions().unwrap();
    }

    /// A store with entries up to 9, what arrives of it at another, and where all this is.
    struct Sent {
        directory: tempfile::TempDir,
        to: RocksStore,
        spans: [Span; 2],
        import: RocksImport,
        files: Vec<PortableFile>,
    }

    impl Sent {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (from, to) = (open(&directory.path().join("from")), open(&directory.path().join("to")));
            (1..=9).for_each(|index| apply(&from, index));
            (1..=3).for_each(|index| apply(&to, index));
            to.flush().unwrap();
            let spans = [Span::all(Family::Data), Span::all(Family::Sys)];
            let export = from.export(&spans, &[]).unwrap();
            let mut import = to.import().unwrap();
            for (position, file) in export.files().iter().enumerate() {
                import.write(file, 0, &export.read(position, 0, usize::MAX).unwrap()).unwrap();
            }
            let files = export.files().to_vec();
            Self { directory, to, spans, import, files }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn prepare(&self) -> Pending {
            let arrivals = self.import.check(&self.spans, &self.files).unwrap();
            Pending::prepare(self.to.home.next_install(), &self.spans, &arrivals).unwrap()
        }

        /// Up to where the store has applied, and how many rows it has, after a crash now.
        fn found(&self, name: &str) -> (u64, usize) {
            crash(&self.to, &self.path("to"), &self.path(name));
            let store = open(&self.path(name));
            let installs = fs::read_dir(self.path(name).join("installs"));
            assert_eq!(installs.map_or(0, Iterator::count), 0, "nothing is left to do");
            let mut rows = store.cursor(Family::Data, Span::all(Family::Data).bounds()).unwrap();
            rows.seek(b"").unwrap();
            let mut count = 0;
            while rows.entry().is_some() {
                count += 1;
                rows.next().unwrap();
            }
            let durable = store.durable_applied(GROUP).unwrap().0;
            assert_eq!(sys::applied(&store, GROUP).unwrap().0, durable);
            (durable, count)
        }
    }

    #[test]
    fn an_install_that_has_begun_is_finished_whenever_the_process_dies() {
        let sent = Sent::new();
        let to = &sent.to;
        assert_eq!(sent.found("arrived"), (3, 3));
        let pending = sent.prepare();
        assert_eq!(sent.found("prepared"), (3, 3));
        pending.begin().unwrap();
        assert_eq!(sent.found("begun"), (9, 9));
        sent.spans.iter().try_for_each(|span| to.clear_paused(span)).unwrap();
        assert_eq!(sent.found("cleared"), (9, 9));
        to.flush().unwrap();
        let links = pending.links().unwrap();
        assert_eq!(links.len(), 2);
        assert_eq!(sent.found("linked"), (9, 9));
        to.ingest(links[0].0, &links[0].1).unwrap();
        assert_eq!(sent.found("half replaced"), (9, 9));
        to.replace(&pending).unwrap();
        assert_eq!(sent.found("replaced"), (9, 9));
        pending.end().unwrap();
        assert_eq!(sent.found("ended"), (9, 9));
        // What comes after it is not taken back.
        apply(to, 10);
        to.flush().unwrap();
        assert_eq!(sent.found("gone on"), (10, 10));
    }

    #[test]
    fn what_cannot_be_finished_is_refused() {
        let sent = Sent::new();
        sent.prepare().begin().unwrap();
        let refused = |name: &str, change: &dyn Fn(&Path)| {
            crash(&sent.to, &sent.path("to"), &sent.path(name));
            change(&sent.path(name).join("installs/0"));
            let error = try_open(&sent.path(name)).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
        };
        refused("no plan of ours", &|install| fs::write(install.join("plan"), b"strange").unwrap());
        refused("a file is gone", &|install| fs::remove_file(install.join("000001.sst")).unwrap());
        refused("a file is damaged", &|install| fs::write(install.join("000000.sst"), b"strange").unwrap());
        crash(&sent.to, &sent.path("to"), &sent.path("whole"));
        open(&sent.path("whole"));
    }
}
