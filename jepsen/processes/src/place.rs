//! Loopback addresses that nobody else has.
//!
//! All of 127.0.0.0/8 is this machine. A port that was free a moment ago may be somebody's outgoing connection by the
//! time a node starts on it again; those have 127.0.0.1. So each cluster takes a /24 of its own, and each node of it an
//! address with the usual ports.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

/// The usual ports of a node.
pub(crate) const PORT: u16 = 7420;
pub(crate) const HTTP_PORT: u16 = 7421;
/// How many networks are tried.
const TRIES: usize = 100;

/// Where the nodes of a cluster listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    network: [u8; 2],
}

impl Places {
    /// Addresses for `nodes` nodes.
    ///
    /// # Panics
    /// If this machine has no free ones.
    pub(crate) fn free(nodes: usize) -> Self {
        for _ in 0..TRIES {
            let random = lentic_runtime::random().to_be_bytes();
            // Away from both ends, where other programs have theirs.
            let places = Self { network: [16 + random[0] % 200, random[1]] };
            let is_free = |node, port| TcpListener::bind(places.socket(node, port)).is_ok();
            if (0..nodes).all(|node| is_free(node, PORT) && is_free(node, HTTP_PORT)) {
                return places;
            }
        }
        panic!("no loopback addresses are free: the tests need Linux, where all of 127.0.0.0/8 is this machine");
    }

    /// Where a node, from 0, listens on a port.
    pub(crate) fn socket(self, node: usize, port: u16) -> SocketAddrV4 {
        let host = u8::try_from(node + 1).expect("a cluster of processes has few nodes");
        SocketAddrV4::new(Ipv4Addr::new(127, self.network[0], self.network[1], host), port)
    }
}
