//! Whether what was read at a version is still what is read: the validation of a transaction's reads.

use lentic_types::{Expiry, KeyRange, Version};

use super::resolve::Resolver;
use super::scan::{next_prefix, user_key};
use super::{Head, ReadAt, ReadError, ReadStats};
use crate::keys::data;
use crate::record::Record;
use crate::store::{Bounds, Family, View};

/// What became of something that was read. It is the same on all replicas, whatever each has collected, if `since` lies at
/// or above the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is read as it was, until some of it ends.
    None {
        /// When the first of it ends.
        until: Option<Expiry>,
    },
    /// It is, or may be, read differently.
    Some,
}

impl ReadAt<'_> {
    /// Whether readers at this version see `key` otherwise than readers at `since` do. Nothing may have been written
    /// above this version. A write that left the value as it was counts as a change.
    pub fn change_of<V: View>(
        &self,
        view: &V,
        key: &[u8],
        since: Version,
        stats: &mut ReadStats,
    ) -> Result<Change, ReadError> {
        // Whatever records there are: garbage may have been collected on one replica and not yet on another.
        if !self.masks.is_empty() && self.masks.of_key(key).ends_above(since) {
            return Ok(Change::Some);
        }
        let mut prefix = Vec::with_capacity(key.len() + 16);
        data::put_prefix(&mut prefix, self.table, key);
        let mut resolver = Resolver::new(view.cursor(Family::Data, Bounds::OneKey)?, self.version, stats);
        let mut first = prefix.clone();
        data::put_version(&mut first, Version::MAX);
        resolver.seek(&first)?;
        let is_plain = self.masks.is_empty() && self.layers.is_empty();
        match resolver.newest(&prefix)? {
            None if self.layers.is_empty() => Ok(Change::None { until: None }),
            Some((version, _)) if version > since => Ok(Change::Some),
            Some((_, record)) if is_plain => Ok(self.end_of(since, &record)),
            _ => self.hidden_change_of(view, key, since, stats),
        }
    }

    /// Whether readers at this version see any key of `range` otherwise than readers at `since` do. It looks at all keys of
    /// the range, those among them that were deleted: how many are too many is for the caller to say before. Otherwise as
    /// [`Self::change_of`].
    pub fn change_in<V: View>(
        &self,
        view: &V,
        range: &KeyRange,
        since: Version,
        stats: &mut ReadStats,
    ) -> Result<Change, ReadError> {
        let rolled_back = |mask: &crate::Mask| mask.end > since && mask.range.overlaps(range);
        if self.masks.masks().iter().any(rolled_back) {
            return Ok(Change::Some);
        }
        if !self.layers.is_empty() {
            return self.change_in_layers(view, range, since, stats);
        }
        let cursor = view.cursor(Family::Data, data::bounds(self.table, range))?;
        let mut hidden_stats = ReadStats::default();
        let mut resolver = Resolver::new(cursor, self.version, stats);
        resolver.seek(&[])?;
        let (mut prefix, mut until) = (Vec::new(), None);
        while next_prefix(&resolver, &mut prefix)? {
            let change = match resolver.newest(&prefix)? {
                Some((version, _)) if version > since => Change::Some,
                Some((_, record)) if self.masks.is_empty() => self.end_of(since, &record),
                _ => self.hidden_change_of(view, &user_key(&prefix)?, since, &mut hidden_stats)?,
            };
            let Change::None { until: ends } = change else { return Ok(change) };
            until = earlier(until, ends);
            resolver.leave(&prefix)?;
        }
        stats.records += hidden_stats.records;
        stats.seeks += hidden_stats.seeks;
        Ok(Change::None { until })
    }

    /// What time has made of a record that both readers see.
    fn end_of(&self, since: Version, record: &Record<'_>) -> Change {
        match record {
            record if record.is_gone_at(since) => Change::None { until: None },
            record if record.is_gone_at(self.version) => Change::Some,
            record => Change::None { until: record.expiry() },
        }
    }

    /// The same where rollbacks hide records, or other tables are read through; neither rollbacks nor records of the key
    /// came above `since`.
    fn hidden_change_of<V: View>(
        &self,
        view: &V,
        key: &[u8],
        since: Version,
        stats: &mut ReadStats,
    ) -> Result<Change, ReadError> {
        let now = self.head(view, key, stats)?;
        if now != Head::Absent {
            return Ok(Change::None { until: now.expiry() });
        }
        let before = ReadAt { version: since, ..*self }.head(view, key, stats)?;
        Ok(if before == Head::Absent { Change::None { until: None } } else { Change::Some })
    }
}

