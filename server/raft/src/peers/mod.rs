//! Between nodes: links that carry the messages of many groups.
//!
//! `lane` asks, `serve` answers, `inbox` is a group's share of what comes in, `network` is what openraft sees, `presence`
//! tells of nodes that are away.

pub(crate) mod frame;
pub(crate) mod inbox;
pub(crate) mod lane;
pub(crate) mod messages;
pub(crate) mod network;
pub(crate) mod peer;
mod presence;
pub(crate) mod serve;
