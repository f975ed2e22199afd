//! Reads at a version: get, multi-get and scan; and what is read differently at two.
//!
//! A [`ReadAt`] names what is read: a table, at a version, past its masks. It holds no resource; each call opens one
//! cursor. Whether the version may be read at all (not below the watermark, not in the future) is for the caller to
//! decide, before and, if the read took long, after.

mod changes;
mod diff;
mod layers;
mod resolve;
mod scan;

use bytes::Bytes;
pub use changes::{Change, earlier};
pub use diff::{Diff, DiffPage, DiffRow};
pub use layers::Layer;
use lentic_types::codec::DecodeError;
use lentic_types::{Expiry, TableId, Version};
pub use resolve::{Resolver, Sight};
pub use scan::{Direction, Row, ScanLimits, ScanPage};

use crate::keys::data;
use crate::masks::MaskSet;
use crate::merge::{MergeError, MergeOperator};
use crate::store::{Bounds, Cursor, Family, StoreError, View};

/// A value as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The commit version of the newest record that makes up the value.
    pub version: Version,
    /// The value, operands folded in.
    pub value: Bytes,
    /// When the value ends.
    pub expiry: Option<Expiry>,
}

/// What a writer needs to know of a key: its newest visible record, operands not folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// No record, a deleted one, or one that has ended.
    Absent,
    /// A put.
    Put {
        /// Its version.
        version: Version,
        /// The value.
        value: Bytes,
        /// When the value ends.
        expiry: Option<Expiry>,
    },
    /// A merge operand.
    Operand {
        /// Its version.
        version: Version,
        /// How the chain folds.
        operator: MergeOperator,
        /// Its place in the chain.
        depth: u8,
        /// An upper bound of the value's bytes when folded.
        folded_bytes: u64,
        /// When the value ends.
        expiry: Option<Expiry>,
    },
}

impl Head {
    /// The version of the key's value, or `None` if it has none.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        match self {
            Self::Absent => None,
            Self::Put { version, .. } | Self::Operand { version, .. } => Some(*version),
        }
    }

    /// When the key's value ends, if it has one and it does.
    #[must_use]
    pub const fn expiry(&self) -> Option<Expiry> {
        match self {
            Self::Absent => None,
            Self::Put { expiry, .. } | Self::Operand { expiry, .. } => *expiry,
        }
    }
}

/// What a read cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// Records looked at, those returned and those stepped over.
    pub records: u64,
    /// Seeks of the cursor.
    pub seeks: u64,
}

/// Why a read failed. Every case is a fault of this replica: stop the group, do not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store failed or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    fn record(key: &[u8], reason: &DecodeError) -> Self {
        Self::Store(StoreError::damaged(Family::Data, key, reason))
    }

    fn fold(key: &[u8], reason: MergeError) -> Self {
        Self::Store(StoreError::damaged(Family::Data, key, reason))
    }
}

/// A table at a version.
#[derive(Clone, Copy, Debug)]
pub struct ReadAt<'a> {
    /// The table.
    pub table: TableId,
    /// Records above this version are not seen; expiry is judged at it.
    pub version: Version,
    /// The table's masks; those with a later end do not hide anything from this version.
    pub masks: &'a MaskSet,
    /// What the table is a branch of, and that one in turn: read where the table itself says nothing of a key.
    pub layers: &'a [Layer],
}

