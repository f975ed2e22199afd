//! What can be done to a process from outside: to its network, to its disk, to its system calls.
//!
//! It knows nothing of Lentic.
