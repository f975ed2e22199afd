//! The state machine of one shard.
//!
//! | file | idea |
//! |---|---|
//! | `apply` | the switch: from an entry to its effects |
//! | `write`, `acquire`, `release`, `rollback`, `watermark` | one command each |
//! | `conditions`, `merge` | what a write may ask for before and while it is applied |
//! | `command`, `outcome` | what goes in and what comes out, with their bytes in `codec` |
//! | `state` | the shard's replicated state, decoded: always what [`Shard::load`] would read from the store |
//! | `fences`, `answers` | its two larger parts: who may write, and what was answered |
//! | `spans` | where in a store all of it lies |
//! | `heads` | a memo of what the store holds: it saves reads and never decides |
//!
//! Commands to come have their place beside these: prepare, decide, resolve and status with the transactions, split
//! and merge with the changes of shape.

mod acquire;
mod answers;
mod apply;
mod codec;
mod command;
mod conditions;
mod fences;
mod heads;
mod merge;
mod outcome;
mod release;
mod rollback;
mod spans;
mod state;
mod watermark;
mod write;

pub use answers::RequestKey;
pub use apply::{Applied, Event, Fatal, Stats};
pub(crate) use codec::{decode_range, encode_range};
pub use command::{Acquire, Action, Command, Condition, Expected, Operation, Release, Request, Rollback, Write};
pub use fences::{Fence, Fences, Token};
pub use heads::HeadsOptions;
pub use outcome::{Outcome, Refusal};
pub use spans::spans;
pub(crate) use state::load_all;
pub use state::{Descriptor, Shard};
