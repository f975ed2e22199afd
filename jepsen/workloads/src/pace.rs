//! How fast workloads are.

use std::time::Duration;

/// How fast workloads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The pause between two operations of a caller, at most. Too small: the cluster is only busy; too large: nothing
    /// meets.
    pub pause_ms_max: u64,
    /// The pause of a caller within an operation, at most: between its reads, or before its writes.
    pub think_ms_max: u64,
    /// How long a caller waits who does not wait for the answer, at most. A commit should take about half of it.
    pub gives_up_ms_max: u64,
    /// The time between two writes of an open loop, for each shard.
    pub beat: Duration,
    /// Bytes of a value that only fills.
    pub value_bytes: usize,
}

impl Pace {
    /// For real processes: as much as a small machine takes from a dozen workloads at once.
    pub const REAL: Self = Self {
        pause_ms_max: 40,
        think_ms_max: 10,
        gives_up_ms_max: 40,
        beat: Duration::from_millis(20),
        value_bytes: 64,
    };

    /// For a simulation of some seconds, in which every message costs real time.
    pub const SIMULATED: Self = Self {
        pause_ms_max: 80,
        think_ms_max: 20,
        gives_up_ms_max: 60,
        beat: Duration::from_millis(150),
        value_bytes: 40,
    };
}
