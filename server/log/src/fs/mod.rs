//! The file system as the log sees it: one directory, few operations, each with its durability stated.
//!
//! [`DiskFs`] is the real one. [`SimFs`] lives in memory and can lose, tear, delay and damage what was not synced.

mod disk;
mod seam;
mod sim;

pub use disk::DiskFs;
pub use seam::{DirLock, File, Fs, LockError};
pub use sim::{SimFs, SimOp};
