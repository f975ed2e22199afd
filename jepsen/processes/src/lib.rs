//! Clusters of real processes, what is done to them, and whether they keep their promises.
//!
//! A [`Cluster`] is some `lentic serve` processes on a ground that can be hurt: a network between them, disks, system
//! calls. [`run`] has workloads write and read while faults are struck and mended, and judges what clients were told.
//! [`cases`] are faults with demands of their own; [`measure`] says how long faults keep writes waiting.
//!
//! Everything is done from outside: by signals, through the public interface, below the process, by what operators see.
//!
//! | file | idea |
//! |---|---|
//! | `place.rs` | addresses that nobody else has |
//! | `node.rs`, `http.rs`, `memory.rs` | a process: started, hurt, looked at |
//! | `ground.rs` | what they stand on, tried before it is used |
//! | `cluster.rs` | some of them, and whether they are well |
//! | `nemesis/` | what is done to them, how long, and what came of it |
//! | `runner.rs`, `suite.rs` | workloads beside faults, and which runs belong together |
//! | `mix.rs` | workloads beside each other |
//! | `alike.rs` | every replica holds the same |
//! | `load.rs` | one workload, for those who need no more |
//! | `pipe.rs` | a caller who says what it likes |
//! | `report.rs`, `timeline.rs` | what was found, in lines, in a file and as a picture |
//! | `cases/`, `measure/` | demands of their own; how long things take |
//!
//! A promise that is broken is a panic: its words say what was expected and what was found, and the nodes' logs follow.

mod alike;
pub mod cases;
mod cluster;
mod ground;
mod http;
mod load;
pub mod measure;
mod memory;
mod mix;
mod nemesis;
mod node;
mod pipe;
mod place;
mod report;
mod runner;
pub mod suite;
mod timeline;
mod wait;

pub use cluster::{Cluster, Leaders, Settings};
pub use ground::Ground;
pub use memory::Memory;
pub use nemesis::{Fault, Needs};
pub use node::Node;
pub use pipe::RawPipe;
pub use report::{Report, Stand};
pub use runner::{Run, Verdict, run};
pub use timeline::{Span, Timeline};
pub use wait::until;
