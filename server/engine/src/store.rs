//! What the engine needs of an ordered byte store, and no more.

mod batch;
mod metric;
pub mod portable;
mod span;

pub use batch::{Batch, Change};
pub use metric::{Metric, MetricKind};
pub use portable::{Export, Import, Portable, PortableFile, TransferError};
pub use span::Span;

use lentic_types::{GroupId, Index};

/// The column families of a node's store. Numbers are part of the format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// Records of all tables: [`keys::data`](crate::keys::data).
    Data = 0,
    /// What prepared transactions leave on keys: the table and the key, without a version.
    Lock = 1,
    /// Each group's own state: [`keys::sys`](crate::keys::sys).
    Sys = 2,
}

impl Family {
    /// Every family, in the order of the numbers.
    pub const ALL: [Self; 3] = [Self::Data, Self::Lock, Self::Sys];

    /// The family's name in the store and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Lock => "lock",
            Self::Sys => "sys",
        }
    }
}

/// A fault of the store itself: never the answer to a request, always the end of the group that met it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The storage below failed.
    #[error("store failed: {0}; the node must stop, look at the disk before starting it again")]
    Failed(String),
    /// A key or a value is not what was once written.
    #[error("store is damaged at key {key} of family {family}: {reason}; rebuild this replica from another")]
    Damaged {
        /// The family's name.
        family: &'static str,
        /// The store key, escaped.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// Damage found at `key`.
    pub fn damaged(family: Family, key: &[u8], reason: impl std::fmt::Display) -> Self {
        Self::Damaged { family: family.name(), key: key.escape_ascii().to_string(), reason: reason.to_string() }
    }
}

/// How far a store is behind with its own work, and so whether new work should be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Keeping up.
    None,
    /// Falling behind: the store slows writers down; let less in.
    Slow,
    /// Writers are stopped: let nothing in until it is over.
    Stop,
}

/// Where a cursor may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// From `lower` on, up to but without `upper`.
    Range {
        /// The first key, inclusive.
        lower: Vec<u8>,
        /// The key after the last, or `None` for the rest of the family.
        upper: Option<Vec<u8>>,
    },
    /// Point reads in [`Family::Data`]: a seek lands only on records of the sought user key, and a step beyond them
    /// is at no entry. A store may answer from a bloom filter on the user key; only forward moves are allowed.
    OneKey,
}

/// Moves over the entries of one family in key order. It sees the family as it was when the cursor was made.
pub trait Cursor {
    /// Goes to the first entry at or after `key`; a key before the lower bound stands for the bound.
    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError>;
    /// Goes to the last entry at or before `key`; a key behind the upper bound stands for the bound.
    fn seek_back(&mut self, key: &[u8]) -> Result<(), StoreError>;
    /// Goes to the entry after this one. No effect when at no entry.
    fn next(&mut self) -> Result<(), StoreError>;
    /// Goes to the entry before this one. No effect when at no entry.
    fn prev(&mut self) -> Result<(), StoreError>;
    /// The key and value here, or `None` outside the bounds, and before the first seek.
    fn entry(&self) -> Option<(&[u8], &[u8])>;
    /// The key here: readers look at keys far more often than at values.
    fn key(&self) -> Option<&[u8]> {
        self.entry().map(|(key, _)| key)
    }
}

/// Read access. Each call, and each cursor, sees everything written before it was made.
pub trait View {
    /// The cursor of this view.
    type Cursor<'a>: Cursor
    where
        Self: 'a;

    /// The value of exactly `key`.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// A cursor over `family` within `bounds`, at no entry until its first seek.
    fn cursor(&self, family: Family, bounds: Bounds) -> Result<Self::Cursor<'_>, StoreError>;
}

/// An ordered byte store with atomic batches.
///
/// Durability: a batch is visible to everyone when [`write`](Self::write) returns, and durable at the latest when a
/// later [`flush`](Self::flush) returns. A crash keeps a prefix of the batches written, in their order, and never
/// part of one: the log of each group replays the rest, from [`durable_applied`](Self::durable_applied) on.
///
/// Errors: any [`StoreError`] is fatal for the groups on this store; stop them, do not retry.
pub trait Store: View + Send + Sync + 'static {
    /// Makes all changes of `batch` visible at once. In a batch the last change of a key wins.
    fn write(&self, batch: &Batch) -> Result<(), StoreError>;
    /// Makes everything written so far durable.
    fn flush(&self) -> Result<(), StoreError>;
    /// The applied index of `group` that a crash now would come back with; index 0 if nothing of it is durable.
    fn durable_applied(&self, group: GroupId) -> Result<Index, StoreError>;
    /// Whether to let more work in. Cheap enough to ask before every batch.
    fn pressure(&self) -> Pressure;
}
