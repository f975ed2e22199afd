//! The client library of Lentic.
//!
//! ```no_run
//! # async fn run() -> Result<(), lentic_client::Error> {
//! use lentic_client::{Client, TableOptions};
//!
//! let client = Client::connect(["http://127.0.0.1:7420"]).await?;
//! client.create_table("greetings", TableOptions::default()).await?;
//! let table = client.table("greetings");
//! table.put("hello", "world").await?;
//! assert_eq!(table.get("hello").await?.map(|found| found.value), Some("world".into()));
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] keeps one connection to each node it needs, on which requests of all callers are pipelined. It remembers
//! where shards are led, and finds out anew when it was wrong. A write is sent with a key that the cluster remembers, so
//! it is sent again after a lost connection, a change of leader or of shards, and still takes effect once. An operation
//! ends with an error only if a retry cannot help, or at its deadline; then [`Error::is_unknown`] says whether a write
//! may have had its effect.
//!
//! | module | idea |
//! |---|---|
//! | `client`, `table`, `admin`, `history` | what a caller sees |
//! | `embedded` | a node in this process, behind the feature of that name |
//! | `batch`, `merge`, `scan`, `error`, `options` | its words |
//! | `state` | the state of a stream job's tasks |
//! | `diff` | what is read differently at two versions |
//! | `owners`, `checkpoint` | who writes where, checkpoints, the way back, and what others read of them |
//! | `feed` | what was committed, in the order of versions |
//! | `transaction`, `txn`, `snapshot` | what takes effect together, and what is read at one version |
//! | `write`, `read`, `batcher` | from an operation to requests of single shards |
//! | `call`, `progress`, `backoff` | one request until it is answered |
//! | `sessions`, `window` | the keys that make a retry safe |
//! | `replicas` | reads at versions from any replica |
//! | `catalog`, `routes`, `nodes` | what is remembered of the cluster |
//! | `pipe` | connections |
//! | `core`, `tasks`, `flight` | what clones share |

mod admin;
mod backoff;
mod batch;
mod batcher;
mod call;
mod catalog;
mod checkpoint;
mod client;
#[cfg(feature = "testing")]
pub mod conformance;
mod core;
mod diff;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod feed;
mod flight;
mod history;
mod merge;
mod nodes;
mod options;
mod owners;
mod pipe;
mod progress;
mod read;
mod replicas;
mod routes;
mod scan;
mod sessions;
mod snapshot;
pub mod state;
mod table;
mod tasks;
mod transaction;
mod txn;
mod window;
mod write;

pub use admin::{
    Balance, BranchOf, ClusterStatus, HandOver, Move, NodeState, NodeStatus, ReplicaMove, Sending, ShardDescription,
    ShardSplit, TableDescription, TableEntry, TableOptions,
};
pub use batch::WriteBatch;
pub use checkpoint::{CheckpointScan, JobCheckpoint};
pub use client::{Client, ClientBuilder};
pub use diff::{Diff, DiffBuilder, Difference};
pub use error::Error;
pub use feed::{Feed, FeedBuilder, FeedChange, FeedEvent, FeedStart, FeedToken};
pub use history::{PinEntry, PinKind, ShardHistory, SnapshotOptions};
pub use lentic_net::{Address, Network};
/// Knobs of a client's own node.
#[cfg(feature = "embedded")]
pub use lentic_serve::config as node_config;
pub use lentic_types::{ClusterId, Epoch, ErrorKind, KeyRange, NodeId, PinId, Retry, ShardId, TableId, Version};
pub use merge::{MergeOperator, decode_set, encode_set};
pub use options::Options;
pub use owners::{Checkpoint, Fence, Owned, Owners, Take};
pub use read::Value;
pub use replicas::ReadFrom;
pub use routes::prefix_range;
pub use scan::{Row, Scan, ScanBuilder};
pub use snapshot::{Snapshot, SnapshotTable};
pub use table::Table;
pub use transaction::Transaction;
pub use txn::{Txn, TxnScan, TxnTable};
