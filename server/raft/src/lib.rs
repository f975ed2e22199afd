//! Replication of groups over the shared log and links between nodes.
//!
//! ```text
//!    Group ── submit, read_index, watch ──► openraft ──► Machine (apply)
//!                                            │    ▲
//!                       append, vote, purge  │    │ appends, votes, heartbeats, snapshots
//!                                            ▼    ▼
//!                                     lentic_log  links, one for each node and class
//! ```
//!
//! Start with [`Host`], which a node has one of, and [`Group`]. This is the only crate that names openraft, and no type
//! of openraft is in its interface. What a group applies to is a [`Machine`].
//!
//! What holds:
//! - **Acknowledged is durable.** A command is applied, and its submitter gets the reply, when a quorum has it behind an
//!   fdatasync; with one node, that node.
//! - **A read point is confirmed after it was asked for**, by a quorum. There are no leases.
//! - **A replica that has started again leads only after an election**, and votes as it did before.
//! - **A fault stops its group on this node** and is in [`Status::fault`]; the other groups go on, unless it was the log
//!   that failed.
//! - **One slow group or node holds up no other**: queues are bounded for each group, node and class, and whoever is
//!   behind is refused, not waited for.
//! - **Under a paused, seeded runtime a run is a function of its seed.**

mod erased;
mod error;
mod format;
mod group;
mod host;
mod log_store;
#[cfg(test)]
mod log_suite;
mod machine;
mod options;
mod peers;
mod propose;
mod reads;
mod responder;
mod runtime;
mod snapshot;
mod stats;
mod status;
mod store;
mod types;
mod vouch;

pub use error::{AskError, ChangeError, ProposeError, ReadError, StartError};
pub use format::replica_behind;
pub use group::Group;
pub use host::{Answer, Host};
pub use machine::{Committed, Export, Fault, FileInfo, Import, Machine, Transfer};
pub use options::{OptionError, Options};
pub use peers::peer::Directory;
pub use peers::serve::ASK_BYTES_MAX;
pub use propose::{COMMAND_BYTES_MAX, Pending};
pub use reads::ReadIndex;
pub use snapshot::Progress;
pub use stats::Stats;
pub use status::Status;
pub use vouch::Vouch;
