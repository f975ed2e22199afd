//! The client against a cluster in this process that moves leaders, splits shards, cuts links and falls silent.

mod bounds;
mod conformance;
mod fake;
mod faults;
mod feeds;
mod states;
mod tasks;
