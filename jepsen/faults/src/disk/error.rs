//! Why something could not be done to a disk.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why something could not be done to a disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk is a plain directory, to which this cannot be done: leave it out, and say so.
    #[error("{what} needs a file system of its own, and this disk is a plain directory: {why}")]
    Plain {
        /// What was asked for.
        what: &'static str,
        /// Why the disk is a plain directory.
        why: String,
    },
    /// Something still uses the file system: end it, then ask again.
    #[error("{path} is still in use after {waited:?}; end every process that uses it, or whose mount namespace has it")]
    Busy {
        /// Where the file system is mounted.
        path: PathBuf,
        /// How long its end was waited for.
        waited: Duration,
    },
    /// The name cannot be part of a file's name.
    #[error("the name of a disk is letters, digits, `-` and `_`, found `{0}`")]
    Name(String),
    /// A program of this machine could not do it.
    #[error("{command}: {said}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// What it printed.
        said: String,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What was answered.
        source: io::Error,
    },
    /// A disk does not do what it is for: nothing that is tried on it would prove anything.
    #[error("{0}")]
    Unfit(String),
}

impl DiskError {
    /// Wraps an error of the operating system: `map_err(DiskError::io(|| ...))`.
    pub(super) fn io<E: Into<io::Error>>(doing: impl FnOnce() -> String) -> impl FnOnce(E) -> Self {
        |error| Self::Io { doing: doing(), source: error.into() }
    }
}

impl From<DiskError> for String {
    fn from(error: DiskError) -> Self {
        error.to_string()
    }
}
