//! What clients do to a cluster, simulated or real, and what must hold of the answers.
//!
//! A workload is a promise and the clients that would notice if it were broken. It runs until it is told to stop, and
//! panics if the promise does not hold, with words that name it, what was expected and what was found. Whoever runs it
//! breaks things meanwhile, heals them, and judges the [`Tally`]. Time is tokio's and choices come from a seed, so a
//! workload is the same in a simulation and on real processes.
//!
//! ```text
//!   runner     World::new ─► workloads ─► faults ─► World::heal ─► World::end ─► all have ended ─► Tally
//!   workload       ├ opens ─► callers, until it is over ────────────────────► last reads, checks ┤
//! ```
//!
//! | file | promise |
//! |---|---|
//! | `lists.rs` | transactions are strictly serializable |
//! | `registers.rs` | single keys are linearizable, however they are read: `registers`, `cas` |
//! | `bank.rs` | money is moved between shards, and never made or lost |
//! | `causal.rs` | an effect is never seen without its cause |
//! | `fork.rs` | no two readers see writes in opposite orders |
//! | `sequential.rs` | no later write of one writer is seen without an earlier one |
//! | `monotonic.rs` | the order of versions is that of effects |
//! | `predicate.rs` | what was read holds at the commit: ranges, and what is not there |
//! | `skew.rs` | the same: keys |
//! | `set.rs` | acknowledged is there, once; refused is not |
//! | `ticks.rs` | versions rise in real time |
//! | `orphans.rs` | who dies in a commit leaves nothing by halves, and keeps nobody for long |
//! | `retries.rs` | what is sent again takes effect once |
//! | `feed.rs` | a feed tells every commit once, in order, and what it has told is what is there |
//! | `scans.rs` | a version reads the same for everybody, later too |
//! | `owners.rs` | who was replaced writes no more, and checkpoints are found again in all shards at once |
//! | `published.rs` | a snapshot reads the same for as long as it is kept, however short history is |
//! | `branch.rs` | a branch shows what its parent held, and then both go their own ways |
//! | `world.rs`, `world/` | what workloads share: clients, keys, choices, and how an operation is judged |
//! | `pace.rs` | how fast all of it is |
//! | `recorder.rs`, `tally.rs`, `outage.rs` | what is kept of it: a history, counts, times |
//! | `tasks.rs` | tasks that end together |

mod bank;
mod branch;
mod causal;
mod feed;
mod fork;
mod lists;
mod monotonic;
mod orphans;
mod outage;
mod owners;
mod pace;
mod predicate;
mod published;
mod recorder;
mod registers;
mod retries;
mod scans;
mod sequential;
mod set;
mod skew;
mod tally;
mod tasks;
mod ticks;
mod world;

use std::future::Future;
use std::pin::Pin;

pub use outage::{Ack, Distribution, longest_gap};
pub use pace::Pace;
pub use recorder::{Call, Recorder, Recording};
pub use tally::{Counts, Style, Tally};
pub use world::{Policy, Setting, World};

/// The future of a workload that runs.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A promise, and the clients that would notice if it were broken.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name, which its keys begin with.
    pub name: &'static str,
    /// What must hold.
    pub promise: &'static str,
    /// Runs it until the world is over, and checks the promise.
    pub run: fn(World) -> Running,
}

/// A row of the table below.
macro_rules! workload {
    ($file:ident :: $run:ident, $name:ident, $promise:literal) => {
        Workload { name: $file::$name, promise: $promise, run: |world| Box::pin($file::$run(world)) }
    };
}

/// All workloads.
pub const WORKLOADS: &[Workload] = &[
    workload!(lists::lists, NAME, "transactions are strictly serializable"),
    workload!(registers::registers, REGISTERS, "single keys are linearizable, with blind writes and deletes"),
    workload!(registers::cas, CAS, "single keys are linearizable, with compare and set"),
    workload!(bank::bank, NAME, "money is moved between shards, and never made or lost"),
    workload!(causal::causal, NAME, "an effect is never seen without its cause"),
    workload!(fork::fork, NAME, "no two readers see writes in opposite orders"),
    workload!(sequential::sequential, NAME, "no later write of one writer is seen without an earlier one"),
    workload!(monotonic::monotonic, NAME, "the order of versions is that of effects"),
    workload!(predicate::predicate, NAME, "ranges that were read hold at the commit"),
    workload!(skew::skew, NAME, "keys that were read hold at the commit"),
    workload!(set::set, NAME, "acknowledged is there, once; refused is not"),
    workload!(ticks::ticks, NAME, "versions rise in real time"),
    workload!(orphans::orphans, NAME, "who dies in a commit leaves nothing by halves, and keeps nobody for long"),
    workload!(retries::retries, NAME, "what is sent again takes effect once"),
    workload!(scans::scans, NAME, "a version reads the same for everybody, later too"),
    workload!(owners::owners, NAME, "who was replaced writes no more, and checkpoints are found again"),
    workload!(feed::feed, NAME, "a feed tells every commit once, in order, and what it has told is what is there"),
    workload!(published::published, NAME, "a snapshot reads the same for as long as it is kept"),
    workload!(branch::branch, NAME, "a branch shows what its parent held, and then both go their own ways"),
];

/// The workload of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for workload in WORKLOADS {
            assert_eq!(find(workload.name).unwrap().promise, workload.promise, "{} is there twice", workload.name);
        }
        assert!(find("none").is_none());
    }
}
