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
            state.floor = state.floor.max(version);
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
