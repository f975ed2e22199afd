//! Directories that go away with what is in them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// A directory of this process alone.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new, empty one.
    pub(crate) fn new() -> Self {
        let parent = std::env::temp_dir();
        loop {
            // Never the name of an earlier one: that may still be open, and is removed by its name.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let path = parent.join(format!("lentic-sim-rocks-{}-{now}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("a directory {} can be made: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it, and what is in it: who has a file of it open may go on reading it.
    pub(crate) fn remove(&self) {
        // What cannot be removed is for the system to clear.
        let _ = fs::remove_dir_all(&self.0);
    }

    /// A copy of all files and directories.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_all(&self.0, &copy.0);
        copy
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the store's directory can be read") {
        let entry = entry.expect("the store's directory can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            fs::create_dir(&target).expect("a new directory");
            copy_all(&entry.path(), &target);
        } else {
            let copied = fs::copy(entry.path(), target);
            // RocksDB removes in the background what it does not need any more.
            let gone = copied.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
            assert!(gone || copied.is_ok(), "a file of the store cannot be copied: {copied:?}");
        }
    }
}
