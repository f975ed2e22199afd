//! Every decision Lentic makes, as pure functions of state and entry.
//!
//! The waist of the whole system is one function, [`Shard::apply`](shard::Shard::apply):
//!
//! ```text
//!        log entry ──▶ apply(index, command, view) ──▶ Applied { batch, replies, events, stats }
//!                                    │                      │       │       │        │
//!             what the store shows ──┘        to the store ─┘       │       │        └─ to the metrics
//!                                                       to clients ─┘       └─ to GC, feeds
//! ```
//!
//! Everything above it carries messages, everything below keeps bytes. Fences, idempotency, conditions and limits are
//! decided here, after replication, so that every replica decides the same and a fail-over loses no decision.
//!
//! - [`shard`]: the state machine of one shard, a file per command.
//! - [`meta`]: the state machine of the meta group, in the same way: the catalog, ids, and the oracle's window.
//! - [`oracle`]: ticks, handed out by the meta group's leader.
//! - [`txn`]: transactions over several shards: the coordinator and recovery, as step functions.
//! - [`placement`]: which nodes hold which shards.
//! - [`balance`]: who of them should lead.
//! - [`invariants`]: what must hold, as named predicates for tests, simulation and assertions.
//!
//! Deliberately absent: clocks (a version is an argument), randomness (a seed is), threads, files, networks, and any
//! knowledge of Raft beyond "entries come in order, each once".

pub mod balance;
pub mod invariants;
pub mod meta;
pub mod oracle;
pub mod overlay;
pub mod placement;
pub mod shard;
pub mod txn;

pub use meta::{Catalog, Meta, MetaApplied, MetaCommand, MetaOutcome, MetaRefusal};
pub use overlay::Overlay;
pub use shard::{Applied, Command, Event, Fatal, Outcome, Refusal, Request, Shard};
