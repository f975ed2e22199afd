//! Files of another store as ranges of this one.
//!
//! RocksDB lets files in atomically for one family, not for several, and what was in the range before must go first.
//! So a crash can leave part of it, and a mark stands meanwhile: durable before the first change, gone with the last.

use std::path::PathBuf;

use lentic_engine::keys::sys;
use lentic_engine::store::portable::check_spans;
use lentic_engine::store::{PortableFile, TransferError};
use lentic_engine::{Batch, Cursor as _, Family, Span, Store as _, StoreError, View as _};
use lentic_types::GroupId;
use rocksdb::{ErrorKind, IngestExternalFileOptions, WriteBatch};

use crate::error::store_error;
use crate::import::{Arrival, RocksImport};
use crate::store::RocksStore;

/// How often it is tried again to let files in before RocksDB's request to do so is taken for a failure.
const INGEST_AGAIN_MAX: u32 = 100;

impl RocksStore {
    pub(crate) fn install_files(
        &self,
        import: &RocksImport,
        group: GroupId,
        spans: &[Span],
        files: &[PortableFile],
    ) -> Result<(), TransferError> {
        check_spans(spans)?;
        let arrivals = import.check(spans, files)?;
        self.begin_install(group)?;
        self.replace(group, spans, &arrivals)?;
        Ok(self.end_install(group)?)
    }

    fn begin_install(&self, group: GroupId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(Family::Sys, &sys::installing_key(group), b"");
        self.write(&batch)?;
        self.flush()
    }

    fn replace(&self, group: GroupId, spans: &[Span], arrivals: &[Arrival]) -> Result<(), StoreError> {
        let _pause = self.buried.pause();
        for span in spans {
            around(span, &sys::installing_key(group)).iter().try_for_each(|span| self.clear_paused(span))?;
        }
        // RocksDB would flush what lies in memory for the files' range, too, but hold up all writers meanwhile.
        self.flush_families(true)?;
        for family in Family::ALL {
            let of_family = arrivals.iter().filter(|arrival| arrival.family == family);
            let paths: Vec<_> = of_family.map(|arrival| &arrival.path).collect();
            if paths.is_empty() {
                continue;
            }
            self.ingest(family, &paths)?;
        }
        Ok(())
    }

    /// Lets files in, for whose range nothing lies in memory. Where something does, and another flush ends at that moment,
    /// RocksDB may find its memtables in disorder, change nothing, and ask to be tried again.
    fn ingest(&self, family: Family, paths: &[&PathBuf]) -> Result<(), StoreError> {
        // The rest is as we need it: a file is synced, it is newer than all that is there, and cursors of before do not
        // see it.
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let ingest = || self.db.ingest_external_file_cf_opts(self.handle(family), &options, paths.to_vec());
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

    /// One flush takes the mark away and makes the deletes of what was there durable, which lie in memory.
    fn end_install(&self, group: GroupId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.delete(Family::Sys, &sys::installing_key(group));
        self.write(&batch)?;
        self.flush()
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

/// The parts of `span` on both sides of the mark: a dropped file is gone at once, and the mark must not be in it.
fn around(span: &Span, mark: &[u8]) -> Vec<Span> {
    if span.family != Family::Sys || !span.contains(mark) {
        return vec![span.clone()];
    }
    let behind = [mark, &[0]].concat();
    vec![Span { upper: Some(mark.to_vec()), ..span.clone() }, Span { lower: behind, ..span.clone() }]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::path::Path;

    use lentic_engine::Portable as _;
    use lentic_engine::gc::GcHandle;
    use lentic_engine::store::{Export as _, Import as _};
    use lentic_types::{ClusterId, Index};

    use super::*;
    use crate::StoreOptions;

    const GROUP: GroupId = GroupId(5);

    fn open(path: &Path) -> RocksStore {
        RocksStore::open(path, ClusterId([7; 16]), &StoreOptions::default(), GcHandle::new()).unwrap()
    }

    fn apply(store: &RocksStore, index: u64) {
        let mut batch = Batch::new();
        batch.put(Family::Data, &index.to_be_bytes(), b"v");
        sys::put_applied(&mut batch, GROUP, Index(index));
        store.write(&batch).unwrap();
    }

    /// What a process that dies now leaves: all files of the database as they are. RocksDB removes what it no longer
    /// needs in the background: not while they are copied, and what went before was not needed.
    fn crash(store: &RocksStore, path: &Path, copy: &Path) -> RocksStore {
        fs::create_dir_all(copy.join("db")).unwrap();
        fs::copy(path.join("LENTIC"), copy.join("LENTIC")).unwrap();
        store.db.disable_file_deletions().unwrap();
        for file in fs::read_dir(path.join("db")).unwrap().map(Result::unwrap) {
            let copied = fs::copy(file.path(), copy.join("db").join(file.file_name())).map(drop);
            assert!(copied.is_ok() || copied.is_err_and(|error| error.kind() == ErrorKind::NotFound));
        }
        store.db.enable_file_deletions().unwrap();
        open(copy)
    }

    /// The store's whole state goes, files and all, but not the mark.
    #[test]
    fn the_mark_stands_from_the_first_change_to_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (from, to) = (open(&path("from")), open(&path("to")));
        (1..=9).for_each(|index| apply(&from, index));
        (1..=3).for_each(|index| apply(&to, index));
        to.flush().unwrap();
        let spans = [Span::all(Family::Data), Span::all(Family::Sys)];
        let export = from.export(&spans, &[]).unwrap();
        let mut import = to.import().unwrap();
        for (position, file) in export.files().iter().enumerate() {
            import.write(file, 0, &export.read(position, 0, usize::MAX).unwrap()).unwrap();
        }
        let arrivals = import.check(&spans, export.files()).unwrap();
        assert_eq!(arrivals.len(), 2);
        let found = |name: &str| {
            let store = crash(&to, &path("to"), &path(name));
            (sys::is_installing(&store, GROUP).unwrap(), sys::applied(&store, GROUP).unwrap())
        };
        assert_eq!(found("checked"), (false, Index(3)));
        to.begin_install(GROUP).unwrap();
        assert_eq!(found("begun"), (true, Index(3)));
        // As a crash between the two would find it: what was is gone.
        to.replace(GROUP, &spans, &[]).unwrap();
        to.flush().unwrap();
        assert_eq!(found("cleared"), (true, Index(0)));
        to.replace(GROUP, &spans, &arrivals).unwrap();
        assert_eq!(found("replaced"), (true, Index(9)));
        to.end_install(GROUP).unwrap();
        assert_eq!(found("ended"), (false, Index(9)));
    }
}
