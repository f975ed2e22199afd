//! Whole files and tables: `lentic load`, `lentic dump` and `lentic copy`.
//!
//! ```text
//!   load:  file ─ source ─┬─ csv ───┬─ recipe ─ records ─ feeder ─ puts in flight ─ acknowledged through row n
//!                         └─ jsonl ─┘
//!   dump:  scan at one version ─ writer ─┬─ csv ───┬─ target ─ file.part, then file
//!                                        └─ jsonl ─┘
//!   copy:  scan at one version ─┬─ batches in flight ─ table elsewhere ─ scan ─ digest ─┬─ the same
//!                               └─ digest ─────────────────────────────────────────────┘
//! ```
//!
//! Without a recipe for keys, `load` reads what `dump` writes.

mod acknowledged;
mod copy;
mod csv;
mod digest;
mod dump;
mod encoding;
mod feeder;
mod jsonl;
mod load;
mod recipe;
mod record;
mod source;
mod target;
mod template;

pub(crate) use copy::CopyArgs;
pub(crate) use dump::DumpArgs;
pub(crate) use load::LoadArgs;
