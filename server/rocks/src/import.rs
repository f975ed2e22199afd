//! Files that arrive, and the check of them before anything changes.
//!
//! What a file holds is not to be believed by its name, and RocksDB has no reader of single files. So they go into a
//! database of their own first, in scratch space: it opens each, refuses what is no file of entries, and tells the
//! first and the last key. Files are moved, not copied, and so it costs some reads of each, not its size.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lentic_engine::store::portable::{Received, check_checksum, family_of};
use lentic_engine::store::{Import, PortableFile, TransferError};
use lentic_engine::{Family, Span};
use rocksdb::{ColumnFamilyDescriptor, DB, ErrorKind, IngestExternalFileOptions, LiveFile, Options};

use crate::home::Scratch;
use crate::transfer::{EXTENSION, io_error, measure, rocks_error};

/// The database's directory in the import's.
const CHECK_NAME: &str = "check";
/// Files that the database keeps open: it looks at each once.
const OPEN_FILES_MAX: i32 = 64;

/// Files in the store's scratch space that arrive.
pub struct RocksImport {
    scratch: Scratch,
    received: Received,
}

/// A file that may go in.
pub(crate) struct Arrival {
    pub(crate) family: Family,
    pub(crate) path: PathBuf,
}

impl Import for RocksImport {
    fn write(&mut self, file: &PortableFile, offset: u64, bytes: &[u8]) -> Result<(), TransferError> {
        family_of(&file.name, EXTENSION)?;
        self.received.accept(file, offset, bytes.len())?;
        self.scratch.with(|directory| {
            let path = directory.join(&file.name);
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let written = opened.and_then(|file| file.write_all_at(bytes, offset).map(|()| file));
            let written = written.map_err(io_error("write", &path))?;
            lentic_files::begin_writing(&written, offset, bytes.len() as u64);
            Ok(())
        })
    }
}

impl RocksImport {
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self { scratch, received: Received::default() }
    }

    /// Refuses `files` unless they have arrived as they were announced and hold keys of `spans` only, each once.
    pub(crate) fn check(&self, spans: &[Span], files: &[PortableFile]) -> Result<Vec<Arrival>, TransferError> {
        self.received.check(files)?;
        if files.is_empty() {
            return Ok(Vec::new());
        }
        self.scratch.with(|directory| {
            files.iter().try_for_each(|file| check_bytes(directory, file))?;
            let check = directory.join(CHECK_NAME);
            let database = open(&check)?;
            let mut arrivals = Vec::new();
            for family in Family::ALL {
                let names: Vec<_> =
                    files.iter().filter(|file| family_of(&file.name, EXTENSION) == Ok(family)).collect();
                let found = ingest(&database, directory, family, &names)?;
                check_keys(&found, &names, family, spans)?;
                let path = |file: LiveFile| check.join(file.name.trim_start_matches('/'));
                arrivals.extend(found.into_iter().map(|file| Arrival { family, path: path(file) }));
            }
            Ok(arrivals)
        })
    }
}

fn check_bytes(directory: &Path, file: &PortableFile) -> Result<(), TransferError> {
    let path = directory.join(&file.name);
    let (bytes, crc32) = measure(&path).map_err(io_error("read", &path))?;
    if bytes != file.bytes {
        return Err(TransferError::refused(&file.name, format!("expected {} bytes, found {bytes}", file.bytes)));
    }
    check_checksum(file, crc32)
}

fn open(path: &Path) -> Result<DB, TransferError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_disable_auto_compactions(true);
    let families = Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), options.clone()));
    DB::open_cf_descriptors(&options, path, families).map_err(rocks_error("make a database in", path))
}

/// Moves the files `names` of `family` into the database. What is in it then, by first key.
fn ingest(
    database: &DB,
    directory: &Path,
    family: Family,
    names: &[&PortableFile],
) -> Result<Vec<LiveFile>, TransferError> {
    let handle = database.cf_handle(family.name()).expect("every family was opened");
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    for file in names {
        let path = directory.join(&file.name);
        database.ingest_external_file_cf_opts(handle, &options, vec![&path]).map_err(|error| match error.kind() {
            ErrorKind::IOError => rocks_error("check", &path)(error),
            _ => TransferError::refused(&file.name, format!("expected a file of entries, but {error}")),
        })?;
    }
    let mut found = database.live_files().map_err(rocks_error("look into", directory))?;
    found.retain(|file| file.column_family_name == family.name());
    found.sort_by(|a, b| a.start_key.cmp(&b.start_key));
    Ok(found)
}

/// `found` are the files `names`, by first key, as exports number them: so the name in an error is right unless names
/// were exchanged.
fn check_keys(
    found: &[LiveFile],
    names: &[&PortableFile],
    family: Family,
    spans: &[Span],
) -> Result<(), TransferError> {
    let mut last: Option<&[u8]> = None;
    for (position, file) in found.iter().enumerate() {
        let refused = |reason| {
            let name = names.get(position).map_or(family.name(), |file| file.name.as_str());
            Err(TransferError::refused(name, reason))
        };
        let (Some(first_key), Some(last_key), 0) = (&file.start_key, &file.end_key, file.num_deletions) else {
            return refused("expected entries and no deletes");
        };
        let holds = |span: &Span| span.family == family && span.contains(first_key) && span.contains(last_key);
        if !spans.iter().any(holds) {
            return refused("expected keys within one of the ranges, found some outside");
        }
        if last.is_some_and(|last| last >= first_key.as_slice()) {
            return refused("expected files apart from each other, found one that reaches into another");
        }
        last = Some(last_key);
    }
    if found.len() == names.len() {
        return Ok(());
    }
    let reason = format!("expected {} files of entries, found {}", names.len(), found.len());
    Err(TransferError::refused(family.name(), reason))
}
