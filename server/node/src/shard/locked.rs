//! What open transactions hold in a shard, for those on this node who wait for them.
//!
//! It follows what is applied, and never runs ahead of what is written: a lock that is gone here has left its versions in
//! the store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use lentic_machine::Shard;
use lentic_machine::shard::{LockChanges, TxnRef};
use lentic_types::{KeyRange, TxnId, Version};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// The open transactions of a shard.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    state: Mutex<State>,
    /// How many keys and ranges are locked: most often none are, and then nobody looks further.
    held: AtomicUsize,
    /// Told whenever a lock is gone or a transaction is decided.
    changed: Notify,
    /// How many wait for that.
    waiting: AtomicUsize,
    /// Takes the transactions that somebody waits for, so that they are decided soon.
    wanted: OnceLock<mpsc::Sender<TxnRef>>,
}

#[derive(Debug, Default)]
struct State {
    /// Who changes a key, and from which version on.
    by_key: BTreeMap<Bytes, BTreeMap<TxnId, Version>>,
    /// Who may take which range.
    taking: BTreeMap<TxnId, KeyRange>,
    /// Who may take which ranges back to older versions, and from which version on.
    going_back: BTreeMap<TxnId, (Version, Vec<KeyRange>)>,
    /// How many keys a transaction changes that it still holds, and from which version on it may commit.
    changing: BTreeMap<TxnId, (Version, usize)>,
    open: BTreeMap<TxnId, Open>,
}

impl State {
    fn goes_back(&mut self, txn: TxnId, range: KeyRange, from: Version) {
        self.going_back.entry(txn).or_insert_with(|| (from, Vec::new())).1.push(range);
    }

    /// Whether a range for which `is_met` holds may be taken back at or below `at`.
    fn is_going_back(&self, at: Version, is_met: impl Fn(&KeyRange) -> bool) -> bool {
        self.going_back.values().any(|(from, ranges)| *from <= at && ranges.iter().any(&is_met))
    }

    fn held(&self) -> usize {
        self.by_key.len() + self.taking.len()
    }
}

/// A transaction that is not done with here.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) txn: TxnRef,
    /// When this node saw it first. Version time is no measure: it stands still while it is ahead of the clock.
    pub(crate) since: Instant,
    pub(crate) is_decided: bool,
}

/// Beyond so many open transactions the shards have enough to do, and what rides finds others to ride with.
const WANTED_MAX: usize = 16;

impl Locked {
    /// Tells `wanted` from now on which transactions somebody waits for.
    pub(crate) fn tell(&self, wanted: mpsc::Sender<TxnRef>) {
        // Who is told does not change.
        let _ = self.wanted.set(wanted);
    }

    /// Begins anew with all that a shard has.
    pub(crate) fn reset(&self, shard: &Shard) {
        let (mut state, known) = (State::default(), std::mem::take(&mut self.lock().open));
        for open in shard.locks().open() {
            let id = open.txn.id;
            for (key, lock) in shard.locks().locks_of(id).filter(|(_, lock)| lock.mode.writes()) {
                state.place(id, key.clone(), lock.version);
            }
            let is_decided = open.decision.is_some();
            if let Some(take) = open.take.as_ref().filter(|_| !is_decided) {
                state.taking.insert(id, take.range.clone());
                take.back.iter().for_each(|back| state.goes_back(id, back.range.clone(), open.version));
            }
            let since = known.get(&id).map_or_else(Instant::now, |known| known.since);
            state.open.insert(id, Open { txn: open.txn.clone(), since, is_decided });
        }
        self.held.store(state.held(), Ordering::Release);
        *self.lock() = state;
        self.changed.notify_waiters();
    }

    /// Whether a transaction is open here.
    pub(crate) fn is_open(&self, txn: TxnId) -> bool {
        self.lock().open.contains_key(&txn)
    }

    /// Takes over when transactions were seen first that came from `parent` by a split: each split would give them as long
    /// again.
    pub(crate) fn inherit(&self, parent: &Self) {
        for before in parent.open() {
            if let Some(open) = self.lock().open.get_mut(&before.txn.id) {
                open.since = open.since.min(before.since);
            }
        }
    }

