//! What operations took, and how they ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use lentic_client::Error;

/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// Longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
/// How many callers' figures are kept apart, so that callers seldom wait for each other.
const PARTS: usize = 16;

/// What operations of one kind took, and how they ended.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// Latencies in microseconds, of operations that succeeded.
    pub(super) latencies_us: Histogram<u64>,
    /// Keys that were read and had no value.
    pub(super) absent: u64,
    /// Errors by their kind.
    pub(super) errors: BTreeMap<&'static str, u64>,
    /// One error's message.
    pub(super) example: Option<String>,
}

impl Figures {
    fn new() -> Self {
        let latencies_us = Histogram::new_with_max(LATENCY_US_MAX, DIGITS).expect("the bounds make a histogram");
        Self { latencies_us, absent: 0, errors: BTreeMap::new(), example: None }
    }

    fn merge(&mut self, other: &Self) {
        self.latencies_us.add(&other.latencies_us).expect("both have the same bounds");
        self.absent += other.absent;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.example = self.example.take().or_else(|| other.example.clone());
    }
}

/// The two kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Get,
}

/// The figures of all callers.
#[derive(Debug)]
pub(super) struct Measured {
    parts: Vec<Mutex<[Figures; 2]>>,
    /// Operations that ended, those of the warm-up among them.
    pub(super) ended: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Measured {
    pub(super) fn new() -> Self {
        let parts = (0..PARTS).map(|_| Mutex::new([Figures::new(), Figures::new()])).collect();
        Self { parts, ended: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// Adds an operation: how long it took, and how many keys had no value or why it failed. Without a latency it is
    /// not measured, only counted as ended.
    pub(super) fn add(&self, caller: usize, kind: Kind, latency: Option<Duration>, result: &Result<u64, Error>) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let Some(latency) = latency else { return };
        let mut part = self.parts[caller % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        let figures = &mut part[kind as usize];
        match result {
            Ok(absent) => {
                let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                figures.latencies_us.saturating_record(us);
                figures.absent += absent;
            }
            Err(error) => {
                *figures.errors.entry(error.kind().word()).or_default() += 1;
                figures.example.get_or_insert_with(|| error.message().to_owned());
            }
        }
    }

    /// The figures of one kind, over all callers.
    pub(super) fn figures(&self, kind: Kind) -> Figures {
        let mut all = Figures::new();
        for part in &self.parts {
            all.merge(&part.lock().unwrap_or_else(PoisonError::into_inner)[kind as usize]);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_all_callers_are_one() {
        let measured = Measured::new();
        for caller in 0..100 {
            let latency = Duration::from_micros(caller as u64 + 1);
            measured.add(caller, Kind::Get, Some(latency), &Ok(u64::from(caller == 7)));
        }
        measured.add(3, Kind::Get, None, &Ok(0));
        let figures = measured.figures(Kind::Get);
        assert_eq!((figures.latencies_us.len(), figures.absent, figures.errors.len()), (100, 1, 0));
        assert_eq!(figures.latencies_us.value_at_quantile(0.5), 50);
        assert_eq!(measured.figures(Kind::Put).latencies_us.len(), 0);
        assert_eq!(measured.ended.into_inner(), 101);
    }
}
