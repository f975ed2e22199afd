//! The store on RocksDB: the only crate that links it.
//!
//! ```text
//! <directory>/LENTIC    what this directory is: format and cluster        identity
//!             LOCK      held by the one process that has it open          lock
//!             db/       RocksDB, with families data, lock and sys
//! ```
//!
//! **There is no write-ahead log: the Raft log is it.** Each batch carries its group's applied index, all families are
//! flushed together or not at all, and so a crash goes back to a point between two batches, the same in all families.
//! [`durable_applied`](lentic_engine::Store::durable_applied) tells which: the log must keep what comes after it.
//!
//! ```text
//! batches   1   2   3   4   5   6   7
//!           └─ flushed ─┘   └ memory ┘     durable_applied = 4: after a crash the log is applied again from 5 on
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `options`, `tuning` | the knobs, and what is not one, each with its reason |
//! | `identity`, `open` | a directory is refused before anything in it is touched |
//! | `store`, `cursor` | the engine's `Store`, `View` and `Cursor` |
//! | `pressure` | when to let less in |
//! | `gc` | the engine's verdicts inside compactions, and the removal of deletes at the end of a key |
//! | `export`, `ingest`, `checkpoint` | ranges as files, in both directions; the whole store as hard links |
//! | `stats` | figures for an operator |
//!
//! Deliberately absent: threads, clocks and timers of our own. The node calls [`RocksStore::promote_gc`] and
//! [`RocksStore::remove_buried`] from its own, and reads [`RocksStore::stats`] when it is asked for metrics.

mod checkpoint;
mod cursor;
mod error;
mod export;
mod gc;
mod identity;
mod ingest;
mod open;
mod options;
mod pressure;
mod span;
mod stats;
mod store;
mod transfer;
mod tuning;

pub use cursor::RocksCursor;
pub use error::OpenError;
pub use identity::FORMAT_VERSION;
pub use options::{OptionsError, StoreOptions};
pub use span::Span;
pub use stats::{Kind, Metric};
pub use store::RocksStore;
pub use transfer::{ExportedFile, TransferError};
