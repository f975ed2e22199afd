//! What can be done to a process from outside: to its network, to its disk, to its system calls.
//!
//! It knows nothing of Lentic.
//!
//! | module | what is hurt |
//! |---|---|
//! | [`net`] | the links between processes: cut, lossy, late, out of order |
//! | [`disk`] | a disk that loses its power, is full, turns read-only, is damaged |
//! | [`process`] | the system calls of one process: syncs, writes, the wall clock, connects |

pub mod disk;
pub mod net;
pub mod process;
