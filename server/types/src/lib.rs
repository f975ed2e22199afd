//! The words of Lentic: ids, versions, key ranges, limits, error kinds and the primitives of its byte formats.
//!
//! Every other crate speaks in these types, so they carry the project's smallest promises: an index is not a
//! version, a version sorts by time, a range is never inside out, and every limit has one home. Nothing here
//! knows a clock, a file, a thread or a network.

pub mod codec;
mod error;
mod ids;
pub mod limits;
pub mod mutant;
mod position;
mod range;
mod txn;
mod version;

pub use error::{ErrorKind, Retry};
pub use ids::{ClientId, ClusterId, Epoch, GroupId, Index, NodeId, PinId, ShardId, TableId};
pub use limits::Limits;
pub use position::Position;
pub use range::{KeyRange, RangeError};
pub use txn::TxnId;
pub use version::{Expiry, Version};
