//! The shared log of a node: one ordered, group-committed, crash-safe log for all its Raft groups.
//!
//! ```text
//!   group 1 ─┐ append, save_state,            ┌ 00000007.log ┬ 00000008.log ┐
//!   group 2 ─┼──► queue ──► one writer ──────►│ g1 g2 g1 g3  │ g2 g2 ...    │ ──► recycled when no group
//!   group 3 ─┘ truncate, purge    │           └──────────────┴──────────────┘     needs a segment
//!       ▲                         │ one write, one fdatasync for all that waited
//!       └──── completions ◄───────┘
//! ```
//!
//! Start with [`Log`]. The bytes are described in `format`, opening in `recovery`, the life of a file in `segment`.
//!
//! What holds:
//! - **Acknowledged is durable.** A completion says `Ok` only after the fdatasync that covers it.
//! - **One order.** After a crash the log is a prefix of all changes in the order of submission, over all groups: a vote
//!   never goes back, an entry is never there without the one before it.
//! - **Damage is refused, never passed on.** What can be proven durable is there whole, or the log does not open and
//!   names file and offset. The proof covers everything but the last gather of a log that was not closed, for which a
//!   torn write and later damage look the same.
//! - **The first failed write or sync is the last.** [`Poisoned`] for everyone from then on; the process should stop.
//! - **Bounded**: the queue, the cache, a gather, a read and what recovery holds have limits in bytes.
//!
//! Deliberately absent: a sync mode other than fdatasync for each gather, repair of a damaged log, a file per group,
//! compression (entries are small or already compressed), and the knowledge of what an entry means.

mod error;
mod format;
mod fs;
mod group;
pub mod limits;
mod log;
mod read;
mod recovery;
mod release;
mod scan;
mod segment;
mod state;
mod stats;
mod writer;

pub use error::{OpenError, Poisoned, ReadError, SubmitError};
pub use fs::{DirLock, DiskFs, File, Fs, LockError, SimFs, SimOp};
pub use group::{GroupState, Purged};
pub use limits::{LogOptions, OptionError};
pub use log::Log;
pub use release::{Holder, OnPressure};
pub use state::{Completion, RoomWaiter};
pub use stats::{Histogram, Stats};
pub use writer::{Writer, WriterThread};
