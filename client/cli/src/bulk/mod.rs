//! Whole files: `lentic load` and `lentic dump`.
//!
//! ```text
//!   load:  file ─ source ─┬─ csv ───┬─ recipe ─ records ─ feeder ─ puts in flight ─ acknowledged through row n
//!                         └─ jsonl ─┘
//!   dump:  scan at one version ─ writer ─┬─ csv ───┬─ target ─ file.part, then file
//!                                        └─ jsonl ─┘
//! ```
//!
//! Without a recipe for keys, `load` reads what `dump` writes.

mod acknowledged;
mod csv;
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

pub(crate) use dump::DumpArgs;
pub(crate) use load::LoadArgs;
