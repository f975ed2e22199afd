//! The wire contract: messages and services as Rust, and how they become the words of the other crates.
//!
//! The .proto files say what is promised; `src/generated` is made from them by `cargo xtask codegen` and is not edited.
//! Messages of [`v1`] are for clients and change only compatibly. Those of [`internal`] are between nodes of one
//! release. Byte fields are shared [`bytes::Bytes`]: decoded from a frame they point into it.

mod convert;

pub use convert::{ShardPlace, cluster_id, expiry, expiry_unix_ms, grpc_code, key_range};

/// What clients and nodes say to each other: package `lentic.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_lifetimes,
    clippy::all,
    clippy::pedantic,
    reason = "generated; the .proto files say what things mean"
)]
pub mod v1 {
    include!("generated/lentic.v1.rs");
}

/// What nodes say to each other: package `lentic.internal.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod internal {
    include!("generated/lentic.internal.v1.rs");
}

/// The descriptors of `lentic.v1`, encoded as a `google.protobuf.FileDescriptorSet`: what gRPC reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/lentic.v1.binpb");
