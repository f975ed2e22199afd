//! A store in memory, with the crash behaviour of the real one.

mod portable;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lentic_types::{GroupId, Index, KeyRange, TableId};

use crate::gc::{GcHandle, sweep};
use crate::keys::{data, sys};
use crate::store::{Batch, Bounds, Change, Cursor, Family, Pressure, Store, StoreError, View};

pub use portable::{MemExport, MemImport};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// An ordered map behind the [`Store`] interface: the model of RocksDB in tests and in simulation.
///
/// It keeps the batches written since the last flush, so that [`crash`](Self::crash) can go back to any point that
/// the contract of [`Store`] allows.
#[derive(Debug, Default)]
pub struct MemStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    families: [Arc<Entries>; Family::ALL.len()],
    durable: [Arc<Entries>; Family::ALL.len()],
    since_flush: Vec<Batch>,
    /// Why nothing can be written any more.
    failed: Option<StoreError>,
    /// Why nothing can be read any more.
    unreadable: Option<StoreError>,
}

impl State {
    fn entries(&mut self, family: Family) -> &mut Entries {
        Arc::make_mut(&mut self.families[family as usize])
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn make_durable(&mut self) {
        self.durable = self.families.clone();
        self.since_flush.clear();
    }
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many batches a crash could lose now.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.read().since_flush.len()
    }

    /// What a process finds after a crash that kept the first `batches` of those not yet flushed.
    #[must_use]
    pub fn crash(&self, batches: usize) -> Self {
        let state = self.read();
        let mut after = State { families: state.durable.clone(), ..State::default() };
        state.since_flush.iter().take(batches).for_each(|batch| apply(&mut after.families, batch));
        after.durable = after.families.clone();
        Self { state: RwLock::new(after) }
    }

    /// Collects garbage in a range as a compaction does: what has been flushed is gone at once, whatever a crash may
    /// still take back of later writes.
    pub fn compact(&self, table: TableId, range: &KeyRange, gc: &GcHandle) {
        let mut state = self.lock();
        let State { families, durable, .. } = &mut *state;
        for side in [families, durable] {
            let frozen = Self { state: RwLock::new(State { families: side.clone(), ..State::default() }) };
            let batch = sweep(&frozen, table, range, &mut gc.filter()).expect("a store in memory does not fail");
            apply(side, &batch);
        }
    }

    /// From now on nothing can be written, as on a disk that is full.
    pub fn fail(&self, reason: &str) {
        self.lock().failed = Some(StoreError::Failed(reason.to_owned()));
    }

    /// From now on nothing can be read, as from blocks that are damaged.
    pub fn fail_reads(&self, reason: &str) {
        self.lock().unreadable = Some(StoreError::Failed(reason.to_owned()));
    }

    /// Every entry of `family`, in key order.
    #[must_use]
    pub fn entries(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.read();
        state.families[family as usize].iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Result<RwLockReadGuard<'_, State>, StoreError> {
        let state = self.read();
        state.unreadable.clone().map_or(Ok(state), Err)
    }

    fn lock(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(families: &mut [Arc<Entries>; Family::ALL.len()], batch: &Batch) {
    for change in batch.iter() {
        match change {
            Change::Put(family, key, value) => {
                Arc::make_mut(&mut families[family as usize]).insert(key.to_vec(), value.to_vec());
            }
            Change::Delete(family, key) => {
                Arc::make_mut(&mut families[family as usize]).remove(key);
            }
        }
    }
}

impl View for MemStore {
    type Cursor<'a> = MemCursor;

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.readable()?.families[family as usize].get(key).cloned())
    }

    fn cursor(&self, family: Family, bounds: Bounds) -> Result<MemCursor, StoreError> {
        let entries = Arc::clone(&self.readable()?.families[family as usize]);
        Ok(MemCursor { entries, bounds, place: None, prefix: None })
    }
}

impl Store for MemStore {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.check()?;
        apply(&mut state.families, batch);
        state.since_flush.push(batch.clone());
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.check()?;
        state.make_durable();
        Ok(())
    }

    fn durable_applied(&self, group: GroupId) -> Result<Index, StoreError> {
        let key = sys::applied_key(group);
        match self.read().durable[Family::Sys as usize].get(&key) {
            None => Ok(Index(0)),
            Some(value) => sys::decode_applied(value).map_err(|reason| StoreError::damaged(Family::Sys, &key, reason)),
        }
    }

    fn pressure(&self) -> Pressure {
        Pressure::None
    }
}

/// A cursor over a frozen map.
#[derive(Debug)]
pub struct MemCursor {
    entries: Arc<Entries>,
    bounds: Bounds,
    place: Option<(Vec<u8>, Vec<u8>)>,
    /// In [`Bounds::OneKey`], the prefix of the last seek.
    prefix: Option<Vec<u8>>,
}

impl MemCursor {
    fn first_from(&mut self, from: Bound<&[u8]>) {
        let entry = self.entries.range::<[u8], _>((from, Bound::Unbounded)).next();
        self.place = entry.map(|(key, value)| (key.clone(), value.clone()));
        self.keep_in_bounds();
    }

    fn last_until(&mut self, until: Bound<&[u8]>) {
        assert!(matches!(self.bounds, Bounds::Range { .. }), "point cursors only move forward");
        let entry = self.entries.range::<[u8], _>((Bound::Unbounded, until)).next_back();
        self.place = entry.map(|(key, value)| (key.clone(), value.clone()));
        self.keep_in_bounds();
    }

    fn keep_in_bounds(&mut self) {
        let (bounds, prefix) = (&self.bounds, &self.prefix);
        self.place = self.place.take().filter(|(key, _)| match bounds {
            Bounds::Range { lower, upper } => key >= lower && upper.as_ref().is_none_or(|upper| key < upper),
            Bounds::OneKey => prefix.as_deref() == Some(data::prefix(key)),
        });
    }
}

impl Cursor for MemCursor {
    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.prefix = matches!(self.bounds, Bounds::OneKey).then(|| data::prefix(key).to_vec());
        let from = match &self.bounds {
            Bounds::Range { lower, .. } if lower.as_slice() > key => lower.clone(),
            _ => key.to_vec(),
        };
        self.first_from(Bound::Included(&from));
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), StoreError> {
        match self.bounds.clone() {
            Bounds::Range { upper: Some(upper), .. } if upper.as_slice() <= key => {
                self.last_until(Bound::Excluded(&upper));
            }
            _ => self.last_until(Bound::Included(key)),
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), StoreError> {
        if let Some((key, _)) = self.place.take() {
            self.first_from(Bound::Excluded(&key));
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<(), StoreError> {
        if let Some((key, _)) = self.place.take() {
            self.last_until(Bound::Excluded(&key));
        }
        Ok(())
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.place.as_ref().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}
