//! RocksDB as the store of a simulated host.

use std::sync::atomic::{AtomicUsize, Ordering};

use lentic_engine::gc::GcHandle;
use lentic_engine::store::{Metric, PortableFile, TransferError};
use lentic_engine::{Batch, Bounds, Cursor as _, Family, Portable, Pressure, Span, Store, StoreError, View};
use lentic_rocks::{RocksCursor, RocksExport, RocksImport, RocksStore, StoreOptions};
use lentic_sim::{Dice, SimStore};
use lentic_types::{ClusterId, GroupId, Index};

use crate::directory::Directory;

const CLUSTER: ClusterId = ClusterId(*b"a simulated one.");

/// A seed flushes thousands of times a few rows; what reads then opens every file. Compactions come by this count, and
/// not on their own, so that a seed finds the same files each time.
const FLUSHES_PER_COMPACTION: usize = 32;

/// A store in a directory of its own.
#[derive(Debug)]
pub struct SimRocks {
    // Dropped in this order: the store is closed before its directory goes.
    store: RocksStore,
    unflushed: AtomicUsize,
    flushes: AtomicUsize,
    directory: Directory,
}

impl SimRocks {
    fn open(directory: Directory, gc: &GcHandle) -> Self {
        let options = StoreOptions {
            block_cache_bytes: 1 << 20,
            background_jobs: 2,
            open_files_max: 256,
            level_zero_files_slow: 10_000,
            level_zero_files_stop: 20_000,
            automatic_compaction: false,
            ..StoreOptions::default()
        };
        let opened = RocksStore::open(directory.path(), CLUSTER, &options, gc.clone());
        let store = opened.expect("a store that a crash left can be opened");
        Self { store, unflushed: AtomicUsize::new(0), flushes: AtomicUsize::new(0), directory }
    }
}

impl SimStore for SimRocks {
    fn fresh(gc: &GcHandle) -> Self {
        Self::open(Directory::new(), gc)
    }

    /// What a process that dies leaves is its files: all that was not flushed is gone.
    fn crash(&self, _: &Dice, gc: &GcHandle) -> (Self, usize) {
        (Self::open(self.directory.copy(), gc), self.unflushed.load(Ordering::Relaxed))
    }

    fn collect(&self, _: &GcHandle) {}

    fn discard(&self) {
        self.directory.remove();
    }

    fn entries(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = Bounds::Range { lower: Vec::new(), upper: None };
        let mut cursor = self.store.cursor(family, all).expect("the store can be read");
        let mut entries = Vec::new();
        cursor.seek(&[]).expect("the store can be read");
        while let Some((key, value)) = cursor.entry() {
            entries.push((key.to_vec(), value.to_vec()));
            cursor.next().expect("the store can be read");
        }
        entries
    }
}

impl View for SimRocks {
    type Cursor<'a> = RocksCursor<'a>;

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(family, key)
    }

    fn cursor(&self, family: Family, bounds: Bounds) -> Result<RocksCursor<'_>, StoreError> {
        self.store.cursor(family, bounds)
    }
}

impl Store for SimRocks {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.unflushed.fetch_add(1, Ordering::Relaxed);
        self.store.write(batch)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.unflushed.store(0, Ordering::Relaxed);
        self.store.flush()?;
        if self.flushes.fetch_add(1, Ordering::Relaxed) % FLUSHES_PER_COMPACTION == FLUSHES_PER_COMPACTION - 1 {
            Family::ALL.iter().try_for_each(|family| self.store.compact(&Span::all(*family)))?;
        }
        Ok(())
    }

    fn durable_applied(&self, group: GroupId) -> Result<Index, StoreError> {
        self.store.durable_applied(group)
    }

    fn pressure(&self) -> Pressure {
        self.store.pressure()
    }
}

impl Portable for SimRocks {
    type Export = RocksExport;
    type Import = RocksImport;

    fn export(&self, spans: &[Span], keys: &[(Family, Vec<u8>)]) -> Result<RocksExport, TransferError> {
        self.store.export(spans, keys)
    }

    fn import(&self) -> Result<RocksImport, TransferError> {
        self.store.import()
    }

    fn install(&self, import: RocksImport, spans: &[Span], files: &[PortableFile]) -> Result<(), TransferError> {
        self.unflushed.store(0, Ordering::Relaxed);
        self.store.install(import, spans, files)
    }

    fn disk_bytes(&self, spans: &[Span]) -> Result<Vec<u64>, StoreError> {
        self.store.disk_bytes(spans)
    }

    /// Waits for it: when a flush that runs by itself ends is no function of the seed.
    fn request_flush(&self) -> Result<(), StoreError> {
        self.flush()
    }

    fn maintain(&self) -> Result<(), StoreError> {
        self.store.maintain()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.store.metrics()
    }
}
