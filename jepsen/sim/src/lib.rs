//! A whole cluster in one process on one thread, as a function of a seed.
//!
//! The nodes are the real ones, and so is the client. What they get in place of the world is simulated: tokio's time is
//! paused and jumps from event to event, its choices come from the seed, and so do the delays and faults of network and
//! disk. A run that fails is run again by its seed, and fails again.
//!
//! | file | what it does |
//! |---|---|
//! | `run.rs` | a thread of its own, a runtime with the seed, a trace |
//! | `trace.rs` | what happened |
//! | `cluster.rs` | hosts, the network between them, and what can be done to them |
//! | `host.rs`, `disk.rs` | a host: disk, store, clock, node |
//! | `faults.rs`, `counts.rs` | what is done to them and when, and what came of it |
//! | `watch/` | what must hold at every step |
//! | `scenario.rs` | a seed from its shape to its verdict; what clients do meanwhile is in `lentic_workloads` |
//! | `sweep.rs`, `command.rs` | many seeds, on all cores, and how they are asked for |

mod cluster;
mod command;
mod counts;
mod disk;
mod faults;
mod host;
mod run;
mod scenario;
mod sweep;
mod trace;
mod watch;

pub use cluster::{Cluster, Shape};
pub use command::command;
pub use counts::FaultCounts;
pub use faults::break_things;
pub use host::SimStore;
pub use lentic_workloads::Dice;
pub use run::{Outcome, run};
pub use scenario::{Report, SPLITS_FROM, seed, seed_on, seed_with};
pub use sweep::{Failure, Plan, Sweep, sweep, sweep_on};
pub use trace::Trace;
pub use watch::Watched;
