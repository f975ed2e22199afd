//! What is read differently at two versions, in key order, a page at a time.
//!
//! ```text
//!             from                 to
//!   apple  ─●───┼───────────────────┼──▶      one record for both: nothing is read but its version
//!   beech  ─●───┼────●──────────────┼──▶      two: both values are read
//!   cedar  ─●───┼──╳ it ends here   ┼──▶      one, and time makes the difference
//!   dogwood ●───┼────●── mask ──────┼──▶      rolled back to before `from`: one record again
//! ```
//!
//! If the newest record that two readers see of a key is the same, so is all below it, for the path of each goes on from
//! there in the same way (`masks.rs`). So a key costs its newest records, and values only where they differ. A key that
//! was written again with the value that it had is not told. A branch is read at both versions as a whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_types::{KeyRange, TableId, Version};

use super::scan::{next_prefix, user_key};
use super::{Direction, Found, Layer, ReadAt, ReadError, ReadStats, Resolver, Row, ScanLimits};
use crate::keys::data;
use crate::masks::{KeyMasks, MaskSet};
use crate::store::{Cursor, Family, View};

/// Two versions of a table. Either may be the later one.
#[derive(Clone, Copy, Debug)]
pub struct Diff<'a> {
    /// The table.
    pub table: TableId,
    /// What is compared.
    pub from: Version,
    /// With what.
    pub to: Version,
    /// The table's masks.
    pub masks: &'a MaskSet,
    /// Of a branch: what it reads through to.
    pub layers: &'a [Layer],
}

/// A key that is read differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRow {
    /// The key.
    pub key: Bytes,
    /// What is read at `from`.
    pub from: Option<Found>,
    /// What is read at `to`.
    pub to: Option<Found>,
}

impl DiffRow {
    /// Whether a reader finds it different: to be written again with the same value is none.
    fn differs(&self) -> bool {
        let content = |found: &Option<Found>| found.as_ref().map(|found| (found.value.clone(), found.expiry));
        content(&self.from) != content(&self.to)
    }
}

/// Some differences, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffPage {
    /// The differences.
    pub rows: Vec<DiffRow>,
    /// What is left to compare, or `None` at the end.
    pub rest: Option<KeyRange>,
}

