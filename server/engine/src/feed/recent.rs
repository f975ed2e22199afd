//! The newest changes of a shard, noted while they are applied.

use bytes::Bytes;
use lentic_types::{KeyRange, Position, TableId, Version};

use super::index::ChangeIndex;
use crate::keys::data;
use crate::store::{Batch, Change, Family, StoreError};

/// The newest changes of a shard: which, not what.
///
/// All changes above [`complete_after`](Self::complete_after) that were applied are here. Memory is bounded: when it is full, the oldest go.
#[derive(Debug)]
pub struct Recent {
    table: TableId,
    after: Version,
    bytes_max: usize,
    index: ChangeIndex,
}

impl Recent {
    /// Begins to note: every change applied so far lies at or below `newest`, or is of a transaction whose commit is not
    /// applied yet.
    #[must_use]
    pub fn new(table: TableId, newest: Version, bytes_max: usize) -> Self {
        Self { table, after: newest, bytes_max, index: ChangeIndex::default() }
    }

    /// Notes what `batch` writes of the table's records. Order: before anybody is told that it is written.
    ///
    /// # Errors
    /// A key of the batch is no data key.
    pub fn note(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for change in batch.iter() {
            let Change::Put(Family::Data, key, _) = change else { continue };
            let damaged = |reason| StoreError::damaged(Family::Data, key, reason);
            let (prefix, version) = data::split(key).map_err(damaged)?;
            // What commits late may lie below: whoever waits for it finds it in the store.
            if version > self.after {
                let (table, user_key) = data::decode_prefix(prefix).map_err(damaged)?;
                if table == self.table {
                    self.index.insert(version, Bytes::from(user_key));
                }
            }
        }
        while self.index.bytes() > self.bytes_max
            && let Some((version, _)) = self.index.drop_first()
        {
            self.after = version;
        }
        Ok(())
    }

    /// Above this version no change is missing that was applied.
    #[must_use]
    pub const fn complete_after(&self) -> Version {
        self.after
    }

    /// The changes of `range` behind `after`, in order, if none is missing.
    #[must_use]
    pub fn changes<'a>(
        &'a self,
        after: &Position,
        range: &'a KeyRange,
    ) -> Option<impl Iterator<Item = (Version, &'a Bytes)> + use<'a>> {
        (after.complete() >= self.after).then(|| self.index.after(after, range))
    }
}