impl ReadAt<'_> {
    /// The value of `key`, or `None` if it has none at this version.
    pub fn get<V: View>(&self, view: &V, key: &[u8], stats: &mut ReadStats) -> Result<Option<Found>, ReadError> {
        let mut resolver = Resolver::new(view.cursor(Family::Data, Bounds::OneKey)?, self.version, stats);
        let mut prefix = Vec::with_capacity(key.len() + 16);
        self.point(&mut resolver, &mut prefix, key)
    }

    /// What a writer stamped with this version needs to know of `key`.
    pub fn head<V: View>(&self, view: &V, key: &[u8], stats: &mut ReadStats) -> Result<Head, ReadError> {
        let mut resolver = Resolver::new(view.cursor(Family::Data, Bounds::OneKey)?, self.version, stats);
        let mut prefix = Vec::with_capacity(key.len() + 16);
        data::put_prefix(&mut prefix, self.table, key);
        let mut head = resolver.head(&prefix, self.masks.of_key(key))?;
        for layer in self.layers {
            if head != Sight::Nothing {
                break;
            }
            layer.enter(&mut resolver, &mut prefix, key, self.version);
            head = resolver.head(&prefix, layer.masks.of_key(key))?;
        }
        Ok(head.value().unwrap_or(Head::Absent))
    }

    /// The values of `keys`, in their order. Sorted keys are read fastest.
    pub fn multi_get<V: View, K: AsRef<[u8]>>(
        &self,
        view: &V,
        keys: &[K],
        stats: &mut ReadStats,
    ) -> Result<Vec<Option<Found>>, ReadError> {
        self.multi_get_within(view, keys, usize::MAX, stats)
    }

    /// The values of the first of `keys`: as many as have `bytes_max` bytes together, and at least one. Fewer than there
    /// are keys say that the next one does not fit any more.
    pub fn multi_get_within<V: View, K: AsRef<[u8]>>(
        &self,
        view: &V,
        keys: &[K],
        bytes_max: usize,
        stats: &mut ReadStats,
    ) -> Result<Vec<Option<Found>>, ReadError> {
        let mut resolver = Resolver::new(view.cursor(Family::Data, Bounds::OneKey)?, self.version, stats);
        let mut prefix = Vec::new();
        let mut all = Vec::with_capacity(keys.len());
        let mut bytes = 0_usize;
        for key in keys.iter().map(AsRef::as_ref) {
            let found = self.point(&mut resolver, &mut prefix, key)?;
            bytes = bytes.saturating_add(found.as_ref().map_or(0, |found| found.value.len()));
            if bytes > bytes_max && !all.is_empty() {
                break;
            }
            all.push(found);
        }
        Ok(all)
    }

    /// The value of `key`: of the table, or of the first layer that says something of it.
    fn point<C: Cursor>(
        &self,
        resolver: &mut Resolver<'_, C>,
        prefix: &mut Vec<u8>,
        key: &[u8],
    ) -> Result<Option<Found>, ReadError> {
        prefix.clear();
        data::put_prefix(prefix, self.table, key);
        resolver.go_to(self.version);
        let mut found = resolver.point(prefix, self.masks.of_key(key))?;
        for layer in self.layers {
            if found != Sight::Nothing {
                break;
            }
            layer.enter(resolver, prefix, key, self.version);
            found = resolver.point(prefix, layer.masks.of_key(key))?;
        }
        Ok(found.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::MemStore;
    use crate::record::Record;
    use crate::store::{Batch, Store as _};
    use crate::write;

    #[test]
    fn values_are_read_as_far_as_they_fit() {
        let (store, table, masks) = (MemStore::new(), TableId(1), MaskSet::default());
        let mut batch = Batch::new();
        for key in [b"a", b"b", b"d"] {
            write::record(&mut batch, table, key, Version(1), &Record::Put { value: &[7; 10], expiry: None });
        }
        store.write(&batch).unwrap();
        let at = ReadAt { table, version: Version(1), masks: &masks, layers: &[] };
        let keys = ["a", "b", "c", "d"];
        let count = |bytes_max| at.multi_get_within(&store, &keys, bytes_max, &mut ReadStats::default()).unwrap().len();
        let counts: Vec<usize> = [0, 10, 19, 20, 29, 30].into_iter().map(count).collect();
        assert_eq!(counts, [1, 1, 1, 3, 3, 4], "the first always, and what has no value costs nothing");
        assert_eq!(at.multi_get(&store, &keys, &mut ReadStats::default()).unwrap().len(), 4);
    }
}