    /// Takes in what entries changed, once it is written.
    pub(crate) fn apply(&self, changes: LockChanges) {
        let mut state = self.lock();
        for (txn, _) in changes.opened {
            state.open.insert(txn.id, Open { txn, since: Instant::now(), is_decided: false });
        }
        for (txn, key, version) in changes.placed {
            state.place(txn, key, version);
        }
        state.taking.extend(changes.taking);
        for (txn, range, version) in changes.going_back {
            state.goes_back(txn, range, version);
        }
        let wakes = !changes.gone.is_empty() || !changes.decided.is_empty();
        for (txn, key) in changes.gone {
            state.remove(txn, &key);
        }
        for txn in changes.decided {
            state.taking.remove(&txn);
            state.going_back.remove(&txn);
            if let Some(open) = state.open.get_mut(&txn) {
                open.is_decided = true;
            }
        }
        for txn in changes.ended {
            state.open.remove(&txn);
        }
        self.held.store(state.held(), Ordering::Release);
        drop(state);
        if wakes {
            self.changed.notify_waiters();
        }
    }

    /// Whether a transaction that may commit at or below `at` changes one of `keys`.
    pub(crate) fn holds<K: AsRef<[u8]>>(&self, keys: &[K], at: Version) -> bool {
        if self.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let state = self.lock();
        keys.iter().any(|key| {
            let by_key = state.by_key.get(key.as_ref()).is_some_and(|holders| is_held(holders, at));
            by_key || state.is_going_back(at, |range| range.contains(key.as_ref()))
        })
    }

    /// Whether a transaction that may commit at or below `at` changes a key of `range`.
    pub(crate) fn holds_in(&self, range: &KeyRange, at: Version) -> bool {
        if self.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let end = range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
        let state = self.lock();
        let mut by_key = state.by_key.range((Bound::Included(range.start().clone()), end));
        by_key.any(|(_, holders)| is_held(holders, at)) || state.is_going_back(at, |back| back.overlaps(range))
    }

    /// Whether a transaction may take some of `range`: who owns it is not known then.
    pub(crate) fn takes_in(&self, range: &KeyRange) -> bool {
        self.held.load(Ordering::Acquire) > 0 && self.lock().taking.values().any(|taken| taken.overlaps(range))
    }

    /// The lowest version at which a transaction that holds a key, or may take a range back, may commit, if there is one.
    pub(crate) fn oldest(&self) -> Option<Version> {
        if self.held.load(Ordering::Acquire) == 0 {
            return None;
        }
        let state = self.lock();
        let changing = state.changing.values().map(|(version, _)| *version);
        changing.chain(state.going_back.values().map(|(version, _)| *version)).min()
    }

    /// Whether somebody waits for a transaction.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Waits until `is_held` says no.
    pub(crate) async fn wait_while(&self, is_held: impl Fn(&Self) -> bool) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(self);
        self.want();
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if !is_held(self) {
                return;
            }
            changed.await;
        }
    }

    /// Asks for the undecided transactions to be decided, if they are few. What is not told in time is not needed.
    fn want(&self) {
        let Some(wanted) = self.wanted.get() else { return };
        let state = self.lock();
        if state.open.len() <= WANTED_MAX {
            let undecided = state.open.values().filter(|open| !open.is_decided);
            undecided.for_each(|open| drop(wanted.try_send(open.txn.clone())));
        }
    }

    /// Whether a transaction is open here and nobody knows what becomes of it.
    pub(crate) fn is_undecided(&self, txn: TxnId) -> bool {
        self.lock().open.get(&txn).is_some_and(|open| !open.is_decided)
    }

    /// The open transactions, the oldest first.
    pub(crate) fn open(&self) -> Vec<Open> {
        self.lock().open.values().cloned().collect()
    }

    /// How many transactions are open.
    pub(crate) fn open_len(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&mut self, txn: TxnId, key: Bytes, version: Version) {
        if self.by_key.entry(key).or_default().insert(txn, version).is_none() {
            let (oldest, keys) = self.changing.entry(txn).or_insert((version, 0));
            *oldest = version.min(*oldest);
            *keys += 1;
        }
    }

    fn remove(&mut self, txn: TxnId, key: &Bytes) {
        let Some(holders) = self.by_key.get_mut(key) else { return };
        if holders.remove(&txn).is_some()
            && let Some((_, keys)) = self.changing.get_mut(&txn)
        {
            *keys -= 1;
            if *keys == 0 {
                self.changing.remove(&txn);
            }
        }
        if holders.is_empty() {
            self.by_key.remove(key);
        }
    }
}

/// One who waits.
struct Waiting<'a>(&'a Locked);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_held(holders: &BTreeMap<TxnId, Version>, at: Version) -> bool {
    holders.values().any(|prepared| *prepared <= at)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lentic_machine::shard::Anchor;
    use lentic_types::{NodeId, TableId};

    use super::*;

