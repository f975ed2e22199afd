//! From messages to the words of the other crates and back: what a message only claims is checked here, once.
//!
//! | file         | subject                                                       |
//! |--------------|---------------------------------------------------------------|
//! | `failure.rs` | failures, their kinds and whether to retry                    |
//! | `status.rs`  | failures as gRPC statuses                                     |
//! | `range.rs`   | key ranges                                                    |
//! | `shard.rs`   | where a shard is                                              |
//! | `ids.rs`     | cluster ids, and the times at which values end                |

mod failure;
mod ids;
mod range;
mod shard;
mod status;

pub use ids::{cluster_id, expiry, expiry_unix_ms};
pub use range::key_range;
pub use shard::ShardPlace;
pub use status::grpc_code;
