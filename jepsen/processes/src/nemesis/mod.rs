//! What is done to a cluster, how long, and what came of it.
//!
//! A fault is struck, holds for a while, and is mended; then the cluster must go on. One that had no effect has shown
//! nothing: mending it says what it did, and panics if that was nothing.
//!
//! | file | what |
//! |---|---|
//! | `fault.rs` | the faults by name, and what each needs |
//! | `struck.rs` | strike and mend: which file does which |
//! | `processes.rs` | kill, pause, rolling restart |
//! | `network.rs` | cuts, loss, delay |
//! | `calls.rs` | syncs that are slow or fail, torn writes, clocks that jump |
//! | `disks.rs` | loss of power, a full disk |
//! | `damage.rs` | bytes that are not what was written |
//! | `admin.rs` | what operators ask for: leaders hand over |
//! | `shape.rs` | and changes of shape: splits, moves, drains |
//! | `schedule.rs` | one after the other, now and then two at once |

mod admin;
mod calls;
mod damage;
mod disks;
mod fault;
mod network;
mod processes;
mod schedule;
mod shape;
mod struck;

pub use fault::{Fault, Needs};
pub(crate) use schedule::{Done, Schedule};
pub(crate) use struck::{Arena, Struck};
