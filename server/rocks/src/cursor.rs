//! Moves over one family.

use lentic_engine::{Bounds, Cursor, Family, StoreError};
use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions};

use crate::error::store_error;

/// A cursor over what a family held when it was made. It keeps the memtables and files of that moment from being
/// freed, so it is not for keeping.
pub struct RocksCursor<'a> {
    rows: DBRawIterator<'a>,
    /// Whether `rows` is at an entry: asked once after each move, for then a fault must be told from an end.
    at_entry: bool,
    /// The key there, copied: readers look at it several times, and each look at RocksDB's costs three calls.
    key: Vec<u8>,
    forward_only: bool,
}

impl<'a> RocksCursor<'a> {
    pub(crate) fn new(db: &'a DB, handle: &ColumnFamily, family: Family, bounds: Bounds) -> Self {
        let mut options = ReadOptions::default();
        let forward_only = matches!(bounds, Bounds::OneKey);
        match bounds {
            Bounds::Range { lower, upper } => {
                // Without it a seek would trust the filters on user keys, and skip files that hold other keys of the
                // range.
                options.set_total_order_seek(true);
                options.set_iterate_lower_bound(lower);
                if let Some(upper) = upper {
                    options.set_iterate_upper_bound(upper);
                }
            }
            Bounds::OneKey => {
                assert!(family == Family::Data, "point cursors are for records, and {family:?} holds none");
                // RocksDB compares prefixes at each step, and is at no entry behind the sought one.
                options.set_prefix_same_as_start(true);
            }
        }
        Self { rows: db.raw_iterator_cf_opt(handle, options), at_entry: false, key: Vec::new(), forward_only }
    }

    /// Goes to the last entry within the bounds.
    pub(crate) fn seek_to_last(&mut self) -> Result<(), StoreError> {
        self.rows.seek_to_last();
        self.settle()
    }

    /// An iterator that is at no entry has come to an end or has failed.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.key.clear();
        match self.rows.key() {
            Some(key) => {
                self.key.extend_from_slice(key);
                self.at_entry = true;
                Ok(())
            }
            None => {
                self.at_entry = false;
                self.rows.status().map_err(store_error)
            }
        }
    }

    fn assert_may_go_back(&self) {
        assert!(!self.forward_only, "point cursors only move forward");
    }
}

impl Cursor for RocksCursor<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.rows.seek(key);
        self.settle()
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.assert_may_go_back();
        self.rows.seek_for_prev(key);
        self.settle()
    }

    fn next(&mut self) -> Result<(), StoreError> {
        if !self.at_entry {
            return Ok(());
        }
        self.rows.next();
        self.settle()
    }

    fn prev(&mut self) -> Result<(), StoreError> {
        self.assert_may_go_back();
        if !self.at_entry {
            return Ok(());
        }
        self.rows.prev();
        self.settle()
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        if self.at_entry { self.rows.value().map(|value| (self.key.as_slice(), value)) } else { None }
    }

    fn key(&self) -> Option<&[u8]> {
        self.at_entry.then_some(self.key.as_slice())
    }
}
