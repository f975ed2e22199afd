//! Cases: faults with demands of their own, beside a load whose operations may not fail.
//!
//! | file | fault | promise |
//! |---|---|---|
//! | `away.rs` | a node is away for long | it catches up, from the log or by snapshot, while others serve |
//! | `pause.rs` | SIGSTOP of a leader, then SIGCONT | no stale read, no lost write |
//! | `register.rs` | | a register beside it, and reads that lie before the paused node |
//! | `grows.rs` | three nodes become five and three again, shards are cut, leaders are lost | all that workloads promise |
//! | `hostile.rs`, `hostile/` | callers who say what nobody should | a clear error, bounded memory, service for all others |
//!
//! Each has a plan, which says how long and how hard: the tests have short ones.

mod away;
mod grows;
mod hostile;
mod pause;
mod register;

use std::time::Duration;

pub use away::{Away, away};
pub use grows::{Grows, grows_and_shrinks};
pub use hostile::{Hostile, hostile};
use lentic_workloads::Policy;
pub use pause::{Pause, pause};

/// A safe retry hides all that is done here from callers, and what they wait for is judged by the case.
const STRICT: Policy = Policy::Strict { serves_within: Duration::from_secs(60) };
