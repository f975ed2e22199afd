//! The store on RocksDB: the only crate that links it.
//!
//! ```text
//! <directory>/LENTIC    what this directory is: format and cluster        identity
//!             LOCK      held by the one process that has it open          lock
//!             db/       RocksDB, with families data, lock and sys
//!             scratch/  exports and imports under way                         home
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
//! | `portable` | the engine's `Portable`: what else a node asks of its store |
//! | `export`, `import`, `install`, `pending` | ranges as files, in both directions; a crash cuts none short |
//! | `checkpoint` | the whole store as hard links |
//! | `stats` | figures for an operator |
//!
//! Deliberately absent: threads, clocks and timers of our own. The node calls
//! [`maintain`](lentic_engine::Portable::maintain) from its own, and reads
//! [`metrics`](lentic_engine::Portable::metrics) when it is asked for them.

mod checkpoint;
mod cursor;
mod error;
mod export;
mod gc;
mod home;
mod identity;
mod import;
mod install;
mod open;
mod options;
mod pending;
mod portable;
mod pressure;
mod stats;
mod store;
mod transfer;
mod tuning;

pub use cursor::RocksCursor;
pub use error::OpenError;
pub use export::RocksExport;
pub use identity::FORMAT_VERSION;
pub use import::RocksImport;
pub use options::{OptionsError, StoreOptions};
pub use store::RocksStore;
