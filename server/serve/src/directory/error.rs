//! Why a data directory is not taken.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data directory was not taken. What is in it is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Another process works in it.
    #[error("expected {} to be free, found it in use by {}; stop that process, or give this node a data directory of its own", path.display(), holder(*process))]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process that has it, if known.
        process: Option<u32>,
    },
    /// It holds something that is not a node's.
    #[error("expected a node's data or an empty directory in {}, found {found}; give this node a directory of its own, nothing was touched", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        found: String,
    },
    /// Written by a release with another format.
    #[error("expected data of format {expected} in {}, found format {found}; start the release that wrote it", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// The format of this release.
        expected: u32,
        /// The format found.
        found: u32,
    },
    /// The identity is not what any release writes.
    #[error("expected the identity of a node in {}, but {reason}; restore the file, or move the directory away and let the node join anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The node's log or store is gone.
    #[error("expected {} to hold what this node has promised, found nothing; bring it back, or move the whole data directory away and let the node join anew", path.display())]
    Missing {
        /// The part that is not there.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("could not {action} {}: {reason}; check the rights and the space there", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

impl DirectoryError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), reason: error.to_string() }
    }
}
