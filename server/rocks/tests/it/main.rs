//! The store against its contract, on real files. One binary, for each would link RocksDB again.

#![expect(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

mod conformance;
mod crash;
mod cursor;
mod gc;
mod open;
mod running;
mod support;
mod transfer;
