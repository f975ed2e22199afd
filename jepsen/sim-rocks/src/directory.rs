//! Directories that go away with what is in them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;

/// A directory of this process alone.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new, empty one.
    pub(crate) fn new() -> Self {
        let parent = std::env::temp_dir();
        for number in 0_u64.. {
            let path = parent.join(format!("lentic-sim-rocks-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("a directory {} can be made: {error}", path.display()),
            }
        }
        unreachable!("there are more numbers than directories")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
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
        // What cannot be removed is for the system to clear.
        let _ = fs::remove_dir_all(&self.0);
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
            fs::copy(entry.path(), target).expect("the file can be copied: nothing removes files by itself");
        }
    }
}
