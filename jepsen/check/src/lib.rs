//! Checkers of histories, for simulated clusters and for real ones.
//!
//! A history says what was asked and answered, and in which order; a checker says whether the answers keep a promise.
//! The crate knows nothing of clusters, clients or files.
//!
//! | file | promise |
//! |---|---|
//! | `registers.rs` | single keys are linearizable |
//! | `serializable.rs` | transactions are strictly serializable; their histories are in `history.rs` |

pub mod history;
pub mod registers;
pub mod serializable;
