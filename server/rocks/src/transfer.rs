//! What exports and installs have in common: the words for what went wrong, and the measure of a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use lentic_engine::store::TransferError;

/// Bytes read at once for a checksum.
const READ_BYTES: usize = 256 << 10;

/// How the files of this store end.
pub(crate) const EXTENSION: &str = "sst";

/// The refusal of `action` at `path`.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    move |error| TransferError::Io { action, path: path.to_path_buf(), reason: error.to_string() }
}

/// The refusal of `action` at `path`, in RocksDB's words.
pub(crate) fn rocks_error(action: &'static str, path: &Path) -> impl FnOnce(rocksdb::Error) -> TransferError {
    move |error| TransferError::Io { action, path: path.to_path_buf(), reason: error.into_string() }
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
