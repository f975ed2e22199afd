//! The client against a cluster in this process that moves leaders, splits shards, cuts links and falls silent.

mod bounds;
mod conformance;
mod fake;
mod faults;
mod feeds;
mod flights;
/// The jobs of the example, as they are.
#[path = "../../examples/flights/job/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the example shows more of them than a test compares")]
mod job;
mod states;
mod tasks;
