//! A disk for one node: it can lose its power, be full, turn read-only, and be damaged.
//!
//! A [`Disk`] is an ext4 file system in a sparse file, mounted on a loop device. The node gets [`Disk::path`].
//!
//! | what | how | undone by |
//! |---|---|---|
//! | [`Disk::cut_power`] | the file system takes nothing any more, and forgets what was not synced | [`Disk::restore`] |
//! | [`Disk::turn_read_only`] | the file system finds an error and protects itself, with files open for writing | [`Disk::restore`] |
//! | [`Disk::fill`] | a ballast file beside the data takes the space | [`Disk::free`] |
//! | [`damage()`] | bytes of a file are changed while its node is down | nothing |
//!
//! | file | idea |
//! |---|---|
//! | `place.rs` | the disk, where it is, and how it goes away |
//! | `faults.rs` | what is done to it as a whole |
//! | `image.rs` | a file system in a file: made, mounted, unmounted, checked |
//! | `shutdown.rs` | the one system call that has no safe wrapper |
//! | `probe.rs` | whether all this works on this machine |
//! | `damage.rs` | what is done to bytes at rest |
//! | `error.rs` | why something could not be done |
//!
//! # What a power failure keeps
//!
//! Mounted as `image.rs` does it, the file system commits nothing by its own clock and writes contents of files when the
//! kernel does (after 30 seconds), so that little survives that nobody synced. The tests hold it to this:
//!
//! | before the power failure | after it |
//! |---|---|
//! | bytes written, then `fsync` or `fdatasync` | there |
//! | bytes appended or overwritten, nothing synced after | gone; the file is as it was synced last |
//! | bytes appended to a file's last block, no sync, then **any other file** synced | zeros: the length is there |
//! | a new file, nothing synced | no such file |
//! | a new file, itself synced, its directory not | there: ext4 is kinder here than POSIX |
//! | a new file, its directory or **any other file** synced, its contents not | there, and empty |
//! | a file renamed or removed, nothing synced | under its old name |
//! | a file renamed over another, directory synced, contents not | there, and empty |
//! | preallocated space written, no sync | zeros |
//!
//! So a sync of a directory that was forgotten is found only where nothing else is synced after it. What had reached the
//! device stays, for the device itself forgets nothing: no sector is torn, and a missing flush of the device's own cache
//! is not found.
//!
//! Everything here blocks for some milliseconds; asynchronous callers have a thread for it.

mod damage;
mod error;
mod faults;
mod image;
mod place;
mod probe;
mod shutdown;
#[cfg(test)]
mod tests;

pub use damage::{Damage, Damaged, Earlier, damage, written_end};
pub use error::DiskError;
pub use place::{Disk, Kind};
