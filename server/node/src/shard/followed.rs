//! What those who follow a shard's changes share: the newest of them, and a word when there are more.
//!
//! ```text
//!   apply ──► store written ──► changes noted ──► locks that went ──► newest stamp shown ──► followers woken
//! ```
//!
//! The order matters: who has seen a stamp, and then which locks are there, finds every change up to either in the store
//! and among what was noted. Nothing is noted while nobody follows.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_engine::feed::Recent;
use lentic_engine::{Batch, StoreError};
use lentic_types::limits::FEED_RECENT_BYTES_MAX;
use lentic_types::{KeyRange, Position, TableId, Version};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Who has not asked for so long follows no more. A follower asks again within its wait and the time for its page.
const FOLLOWS_FOR: Duration = Duration::from_secs(10);

/// The newest changes of a shard, as long as somebody follows them.
#[derive(Debug)]
pub(crate) struct Followed {
    table: TableId,
    state: Mutex<State>,
    applied: Notify,
}

#[derive(Debug)]
struct State {
    /// The newest stamp whose changes are noted, if any are.
    newest: Version,
    recent: Option<Recent>,
    asked: Instant,
}

impl Followed {
    /// Of a table's shard whose newest stamp this is.
    pub(crate) fn new(table: TableId, newest: Version) -> Self {
        let state = State { newest, recent: None, asked: Instant::now() };
        Self { table, state: Mutex::new(state), applied: Notify::new() }
    }

    /// Begins anew: the shard was replaced by one whose newest stamp this is.
    pub(crate) fn reset(&self, newest: Version) {
        *self.lock() = State { newest, recent: None, asked: Instant::now() };
        self.applied.notify_waiters();
    }

    /// Notes what a batch that is written did, up to a newest stamp.
    pub(crate) fn note(&self, batch: &Batch, newest: Version) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.newest = newest;
        if state.recent.is_some() && state.asked.elapsed() > FOLLOWS_FOR {
            state.recent = None;
        }
        state.recent.as_mut().map_or(Ok(()), |recent| recent.note(batch))
    }

    /// Has everyone look again.
    pub(crate) fn wake(&self) {
        self.applied.notify_waiters();
    }

    /// Somebody follows: from now on changes are noted.
    pub(crate) fn follow(&self) {
        let mut state = self.lock();
        state.asked = Instant::now();
        let newest = state.newest;
        state.recent.get_or_insert_with(|| Recent::new(self.table, newest, FEED_RECENT_BYTES_MAX));
    }

    /// Completes when more is applied than now, once it is enabled.
    pub(crate) fn applied(&self) -> Notified<'_> {
        self.applied.notified()
    }

    /// The first changes of `range` behind `after` up to `until`, `count_max` at most; `None` if some may be missing.
    pub(crate) fn changes(
        &self,
        after: &Position,
        until: Version,
        range: &KeyRange,
        count_max: usize,
    ) -> Option<Vec<(Version, Bytes)>> {
        let state = self.lock();
        let changes = state.recent.as_ref()?.changes(after, range)?;
        let changes = changes.take_while(|(version, _)| *version <= until).take(count_max);
        Some(changes.map(|(version, key)| (version, key.clone())).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lentic_engine::Record;

    use super::*;

    fn put(key: &[u8], version: u64) -> Batch {
        let mut batch = Batch::new();
        let record = Record::Put { value: b"v", expiry: None };
        lentic_engine::write::record(&mut batch, TableId(1), key, Version(version), &record);
        batch
    }

    fn all(followed: &Followed, after: u64, until: u64) -> Option<Vec<u64>> {
        let changes = followed.changes(&Position::after(Version(after)), Version(until), &KeyRange::all(), 10)?;
        Some(changes.into_iter().map(|(version, _)| version.0).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_noted_while_somebody_follows() {
        let followed = Followed::new(TableId(1), Version(10));
        followed.note(&put(b"a", 11), Version(11)).unwrap();
        assert_eq!(all(&followed, 10, 20), None, "nobody followed");
        followed.follow();
        followed.note(&put(b"b", 13), Version(13)).unwrap();
        followed.note(&put(b"a", 14), Version(14)).unwrap();
        assert_eq!(all(&followed, 10, 20), None, "what came before is not here");
        assert_eq!(all(&followed, 11, 20), Some(vec![13, 14]));
        assert_eq!(all(&followed, 11, 13), Some(vec![13]));
        tokio::time::advance(FOLLOWS_FOR + Duration::from_millis(1)).await;
        followed.note(&put(b"a", 15), Version(15)).unwrap();
        assert_eq!(all(&followed, 11, 20), None, "nobody follows any more");
        followed.follow();
        assert_eq!(all(&followed, 15, 20), Some(vec![]));
        followed.reset(Version(5));
        assert_eq!(all(&followed, 15, 20), None, "another state may have other changes");
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let followed = Followed::new(TableId(1), Version(1));
        let applied = followed.applied();
        let mut applied = std::pin::pin!(applied);
        applied.as_mut().enable();
        followed.wake();
        applied.await;
    }
}
