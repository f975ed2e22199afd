//! Why a store does not open, and the words for what RocksDB reports.

use std::io;
use std::path::{Path, PathBuf};

use lentic_engine::StoreError;
use lentic_types::ClusterId;

use crate::options::OptionsError;

/// Why a store was not opened. Nothing in the directory was changed, but for what a first open began to make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The options make no store.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Another process, or another part of this one, has the store open.
    #[error("expected {} to be free, found it in use by {}; stop that process, or give this node a directory of its own", path.display(), holder(*process))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that has it, if known.
        process: Option<u32>,
    },
    /// Written by a release with another format.
    #[error("expected a store of format {expected} in {}, found format {found}; start the release that wrote it, or move the directory away and rebuild this replica", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// The format of this release.
        expected: u32,
        /// The format found.
        found: u32,
    },
    /// The store of a node of another cluster.
    #[error("expected a store of cluster {expected} in {}, found one of cluster {found}; check the data directory and the cluster in the configuration", path.display())]
    Cluster {
        /// The directory.
        path: PathBuf,
        /// The cluster of this node.
        expected: ClusterId,
        /// The cluster found.
        found: ClusterId,
    },
    /// The directory holds something, and not a store.
    #[error("expected a store or an empty directory in {}, found {found} and no identity file; give an empty directory, nothing was touched", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        found: String,
    },
    /// The identity file is not what any release writes.
    #[error("expected the identity of a store in {}, but {reason}; restore the file, or move the directory away and rebuild this replica", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A complete store once was here, and its database is gone.
    #[error("expected a database in {}, found none although the store was complete; bring it back, or move the directory away and rebuild this replica", path.display())]
    Missing {
        /// Where the database should be.
        path: PathBuf,
    },
    /// The database is not what was once written.
    #[error("the database in {} is damaged: {reason}; look at the disk, then move the directory away and rebuild this replica", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What RocksDB found.
        reason: String,
    },
    /// The disk has no room, or a quota has none.
    #[error("no space left to open the store in {}: {reason}; make room on that disk, nothing was lost", path.display())]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The directory may not be written.
    #[error("expected to write in {}, but {reason}; mount it for writing, or give it to the user of this process", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// Anything else that the operating system or RocksDB refused.
    #[error("could not open the store in {}: {reason}; look at the disk and at the file LOG of the database", path.display())]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

impl OpenError {
    /// A fault of the operating system at `path`.
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        let (path, reason) = (path.to_path_buf(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, reason },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::NotWritable { path, reason },
            _ => Self::Failed { path, reason },
        }
    }

    /// What RocksDB said about the database at `path`. It has no codes but those in its words.
    pub(crate) fn rocks(path: &Path, reason: &str) -> Self {
        let (path, reason) = (path.to_path_buf(), reason.to_owned());
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        if says(&["No space left on device", "Disk quota exceeded"]) {
            Self::DiskFull { path, reason }
        } else if says(&["Read-only file system", "Permission denied"]) {
            Self::NotWritable { path, reason }
        } else if says(&["lock hold by current process", "While lock file"]) {
            Self::Locked { path, process: None }
        } else if reason.starts_with("Corruption: ") {
            Self::Damaged { path, reason }
        } else {
            Self::Failed { path, reason }
        }
    }
}

/// What RocksDB says of an open store: always the end of it.
pub(crate) fn store_error(error: rocksdb::Error) -> StoreError {
    StoreError::Failed(error.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that RocksDB 11.8.1 has used.
    #[test]
    fn what_rocksdb_says_becomes_what_to_do() {
        let path = PathBuf::from("/store");
        let of = |reason: &str| OpenError::rocks(&path, reason);
        let reason = "IO error: No space left on device: While appending to file: /store/db/MANIFEST-000001: ...";
        assert_eq!(of(reason), OpenError::DiskFull { path: path.clone(), reason: reason.to_owned() });
        let reason = "IO error: While open a file for appending: /store/db/000012.dbtmp: Read-only file system";
        assert_eq!(of(reason), OpenError::NotWritable { path: path.clone(), reason: reason.to_owned() });
        let reason = "IO error: While lock file: /store/db/LOCK: Resource temporarily unavailable";
        assert_eq!(of(reason), OpenError::Locked { path: path.clone(), process: None });
        let reason = "IO error: lock hold by current process, acquire time 1 acquiring thread 2: /store/db/LOCK: No \
                      locks available";
        assert_eq!(of(reason), OpenError::Locked { path: path.clone(), process: None });
        let reason = "Corruption: CURRENT file does not end with newline";
        assert_eq!(of(reason), OpenError::Damaged { path: path.clone(), reason: reason.to_owned() });
        let reason = "Invalid argument: Column families not opened: later";
        assert_eq!(of(reason), OpenError::Failed { path, reason: reason.to_owned() });
    }

    #[test]
    fn messages_say_what_to_do() {
        let path = PathBuf::from("/store");
        assert_eq!(
            OpenError::Locked { path: path.clone(), process: Some(7) }.to_string(),
            "expected /store to be free, found it in use by process 7; stop that process, or give this node a \
             directory of its own"
        );
        assert_eq!(
            OpenError::io(&path, &io::Error::from_raw_os_error(30)).to_string(),
            "expected to write in /store, but Read-only file system (os error 30); mount it for writing, or give it \
             to the user of this process"
        );
    }
}
