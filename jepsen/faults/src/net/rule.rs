//! What is said of a link, and what is counted there.

use std::fmt;
use std::time::Duration;

/// The longest delay, and the most jitter.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

/// A place on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A node, from 0.
    Node(usize),
    /// This process, with its clients and operators.
    Clients,
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(out, "node {node}"),
            Self::Clients => write!(out, "the clients"),
        }
    }
}

/// What becomes of the packets of a link, which has one direction. The default is a healthy link.
///
/// The choices are made for each packet: is it lost, when is it due, is it held back, is there a second one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Nothing passes, also nothing that is under way.
    pub cut: bool,
    /// How many of 100 packets are lost.
    pub loss_percent: u8,
    /// How late every packet is.
    pub delay: Duration,
    /// How much later than `delay` a packet may be. Packets stay in order.
    pub jitter: Duration,
    /// How many of 100 packets are held back for 3 ms, so that those sent in that time overtake them.
    pub reorder_percent: u8,
    /// How many of 100 packets arrive twice.
    pub duplicate_percent: u8,
}

impl Rule {
    /// Whether it needs packets, and not just streams.
    pub(crate) const fn is_of_packets(&self) -> bool {
        self.loss_percent > 0 || self.reorder_percent > 0 || self.duplicate_percent > 0
    }

    /// # Panics
    /// If there are more than 100 of 100, or the delay or the jitter is longer than [`DELAY_MAX`].
    pub(crate) fn check(&self) {
        for percent in [self.loss_percent, self.reorder_percent, self.duplicate_percent] {
            assert!(percent <= 100, "{percent} of 100 packets");
        }
        for late in [self.delay, self.jitter] {
            assert!(late <= DELAY_MAX, "packets can be {DELAY_MAX:?} late, not {late:?}");
        }
    }
}

/// What happened on a link. On loopback a packet is a piece of a stream as the proxy read it, up to 64 KiB.
///
/// What goes to and comes from the control port is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were handed over, second ones too.
    pub passed: u64,
    /// Packets that a cut dropped; on loopback, pieces and connections that a cut held back.
    pub cut: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Packets that had to wait.
    pub delayed: u64,
    /// Packets that were handed over after one that was sent later.
    pub reordered: u64,
    /// Packets of which a second one was made.
    pub duplicated: u64,
    /// Packets that were dropped because too many were waiting, or because the kernel would not take them.
    pub overflowed: u64,
}

/// What a network cannot do to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Only network namespaces see the packets of clients.
    #[error("clients connect directly on loopback, so nothing can be done to their links; namespaces can")]
    Clients,
    /// Only network namespaces see packets at all.
    #[error("a proxy on loopback sees no packets, so it cannot lose, reorder or duplicate them; namespaces can")]
    Packets,
}
