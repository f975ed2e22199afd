//! The store's directory while it is open: its lock, and scratch space for files that come and go.
//!
//! ```text
//! <directory>/scratch/0/   an export or an import, each with a directory of its own
//!                     1/
//!             installs/0/  an install that a crash must not cut short
//! ```
//!
//! Scratch space is no part of the state: opening removes what a crash has left there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use lentic_engine::store::TransferError;
use lentic_files::DirectoryLock;

use crate::transfer::io_error;

const SCRATCH_NAME: &str = "scratch";
const INSTALLS_NAME: &str = "installs";

/// A directory that is ours until this is dropped.
pub(crate) struct Home {
    path: PathBuf,
    next: AtomicU64,
    next_install: AtomicU64,
    _lock: DirectoryLock,
}

/// A directory of one export or import. Dropping it removes it.
///
/// It does not keep the store open: of a store that is closed, nothing is read and nothing removed, for the directory
/// may be another's by then.
pub(crate) struct Scratch {
    path: PathBuf,
    home: Weak<Home>,
}

impl Home {
    /// The directory at `path`, whose `lock` is held, without what an earlier process has left in its scratch space.
    pub(crate) fn new(path: &Path, lock: DirectoryLock) -> io::Result<Arc<Self>> {
        match fs::remove_dir_all(path.join(SCRATCH_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Arc::new(Self {
                path: path.to_path_buf(),
                next: AtomicU64::new(0),
                next_install: AtomicU64::new(0),
                _lock: lock,
            })),
        }
    }

    /// The directory of all installs.
    pub(crate) fn installs(&self) -> PathBuf {
        self.path.join(INSTALLS_NAME)
    }

    /// The directory of the next install, which is not there yet.
    pub(crate) fn next_install(&self) -> PathBuf {
        let number = self.next_install.fetch_add(1, Ordering::Relaxed);
        self.installs().join(number.to_string())
    }

    /// A new, empty directory.
    pub(crate) fn scratch(self: &Arc<Self>) -> Result<Scratch, TransferError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(SCRATCH_NAME).join(number.to_string());
        fs::create_dir_all(&path).map_err(io_error("create directory", &path))?;
        Ok(Scratch { path, home: Arc::downgrade(self) })
    }
}

impl Scratch {
    /// Runs `work` on the directory.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Path) -> Result<T, TransferError>) -> Result<T, TransferError> {
        let Some(_home) = self.home.upgrade() else {
            let reason = "the store was closed".to_owned();
            return Err(TransferError::Io { action: "use directory", path: self.path.clone(), reason });
        };
        work(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(_home) = self.home.upgrade() {
            // What cannot be removed now is removed when the store is next opened.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(path: &Path) -> Arc<Home> {
        Home::new(path, DirectoryLock::take(path).unwrap()).unwrap()
    }

    #[test]
    fn scratch_space_goes_when_it_is_dropped_and_never_another_s() {
        let directory = tempfile::tempdir().unwrap();
        let first = home(directory.path());
        let (kept, dropped) = (first.scratch().unwrap(), first.scratch().unwrap());
        let path = dropped.with(|path| Ok(path.to_path_buf())).unwrap();
        fs::write(path.join("file"), "contents").unwrap();
        drop(dropped);
        assert!(!path.exists());
        drop(first);
        assert!(matches!(kept.with(|_| Ok(())), Err(TransferError::Io { .. })), "the store was closed");
        let second = home(directory.path());
        let scratch = second.scratch().unwrap();
        let path = scratch.with(|path| Ok(path.to_path_buf())).unwrap();
        assert_eq!(path, kept.path, "numbers begin again");
        drop(kept);
        assert!(path.exists());
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("scratch/7/db")).unwrap();
        let _home = home(directory.path());
        assert!(!directory.path().join("scratch").exists());
    }
}
