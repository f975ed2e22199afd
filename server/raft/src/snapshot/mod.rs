//! Snapshots between nodes: a replica's state as files, for a follower whose entries are gone from the log.
//!
//! ```text
//!   sender                                              receiver
//!     export ── offer: replica state, list of files ──►   begins an import, or finds one that stopped half-way
//!            ◄─ next: file 3, offset 0 ───────────────
//!            ── part: file 3, offset 0, bytes, crc ───►   writes
//!            ◄─ next: file 3, offset 1 MiB ───────────
//!              ... the link breaks, and is dialled again ...
//!            ── offer: the same ──────────────────────►
//!            ◄─ next: where it stopped ───────────────
//!              ...
//!            ── the last part: nothing ───────────────►   checks, installs
//!            ◄─ installed ────────────────────────────
//! ```
//!
//! One snapshot is sent and one is received at a time by a node. Memory holds a few parts, whatever the size.

mod hold;
mod receive;
mod send;

pub(crate) use hold::Holds;
pub(crate) use receive::Receiver;
pub use send::Progress;
pub(crate) use send::Senders;

/// Bytes of a part.
const PART_BYTES: usize = 1 << 20;
/// Files of one snapshot.
const FILES_MAX: usize = 100_000;
