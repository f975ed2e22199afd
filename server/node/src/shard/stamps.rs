//! Stamps for what a leader proposes: rules R and F, in one place.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lentic_machine::oracle::Ticks;
use lentic_types::Version;
use tokio::sync::Notify;

/// What a leader must know to stamp. Proposer and readers share it.
///
/// Stamps rise strictly, above everything read at and everything stamped before. A reader at T raises the floor to T,
/// then waits for what was stamped at or below T: from then on nothing at or below T can appear.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    state: Mutex<State>,
    /// Told whenever a batch is done.
    done: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Above every stamp given, and at or above every version read at.
    floor: Version,
    /// Batches stamped and not done, by number.
    open: BTreeSet<u64>,
    next: u64,
}

/// A stamped batch, until it is applied or known to be lost.
#[derive(Debug)]
pub(crate) struct Stamped {
    pub(crate) versions: Vec<Version>,
    number: u64,
}

impl Stamps {
    /// Rule F: what a new leader stamps lies above `tick`, which it fetched as leader, and above everything applied.
    pub(crate) fn lead(&self, tick: Version, newest: Version) {
        let mut state = self.lock();
        state.floor = state.floor.max(tick).max(newest);
    }

    /// Nobody leads here any more: those who wait for batches find out elsewhere.
    pub(crate) fn abandon(&self) {
        self.lock().open.clear();
        self.done.notify_waiters();
    }

    /// Stamps for `count` requests, from ticks fetched after they came; `None` if the ticks do not suffice.
    pub(crate) fn take(&self, count: usize, ticks: &Ticks) -> Option<Stamped> {
        let mut state = self.lock();
        let (mut floor, mut rest) = (state.floor, ticks.iter());
        let mut versions = Vec::with_capacity(count);
        for _ in 0..count {
            floor = match floor.next_local().filter(|next| *next > ticks.first) {
                Some(next) => next,
                None => rest.find(|tick| *tick > floor)?,
            };
            versions.push(floor);
        }
        state.floor = floor;
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        Some(Stamped { versions, number })
    }

    /// The batch is applied, or will never be.
    pub(crate) fn done(&self, batch: u64) {
        self.lock().open.remove(&batch);
        self.done.notify_waiters();
    }

    /// Rule R: nothing that is stamped from now on lies at or below `version`; returns when nothing stamped before it
    /// does either, unless it is applied.
    pub(crate) async fn read_at(&self, version: Version) {
        let last = {
            let mut state = self.lock();
            if !lentic_types::mutant!("no-rule-r") {
                state.floor = state.floor.max(version);
            }
            state.next
        };
        loop {
            let done = self.done.notified();
            let mut done = std::pin::pin!(done);
            done.as_mut().enable();
            if self.lock().open.first().is_none_or(|first| *first >= last) {
                return;
            }
            done.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamped {
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ticks(ms: u64, count: u32) -> Ticks {
        Ticks { first: Version::tick(ms, 0).unwrap(), count }
    }

    #[test]
    fn stamps_rise_over_ticks_and_what_was_read() {
        let stamps = Stamps::default();
        stamps.lead(ticks(10, 1).first, Version::ZERO);
        let first = stamps.take(300, &ticks(11, 2)).unwrap();
        assert!(first.versions.is_sorted_by(|one, next| one < next));
        assert!(first.versions[0] >= ticks(11, 1).first, "a stamp is not below the tick fetched for it");
        let again = stamps.take(1, &ticks(11, 2)).unwrap();
        assert!(again.versions[0] > *first.versions.last().unwrap(), "an old tick does not take a stamp back");
    }

    #[test]
    fn used_up_ticks_are_not_stretched() {
        let stamps = Stamps::default();
        stamps.lead(Version::ZERO, Version::ZERO);
        assert!(stamps.take(257, &ticks(5, 1)).is_none(), "one tick has 256 stamps");
        let all = stamps.take(256, &ticks(5, 1)).unwrap();
        assert_eq!(all.versions[255].local(), 255);
        assert!(stamps.take(1, &ticks(5, 1)).is_none(), "a refused batch takes nothing, a taken one all");
    }

    #[test]
    fn a_new_leader_begins_above_what_was_applied_and_its_own_tick() {
        let stamps = Stamps::default();
        let newest = Version::tick(9, 3).unwrap();
        stamps.lead(ticks(7, 1).first, newest);
        assert!(stamps.take(1, &ticks(8, 1)).unwrap().versions[0] > newest);
    }

    #[tokio::test]
    async fn a_read_waits_for_what_was_stamped_before_it_and_for_nothing_else() {
        let stamps = Arc::new(Stamps::default());
        stamps.lead(Version::ZERO, Version::ZERO);
        let before = stamps.take(1, &ticks(5, 1)).unwrap();
        let at = Version::tick(6, 0).unwrap();
        let reader = Arc::clone(&stamps);
        let read = tokio::spawn(async move { reader.read_at(at).await });
        tokio::task::yield_now().await;
        assert!(!read.is_finished(), "a batch that may be at or below the read is on its way");
        let after = stamps.take(1, &ticks(5, 1)).unwrap();
        assert!(after.versions[0] > at, "rule R: what is stamped later lies above the read");
        stamps.done(before.number());
        read.await.unwrap();
    }

    #[tokio::test]
    async fn readers_of_a_leader_that_was_do_not_wait_for_ever() {
        let stamps = Arc::new(Stamps::default());
        let _lost = stamps.take(1, &ticks(5, 1)).unwrap();
        let reader = Arc::clone(&stamps);
        let read = tokio::spawn(async move { reader.read_at(Version::MAX).await });
        tokio::task::yield_now().await;
        stamps.abandon();
        read.await.unwrap();
    }
}
