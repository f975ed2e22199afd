//! Faults of the system calls of one process, through a library that is loaded before libc and a page of memory that
//! both sides map.
//!
//! ```text
//!   Preload ── settings ──► page ──► library, inside the process ──► libc
//!           ◄── counts ────      ◄──
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`Preload`] | the library and the page of one process, to be started with them |
//! | [`Failure`], [`WriteError`], [`Torn`] | what can be asked for |
//! | [`Counts`] | what the library saw and did: the proof that a fault took effect |
//!
//! A machine needs glibc, `/proc`, and a program that is linked to libc dynamically: [`Preload::probe`] tells. **Only
//! calls of libc's functions by their names are hurt.** What a program does by system calls of its own, by mappings, by
//! `copy_file_range` or inside libc (buffered writes of C, the resolver's connects) is not.

mod fault;
#[allow(dead_code, reason = "a part of it is for the other side")]
mod layout;
mod page;
mod preload;
mod probe;
mod subject;
#[cfg(test)]
mod tests;

pub use fault::{Counts, Failure, Kill, Torn, WriteError};
pub use preload::Preload;
