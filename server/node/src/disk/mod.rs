//! The disk of the log, as the node judges it: what is led on a slow one is handed over.
//!
//! ```text
//!   log ──► look, ten a second ──► judge: slow? ──► ask the followers' nodes ──► heir ──► transfer of leadership
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `judge.rs` | from looks at the log's writer to a verdict, and from what followers say to an heir: functions |
//! | `handover.rs` | looks, asks, hands over |
//!
//! Why it is done so: [decision 0015](../../../docs/decisions/0015-a-slow-disk-gives-up-leadership.md).

mod handover;
mod judge;

pub(crate) use handover::{Disk, hand_over, watch};
pub(crate) use judge::Pace;
