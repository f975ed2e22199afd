//! What comes to a shard, and to which of its keys.
//!
//! Every operation is counted, one in [`SAMPLE_EVERY`] leaves its key. From those a shard that has too much to do learns
//! where it is best cut in two.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// One operation in so many leaves its key. A prime: batches of a round number would else leave the same of their places
/// again and again.
const SAMPLE_EVERY: u64 = 17;
/// So many keys are kept, the newest.
const SAMPLES_MAX: usize = 512;

/// The operations that have come to a shard here, reads among them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    operations: AtomicU64,
    samples: Mutex<VecDeque<Bytes>>,
}

impl Traffic {
    /// Counts `operations`; `key` names that of one of them, by its place, if it has one. It is asked for few.
    pub(crate) fn count(&self, operations: usize, key: impl FnOnce(usize) -> Option<Bytes>) {
        let operations = operations as u64;
        let before = self.operations.fetch_add(operations, Ordering::Relaxed);
        let place = SAMPLE_EVERY - 1 - before % SAMPLE_EVERY;
        if place >= operations {
            return;
        }
        let Some(key) = key(usize::try_from(place).unwrap_or(0)) else { return };
        // A slice of a request would hold all of it.
        let key = Bytes::copy_from_slice(&key);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(key);
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

    #[test]
    fn one_in_so_many_leaves_its_key_whatever_batches_they_come_in() {
        let (traffic, mut next) = (Traffic::default(), 0_u64);
        for batch in (1..=60).cycle().take(600) {
            traffic.count(batch, |place| Some((next + place as u64).to_be_bytes().to_vec().into()));
            next += batch as u64;
        }
        assert_eq!(traffic.operations(), next);
        let samples = traffic.take_samples();
        assert_eq!(samples.len(), SAMPLES_MAX, "of {next} operations");
        let numbers: Vec<u64> = samples.iter().map(|key| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
        // A batch larger than the distance leaves one key only.
        assert!(numbers.iter().all(|number| number % SAMPLE_EVERY == SAMPLE_EVERY - 1), "{numbers:?}");
        assert!(numbers.is_sorted() && numbers[SAMPLES_MAX - 1] > next - 61);
        assert!(traffic.take_samples().is_empty());
    }

    #[test]
    fn what_has_no_key_counts_and_leaves_none() {
        let traffic = Traffic::default();
        (0..100).for_each(|_| traffic.count(1, |_| None));
        assert_eq!((traffic.operations(), traffic.take_samples().len()), (100, 0));
    }
}