/// The earlier of two ends.
#[must_use]
pub fn earlier(one: Option<Expiry>, other: Option<Expiry>) -> Option<Expiry> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::{GcHandle, GcRules};
    use crate::mem::MemStore;
    use crate::store::{Batch, Store as _};
    use crate::{Mask, MaskSet, write};
    use lentic_types::{GroupId, Index, TableId};
    use proptest::prelude::*;

    const TABLE: TableId = TableId(1);

    fn at_ms(ms: u64) -> Version {
        Version::tick(ms, 0).unwrap()
    }

    /// One to nine writes to three keys, some of which end, and at most one rollback.
    type History = Vec<(u8, Option<Option<u64>>)>;

    fn history() -> impl Strategy<Value = History> {
        let write = proptest::option::of(proptest::option::of(1_u64..14));
        proptest::collection::vec((0_u8..3, write), 0..9)
    }

    fn store(history: &History) -> MemStore {
        let store = MemStore::new();
        let mut batch = Batch::new();
        for ((key, written), ms) in history.iter().zip(1..) {
            let record = match written {
                Some(ends) => Record::Put { value: b"v", expiry: ends.map(Expiry) },
                None => Record::Delete,
            };
            write::record(&mut batch, TABLE, &[*key], at_ms(ms), &record);
        }
        store.write(&batch).unwrap();
        store
    }

    /// The same store after garbage was collected below a watermark.
    fn collected(store: &MemStore, watermark: Version, masks: &MaskSet) -> MemStore {
        let rules = GcRules {
            table: TABLE,
            range: KeyRange::all(),
            watermark,
            pins: Vec::new(),
            masks: masks.clone(),
            is_branch: false,
        };
        let gc = GcHandle::new();
        gc.stage(GroupId(1), Index(1), Some(rules));
        gc.promote(|_| Ok::<_, std::convert::Infallible>(Index(1))).unwrap();
        store.flush().unwrap();
        let copy = store.crash(0);
        copy.compact(TABLE, &KeyRange::all(), &gc);
        copy
    }

    proptest! {
        /// A replica that has collected garbage up to where it was read says the same as one that has not.
        #[test]
        fn garbage_makes_no_difference(
            history in history(), since in 0_u64..10, rollback in proptest::option::of((0_u64..9, 1_u64..4)),
        ) {
            let mut masks = MaskSet::new();
            if let Some((from, ms)) = rollback {
                masks.add(Mask { range: KeyRange::all(), from: at_ms(from), end: Version(at_ms(from + ms).0 + 1) });
            }
            let store = store(&history);
            let collected = collected(&store, at_ms(since), &masks);
            let now = ReadAt { table: TABLE, version: at_ms(13), masks: &masks, layers: &[] };
            for key in 0..3 {
                let change = |store| now.change_of(store, &[key], at_ms(since), &mut ReadStats::default()).unwrap();
                prop_assert_eq!(change(&store), change(&collected), "key {}", key);
            }
            let change = |store| now.change_in(store, &KeyRange::all(), at_ms(since), &mut ReadStats::default()).unwrap();
            prop_assert_eq!(change(&store), change(&collected));
        }

        /// What is called unchanged is read alike at every version until it ends; and only what was written, ended or
        /// rolled back since is called changed.
        #[test]
        fn unchanged_is_read_alike(history in history(), since in 0_u64..10, rollback in proptest::option::of((0_u64..9, 1_u64..4))) {
            let store = store(&history);
            let now_ms = 12;
            let mut masks = MaskSet::new();
            if let Some((from, ms)) = rollback {
                masks.add(Mask { range: KeyRange::all(), from: at_ms(from), end: Version(at_ms(from + ms).0 + 1) });
            }
            let read = |ms: u64, key: u8| {
                ReadAt { table: TABLE, version: at_ms(ms), masks: &masks, layers: &[] }.get(&store, &[key], &mut ReadStats::default()).unwrap()
            };
            let now = ReadAt { table: TABLE, version: at_ms(now_ms), masks: &masks, layers: &[] };
            let mut all = Change::None { until: None };
            for key in 0..3 {
                let change = now.change_of(&store, &[key], at_ms(since), &mut ReadStats::default()).unwrap();
                let touched = history.iter().zip(1..).any(|((written, _), ms)| *written == key && ms > since);
                let rolled = rollback.is_some_and(|(from, ms)| from + ms >= since);
                match change {
                    Change::None { until } => {
                        for ms in now_ms..16 {
                            let is_over = until.is_some_and(|until| until.is_over_at(at_ms(ms)));
                            prop_assert_eq!(read(ms, key) == read(since, key), !is_over, "key {} at {}", key, ms);
                        }
                    }
                    Change::Some => prop_assert!(touched || rolled || read(now_ms, key) != read(since, key)),
                }
                all = match (all, change) {
                    (Change::None { until }, Change::None { until: ends }) => Change::None { until: earlier(until, ends) },
                    _ => Change::Some,
                };
            }
            let found = now.change_in(&store, &KeyRange::all(), at_ms(since), &mut ReadStats::default()).unwrap();
            if rollback.is_none() {
                prop_assert_eq!(found, all);
            } else {
                // A rollback of a range counts for all of it.
                prop_assert!(found == all || found == Change::Some);
            }
        }
    }
}
