//! What can go wrong, and what to do then.

use crate::limits::OptionError;
use lentic_types::{ClusterId, GroupId, Index};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The log has stopped for good: a write or a sync went wrong, a thread panicked inside it, or it was closed.
///
/// What was acknowledged before is safe. Whether what was waiting is on the disk cannot be known, and a second sync
/// would not tell (it may succeed without the pages that the first one lost). **Stop the process**; recovery at the
/// next start finds out what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has stopped: {cause}")]
pub struct Poisoned {
    /// The first failure.
    pub cause: Arc<str>,
}

impl Poisoned {
    pub(crate) fn new(cause: impl Into<Arc<str>>) -> Self {
        Self { cause: cause.into() }
    }
}

/// Why a log cannot be opened. Nothing has been changed that a later start would miss.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A knob is out of its bounds.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// Another process works on this directory.
    #[error("{directory} is in use by {}; stop it first, or give this one its own data directory", holder(*process))]
    Locked {
        /// The directory.
        directory: String,
        /// The process that holds it, if known.
        process: Option<u32>,
    },
    /// The operating system refused an operation.
    #[error("{action} {path} failed: {source}; {}", advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Data of another format.
    #[error(
        "{path} has format version {found}, expected {expected}; start the release that wrote it, or upgrade as that \
         release describes; nothing was changed"
    )]
    Version {
        /// The segment.
        path: String,
        /// Its version.
        found: u32,
        /// The version of this release.
        expected: u32,
    },
    /// Data of another cluster.
    #[error("{path} belongs to cluster {found}, expected {expected}; check the data directory and the cluster's id")]
    Cluster {
        /// The segment.
        path: String,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// What had been durable is not what was written. The log does not guess: a replica that forgets acknowledged
    /// entries or votes breaks the promises of its groups.
    #[error(
        "{path} is damaged at offset {offset}: {what}; this was durable, so the log cannot go on without it: keep the \
         directory for inspection, and bring this node back empty, under a new node id, from the other replicas"
    )]
    Damaged {
        /// The segment.
        path: String,
        /// Where the damage begins to show.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// A segment that the log still needs is not there.
    #[error(
        "{path} is missing and the log needs it; put the file back, or bring this node back empty, under a new node \
         id, from the other replicas"
    )]
    Missing {
        /// The segment.
        path: String,
    },
}

/// Why a change was not taken. **Nothing of it is stored, and its completion will not be called.**
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The entries do not follow the group's last: an error in the caller, who must not go on with this group.
    #[error("entries of {group} begin at {found}, expected {expected}; the caller's idea of the log is wrong")]
    Gap {
        /// The group.
        group: GroupId,
        /// The only index that can come next.
        expected: Index,
        /// The index that came.
        found: Index,
    },
    /// The truncation reaches into what is purged, that is committed: an error in the caller, who must not go on.
    #[error("truncation of {group} from {from} reaches purged entries, gone up to {through}; committed entries stay")]
    TruncatesPurged {
        /// The group.
        group: GroupId,
        /// First index to be truncated.
        from: Index,
        /// The purge point.
        through: Index,
    },
    /// One entry, state or marker is above its limit: send less.
    #[error("{what} of {bytes} bytes is too large, expected at most {max}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The writer is behind by more than the queue may hold: wait with [`Log::when_room`](crate::Log::when_room), then
    /// send again.
    #[error("{waiting} bytes wait for the log's writer, expected at most {max}; send again when there is room")]
    Full {
        /// Bytes that wait.
        waiting: usize,
        /// The bound.
        max: usize,
    },
    /// The log has stopped.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Why entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The range begins in what is purged: the reader needs a snapshot.
    #[error("entries of {group} are gone before {first}; send a snapshot instead")]
    Purged {
        /// The group.
        group: GroupId,
        /// The first index that is kept.
        first: Index,
    },
    /// The file does not hold what was written. The group must stop here; others may go on.
    #[error("{path} is damaged at offset {offset}: {what}; stop this replica and replace it from the others")]
    Damaged {
        /// The segment.
        path: String,
        /// Where the record begins.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// The file cannot be read. The group must stop here.
    #[error("reading {path} failed: {source}; check the disk")]
    Io {
        /// The segment.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The log has stopped.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

/// What a person can do about an error of the operating system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free space or enlarge the volume and start again; nothing is lost"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "make the directory writable for this user and start again; nothing is lost"
        }
        _ => "check the disk and the kernel's messages, then start again",
    }
}

/// The cause of a poisoning by the operating system, with what to do.
pub(crate) fn failure(action: &str, path: &str, error: &io::Error) -> Poisoned {
    Poisoned::new(format!("{action} {path} failed: {error}; stop this process, {}", advice(error)))
}
