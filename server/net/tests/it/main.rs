//! Links over gRPC, between sockets of this machine, and over the simulated network.

#![expect(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

mod bounds;
mod contract;
mod ends;
mod links;
mod sim;
mod stand;
