//! Ranges of a store as files.
//!
//! Memory is that of one file's index and filter, whatever the size of the range. The moment is RocksDB's snapshot,
//! which lasts until the files are written, not until they are sent.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use lentic_engine::store::portable::{check_spans, file_name};
use lentic_engine::store::{Export, PortableFile, TransferError};
use lentic_engine::{Family, Span};
use rocksdb::{DB, DBRawIterator, Options, ReadOptions, SnapshotWithThreadMode, SstFileWriter};

use crate::error::store_error;
use crate::home::Scratch;
use crate::store::RocksStore;
use crate::transfer::{EXTENSION, io_error, measure, rocks_error};

/// Read ahead of the cursor: an export reads each file once, from its start to its end.
const READAHEAD_BYTES: usize = 2 << 20;

/// Files in the store's scratch space, of one moment.
pub struct RocksExport {
    scratch: Scratch,
    files: Vec<PortableFile>,
    values: Vec<Option<Vec<u8>>>,
}

impl Export for RocksExport {
    fn files(&self) -> &[PortableFile] {
        &self.files
    }

    fn values(&self) -> &[Option<Vec<u8>>] {
        &self.values
    }

    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, TransferError> {
        let file = &self.files[file];
        let rest = usize::try_from(file.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(bytes_max)];
        self.scratch.with(|directory| {
            let path = directory.join(&file.name);
            let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, offset));
            read.map_err(io_error("read", &path))
        })?;
        Ok(bytes.into())
    }
}

impl RocksStore {
    /// Files of about the size of the store's own. A file holds entries of one span only, and at least one.
    pub(crate) fn export_files(
        &self,
        spans: &[Span],
        keys: &[(Family, Vec<u8>)],
    ) -> Result<RocksExport, TransferError> {
        check_spans(spans)?;
        let scratch = self.home.scratch()?;
        let snapshot = self.db.snapshot();
        let value = |(family, key): &(Family, Vec<u8>)| snapshot.get_cf(self.handle(*family), key).map_err(store_error);
        let values = keys.iter().map(value).collect::<Result<_, _>>()?;
        let files = scratch.with(|directory| self.write_files(spans, &snapshot, directory))?;
        Ok(RocksExport { scratch, files, values })
    }

    fn write_files(
        &self,
        spans: &[Span],
        snapshot: &SnapshotWithThreadMode<'_, DB>,
        directory: &Path,
    ) -> Result<Vec<PortableFile>, TransferError> {
        let mut files = Vec::new();
        for span in spans {
            let mut rows = self.rows_of(span, snapshot);
            rows.seek(&span.lower);
            while rows.valid() {
                let name = file_name(span.family, files.len(), EXTENSION);
                let options = &self.families[span.family as usize];
                files.push(write_file(options, &mut rows, directory, name, self.options.file_bytes as u64)?);
            }
            rows.status().map_err(store_error)?;
        }
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
    directory: &Path,
    name: String,
    file_bytes: u64,
) -> Result<PortableFile, TransferError> {
    let path = directory.join(&name);
    let mut writer = SstFileWriter::create(options);
    writer.open(&path).map_err(rocks_error("create file", &path))?;
    while let Some((key, value)) = rows.item() {
        writer.put(key, value).map_err(rocks_error("write file", &path))?;
        rows.next();
        if writer.file_size() >= file_bytes {
            break;
        }
    }
    writer.finish().map_err(rocks_error("finish file", &path))?;
    let (bytes, crc32) = measure(&path).map_err(io_error("read back", &path))?;
    Ok(PortableFile { name, bytes, crc32 })
}
