//! The client against a cluster in this process that moves leaders, splits shards, cuts links and falls silent.

mod conformance;
mod fake;
