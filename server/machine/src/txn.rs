//! Transactions over several shards: who asks which shard for what, as step functions.
//!
//! ```text
//!   coordinator          anchor (shard 0)      shard 1           shard 2
//!      │── prepare ─────────▶│                    │                 │        locks, and a version each
//!      │── prepare ──────────────────────────────▶│                 │
//!      │── prepare ────────────────────────────────────────────────▶│
//!      │◀─ prepared v7, v9, v8 ─── all: it is committed at v9, and the client is told
//!      │── decide v9 ───────▶│                                               one round later the anchor knows
//!      │── resolve v9 ───────────────────────────▶│────────────────▶│        locks become versions
//!      │── resolve ─────────▶│                                               nobody need ask any more
//! ```
//!
//! - [`coordinator`]: the node that a client's transaction reached. It keeps nothing that must survive it.
//! - [`recovery`]: any node that meets a lock whose coordinator seems to be gone.
//! - [`ending`]: what both do once they know the decision.
//!
//! A step gets an event and returns actions; whoever performs them sends, waits, sends again and reports what came of it,
//! in any order. [The protocol and why it is safe](../../../../docs/transactions.md) has a page of its own.

pub mod coordinator;
pub mod ending;
pub mod recovery;

pub use coordinator::{Coordinator, Verdict};
pub use recovery::Recovery;
