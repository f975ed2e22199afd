//! MVCC over an ordered byte store.
//!
//! A table is a grid: keys downward, versions to the right. A cell holds a *record*: a put (`=`), a delete (`×`) or
//! a merge operand (`+`). Nothing is ever changed in place; a write adds a cell at its commit version.
//!
//! ```text
//!            v10   v20   v30   v40   v50   v60
//!   apple     =a          =b          ×
//!   beech     =1    +2    +3
//!   cedar           =c          =d
//!                         └─ a read at v30 sees apple=b, beech=1+2+3, cedar=c
//! ```
//!
//! In the store a key's records lie together, newest first, so that a read at version T is one seek to the first
//! record at or below T. Three things can make it step further, and each is bounded:
//!
//! - a **mask** (a rollback) hides an interval of versions: the reader seeks past it;
//! - a chain of **operands** is read down to its full value: at most [`limits::OPERAND_DEPTH_MAX`] records;
//! - a scan leaves a key with many versions by a seek, not by stepping through them.
//!
//! | module | idea |
//! |---|---|
//! | [`store`] | what the engine needs of an ordered byte store; [`MemStore`] is one, RocksDB the other |
//! | [`store::portable`] | a group's state as files, out of one store and into another |
//! | [`keys`] | the kinds of store keys, one file each |
//! | [`record`], [`merge`] | what a cell holds, and how operands fold |
//! | [`mod@write`] | from an operation to the record it leaves |
//! | [`masks`] | which versions a rollback hides, from whom |
//! | [`read`] | get, multi-get and scan at a version, also through branches to what they were made of |
//! | [`feed`] | what was changed between two versions, in the order of versions |
//! | [`gc`] | which records nobody can see any more |
//!
//! Deliberately absent: clocks, threads, files, knowledge of groups' logs or of who may write. A caller decides what
//! to write and stamps it; this crate says how it is kept and what a reader sees.
//!
//! [`limits::OPERAND_DEPTH_MAX`]: lentic_types::limits::OPERAND_DEPTH_MAX

pub mod feed;
pub mod gc;
pub mod keys;
pub mod masks;
mod mem;
pub mod merge;
pub mod read;
pub mod record;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod write;

pub use masks::{Mask, MaskSet};
pub use mem::{MemExport, MemImport, MemStore};
pub use merge::MergeOperator;
pub use read::{
    Change, Diff, DiffPage, DiffRow, Direction, Found, Head, Layer, ReadAt, ReadError, ReadStats, ScanLimits, ScanPage,
};
pub use record::Record;
pub use store::{Batch, Bounds, Cursor, Family, Portable, Pressure, Span, Store, StoreError, View};
