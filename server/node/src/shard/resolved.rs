//! Up to where a replica knows that nothing is missing, so that it answers without asking anyone.
//!
//! ```text
//!   log       ──▪──▪──▪──▪──▪──┊          this replica has applied up to here
//!   stamps      3  5  6  8  9  ┊          own: nothing can be committed at or below 9 any more, but by locks
//!   told      (index of ▪9, version 40)   by the leader: whoever has applied that has all that there will ever be up to 40
//! ```
//!
//! Stamps rise strictly in a shard's log. So a replica knows by itself that it has all up to the newest stamp that it has
//! applied, below the oldest lock that it holds. That is all it needs while the shard is written to. Where nothing happens
//! the leader says how far it is: a pair of an index and a version. What it says is about a prefix of the log that is
//! committed, and so it is true for ever, whoever leads when it is heard
//! (docs/decisions/0020-reads-at-any-replica.md).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_types::{Index, Version};
use tokio::time::Instant;

/// Who has not read for so long reads no more, and the leader is not asked on his account.
const WANTED_FOR: Duration = Duration::from_secs(5);

/// Whoever has applied the entry at `index` has all that will ever be at or below `version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) index: Index,
    pub(crate) version: Version,
}

/// What a replica has applied, and what it was told.
#[derive(Debug)]
pub(crate) struct Resolved {
    applied: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The highest version that was told of an entry that is applied.
    up_to: Version,
    /// What was told of an entry that was not applied when it was looked at last.
    next: Option<Settled>,
    wanted: Option<Instant>,
}

impl Resolved {
    /// Of a replica that has applied up to an entry, and was told nothing.
    pub(crate) fn new(applied: Index) -> Self {
        let counts = || AtomicU64::new(0);
        Self { applied: AtomicU64::new(applied.0), served: counts(), refused: counts(), state: Mutex::default() }
    }

    /// An entry is applied: what it did is in the store, and its rules are those that readers see.
    pub(crate) fn show_applied(&self, applied: Index) {
        self.applied.store(applied.0, Ordering::Release);
    }

    /// The newest entry that is applied.
    pub(crate) fn applied(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }

    /// Takes in what the leader, or one that was, has told.
    pub(crate) fn hear(&self, told: Settled) {
        let mut state = self.lock();
        state.take(self.applied());
        if told.version > state.up_to {
            state.next = Some(told);
        }
    }

    /// The highest version up to which all is here, by what was told.
    pub(crate) fn up_to(&self) -> Version {
        let applied = if lentic_types::mutant!("follower-unapplied") { Index(u64::MAX) } else { self.applied() };
        let mut state = self.lock();
        state.take(applied);
        state.up_to
    }

    /// Somebody would read here what is not known to be here.
    pub(crate) fn want(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.lock().wanted = Some(Instant::now());
    }

    /// Somebody reads here, without the leader.
    pub(crate) fn serve(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.lock().wanted = Some(Instant::now());
    }

    /// Whether somebody reads here, or would.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().wanted.is_some_and(|wanted| wanted.elapsed() < WANTED_FOR)
    }

    /// How many reads were answered here without the leader, and how many were sent to it.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.served.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, applied: Index) {
        if let Some(next) = self.next.take_if(|next| next.index <= applied) {
            self.up_to = self.up_to.max(next.version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(index: u64, version: u64) -> Settled {
        Settled { index: Index(index), version: Version(version) }
    }

    #[test]
    fn what_was_told_of_an_entry_holds_once_it_is_applied() {
        let resolved = Resolved::new(Index(7));
        assert_eq!(resolved.up_to(), Version::ZERO);
        resolved.hear(told(7, 40));
        assert_eq!(resolved.up_to(), Version(40));
        resolved.hear(told(8, 50));
        assert_eq!(resolved.up_to(), Version(40), "entry 8 is not here");
        resolved.show_applied(Index(9));
        resolved.hear(told(10, 60));
        assert_eq!(resolved.up_to(), Version(50), "what was told before holds now");
        resolved.hear(told(9, 30));
        assert_eq!(resolved.up_to(), Version(50), "what is late takes nothing back");
        resolved.show_applied(Index(10));
        assert_eq!(resolved.up_to(), Version(60));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_wanted_while_somebody_reads() {
        let resolved = Resolved::new(Index(0));
        assert!(!resolved.is_wanted());
        resolved.want();
        tokio::time::advance(WANTED_FOR / 2).await;
        resolved.serve();
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(resolved.is_wanted());
        tokio::time::advance(WANTED_FOR).await;
        assert!(!resolved.is_wanted());
        assert_eq!(resolved.counts(), (1, 1));
    }
}
