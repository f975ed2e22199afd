//! Tests that every [`Store`](crate::Store) runs: its contract, and the engine over it against a model.
//!
//! [`contract`] checks what [`crate::store`] promises, [`transfer`] what [`crate::store::portable`] does. [`run`] plays random histories (writes, merges, rollbacks, pins,
//! GC, flushes, crashes) over a store and over [`Model`], which keeps everything and answers from the definitions, and
//! compares every read at every version that may still be read, and feeds from there.

pub mod contract;
mod feeds;
mod harness;
mod model;
mod step;
pub mod transfer;

pub use harness::{Subject, run};
pub use step::{Step, steps};
