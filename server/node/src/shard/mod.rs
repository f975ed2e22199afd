//! A shard on a node: its machine over the store, the proposer, the reader, the feed.

pub(crate) mod begins;
pub(crate) mod blocked;
pub(crate) mod diff;
pub(crate) mod feed;
pub(crate) mod followed;
pub(crate) mod hear;
pub(crate) mod history;
pub(crate) mod locked;
pub(crate) mod machine;
pub(crate) mod proposer;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod replica;
pub(crate) mod resolved;
pub(crate) mod riders;
pub(crate) mod stamps;
pub(crate) mod traffic;
pub(crate) mod weight;
pub(crate) mod whole;
pub(crate) mod windows;