    fn txn(number: u64) -> TxnRef {
        let id = TxnId { begun: Version(1), node: NodeId(1), number };
        TxnRef { id, anchor: Anchor { table: TableId(1), key: "a".into() }, until: Version::MAX }
    }

    fn opened(number: u64, key: &'static str, prepared: u64) -> LockChanges {
        let txn = txn(number);
        LockChanges {
            placed: vec![(txn.id, key.into(), Version(prepared))],
            opened: vec![(txn, Version(prepared))],
            ..LockChanges::default()
        }
    }

    #[tokio::test]
    async fn readers_wait_for_what_may_commit_at_or_below_their_version() {
        let (locked, (wanted, mut told)) = (Arc::new(Locked::default()), mpsc::channel(4));
        locked.tell(wanted);
        locked.apply(opened(1, "b", 50));
        assert!(locked.holds(&["a", "b"], Version(50)) && !locked.holds(&["b"], Version(49)));
        let range = KeyRange::new("a", Some("c")).unwrap();
        assert!(locked.holds_in(&range, Version(60)) && !locked.holds_in(&range, Version(40)));
        let waits = Arc::clone(&locked);
        let reader = tokio::spawn(async move { waits.wait_while(|locked| locked.holds(&["b"], Version(60))).await });
        assert_eq!(told.recv().await, Some(txn(1)), "whom it waits for is told");
        assert!(locked.is_waited_for() && locked.is_undecided(txn(1).id) && !reader.is_finished());
        let id = txn(1).id;
        locked.apply(LockChanges { decided: vec![id], ..LockChanges::default() });
        assert!(!locked.is_undecided(id) && locked.holds(&["b"], Version(60)), "its versions are not there yet");
        locked.apply(LockChanges { gone: vec![(id, "b".into())], ended: vec![id], ..LockChanges::default() });
        reader.await.unwrap();
        assert_eq!((locked.open_len(), locked.is_waited_for()), (0, false));
    }

    #[test]
    fn a_range_that_may_go_back_is_held_until_that_is_decided() {
        let (locked, id) = (Locked::default(), txn(1).id);
        let range = |start: &'static str, end: &'static str| KeyRange::new(start, Some(end)).unwrap();
        let going_back = vec![(id, range("b", "d"), Version(50)), (id, range("f", "g"), Version(50))];
        let (opened, taking) = (vec![(txn(1), Version(50))], vec![(id, range("b", "h"))]);
        locked.apply(LockChanges { opened, taking, going_back, ..LockChanges::default() });
        assert!(locked.takes_in(&range("g", "h")) && !locked.takes_in(&range("a", "b")));
        assert!(locked.holds(&["a", "c"], Version(50)) && !locked.holds(&["a", "d"], Version(50)));
        assert!(!locked.holds(&["c"], Version(49)), "what is read below it stays");
        assert!(locked.holds_in(&range("f", "h"), Version(60)) && !locked.holds_in(&range("d", "f"), Version(60)));
        locked.apply(LockChanges { decided: vec![id], ..LockChanges::default() });
        assert!(!locked.holds(&["c"], Version::MAX) && !locked.takes_in(&range("a", "z")));
    }

    #[test]
    fn what_comes_and_goes_with_one_entry_is_gone() {
        let locked = Locked::default();
        let id = txn(1).id;
        let gone =
            LockChanges { gone: vec![(id, "b".into())], decided: vec![id], ended: vec![id], ..opened(1, "b", 5) };
        locked.apply(gone);
        assert!(!locked.holds(&["b"], Version::MAX) && locked.open().is_empty());
    }

    #[test]
    fn the_oldest_is_the_lowest_that_holds_a_key() {
        let (locked, id) = (Locked::default(), |number| txn(number).id);
        locked.apply(opened(1, "a", 40));
        locked.apply(opened(2, "b", 50));
        locked.apply(LockChanges { placed: vec![(id(1), "c".into(), Version(40))], ..LockChanges::default() });
        assert_eq!(locked.oldest(), Some(Version(40)));
        let gone =
            |number, key: &'static str| LockChanges { gone: vec![(id(number), key.into())], ..LockChanges::default() };
        locked.apply(gone(1, "a"));
        assert_eq!(locked.oldest(), Some(Version(40)), "it holds another key");
        locked.apply(gone(1, "a"));
        locked.apply(gone(1, "c"));
        assert_eq!(locked.oldest(), Some(Version(50)));
        locked.apply(gone(2, "b"));
        assert_eq!(locked.oldest(), None);
    }
}
