//! Versions as names, on a cluster of three nodes on this machine.
//!
//! | file | what |
//! |---|---|
//! | `names.rs` | checkpoints, rollbacks and restores of a job, as its state grows a hundred times |
//! | `history.rs` | what rollbacks, old versions and readers of them cost those who read and write |
//! | `feeds.rs` | from a commit to who follows, and how fast one that was away catches up |
//! | `fill.rs` | tables and their keys |

mod feeds;
mod fill;
mod history;
mod names;

pub(crate) use feeds::run as feeds;
pub(crate) use history::run as history;
pub(crate) use names::run as names;
