//! Why a node does not start, and what ends one.

use std::net::SocketAddr;

use lentic_engine::StoreError;
use lentic_log::Poisoned;
use lentic_node::JoinError;

use crate::config::ConfigError;
use crate::directory::DirectoryError;

/// Why a node does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no node.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory is not this node's to take.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// An address cannot be listened on.
    #[error("could not listen on {address}: {reason}; stop what listens there, or set `{key}` to another address")]
    Listen {
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// No cluster let the node join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] lentic_rocks::OpenError),
    /// The log does not open.
    #[error(transparent)]
    Log(#[from] lentic_log::OpenError),
    /// Log and store do not make a node.
    #[error(transparent)]
    Node(#[from] lentic_node::StartError),
}

/// Not everything could be flushed at the end. Nothing that was acknowledged is lost: the next start replays it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The log has failed.
    #[error(transparent)]
    Log(Poisoned),
}

/// Why a node that runs must end: it cannot keep its promises any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The log has failed. After a failed fdatasync nobody knows what is on the disk.
    #[error("{0}; look at the disk, then start the node again")]
    Log(Poisoned),
    /// The store cannot be written. Its groups have stopped, and what is on the disk is found out at the next start.
    #[error("{0}; free space if the disk is full, then start the node again: nothing that was acknowledged is lost")]
    Store(String),
    /// Nobody can connect any more.
    #[error("{0}; start the node again")]
    Server(String),
}
