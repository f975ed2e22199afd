//! Streams of frames between processes.
//!
//! All that nodes and clients say to each other are frames (encoded messages) on links: bidirectional streams that keep
//! their order, lose nothing while they live, and break as a whole. In production a link is a gRPC stream ([`grpc`]); in
//! a simulation it is a pair of wires with delays and faults under a seed ([`sim`]). What is on top cannot tell.

pub mod grpc;
mod link;
mod queue;
pub mod sim;

pub use link::{Accept, Address, BoxFuture, Class, DialError, Link, LinkClosed, Network, SNAPSHOT_PART_BYTES_MAX};
pub use queue::{LinkReceiver, LinkSender};
