//! A replica of a shard: applies the log at its own pace, in its own batches, and may crash.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_engine::{Batch, Direction, Family, MemStore, ReadStats, ScanLimits, Store, View};
use lentic_machine::shard::{Descriptor, HeadsOptions, LockChanges};
use lentic_machine::{Applied, Command, Event, Outcome, Overlay, Shard, invariants};
use lentic_types::{Expiry, GroupId, KeyRange, TxnId, Version};

/// A row as a reader sees it: key, version, value, end.
pub(crate) type Row = (Bytes, Version, Bytes, Option<Expiry>);

/// An entry of a log, and what was answered when it was applied first.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) entry: Bytes,
    pub(crate) replies: Vec<Outcome>,
}

/// Locks that keep readers waiting, as events tell of them.
pub(crate) type LockImage = BTreeMap<(TxnId, Bytes), Version>;

pub(crate) struct Replica {
    pub(crate) store: MemStore,
    pub(crate) shard: Shard,
    group: GroupId,
    memo_bytes: u64,
    /// Changes that are applied and not written.
    waiting: Batch,
    locks: LockImage,
}

impl Replica {
    pub(crate) fn new(group: GroupId, descriptor: &Descriptor, memo_bytes: u64) -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Shard::create(&mut batch, group, descriptor);
        store.write(&batch).expect("the store works");
        store.flush().expect("the store works");
        let shard = load(&store, group, memo_bytes);
        Self { store, shard, group, memo_bytes, waiting: Batch::new(), locks: LockImage::new() }
    }

    /// How many entries are applied.
    pub(crate) fn applied(&self) -> usize {
        usize::try_from(self.shard.applied().0).expect("logs are short")
    }

    /// Applies the next entry, and writes what it and those before it change, or not yet.
    pub(crate) fn apply(&mut self, entry: &Bytes, is_written: bool) -> Result<(Vec<Outcome>, LockChanges), String> {
        let command = Command::decode(entry).map_err(|error| format!("an entry does not come back: {error}"))?;
        let mut overlay = Overlay::new(&self.store);
        overlay.batch().append(&self.waiting);
        let index = self.shard.applied().next();
        let applied = self.shard.apply(index, &command, &overlay).map_err(|fatal| format!("{fatal}: {command:?}"))?;
        let Applied { batch, replies, events, .. } = applied;
        self.waiting.append(&batch);
        if is_written {
            self.write()?;
        }
        let changes = events.into_iter().find_map(|event| match event {
            Event::LocksChanged(changes) => Some(changes),
            Event::GcRulesChanged(_) | Event::RiderCame(_) | Event::RiderLeft(_) | Event::Divided(_) => None,
        });
        let changes = changes.unwrap_or_default();
        self.follow(&changes)?;
        Ok((replies, changes))
    }

    /// Writes what waits, and checks all that must hold.
    pub(crate) fn write(&mut self) -> Result<(), String> {
        self.store.write(&self.waiting).expect("the store works");
        self.waiting.truncate(0);
        invariants::check(&self.shard, &self.store)
    }

    /// Applies the log up to its end, and writes it.
    pub(crate) fn catch_up(&mut self, log: &[Logged]) -> Result<(), String> {
        while self.applied() < log.len() {
            self.apply_logged(log, false)?;
        }
        self.write()
    }

    /// Applies the next entry of the log as one that was applied elsewhere.
    pub(crate) fn apply_logged(&mut self, log: &[Logged], is_written: bool) -> Result<(), String> {
        let Some(Logged { entry, replies }) = log.get(self.applied()) else { return Ok(()) };
        let (again, _) = self.apply(entry, is_written)?;
        if again != *replies {
            return Err(format!("replicas answer differently: {replies:?} and {again:?}"));
        }
        Ok(())
    }

    /// Comes back with a part of what was not flushed.
    pub(crate) fn crash(&mut self, batches: usize) {
        self.store = self.store.crash(batches);
        self.shard = load(&self.store, self.group, self.memo_bytes);
        self.waiting.truncate(0);
        self.locks = self.locks_held();
    }

    pub(crate) fn rows(&self, range: &KeyRange, at: Version) -> Vec<Row> {
        let (read, limits) = (self.shard.read_at(at), ScanLimits::default());
        let page = read.scan(&self.store, range, Direction::Forward, &limits, &mut ReadStats::default());
        let rows = page.expect("the store works").rows.into_iter();
        rows.map(|row| (row.key, row.found.version, row.found.value, row.found.expiry)).collect()
    }

    /// The value of a key.
    pub(crate) fn row(&self, key: &Bytes, at: Version) -> Option<Row> {
        let found = self.shard.read_at(at).get(&self.store, key, &mut ReadStats::default()).expect("the store works");
        found.map(|found| (key.clone(), found.version, found.value, found.expiry))
    }

    /// Whether a reader of the range at this version waits for somebody.
    pub(crate) fn is_locked(&self, range: &KeyRange, at: Version) -> bool {
        self.locks.iter().any(|((_, key), version)| *version <= at && range.contains(key))
    }

    /// Whether both hold the same, and say so.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let is_same = |family| self.store.entries(family) == other.store.entries(family);
        self.shard.is_same_state(&other.shard) && Family::ALL.into_iter().all(is_same)
    }

    fn follow(&mut self, changes: &LockChanges) -> Result<(), String> {
        for (txn, key, version) in &changes.placed {
            self.locks.insert((*txn, key.clone()), *version);
        }
        for (txn, key) in &changes.gone {
            self.locks.remove(&(*txn, key.clone()));
        }
        match self.locks == self.locks_held() {
            true => Ok(()),
            false => Err(format!("who follows the changes of locks has others than the shard: {changes:?}")),
        }
    }

    fn locks_held(&self) -> LockImage {
        let locks = self.shard.locks();
        let of_txn = |id: TxnId| locks.locks_of(id).filter(|(_, lock)| lock.mode.writes());
        let all = locks.open().map(|open| open.txn.id);
        all.flat_map(|id| of_txn(id).map(move |(key, lock)| ((id, key.clone()), lock.version))).collect()
    }
}

fn load(view: &impl View, group: GroupId, memo_bytes: u64) -> Shard {
    let options = HeadsOptions { bytes_max: memo_bytes, seed: 1 };
    Shard::load(view, group, &options).expect("the store works").expect("the shard is there")
}
