//! A network in memory, for simulations: delays, cuts, resets and crashes that are a function of a seed.
//!
//! It behaves as TCP does. Frames of a link keep their order, and arrive whole or not at all. While a direction between
//! two hosts is cut, its frames stay where they are; healed in time, they arrive late; after a few seconds the link breaks
//! at both ends, as keepalives would find out. What was on its way when a link broke is lost. A receiver that does not
//! read holds back its sender.
//!
//! Time is tokio's, which a simulation pauses, and so has a resolution of a millisecond.
//!
//! | file          | what it does                                                      |
//! |---------------|-------------------------------------------------------------------|
//! | `network.rs`  | [`SimNetwork`]: hosts, faults, dialling                           |
//! | `state.rs`    | what hosts, links and faults there are                            |
//! | `wire.rs`     | one direction of a link: what is on its way, and how it ends      |
//! | `path.rs`     | what lies between two hosts                                       |
//! | `event.rs`    | [`NetEvent`] and [`NetCounts`]: what happened                     |
//! | `knobs.rs`    | [`SimKnobs`]: how the network behaves by itself                   |

mod event;
mod knobs;
mod network;
mod path;
mod state;
mod wire;

pub use event::{Happening, NetCounts, NetEvent};
pub use knobs::SimKnobs;
pub use network::SimNetwork;
