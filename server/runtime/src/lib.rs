//! The seams to what is not deterministic: tasks, clocks, randomness, blocking work.
//!
//! Everything that waits runs on tokio. In production that is the multi-threaded runtime; in a simulation it is one
//! thread with a paused clock and a seed, and then a run is a function of the seed. For that to hold:
//!
//! - every task is started with [`spawn`], which keeps it in the [`Scope`] of its node: a crash aborts the scope;
//! - monotonic time is tokio's, wall time comes from a [`Clock`];
//! - random numbers come from [`rng`], which draws from the scope's seed;
//! - work that would hold a thread goes through [`blocking()`];
//! - where a task may be overtaken by others it says [`hesitate`], so that a simulation lets it be.

// rustdoc has flags of its own.
#[cfg(not(any(tokio_unstable, doc, doctest)))]
compile_error!(
    "build with --cfg tokio_unstable, or a simulation is not a function of its seed; .cargo/config.toml sets it, and an \
     environment variable RUSTFLAGS overrides that: add the flag there or unset it"
);

mod blocking;
mod clock;
mod random;
mod scope;

pub use blocking::blocking;
pub use clock::{Clock, SimClock, SystemClock};
pub use random::{Random, random, rng};
pub use scope::{Scope, hesitate, spawn};
