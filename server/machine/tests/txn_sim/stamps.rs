//! Stamps as a shard's leader gives them: rules R and F, a batch at a time.

use std::collections::BTreeSet;

use lentic_machine::oracle::Ticks;
use lentic_types::Version;

/// What a leader must know to stamp.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    /// At or above every stamp given and every version read at.
    floor: Version,
    /// Batches stamped and not applied, by number.
    open: BTreeSet<u64>,
    next: u64,
}

impl Stamps {
    /// Rule F.
    pub(crate) fn lead(&mut self, tick: Version, newest: Version) {
        self.floor = self.floor.max(tick).max(newest);
    }

    /// Stamps for so many requests, and the batch's number; `None` if the ticks do not suffice.
    pub(crate) fn take(&mut self, count: usize, ticks: &Ticks) -> Option<(Vec<Version>, u64)> {
        let (mut floor, mut rest) = (self.floor, ticks.iter());
        let mut versions = Vec::with_capacity(count);
        for _ in 0..count {
            floor = match floor.next_local().filter(|next| *next > ticks.first) {
                Some(next) => next,
                None => rest.find(|tick| *tick > floor)?,
            };
            versions.push(floor);
        }
        self.floor = floor;
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        Some((versions, number))
    }

    pub(crate) fn done(&mut self, batch: u64) {
        self.open.remove(&batch);
    }

    /// Rule R. Returns the number of the first batch that is stamped above.
    pub(crate) fn raise(&mut self, version: Version) -> u64 {
        self.floor = self.floor.max(version);
        self.next
    }

    /// The number of the next batch.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether every batch before this number is applied.
    pub(crate) fn is_done_before(&self, batch: u64) -> bool {
        self.open.first().is_none_or(|first| *first >= batch)
    }
}
