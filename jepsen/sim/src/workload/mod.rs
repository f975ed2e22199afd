//! What clients do while things break, and what must hold of the answers.
//!
//! Every workload runs until it is told to stop, then checks what it has seen. All operations have a deadline longer
//! than the run, so an error that a client sees is one that a safe retry could have hidden.
//!
//! | file | what it shows |
//! |---|---|
//! | `counters.rs` | acknowledged is there, once; refused is not |
//! | `registers.rs` | single keys are linearizable, read either way |
//! | `causal.rs` | an effect is never seen without its cause, across shards |
//! | `ticks.rs` | versions rise in real time |
//! | `scans.rs` | a version reads the same for everybody, for ever |
//! | `bank.rs` | money is moved between shards, and never made or lost |
//! | `lists.rs` | transactions are strictly serializable |
//! | `world.rs` | what workloads share |

mod bank;
mod causal;
mod counters;
mod lists;
mod registers;
mod scans;
mod ticks;
mod world;

pub use bank::bank;
pub use causal::causal;
pub use counters::counters;
pub use lists::lists;
pub use registers::registers;
pub use scans::scans;
pub use ticks::ticks;
pub use world::{Phase, SERVES_WITHIN, TABLE, Tally, World};
