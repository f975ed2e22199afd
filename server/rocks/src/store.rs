//! The engine's store, on RocksDB.

use std::fmt;
use std::sync::{Arc, RwLock};

use lentic_engine::gc::GcHandle;
use lentic_engine::keys::sys;
use lentic_engine::store::Change;
use lentic_engine::{Batch, Bounds, Family, Pressure, Store, StoreError, View};
use lentic_types::{ClusterId, GroupId, Index};
use rocksdb::{ColumnFamily, DB, FlushOptions, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions};

use crate::cursor::RocksCursor;
use crate::error::store_error;
use crate::gc::Buried;
use crate::home::Home;
use crate::options::StoreOptions;
use crate::pressure::Gauge;
use crate::tuning::Shared;

/// Bytes of a write batch before its first change, and for each change beside key and value at most: a tag, the
/// family's number and two lengths.
const BATCH_HEADER_BYTES: usize = 12;
const CHANGE_BYTES_MAX: usize = 12;

/// A node's store.
///
/// Dropped, it flushes what is in memory if the disk lets it, so that a restart replays nothing; who must know calls
/// [`flush`](Store::flush) before. A killed process loses what was not flushed, and the log of each group has that.
pub struct RocksStore {
    // Fields are dropped in this order: the database is closed before its directory is free for others.
    pub(crate) db: DB,
    /// Kept for its counters.
    pub(crate) database: Options,
    /// By number of family. Kept to write files as the families themselves would.
    pub(crate) families: [Options; Family::ALL.len()],
    pub(crate) shared: Shared,
    pub(crate) gc: GcHandle,
    pub(crate) buried: Arc<Buried>,
    pub(crate) options: StoreOptions,
    pub(crate) cluster: ClusterId,
    pub(crate) no_log: WriteOptions,
    gauge: Gauge,
    read: ReadOptions,
    persisted: ReadOptions,
    /// Held to read by an install, to write by who needs a moment without any.
    pub(crate) installs: RwLock<()>,
    pub(crate) home: Arc<Home>,
}

/// What [`RocksStore::open`](crate::RocksStore::open) has made.
pub(crate) struct Parts {
    pub(crate) db: DB,
    pub(crate) database: Options,
    pub(crate) families: [Options; Family::ALL.len()],
    pub(crate) shared: Shared,
    pub(crate) gc: GcHandle,
    pub(crate) buried: Arc<Buried>,
    pub(crate) options: StoreOptions,
    pub(crate) cluster: ClusterId,
    pub(crate) home: Arc<Home>,
}

impl RocksStore {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { db, database, families, shared, gc, buried, options, cluster, home } = parts;
        let mut no_log = WriteOptions::default();
        no_log.disable_wal(true);
        let mut persisted = ReadOptions::default();
        persisted.set_read_tier(ReadTier::Persisted);
        Self {
            db,
            database,
            families,
            shared,
            gc,
            buried,
            options,
            cluster,
            no_log,
            gauge: Gauge::default(),
            read: ReadOptions::default(),
            persisted,
            installs: RwLock::default(),
            home,
        }
    }

    /// Memory of what is not flushed yet, and of what is being flushed, in bytes.
    #[must_use]
    pub fn memtable_bytes(&self) -> usize {
        self.shared.memtables.get_usage()
    }

    /// Makes GC rules active whose command has become durable by a flush that RocksDB began by itself. Cheap when
    /// none wait.
    pub(crate) fn promote_gc(&self) -> Result<(), StoreError> {
        self.gc.promote(|group| self.durable_applied(group))
    }

    pub(crate) fn handle(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("every family was opened")
    }

    pub(crate) fn flush_families(&self, wait: bool) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.db.flush_cfs_opt(&Family::ALL.map(|family| self.handle(family)), &options).map_err(store_error)
    }

    pub(crate) fn write_raw(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.db.write_opt(batch, &self.no_log).map_err(store_error)
    }
}

impl View for RocksStore {
    type Cursor<'a> = RocksCursor<'a>;

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db.get_pinned_cf_opt(self.handle(family), key, &self.read).map_err(store_error)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn cursor(&self, family: Family, bounds: Bounds) -> Result<RocksCursor<'_>, StoreError> {
        Ok(RocksCursor::new(&self.db, self.handle(family), family, bounds))
    }
}

impl Store for RocksStore {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        // Once per batch: a handle is found by its name.
        let handles = Family::ALL.map(|family| self.handle(family));
        let bytes = BATCH_HEADER_BYTES + batch.bytes() + batch.len() * CHANGE_BYTES_MAX;
        let mut raw = WriteBatch::with_capacity_bytes(bytes);
        for change in batch.iter() {
            match change {
                Change::Put(family, key, value) => raw.put_cf(handles[family as usize], key, value),
                Change::Delete(family, key) => raw.delete_cf(handles[family as usize], key),
            }
        }
        self.write_raw(raw)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flush_families(true)?;
        self.promote_gc()
    }

    /// Reads past the memtables. All families of a flush are entered into RocksDB's manifest by one record, before
    /// any of its files is visible; so what is read here has its batch's other changes on disk too.
    fn durable_applied(&self, group: GroupId) -> Result<Index, StoreError> {
        let key = sys::applied_key(group);
        let value = self.db.get_pinned_cf_opt(self.handle(Family::Sys), &key, &self.persisted).map_err(store_error)?;
        match value {
            None => Ok(Index(0)),
            Some(value) => sys::decode_applied(&value).map_err(|reason| StoreError::damaged(Family::Sys, &key, reason)),
        }
    }

    fn pressure(&self) -> Pressure {
        self.gauge.read(|| self.ask_pressure())
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("database", &self.db.path()).field("cluster", &self.cluster).finish()
    }
}
