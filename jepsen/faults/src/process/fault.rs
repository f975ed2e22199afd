//! What can be asked of the library, and what it counts.

use std::num::NonZeroU32;

use rustix::io::Errno;

use super::layout;

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Every one.
    Always,
    /// So many from now on, then no more.
    Next(u32),
    /// Every so-manyth.
    OneIn(NonZeroU32),
}

/// The error of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The disk does not do it: `EIO`.
    Io,
    /// The disk is full: `ENOSPC`.
    NoSpace,
}

/// A torn write, as a power failure leaves it: of the next write only a part arrives, up to a sector's boundary in the
/// file, and the process, which is told that all of it did, is killed before it can trust that.
///
/// A write that lies within one sector does not arrive at all. Only one write is torn: what else was written and not
/// synced stays, as does what other processes see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// When the process is killed.
    pub kill: Kill,
    /// Chooses among the boundaries inside of the write, modulo their number.
    pub choice: u32,
}

/// When the process of a torn write is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Before the write returns.
    AtOnce,
    /// At its next sync of a file that is hurt, before it is synced; a reset does not call it off. Until then the
    /// process can read that the write is torn.
    AtSync,
}

/// What the library saw and did since the page was made, by all processes that had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes that began with the library and the page.
    pub processes: u64,
    /// Syncs of files that are hurt.
    pub syncs: u64,
    /// Of them, those that were slowed.
    pub syncs_slowed: u64,
    /// Of them, those that failed.
    pub syncs_failed: u64,
    /// Writes that failed.
    pub writes_failed: u64,
    /// Writes that were torn.
    pub writes_torn: u64,
    /// Reads of the wall clock that were shifted.
    pub clock_reads_shifted: u64,
    /// Connects that went elsewhere.
    pub connects_redirected: u64,
}

impl Failure {
    /// The word that says so in the page.
    pub(super) fn word(self, error: Errno) -> u64 {
        let (when, calls) = match self {
            Self::Always => (layout::WHEN_ALWAYS, 0),
            Self::Next(calls) => (layout::WHEN_NEXT, calls),
            Self::OneIn(calls) => (layout::WHEN_ONE_IN, calls.get()),
        };
        u64::from(error.raw_os_error().unsigned_abs()) << layout::ERRNO_SHIFT
            | when << layout::WHEN_SHIFT
            | u64::from(calls)
    }
}

impl WriteError {
    pub(super) fn errno(self) -> Errno {
        match self {
            Self::Io => Errno::IO,
            Self::NoSpace => Errno::NOSPC,
        }
    }
}

impl Torn {
    /// The word that says so in the page.
    pub(super) fn word(self) -> u64 {
        let kill = match self.kill {
            Kill::AtOnce => layout::KILL_AT_ONCE,
            Kill::AtSync => layout::KILL_AT_SYNC,
        };
        kill << layout::KILL_SHIFT | u64::from(self.choice)
    }
}
