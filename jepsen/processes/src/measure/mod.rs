//! How long faults keep writes waiting: each fault twenty times, under a load that does not wait for answers.
//!
//! | file | what |
//! |---|---|
//! | `table.rs` | what is measured, by name, and what is demanded |
//! | `field.rs` | a cluster under load, and what is read off its acknowledgements |
//! | `failover.rs` | a leader is killed, cut off or paused; it hands over; nodes are restarted in turn |
//! | `followers.rs` | a follower comes back, or has a slow disk; a leader has one |
//! | `waiting.rs` | a transaction dies with its coordinator; a feed loses the leaders that it follows |
//! | `blackout.rs` | all nodes lose their power, with much in their logs |
//!
//! Figures are those of this machine, with every node and the clients on it: nothing else may run beside them.

mod blackout;
mod failover;
mod field;
mod followers;
mod table;
mod waiting;

pub use table::{Measure, measure, named};
