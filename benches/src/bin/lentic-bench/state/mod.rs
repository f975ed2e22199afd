//! A stream task's state, embedded and on three nodes, beside a plain RocksDB in the task's own process as stream processors
//! keep it: without a log, made durable at the end.
//!
//! | module | idea |
//! |---|---|
//! | `place` | where the state is, and tasks there |
//! | `run` | the parts, and what they must reach |
//! | `updates` | read, add one, write: of one key after the other |
//! | `merges` | the same without reading |
//! | `timers` | set many, take all |
//! | `checkpoints` | what an event waits for while checkpoints are made |

mod checkpoints;
mod merges;
mod place;
mod run;
mod timers;
mod updates;

pub(crate) use place::{KEY_GROUPS, Place};
pub(crate) use run::run;
