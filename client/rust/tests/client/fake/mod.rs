//! A cluster to talk to: nodes that speak the pipe on links in this process.
//!
//! | file | idea |
//! |---|---|
//! | `world` | nodes, tables and shards; a shard is the real state machine on a store in memory |
//! | `answer` | what a node answers |
//! | `transact`, `owners` | its transactions, and who owns what |
//! | `feed` | its feeds |
//! | `faults` | what goes wrong, as a test says or a seed decides |
//! | `network` | links, and the tasks that serve them |
//!
//! There is no replication: a leader is a name that can move. What a shard decides, it decides as in production: answers
//! that are kept, conditions, merges and reads at versions are those of the machine and the engine.

mod answer;
mod faults;
mod feed;
mod network;
mod owners;
mod transact;
mod world;

pub(crate) use network::{Cluster, all_done};
pub(crate) use world::address;
