//! What exports and ingests have in common: the description of a file, and what can be wrong.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lentic_engine::{Family, StoreError};

/// Bytes read at once for a checksum.
const READ_BYTES: usize = 256 << 10;

/// A file of entries of one family, as it goes from one store to another. What is beside the file itself travels
/// with it, and is checked before the file is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// The family.
    pub family: Family,
    /// The name in its directory.
    pub name: String,
    /// How many entries it holds.
    pub entries: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32 of all its bytes (the polynomial of zlib).
    pub crc32: u32,
    /// Its first key.
    pub smallest: Vec<u8>,
    /// Its last key.
    pub largest: Vec<u8>,
}

/// Why files did not come out of a store, or go into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused something outside of the store.
    #[error("could not {action} {}: {reason}; check the space and the rights there, then try again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The caller's ranges overlap, or are not in order.
    #[error("expected ranges in order and apart from each other, found {found:?} behind a range that reaches into it")]
    Ranges {
        /// The first key of the range at fault.
        found: Vec<u8>,
    },
    /// A file is not there.
    #[error("expected file {}, found none; send it again", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is shorter or longer than it was.
    #[error("expected {expected} bytes in {}, found {found}; send it again", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// The bytes that were written.
        expected: u64,
        /// The bytes that are there.
        found: u64,
    },
    /// A file's bytes are not those that were written.
    #[error("expected checksum {expected:08x} of {}, found {found:08x}; send it again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum of what was written.
        expected: u32,
        /// The checksum of what is there.
        found: u32,
    },
    /// The description of a file is not one that an export makes for these ranges.
    #[error("file {name} {reason}; send all files again, from one export of the same ranges")]
    Description {
        /// The file's name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl TransferError {
    /// The refusal of `action` at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, path: path.to_path_buf(), reason: error.to_string() }
    }

    /// The refusal of `action` at `path`, in RocksDB's words.
    pub(crate) fn rocks(action: &'static str, path: &Path) -> impl FnOnce(rocksdb::Error) -> Self {
        move |error| Self::Io { action, path: path.to_path_buf(), reason: error.into_string() }
    }
}

/// The length and the checksum of a file, read piece by piece.
pub(crate) fn measure(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hasher.finalize())),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}
