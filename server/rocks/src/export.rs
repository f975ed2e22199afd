//! Ranges of a store as files.
//!
//! All files are of one moment: a group's applied index, in family sys, says which. Memory is that of one file's index
//! and filter, whatever the size of the range.

use std::fs::{self, File};
use std::path::Path;

use lentic_engine::Family;
use rocksdb::{DB, DBRawIterator, Options, ReadOptions, SnapshotWithThreadMode, SstFileWriter};

use crate::error::store_error;
use crate::span::Span;
use crate::store::RocksStore;
use crate::transfer::{ExportedFile, TransferError, measure};

/// Read ahead of the cursor: an export reads each file once, from its start to its end.
const READAHEAD_BYTES: usize = 2 << 20;

impl RocksStore {
    /// Writes the entries of `spans`, as they are at one moment, into files of about `bytes_per_file` in `directory`,
    /// which must not exist yet. A file holds entries of one span only, and at least one.
    ///
    /// The files and their names are durable when it returns. After an error the directory is gone again.
    pub fn export(
        &self,
        spans: &[Span],
        directory: &Path,
        bytes_per_file: u64,
    ) -> Result<Vec<ExportedFile>, TransferError> {
        if let Some(pair) = spans.windows(2).find(|pair| !pair[0].is_before(&pair[1])) {
            return Err(TransferError::Ranges { found: pair[1].lower.clone() });
        }
        fs::create_dir(directory).map_err(TransferError::io("create directory", directory))?;
        self.export_into(spans, directory, bytes_per_file).inspect_err(|_| {
            // What is left of it is of no use; that it cannot be removed changes nothing about the error.
            let _ = fs::remove_dir_all(directory);
        })
    }

    fn export_into(
        &self,
        spans: &[Span],
        directory: &Path,
        bytes_per_file: u64,
    ) -> Result<Vec<ExportedFile>, TransferError> {
        let snapshot = self.db.snapshot();
        let mut files = Vec::new();
        for span in spans {
            let mut rows = self.rows_of(span, &snapshot);
            rows.seek(&span.lower);
            while rows.valid() {
                let name = format!("{}-{:06}.sst", span.family.name(), files.len());
                let options = &self.families[span.family as usize];
                files.push(write_file(options, &mut rows, span.family, directory, name, bytes_per_file)?);
            }
            rows.status().map_err(store_error)?;
        }
        let sync = File::open(directory).and_then(|directory| directory.sync_all());
        sync.map_err(TransferError::io("sync directory", directory))?;
        Ok(files)
    }

    fn rows_of<'a>(&'a self, span: &Span, snapshot: &SnapshotWithThreadMode<'a, DB>) -> DBRawIterator<'a> {
        let mut options = ReadOptions::default();
        options.set_snapshot(snapshot);
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(span.lower.clone());
        if let Some(upper) = &span.upper {
            options.set_iterate_upper_bound(upper.clone());
        }
        // What is read once must not push out what is read often.
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        self.db.raw_iterator_cf_opt(self.handle(span.family), options)
    }
}

/// Writes entries from `rows` on until the file is full or `rows` is at its end.
fn write_file(
    options: &Options,
    rows: &mut DBRawIterator<'_>,
    family: Family,
    directory: &Path,
    name: String,
    bytes_per_file: u64,
) -> Result<ExportedFile, TransferError> {
    let path = directory.join(&name);
    let mut writer = SstFileWriter::create(options);
    writer.open(&path).map_err(TransferError::rocks("create file", &path))?;
    let (mut entries, mut smallest, mut largest) = (0, Vec::new(), Vec::new());
    while let Some((key, value)) = rows.item() {
        writer.put(key, value).map_err(TransferError::rocks("write file", &path))?;
        if entries == 0 {
            smallest.extend_from_slice(key);
        }
        largest.clear();
        largest.extend_from_slice(key);
        entries += 1;
        rows.next();
        if writer.file_size() >= bytes_per_file {
            break;
        }
    }
    // It also syncs the file.
    writer.finish().map_err(TransferError::rocks("finish file", &path))?;
    let (bytes, crc32) = measure(&path).map_err(TransferError::io("read back", &path))?;
    Ok(ExportedFile { family, name, entries, bytes, crc32, smallest, largest })
}
