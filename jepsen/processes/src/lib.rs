//! Clusters of real processes, what is done to them, and whether they keep their promises.
//!
//! A [`Cluster`] is some `lentic serve` processes on loopback addresses of its own. A [`Load`] writes to it at a steady
//! pace, whatever happens to it; a [`Recorder`] keeps what was asked and answered, and what was done to the nodes. The
//! [`cases`] put them together: each is a fault, a workload beside it, and the promise that must hold.
//!
//! Everything is done from outside: by signals, through the public interface, by what operators see.
//!
//! | file | idea |
//! |---|---|
//! | `place.rs` | addresses that nobody else has |
//! | `node.rs`, `http.rs`, `memory.rs` | a process: started, hurt, looked at |
//! | `cluster.rs` | some of them, and whether they are well |
//! | `recorder.rs` | what was asked, answered and done, in Elle's format |
//! | `load.rs`, `ledger.rs` | steady writes, and what was acknowledged of them |
//! | `verify.rs` | what is there, against what was acknowledged |
//! | `outage.rs` | how long nothing was acknowledged |
//! | `pipe.rs` | a caller who says what it likes |
//! | `report.rs` | what a case found, in lines and in a file |
//! | `cases/` | fault, workload, promise |
//!
//! A promise that is broken is a panic: its words say what was expected and what was found, and the nodes' logs follow.

pub mod cases;
mod cluster;
mod http;
mod ledger;
mod load;
mod memory;
mod node;
mod outage;
mod pipe;
mod place;
mod recorder;
mod report;
mod verify;
mod wait;

pub use cluster::{Cluster, Leaders, Settings};
pub use ledger::{Ledger, Row};
pub use load::{Load, Pace};
pub use memory::Memory;
pub use node::Node;
pub use outage::{Distribution, longest_gap};
pub use pipe::RawPipe;
pub use recorder::{Call, Counts, Recorder, Recording};
pub use report::{Report, Stand};
pub use verify::{Verified, verify};
pub use wait::until;
