//! The simulated network by node numbers.

use std::sync::Arc;

use lentic_net::sim::{SimKnobs, SimNetwork};
use lentic_net::{Accept, Address, BoxFuture, Class, Link, Network};
use lentic_raft::{Directory, Host};
use lentic_runtime::{Random, Scope};
use lentic_types::NodeId;

#[derive(Clone)]
pub struct Net(SimNetwork);

/// Nodes are spoken to by their number.
pub struct Numbers;

impl Directory for Numbers {
    fn address(&self, node: NodeId) -> Option<Address> {
        Some(address(node))
    }
}

fn address(node: NodeId) -> Address {
    Address::from(&*node.to_string())
}

struct Serve(Host);

impl Accept for Serve {
    fn accept(&self, class: Class, link: Link) -> BoxFuture<'static, ()> {
        self.0.accept(class, link)
    }
}

impl Net {
    pub fn new(random: &Random) -> Self {
        // Links break soon after a cut, so that a short life sees it, too.
        let knobs = SimKnobs { cut_ms_max: 500, dial_ms_max: 300, reset_per_million: 100, ..SimKnobs::default() };
        Self(SimNetwork::new(random, knobs))
    }

    /// The network as `node` dials it.
    pub fn of(&self, node: NodeId) -> Arc<dyn Network> {
        self.0.for_host(&address(node))
    }

    pub fn start(&self, node: NodeId, scope: Scope, host: Host) {
        self.0.start(&address(node), scope, Arc::new(Serve(host)));
    }

    pub fn crash(&self, node: NodeId) {
        self.0.crash(&address(node));
    }

    /// Links outlive a cut of some seconds from now on.
    pub fn keep_links(&self) {
        self.0.set_knobs(SimKnobs { cut_ms_max: 60_000, ..SimKnobs::default() });
    }

    /// How many bytes a second reach the second from the first, on each link.
    pub fn slow_down(&self, from: NodeId, to: NodeId, bytes_per_second: u64) {
        self.0.set_rate(&address(from), &address(to), Some(bytes_per_second));
    }

    /// What the first sends does not reach the second.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.0.cut_one_way(&address(from), &address(to));
    }

    /// Cuts both directions between two sets.
    pub fn cut(&self, a: &[u64], b: &[u64]) {
        for a in a {
            for b in b {
                self.0.cut(&address(NodeId(*a)), &address(NodeId(*b)));
            }
        }
    }

    pub fn heal(&self) {
        self.0.heal_all();
    }

    /// Breaks all links between two nodes, once.
    pub fn break_links(&self, a: NodeId, b: NodeId) {
        self.0.break_links(&address(a), &address(b));
    }

    /// What happened so far, to be compared.
    pub fn describe(&self) -> String {
        format!("{:?}", self.0.counts())
    }
}
