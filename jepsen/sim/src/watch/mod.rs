//! What must hold at every step, looked at while things break. What does not hold is a panic, which fails the seed.
//!
//! | file | what is seen | what must hold |
//! |---|---|---|
//! | `said.rs` | every frame between nodes | one vote and one leader a term, log matching, leader completeness |
//! | `standing.rs` | the groups of all nodes, every few milliseconds | the same as nodes see it, order of indexes, nothing goes back |
//! | `states.rs`, `store.rs` | every write to a store, every store after a crash | same index, same state; shards and the meta group only move on |
//!
//! `look.rs` brings what is seen to where it is judged. It changes nothing, and draws nothing from the seed.

mod look;
mod said;
mod standing;
mod states;
mod store;

pub(crate) use look::Watch;
pub use store::Watched;
