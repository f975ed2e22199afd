//! The binary against real nodes: `lentic dev` on ports and in a directory of each test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod clusters;
mod files;
mod process;
mod session;
mod txn;
