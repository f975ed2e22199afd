//! The network between the processes of a cluster on one machine: its links can be cut, one way or both, and slowed,
//! and where packets are seen they can be lost, reordered and duplicated. What was done is counted.
//!
//! A [`Network`] is one of two kinds. The caller sees the same of both; what the second cannot do it refuses.
//!
//! ```text
//! network namespaces, one a node (root)            loopback, a proxy per link (anybody)
//!
//!   node 0        node 1        this process         node 0 ── connect(node 1), redirected
//!   10.x.y.1      10.x.y.2      10.x.y.254           127.x.y.1         │
//!      │             │               │                                 ▼
//!      └── device ───┼─── device ────┘               proxy of 0 → 1, 127.x.y.254 ──► node 1, 127.x.y.2
//!                 switch
//!  packets: cut, lost, delayed, reordered, doubled   streams: held back, delayed
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `network.rs` | both kinds behind one type |
//! | `rule.rs` | what is said of a link, and what is counted there |
//! | `links.rs` | every link's rule, and what becomes of a packet |
//! | `random.rs` | choices, as a function of a seed |
//! | `claim.rs` | addresses that nobody else has |
//! | `space.rs`, `kernel.rs` | a network namespace and its device; the calls that need unsafe code |
//! | `switch.rs`, `packet.rs` | carries packets between devices |
//! | `proxy.rs` | carries streams between nodes |
//! | `probe.rs` | proves on this machine that all this works |

mod claim;
mod kernel;
mod links;
mod network;
mod packet;
mod probe;
mod proxy;
mod random;
mod rule;
mod space;
mod switch;

pub use network::{Kind, NODES_MAX, Network, Ports};
pub use rule::{Counts, DELAY_MAX, End, Rule, Unsupported};