impl Diff<'_> {
    /// One page of what is read differently in `range`. It may end without a row, by the records that were looked at.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn page<V: View>(
        &self,
        view: &V,
        range: &KeyRange,
        limits: &ScanLimits,
        stats: &mut ReadStats,
    ) -> Result<DiffPage, ReadError> {
        let mut page = DiffPage::default();
        if self.from == self.to {
            return Ok(page);
        }
        if !self.layers.is_empty() {
            return self.page_of_scans(view, range, limits, stats);
        }
        let cursor = view.cursor(Family::Data, data::bounds(self.table, range))?;
        let steps_end = stats.records.saturating_add(limits.steps_max.max(1));
        let mut resolver = Resolver::new(cursor, self.from.max(self.to), stats);
        resolver.seek(&[])?;
        let (mut prefix, mut bytes) = (Vec::new(), 0);
        while next_prefix(&resolver, &mut prefix)? {
            let is_full = page.rows.len() >= limits.rows_max.max(1)
                || bytes >= limits.bytes_max.max(1)
                || resolver.stats().records >= steps_end;
            if is_full {
                page.rest = Some(rest(&prefix, range)?);
                return Ok(page);
            }
            if let Some(row) = self.row(&mut resolver, &prefix)? {
                let value_bytes = |found: &Option<Found>| found.as_ref().map_or(0, |found| found.value.len());
                let row_bytes = row.key.len() + value_bytes(&row.from) + value_bytes(&row.to);
                if !page.rows.is_empty() && bytes + row_bytes > limits.bytes_max {
                    page.rest = Some(rest(&prefix, range)?);
                    return Ok(page);
                }
                bytes += row_bytes;
                page.rows.push(row);
            }
            resolver.leave(&prefix)?;
        }
        Ok(page)
    }

    /// A page of a branch, whose keys are read at both versions: what shows through it has no record of its own that could
    /// be compared.
    fn page_of_scans<V: View>(
        &self,
        view: &V,
        range: &KeyRange,
        limits: &ScanLimits,
        stats: &mut ReadStats,
    ) -> Result<DiffPage, ReadError> {
        // Each of the two fills half of the page.
        let half = ScanLimits {
            rows_max: limits.rows_max / 2,
            bytes_max: limits.bytes_max / 2,
            steps_max: limits.steps_max / 2,
        };
        let mut scan = |version| {
            let read = ReadAt { table: self.table, version, masks: self.masks, layers: self.layers };
            read.scan(view, range, Direction::Forward, &half, stats)
        };
        let (from, to) = (scan(self.from)?, scan(self.to)?);
        // Both have read all that lies before.
        let starts = [&from, &to].map(|page| page.rest.as_ref().map(|rest| rest.start().clone()));
        let until = starts.into_iter().flatten().min();
        let is_read = |row: &Row| until.as_ref().is_none_or(|until| row.key < *until);
        let mut rows: BTreeMap<Bytes, (Option<Found>, Option<Found>)> = BTreeMap::new();
        for Row { key, found } in from.rows.into_iter().filter(is_read) {
            rows.entry(key).or_default().0 = Some(found);
        }
        for Row { key, found } in to.rows.into_iter().filter(is_read) {
            rows.entry(key).or_default().1 = Some(found);
        }
        let rows =
            rows.into_iter().map(|(key, (from, to))| DiffRow { key, from, to }).filter(DiffRow::differs).collect();
        let rest = until.map(|until| KeyRange::new(until, range.end().cloned()).expect("a key of the range is left"));
        Ok(DiffPage { rows, rest })
    }

    /// The key with `prefix`, at the first of whose records the resolver is, if it is read differently.
    fn row<C: Cursor>(&self, resolver: &mut Resolver<'_, C>, prefix: &[u8]) -> Result<Option<DiffRow>, ReadError> {
        let key;
        let masks = if self.masks.is_empty() {
            KeyMasks::NONE
        } else {
            key = user_key(prefix)?;
            self.masks.of_key(&key)
        };
        let (earlier, later) = (self.from.min(self.to), self.from.max(self.to));
        resolver.go_to(later);
        let seen_later = resolver.version_seen(prefix, masks)?;
        if !masks.intervals().is_empty() {
            // A rollback has taken the later reader below what the earlier one sees.
            resolver.seek_version(prefix, earlier)?;
        }
        resolver.go_to(earlier);
        let seen_earlier = resolver.version_seen(prefix, masks)?;
        if seen_later == seen_earlier {
            return Ok(None);
        }
        let mut read = |at: Version| {
            resolver.go_to(at);
            Ok::<_, ReadError>(resolver.point(prefix, masks)?.value())
        };
        let (from, to) = (read(self.from)?, read(self.to)?);
        let row = DiffRow { key: user_key(prefix)?.into(), from, to };
        Ok(Some(row).filter(DiffRow::differs))
    }
}

