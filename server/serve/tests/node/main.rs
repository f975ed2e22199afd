//! Whole nodes: real disks, real sockets, real clients.

#![expect(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

mod cluster;
mod conformance;
mod embedded;
mod single;
mod support;
