//! One process at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

pub(crate) const LOCK_NAME: &str = "LOCK";

/// Holds a directory against every other opener. The kernel lets go of it when the process ends, however it ends, so
/// a lock never outlives its process. It is our own because RocksDB's does not say who holds it.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

/// Why a directory was not locked.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody has it: the process, if the file tells.
    Held(Option<u32>),
    Io(io::Error),
}

impl DirectoryLock {
    /// Locks `directory`, which exists.
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(directory.join(LOCK_NAME)).map_err(LockError::Io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Who holds it is a courtesy of the message; not knowing changes nothing.
                let process = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held(process));
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        let process = format!("{}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(process.as_bytes())).map_err(LockError::Io)?;
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    /// Closing alone is not enough: a child process, on its way from fork to exec, has a copy of the descriptor, and
    /// the lock would last until that is closed too.
    fn drop(&mut self) {
        // It cannot fail on a descriptor that is ours; and if it did, closing does the same a moment later.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}
