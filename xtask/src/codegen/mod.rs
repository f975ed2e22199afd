//! Generated files: written by `cargo xtask codegen`, committed, and compared by `cargo xtask check`.
//!
//! Today there is one, docs/reference.md, made in `reference.rs` from the sources it describes. `expression.rs`
//! computes the constants in it, `files.rs` writes and compares.

mod expression;
mod files;
mod reference;

pub(crate) use files::{Mode, run};
