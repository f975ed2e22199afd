//! A whole cluster in one process on one thread, as a function of a seed.
//!
//! The nodes are the real ones, and so is the client. What they get in place of the world is simulated: tokio's time is
//! paused and jumps from event to event, its choices come from the seed, and so do the delays and faults of network and
//! disk. A run that fails is run again by its seed, and fails again.
//!
//! | file | what it does |
//! |---|---|
//! | `run.rs` | a thread of its own, a runtime with the seed, a trace |
//! | `trace.rs`, `dice.rs` | what happened, and what was chosen |
//! | `cluster.rs`, `disk.rs` | hosts: disk, store, clock, node; what can be done to them |
//! | `faults.rs` | what is done to them, and when |
//! | `scenario.rs` | a seed from its shape to its verdict; what clients do meanwhile is in `lentic_workloads` |
//! | `sweep.rs` | many seeds, on all cores |

mod cluster;
mod dice;
mod disk;
mod faults;
mod run;
mod scenario;
mod sweep;
mod trace;

pub use cluster::{Cluster, FaultCounts, Shape};
pub use dice::Dice;
pub use faults::break_things;
pub use run::{Outcome, run};
pub use scenario::{Report, seed};
pub use sweep::{Failure, Plan, Sweep, sweep};
pub use trace::Trace;
