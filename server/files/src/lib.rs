//! What everything that keeps files needs: a directory that one process holds, and names that a crash does not take.
//!
//! The lock is flock on a file `LOCK` in the directory, which tells the process id of its holder. A local file system is
//! assumed: over a network flock means less.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU64;
use std::path::Path;

use rustix::fs::{Advice, FlockOperation};
use rustix::io::Errno;

/// The lock's file in its directory.
pub const LOCK_NAME: &str = "LOCK";

/// Holds a directory against every other opener, until it is dropped. The kernel lets go of it when the process ends,
/// however it ends, so a lock never outlives its process.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

/// Why a directory was not locked.
#[derive(Debug)]
pub enum LockError {
    /// Somebody has it: the process, if the file tells.
    Held(Option<u32>),
    /// The file could not be opened, locked or written.
    Io(io::Error),
}

impl DirectoryLock {
    /// Locks `directory`, which exists. It does not wait.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
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

/// Makes a directory and everything above it, each name durable before anything is kept below it.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directory(parent)?;
    match fs::create_dir(path) {
        // A file of the name is no directory, whoever made it.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

/// Makes `contents` the file at `path`, durably and as a whole: after a crash it has its old contents or the new. They
/// are written to `new` first, in the same directory.
pub fn replace(path: &Path, new: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Has the kernel begin to write what was written of a file to its disk, and does not wait for it: an fsync at the end would
/// hold up those of others for as long as all of it takes. A kernel that does not takes no harm.
pub fn begin_writing(file: &File, offset: u64, bytes: u64) {
    // Linux begins to write what it may not let go of yet (mm/fadvise.c).
    let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(bytes), Advice::DontNeed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_holder_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(directory.path()).unwrap();
        let refused = DirectoryLock::take(directory.path());
        assert!(matches!(refused, Err(LockError::Held(Some(process))) if process == std::process::id()), "{refused:?}");
        drop(held);
        DirectoryLock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_copy_of_the_descriptor_does_not_hold_it() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(directory.path()).unwrap();
        let copy = held.file.try_clone().unwrap();
        drop(held);
        DirectoryLock::take(directory.path()).unwrap();
        drop(copy);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let refused = DirectoryLock::take(&directory.path().join("none"));
        assert!(matches!(refused, Err(LockError::Io(_))), "{refused:?}");
    }

    #[test]
    fn directories_are_made_once_and_never_over_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/c");
        make_directory(&path).unwrap();
        make_directory(&path).unwrap();
        assert!(path.is_dir());
        fs::write(path.join("file"), "").unwrap();
        assert!(make_directory(&path.join("file")).is_err());
        assert!(make_directory(&path.join("file/below")).is_err());
    }

    #[test]
    fn what_is_being_written_is_still_there() {
        let directory = tempfile::tempdir().unwrap();
        let (path, contents) = (directory.path().join("file"), vec![7; 100_000]);
        fs::write(&path, &contents).unwrap();
        begin_writing(&File::open(&path).unwrap(), 5_000, 90_000);
        assert_eq!(fs::read(&path).unwrap(), contents);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("file"), directory.path().join("file.new"));
        for contents in ["first", "", "third"] {
            replace(&path, &new, contents.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
            assert!(!new.exists());
        }
    }
}
