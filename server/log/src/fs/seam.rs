//! What a file system must do for the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One directory of files that belongs to one log.
pub trait Fs: Send + Sync {
    /// Creates the directory if it is missing, and takes it for as long as the guard lives.
    fn lock(&self) -> Result<DirLock, LockError>;

    /// The names of all files in the directory, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file that must not exist. Durable, by its name, after [`Self::sync_dir`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing what has that name. Durable after [`Self::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; whoever has the file open may go on reading it. Durable after [`Self::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every earlier create, rename and remove durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// The name as a person at the machine would type it, for messages; `.` is the directory.
    fn path(&self, name: &str) -> String;

    /// Monotonic time from any start, for latency counters only: nothing is decided by it.
    fn now(&self) -> Duration;
}

/// An open file.
pub trait File: Send + Sync {
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`. Durable after [`Self::sync_data`]; after a crash before that, any of its
    /// sectors may be there or not.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Makes every earlier write and the length durable. **After an error nothing may be assumed of any of them, and
    /// a second call proves nothing**: the kernel may have dropped the pages that it failed to write.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the file at least `bytes` long, new bytes reading as zeros, with the space reserved where the file
    /// system can do that.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts the file to `bytes`.
    fn cut(&self, bytes: u64) -> io::Result<()>;
}

/// The directory is ours until this is dropped.
pub struct DirLock {
    /// What holds the lock by living: an open file, or an entry of the simulation.
    _held: Box<dyn Send + Sync>,
}

impl DirLock {
    /// A guard that lets go when `held` is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Why the directory cannot be taken.
#[derive(Debug)]
pub enum LockError {
    /// Another holder lives.
    Held {
        /// Its process id, if it has left one.
        process: Option<u32>,
    },
    /// The lock file cannot be made or locked.
    Io(io::Error),
}
