//! The state machine of one shard.
//!
//! | file | idea |
//! |---|---|
//! | `apply` | the switch: from an entry to its effects |
//! | `write`, `take`, `release`, `watermark`, `branch`, `drop_branch` | one command each |
//! | `split` | the keys from one on become another shard's |
//! | `prepare`, `decide`, `resolve`, `status` | a transaction's commands, one each |
//! | `conditions`, `merge` | what a write may ask for before and while it is applied |
//! | `command`, `outcome` | what goes in and what comes out, with their bytes in `codec` |
//! | `state` | the shard's replicated state, decoded: always what [`Shard::load`] would read from the store |
//! | `fences`, `answers`, `locks`, `pins` | its larger parts: who may write, what was answered, what transactions hold, what GC must keep |
//! | `origin`, `riders` | what a branch continues, and the branches that ride in the shard's group |
//! | `open_txns` | open transactions in the store |
//! | `spans` | where in a store all of it lies |
//! | `heads` | a memo of what the store holds: it saves reads and never decides |
//!
//! Commands to come have their place beside these: merge with the changes of shape.

mod answers;
mod apply;
mod branch;
mod codec;
mod command;
mod conditions;
mod decide;
mod drop_branch;
mod fences;
mod heads;
mod locks;
mod merge;
mod open_txns;
mod origin;
mod outcome;
mod pins;
mod prepare;
mod release;
mod resolve;
mod riders;
mod spans;
mod split;
mod state;
mod status;
mod take;
mod watermark;
mod write;

pub use answers::RequestKey;
pub use apply::{Applied, Event, Fatal, LockChanges, Stats};
pub use codec::{decode_range, encode_range};
pub use command::{
    Action, Anchor, Back, Branch, Command, Condition, Decide, Expected, Operation, Participant, Prepare,
    RaiseWatermark, RangeRead, Release, Request, Resolve, Split, Take, TxnRef, Write,
};
pub use fences::{Fence, Fences, Token, owned};
pub use heads::HeadsOptions;
pub use locks::{Lock, Locks, Mode, OpenTxn};
pub use outcome::{Decision, Outcome, Prepared, Refusal, TxnStatus, decision_of};
pub use pins::Pins;
pub use riders::{Gone, changed_key, riders_in};
pub use spans::spans;
pub(crate) use state::load_all;
pub use state::{Descriptor, Shard, descriptor_in, descriptor_key};
