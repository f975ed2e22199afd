//! What can be done to a process from outside: to its network, to its disk, to its system calls.
//!
//! It knows nothing of Lentic.
//!
//! | module | idea |
//! |---|---|
//! | `disk/` | a disk that loses its power, is full, turns read-only, is damaged |

pub mod disk;
