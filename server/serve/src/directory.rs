//! The data directory of a node: whose it is, and that it is one process's.
//!
//! ```text
//! <data>/LOCK        held by the one process that works here
//!        identity    whose data it is
//!        log/        the shared log
//!        store/      the store
//! ```
//!
//! A directory goes three steps, and never back:
//!
//! ```text
//! joining ──── the cluster has told the node's id ────▶ creating ──── log and store are made ────▶ ready
//! ```
//!
//! The node asks for its id with random bytes that are durable before it asks: asking again after a crash gives the
//! same one. From `ready` on, log and store must be there: a node that has forgotten what it voted for would be worse
//! than one that is gone.

mod error;
mod identity;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use error::DirectoryError;
pub use identity::{FORMAT_VERSION, Member, State};
use lentic_files::{DirectoryLock, LOCK_NAME, LockError};
use lentic_types::{ClusterId, NodeId};

use identity::{IDENTITY_NAME, IDENTITY_NEW_NAME, Parsed};

const LOG_NAME: &str = "log";
const STORE_NAME: &str = "store";
/// Longer than any identity of any format.
const IDENTITY_BYTES_MAX: u64 = 4 << 10;

/// A data directory that is this process's until it is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    state: State,
    _lock: DirectoryLock,
}

impl DataDirectory {
    /// Takes the directory at `path`; makes it if there is none or an empty one, with random bytes from `incarnation`.
    ///
    /// # Errors
    /// Each says what to do. A directory that is refused is left as it was.
    pub fn open(path: &Path, incarnation: impl FnOnce() -> [u8; 16]) -> Result<Self, DirectoryError> {
        // Before the lock, so that not even a lock file is left where nothing of ours is; and again behind it, for
        // another process may have come first.
        inspect(path)?;
        lentic_files::make_directory(path).map_err(|error| DirectoryError::io("make directory", path, &error))?;
        let lock = DirectoryLock::take(path).map_err(|error| match error {
            LockError::Held(process) => DirectoryError::Held { path: path.to_path_buf(), process },
            LockError::Io(error) => DirectoryError::io("lock", path, &error),
        })?;
        let found = inspect(path)?;
        let is_new = found.is_none();
        let state = found.unwrap_or_else(|| State::Joining { incarnation: incarnation() });
        let directory = Self { path: path.to_path_buf(), state, _lock: lock };
        if is_new {
            directory.write()?;
        }
        Ok(directory)
    }

    /// How far the directory has come.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_NAME)
    }

    /// The directory of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE_NAME)
    }

    /// Notes, durably, that the cluster knows this node as `node`.
    ///
    /// # Panics
    /// If the directory is of a member already: it is the same one for ever.
    pub fn become_member(&mut self, cluster: ClusterId, node: NodeId) -> Result<Member, DirectoryError> {
        let State::Joining { incarnation } = self.state else { panic!("a member stays what it is") };
        let member = Member { cluster, node, incarnation };
        self.state = State::Creating(member);
        self.write().map(|()| member)
    }

    /// Notes, durably, that log and store are made and what they hold counts.
    ///
    /// # Panics
    /// If it is no member yet.
    pub fn become_ready(&mut self) -> Result<(), DirectoryError> {
        match self.state {
            State::Joining { .. } => panic!("log and store are those of a member"),
            State::Creating(member) => {
                self.state = State::Ready(member);
                self.write()
            }
            State::Ready(_) => Ok(()),
        }
    }

    fn write(&self) -> Result<(), DirectoryError> {
        let path = self.path.join(IDENTITY_NAME);
        let (new, text) = (self.path.join(IDENTITY_NEW_NAME), self.state.to_text());
        lentic_files::replace(&path, &new, text.as_bytes()).map_err(|error| DirectoryError::io("write", &path, &error))
    }
}

/// How far the directory at `path` has come, without touching it; `None` where one may be made.
fn inspect(path: &Path) -> Result<Option<State>, DirectoryError> {
    let here = || path.to_path_buf();
    let Some(text) = read_identity(path)? else {
        return match first_foreign_name(path).map_err(|error| DirectoryError::io("look into", path, &error))? {
            Some(found) => Err(DirectoryError::Foreign { path: here(), found }),
            None => Ok(None),
        };
    };
    let state = match State::parse(&text) {
        Parsed::State(state) => state,
        Parsed::OtherFormat(found) => {
            return Err(DirectoryError::Format { path: here(), expected: FORMAT_VERSION, found });
        }
        Parsed::Damaged(reason) => return Err(DirectoryError::Damaged { path: path.join(IDENTITY_NAME), reason }),
    };
    for name in [LOG_NAME, STORE_NAME] {
        let part = path.join(name);
        let is_there = fs::read_dir(&part).is_ok_and(|mut entries| entries.next().is_some());
        match state {
            State::Ready(_) if !is_there => return Err(DirectoryError::Missing { path: part }),
            State::Joining { .. } if part.exists() => {
                return Err(DirectoryError::Foreign { path: here(), found: name.to_owned() });
            }
            _ => {}
        }
    }
    Ok(Some(state))
}

fn read_identity(path: &Path) -> Result<Option<String>, DirectoryError> {
    use io::Read as _;
    let path = path.join(IDENTITY_NAME);
    let mut bytes = Vec::new();
    let read = fs::File::open(&path).and_then(|file| file.take(IDENTITY_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DirectoryError::io("read", &path, &error)),
    }
}

/// A name in `path` that a first open does not leave behind.
fn first_foreign_name(path: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        // `lost+found` is what a fresh file system has in its root, and a mount point is a usual place for data.
        if ![LOCK_NAME, IDENTITY_NEW_NAME, "lost+found"].contains(&&*name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
