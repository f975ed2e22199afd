//! Cases: a fault, a workload beside it, and the promise that must hold.
//!
//! | file | fault | promise |
//! |---|---|---|
//! | `kills.rs` | kill -9 of a leader, again and again | nothing lost, nothing twice, no error; writes go on soon |
//! | `blackout.rs` | all nodes killed at once, started again | everything acknowledged is there |
//! | `away.rs` | a node is away for long | it catches up, from the log or by snapshot, while others serve |
//! | `pause.rs` | SIGSTOP of a leader, then SIGCONT | no stale read, no lost write |
//! | `register.rs` | | a register beside it, and reads that lie before the paused node |
//! | `rolling.rs` | SIGTERM and start of each node in turn | no failed operation, no long stall |
//! | `transactions.rs`, `transactions/` | kill -9 of a leader, again and again | transactions over several shards are strictly serializable; none is left open |
//! | `hostile.rs`, `hostile/` | callers who say what nobody should | a clear error, bounded memory, service for all others |
//!
//! Each has a plan, which says how long and how hard: the tests have short ones.

mod away;
mod blackout;
mod hostile;
mod kills;
mod pause;
mod register;
mod rolling;
mod transactions;

pub use away::{Away, away};
pub use blackout::{Blackout, blackout};
pub use hostile::{Hostile, hostile};
pub use kills::{Kills, kills};
pub use pause::{Pause, pause};
pub use rolling::{Rolling, rolling};
pub use transactions::{Transactions, transactions};