/// What is left of a range from the key with `prefix` on.
fn rest(prefix: &[u8], range: &KeyRange) -> Result<KeyRange, ReadError> {
    let rest = KeyRange::new(user_key(prefix)?, range.end().cloned());
    Ok(rest.expect("a key of the range is left"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::MemStore;
    use crate::store::{Batch, Store as _};
    use crate::{Mask, Record, write};
    use lentic_types::Expiry;
    use proptest::prelude::*;

    const TABLE: TableId = TableId(1);

    fn at_ms(ms: u64) -> Version {
        Version::tick(ms, 0).unwrap()
    }

    fn store(writes: impl IntoIterator<Item = (u64, u8, Option<(u8, Option<u64>)>)>) -> MemStore {
        let store = MemStore::new();
        let mut batch = Batch::new();
        for (ms, key, written) in writes {
            match written {
                Some((value, ends)) => {
                    let record = Record::Put { value: &[value], expiry: ends.map(Expiry) };
                    write::record(&mut batch, TABLE, &[key], at_ms(ms), &record);
                }
                None => write::record(&mut batch, TABLE, &[key], at_ms(ms), &Record::Delete),
            }
        }
        store.write(&batch).unwrap();
        store
    }

    fn limits(rows_max: usize, steps_max: u64) -> ScanLimits {
        ScanLimits { rows_max, steps_max, ..ScanLimits::default() }
    }

    fn all(diff: &Diff<'_>, store: &MemStore, page_limits: ScanLimits) -> Vec<DiffRow> {
        let (mut rows, mut rest) = (Vec::new(), Some(KeyRange::all()));
        while let Some(range) = rest {
            let page = diff.page(store, &range, &page_limits, &mut ReadStats::default()).unwrap();
            assert!(page.rows.len() <= page_limits.rows_max && page.rest.as_ref() != Some(&range), "it moves");
            rows.extend(page.rows);
            rest = page.rest;
        }
        rows
    }

    #[test]
    fn a_key_that_was_not_written_costs_a_record() {
        let keys = 0..100;
        let store = store(keys.clone().map(|key| (1, key, Some((key, None)))).chain([(5, 7, Some((0, None)))]));
        let diff = Diff { table: TABLE, from: at_ms(3), to: at_ms(9), masks: &MaskSet::new(), layers: &[] };
        let mut stats = ReadStats::default();
        let page = diff.page(&store, &KeyRange::all(), &ScanLimits::default(), &mut stats).unwrap();
        assert_eq!(page.rows.iter().map(|row| row.key[0]).collect::<Vec<_>>(), [7]);
        assert!(stats.seeks <= 6, "a seek to begin, and those of one key: {stats:?}");
        assert!(stats.records <= 320, "{stats:?}");
    }

    #[test]
    fn written_again_with_the_same_value_is_no_difference() {
        let store = store([(1, 1, Some((5, None))), (4, 1, Some((6, None))), (7, 1, Some((5, None)))]);
        let rows = |from, to| {
            let diff = Diff { table: TABLE, from: at_ms(from), to: at_ms(to), masks: &MaskSet::new(), layers: &[] };
            all(&diff, &store, limits(1, 1)).len()
        };
        assert_eq!((rows(2, 8), rows(2, 5), rows(8, 5), rows(5, 5)), (0, 1, 1, 0));
    }

    proptest! {
        /// It is what two readers see differently, in both directions, whatever the pages.
        #[test]
        fn agrees_with_two_readers(
            writes in proptest::collection::vec((0_u8..4, proptest::option::of((0_u8..3, proptest::option::of(1_u64..14)))), 0..14),
            rollbacks in proptest::collection::vec((0_u8..4, 0_u8..4, 0_u64..14, 1_u64..6), 0..4),
            (from, to) in (0_u64..16, 0_u64..16), rows_max in 1_usize..4, steps_max in 1_u64..9,
        ) {
            let store = store(writes.into_iter().zip(1..).map(|((key, written), ms)| (ms, key, written)));
            let mut masks = Vec::<Mask>::new();
            for (start, end, from, length) in rollbacks {
                let end_key = (start < end).then(|| vec![end]);
                let range = KeyRange::new(vec![start], end_key).unwrap();
                let mask = Mask { range, from: at_ms(from), end: Version(at_ms(from + length).0 + 1) };
                if masks.iter().all(|other| other.end != mask.end || !other.range.overlaps(&mask.range)) {
                    masks.push(mask);
                }
            }
            let masks: MaskSet = masks.into_iter().collect();
            let diff = Diff { table: TABLE, from: at_ms(from), to: at_ms(to), masks: &masks, layers: &[] };
            let found = all(&diff, &store, limits(rows_max, steps_max));
            let read = |key: u8, version| {
                ReadAt { table: TABLE, version, masks: &masks, layers: &[] }.get(&store, &[key], &mut ReadStats::default()).unwrap()
            };
            let expected: Vec<_> = (0..4)
                .map(|key| DiffRow { key: vec![key].into(), from: read(key, diff.from), to: read(key, diff.to) })
                .filter(|row| {
                    let content = |found: &Option<Found>| found.clone().map(|found| (found.value, found.expiry));
                    content(&row.from) != content(&row.to)
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
