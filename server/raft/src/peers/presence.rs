//! Tells that another node is away, and that it is back: once each, however often it is tried meanwhile.

use lentic_net::Class;
use lentic_types::NodeId;
use tracing::{info, warn};

/// Whether another node is reached, as far as one link knows.
pub(super) struct Presence {
    node: NodeId,
    /// One link of each node speaks for all: the one with the heartbeats.
    tells: bool,
    away: bool,
}

impl Presence {
    pub(super) fn new(node: NodeId, class: Class) -> Self {
        Self { node, tells: class == Class::Control, away: false }
    }

    /// The node is not reached, or the link to it broke.
    pub(super) fn lost(&mut self, reason: &str) {
        if self.tells && !std::mem::replace(&mut self.away, true) {
            warn!(node = self.node.0, reason, "a node is not reached; it is tried until it is");
        }
    }

    /// The node has introduced itself.
    pub(super) fn found(&mut self) {
        if std::mem::take(&mut self.away) && self.tells {
            info!(node = self.node.0, "a node is reached again");
        }
    }
}
