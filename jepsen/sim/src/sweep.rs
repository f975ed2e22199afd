//! Many seeds, on all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lentic_engine::MemStore;

use crate::counts::FaultCounts;
use crate::host::SimStore;
use crate::scenario::{Report, seed_on};

/// Which seeds, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Runs each seed twice: their traces must be equal.
    pub twice: bool,
    /// Begins no seed after one has failed.
    pub stops_at_first: bool,
}

/// A seed that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was found.
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Those that failed, by seed.
    pub failures: Vec<Failure>,
    /// Seeds that passed.
    pub passed: u64,
    /// Operations that succeeded in them.
    pub operations: u64,
    /// Virtual time in them.
    pub virtual_time: Duration,
    /// Faults in them.
    pub faults: FaultCounts,
    /// The longest part of an operation with no fault left.
    pub longest_healed: Duration,
    /// Real time.
    pub took: Duration,
}

impl Failure {
    /// The one command that shows it again.
    #[must_use]
    pub fn again(&self) -> String {
        format!("cargo xtask sim --seed {}", self.seed)
    }
}

/// Runs seeds; `told` hears of each that fails at once.
pub fn sweep(plan: Plan, told: impl Fn(&Failure) + Sync) -> Sweep {
    sweep_on::<MemStore>(plan, told)
}

/// The same with stores of another kind.
pub fn sweep_on<S: SimStore>(plan: Plan, told: impl Fn(&Failure) + Sync) -> Sweep {
    let (next, began) = (AtomicU64::new(plan.from), Instant::now());
    let sum = Mutex::new(Sweep::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= plan.from.saturating_add(plan.count) {
                        return;
                    }
                    match judge::<S>(number, plan.twice) {
                        Ok(report) => sum.lock().unwrap_or_else(PoisonError::into_inner).add(&report),
                        Err(reason) => {
                            let failure = Failure { seed: number, reason };
                            told(&failure);
                            sum.lock().unwrap_or_else(PoisonError::into_inner).failures.push(failure);
                            if plan.stops_at_first {
                                next.store(u64::MAX / 2, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failures.sort_by_key(|failure| failure.seed);
    sum.took = began.elapsed();
    sum
}

fn judge<S: SimStore>(number: u64, twice: bool) -> Result<Report, String> {
    let first = seed_on::<S>(number, false);
    let report = first.value?;
    if twice {
        let second = seed_on::<S>(number, false);
        second.value.map_err(|reason| format!("passed, and failed when it was run again: {reason}"))?;
        if first.digest != second.digest {
            return Err(format!("two runs differ: {:?} and {:?}", first.digest, second.digest));
        }
    }
    Ok(report)
}

impl Sweep {
    fn add(&mut self, report: &Report) {
        self.passed += 1;
        self.operations += report.operations;
        self.virtual_time += report.took;
        self.faults += report.faults;
        self.longest_healed = self.longest_healed.max(report.longest_healed);
    }
}
