//! Transactions on this node: it coordinates those that clients send it, and ends those that others left behind.
//!
//! | file        | idea                                                         |
//! |-------------|--------------------------------------------------------------|
//! | `shares.rs` | a transaction cut by shard                                   |
//! | `commit.rs` | a client's transaction, attempt by attempt                   |
//! | `drive.rs`  | performs the coordinator's steps                             |
//! | `recover.rs`| performs a recovery's steps, and looks for what needs one    |
//! | `hurry.rs`  | has what somebody waits for decided soon                     |
//! | `steps.rs`  | asks the leader of a shard, wherever it is                   |

mod commit;
mod drive;
mod hurry;
mod recover;
mod shares;
mod state;
mod steps;

pub(crate) use hurry::{WANTED_MAX, hurry};
pub(crate) use recover::sweep;
pub(crate) use state::Txns;
pub(crate) use steps::Step;
