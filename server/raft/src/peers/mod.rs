//! Between nodes: links that carry the messages of many groups.
//!
//! `lane` asks, `serve` answers, `inbox` is a group's share of what comes in, `network` is what openraft sees.

pub(crate) mod frame;
pub(crate) mod inbox;
pub(crate) mod lane;
pub(crate) mod messages;
pub(crate) mod network;
pub(crate) mod peer;
pub(crate) mod serve;
