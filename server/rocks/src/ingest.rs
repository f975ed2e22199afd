//! Files of another store as ranges of this one.
//!
//! RocksDB lets files in atomically for one family, not for several, and what was in the range before must go first.
//! So a crash can leave part of it, and **the caller keeps a marker**: written and flushed before, removed in the
//! batch that begins the range's new life. A node that starts and finds the marker clears the range and asks for the
//! files again.

use std::io;
use std::path::Path;

use lentic_engine::{Cursor as _, Family, Store as _, StoreError, View as _};
use rocksdb::{IngestExternalFileOptions, WriteBatch};

use crate::error::store_error;
use crate::span::Span;
use crate::store::RocksStore;
use crate::transfer::{ExportedFile, TransferError, measure};

impl RocksStore {
    /// Replaces all entries of `spans` by those of `files` in `directory`, as [`export`](Self::export) made them.
    ///
    /// Every file is checked before anything changes: with an error other than [`TransferError::Store`] or
    /// [`TransferError::Io`] the store is as it was. When it returns, all is durable, and the files are moved away.
    /// Nobody may read or write the spans meanwhile; other ranges go on.
    pub fn ingest(&self, directory: &Path, files: &[ExportedFile], spans: &[Span]) -> Result<(), TransferError> {
        check_descriptions(files, spans)?;
        files.iter().try_for_each(|file| check_file(directory, file))?;
        let _pause = self.buried.pause();
        spans.iter().try_for_each(|span| self.clear_paused(span))?;
        // Family sys comes last: a group's applied index is there only when all that it speaks of is.
        for family in Family::ALL {
            let of_family = files.iter().filter(|file| file.family == family);
            let paths: Vec<_> = of_family.map(|file| directory.join(&file.name)).collect();
            if paths.is_empty() {
                continue;
            }
            // The rest is as we need it: a file is newer than all that is there, cursors of before do not see it, and
            // what lies in memory for its range is flushed first.
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            self.db
                .ingest_external_file_cf_opts(self.handle(family), &options, paths)
                .map_err(TransferError::rocks("ingest files of", directory))?;
        }
        // The deletes of what was there lie in memory where no file has come over them.
        Ok(self.flush()?)
    }

    /// Removes all entries of `span`: a shard that has left this node, or what an interrupted ingest left.
    ///
    /// It is durable when it returns, and not atomic: a crash leaves any part of the range, also entries that had
    /// been deleted before. So the caller keeps a marker, as for [`ingest`](Self::ingest), and nobody may read or
    /// write the range meanwhile.
    pub fn clear_range(&self, span: &Span) -> Result<(), StoreError> {
        let _pause = self.buried.pause();
        self.clear_paused(span)?;
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

/// Checks what came with the files: a mistake here would put entries into other groups' ranges.
fn check_descriptions(files: &[ExportedFile], spans: &[Span]) -> Result<(), TransferError> {
    let wrong = |file: &ExportedFile, reason| Err(TransferError::Description { name: file.name.clone(), reason });
    for file in files {
        // It becomes part of a path, and came over the network.
        if Path::new(&file.name).file_name() != Some(file.name.as_ref()) {
            return wrong(file, "has a name that is no plain file name");
        }
        let holds =
            |span: &Span| span.family == file.family && span.contains(&file.smallest) && span.contains(&file.largest);
        if file.entries == 0 || file.smallest > file.largest {
            return wrong(file, "has no entries, or its last key is before its first");
        }
        if !spans.iter().any(holds) {
            return wrong(file, "has keys outside of the ranges");
        }
    }
    for pair in files.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        if (before.family, &before.largest) >= (after.family, &after.smallest) {
            return wrong(after, "is not behind the file before it");
        }
    }
    Ok(())
}

fn check_file(directory: &Path, file: &ExportedFile) -> Result<(), TransferError> {
    let path = directory.join(&file.name);
    let (bytes, crc32) = match measure(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(TransferError::Missing { path }),
        measured => measured.map_err(TransferError::io("read", &path))?,
    };
    if bytes != file.bytes {
        return Err(TransferError::Size { path, expected: file.bytes, found: bytes });
    }
    if crc32 != file.crc32 {
        return Err(TransferError::Checksum { path, expected: file.crc32, found: crc32 });
    }
    Ok(())
}
