//! What comes to a shard, and to which of its keys.
//!
//! Every operation is counted, one in so many leaves its key. From those a shard that has too much to do learns where it is
//! best cut in two.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// So many keys are kept, the newest.
const SAMPLES_MAX: usize = 512;
/// Seconds that these are of, in a shard that is just too busy.
const SAMPLED_SECONDS: u64 = 5;
/// A request of many operations leaves so many keys at most.
const OF_REQUEST_MAX: u64 = 16;

/// The operations that have come to a shard here, reads among them.
#[derive(Debug)]
pub(crate) struct Traffic {
    operations: AtomicU64,
    /// One operation in so many leaves its key.
    every: u64,
    samples: Mutex<VecDeque<Bytes>>,
}

impl Traffic {
    /// None yet. A shard is too busy with more than `busy` operations per second; 0: never.
    pub(crate) fn new(busy: u64) -> Self {
        // Odd: batches of a round number would else leave the same of their places again and again.
        let every = (busy.saturating_mul(SAMPLED_SECONDS) / SAMPLES_MAX as u64) | 1;
        Self { operations: AtomicU64::new(0), every, samples: Mutex::default() }
    }

    /// Counts `operations`; `key` names that of one of them, by its place, if it has one. It is asked for few, which are
    /// spread over all.
    pub(crate) fn count(&self, operations: usize, key: impl Fn(usize) -> Option<Bytes>) {
        let operations = operations as u64;
        let before = self.operations.fetch_add(operations, Ordering::Relaxed);
        let first = self.every - 1 - before % self.every;
        if first >= operations {
            return;
        }
        let step = self.every.max(operations.div_ceil(OF_REQUEST_MAX));
        let places = (first..operations).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        let keys = places.filter_map(|place| key(usize::try_from(place).ok()?));
        // A slice of a request would hold all of it.
        let keys: Vec<Bytes> = keys.map(|key| Bytes::copy_from_slice(&key)).collect();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.extend(keys);
        let more = samples.len().saturating_sub(SAMPLES_MAX);
        samples.drain(..more);
    }

    /// How many operations have come.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Keys of those that came last, and none of them any more.
    pub(crate) fn take_samples(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: u64 = 50_000;

    fn key(number: u64) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    fn numbers(traffic: &Traffic) -> Vec<u64> {
        let number = |key: &Bytes| key[..].try_into().map(u64::from_be_bytes).expect("eight bytes");
        traffic.take_samples().iter().map(number).collect()
    }

    #[test]
    fn what_is_kept_is_of_some_seconds_and_the_newest() {
        for batch in [1_u64, 60, 500, 5_000] {
            let (traffic, mut next) = (Traffic::new(BUSY), 0);
            while next < 10 * BUSY {
                traffic.count(usize::try_from(batch).unwrap(), |place| Some(key(next + place as u64)));
                next += batch;
            }
            assert_eq!(traffic.operations(), next);
            let numbers = numbers(&traffic);
            assert_eq!(numbers.len(), SAMPLES_MAX, "in batches of {batch}");
            assert!(numbers.is_sorted() && numbers[SAMPLES_MAX - 1] + batch.max(BUSY / 100) > next);
            let seconds = (next - numbers[0]) / BUSY;
            assert!((4..=5).contains(&seconds), "{seconds} s, in batches of {batch}");
            assert!(traffic.take_samples().is_empty());
        }
    }

    /// Writers sort their keys: the first places of a batch would say that all load is on the lowest.
    #[test]
    fn keys_of_large_batches_are_of_all_their_places() {
        let traffic = Traffic::new(BUSY);
        for _ in 0..100 {
            traffic.count(2_000, |place| Some(key(place as u64)));
        }
        let numbers = numbers(&traffic);
        let below = numbers.iter().filter(|number| **number < 1_000).count();
        assert!((numbers.len() * 4 / 10..=numbers.len() * 6 / 10).contains(&below), "{below} of {}", numbers.len());
        traffic.count(100_000, |place| Some(key(place as u64)));
        assert!(traffic.take_samples().len() <= 17, "one request does not fill the room");
    }

    #[test]
    fn what_has_no_key_counts_and_leaves_none() {
        let traffic = Traffic::new(1);
        (0..100).for_each(|_| traffic.count(1, |_| None));
        assert_eq!((traffic.operations(), traffic.take_samples().len()), (100, 0));
    }
}
