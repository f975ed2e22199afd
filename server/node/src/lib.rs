//! A node as a library: everything of the process that is not a disk, a socket or a command line.
//!
//! ```text
//!   clients ──► gateway ──► shard: queue ─► proposer ─► group ─► log, followers ─► machine ─► store
//!                  │               reader ─► group (read index) ──────────────────────────► store
//!                  └──────► meta: catalog, oracle ─► group
//! ```
//!
//! What is not deterministic comes from outside, in [`Seams`]: in production RocksDB, files, sockets and clocks; in a
//! simulation their doubles, under one seed. Nothing here knows which.

mod addresses;
mod ask;
mod balance;
mod convert;
mod disk;
mod failure;
mod gateway;
mod join;
mod meta;
mod metrics;
mod moves;
mod node;
mod options;
mod report;
mod shard;
mod shards;
mod soon;
mod ticks;
mod transfer;
mod txn;
mod upkeep;

pub use join::{JoinError, Joined, join};
pub use node::{Identity, Membership, Node, Seams, StartError};
pub use options::NodeOptions;
