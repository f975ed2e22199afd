//! The engine's GC inside RocksDB's compactions.
//!
//! A compaction sees some of a key's records, not all: older ones may lie in files that it does not read, and RocksDB
//! does not tell whether there are any. So a record that only hides what is older becomes a delete and stays, and its
//! key is remembered. [`RocksStore::remove_buried`] looks, with the whole store in view, whether it is the oldest of
//! its key by now; then it hides nothing, and goes. What is forgotten on the way comes back at the next compaction.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lentic_engine::gc::{GcFilter, GcHandle, Verdict};
use lentic_engine::record::DELETE_BYTES;
use lentic_engine::{Batch, Bounds, Cursor as _, Family, Span, Store as _, StoreError, View as _};
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

use crate::error::store_error;
use crate::store::RocksStore;

/// Most keys remembered, and most bytes of them: a key may have 16 KiB.
const BURIED_KEYS_MAX: usize = 65_536;
const BURIED_BYTES_MAX: usize = 16 << 20;

const NAME: &CStr = c"lentic.gc";

/// Keys of deletes that may be the oldest of their user key.
#[derive(Debug, Default)]
pub(crate) struct Buried {
    queue: Mutex<Queue>,
    /// Held by whoever removes deletes and by whoever replaces a range: between the look at a key and its removal
    /// nothing older may arrive. Never taken by a compaction, which those who hold it may wait for.
    removal: Mutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    keys: VecDeque<Vec<u8>>,
    bytes: usize,
    forgotten: u64,
}

impl Queue {
    fn push(&mut self, key: Vec<u8>) {
        if self.keys.len() == BURIED_KEYS_MAX || self.bytes + key.len() > BURIED_BYTES_MAX {
            self.forgotten += 1;
            return;
        }
        self.bytes += key.len();
        self.keys.push_back(key);
    }
}

impl Buried {
    fn add(&self, keys: Queue) {
        let mut queue = self.lock();
        queue.forgotten += keys.forgotten;
        keys.keys.into_iter().for_each(|key| queue.push(key));
    }

    fn take(&self, limit: usize) -> Vec<Vec<u8>> {
        let mut queue = self.lock();
        let count = limit.min(queue.keys.len());
        let keys: Vec<_> = queue.keys.drain(..count).collect();
        queue.bytes -= keys.iter().map(Vec::len).sum::<usize>();
        keys
    }

    /// Keeps deletes from being removed while the guard lives.
    pub(crate) fn pause(&self) -> MutexGuard<'_, ()> {
        self.removal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that wait, and keys forgotten for lack of room since the store was opened.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let queue = self.lock();
        (queue.keys.len() as u64, queue.forgotten)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a filter for each compaction, from the rules active when it begins.
pub(crate) struct FilterFactory {
    rules: GcHandle,
    buried: Arc<Buried>,
}

impl FilterFactory {
    pub(crate) fn new(rules: GcHandle, buried: Arc<Buried>) -> Self {
        Self { rules, buried }
    }
}

impl CompactionFilterFactory for FilterFactory {
    type Filter = Filter;

    fn create(&mut self, _context: CompactionFilterContext) -> Filter {
        Filter { judge: self.rules.filter(), found: Queue::default(), buried: Arc::clone(&self.buried) }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// The filter of one compaction. It gathers on its own and hands over at its end, without a lock per record.
pub(crate) struct Filter {
    judge: GcFilter,
    found: Queue,
    buried: Arc<Buried>,
}

impl CompactionFilter for Filter {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        match self.judge.judge(key, value) {
            Verdict::Keep => CompactionDecision::Keep,
            Verdict::Drop => CompactionDecision::Remove,
            Verdict::Hide => CompactionDecision::Change(DELETE_BYTES),
            Verdict::Bury => {
                self.found.push(key.to_vec());
                if value == DELETE_BYTES { CompactionDecision::Keep } else { CompactionDecision::Change(DELETE_BYTES) }
            }
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.buried.add(std::mem::take(&mut self.found));
    }
}

impl RocksStore {
    /// Removes deletes that compactions left behind and that hide nothing any more, up to `limit` of those waiting;
    /// answers how many went. Each candidate costs a seek.
    ///
    /// It is no command of any group, and need not be: a delete that is the oldest record of its key reads the same
    /// as no record at all, at every version.
    pub fn remove_buried(&self, limit: usize) -> Result<usize, StoreError> {
        let _pause = self.buried.pause();
        let keys = self.buried.take(limit);
        let mut batch = Batch::new();
        // The cursor is from after the keys were taken: what it sees is no older than what the compaction saw.
        let mut cursor = self.cursor(Family::Data, Bounds::OneKey)?;
        for key in keys {
            cursor.seek(&key)?;
            if cursor.entry() != Some((&key, DELETE_BYTES)) {
                continue;
            }
            cursor.next()?;
            if cursor.entry().is_none() {
                batch.delete(Family::Data, &key);
            }
        }
        self.write(&batch)?;
        Ok(batch.len())
    }

    /// Compacts all of `span` down to the last level, and so applies the GC rules that are durable to all of it. It
    /// rewrites the whole range and waits for that: for operators and tests.
    pub fn compact(&self, span: &Span) -> Result<(), StoreError> {
        self.flush()?;
        let mut options = rocksdb::CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        // Also what is in the last level already: it was filtered by older rules.
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::ForceOptimized);
        let failures = || self.db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS).map_err(store_error);
        let before = failures()?;
        let (lower, upper) = (Some(&span.lower), span.upper.as_ref());
        self.db.compact_range_cf_opt(self.handle(span.family), lower, upper, &options);
        // The call itself does not tell.
        if failures()? == before {
            Ok(())
        } else {
            Err(StoreError::Failed("a compaction failed, the file LOG of the database says why".to_owned()))
        }
    }
}
