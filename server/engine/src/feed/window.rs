//! Older changes, found by a walk over a range.

use bytes::Bytes;
use lentic_types::{KeyRange, Position, TableId, Version};

use super::index::ChangeIndex;
use crate::keys::data;
use crate::read::ReadStats;
use crate::store::{Cursor, Family, StoreError, View};

/// Records stepped over before a seek takes over.
const STEPS_BEFORE_SEEK: u32 = 8;

/// The lowest changes of a range behind a position: which, not what.
///
/// A walk over all keys of the range, a slice at a time, keeps the lowest changes that fit its memory. When it is
/// complete, none is missing up to [`end`](Self::end):
///
/// ```text
///   after              end              until
///     │◀── all here ───▶│◀─ for another ─▶│
/// ```
///
/// Nothing may be committed at or below `until` any more, and the watermark must not be above the position that is read
/// from. Garbage may be collected and rollbacks may come meanwhile.
#[derive(Debug)]
pub struct Window {
    table: TableId,
    range: KeyRange,
    after: Position,
    until: Version,
    bytes_max: usize,
    index: ChangeIndex,
    /// The lowest change that was found and did not fit.
    cut: Option<(Version, Bytes)>,
    /// The store key at which the walk goes on.
    next: Option<Vec<u8>>,
}

impl Window {
    /// A walk that has not begun: for the changes of `range` behind `after`, up to `until`.
    #[must_use]
    pub fn new(table: TableId, range: KeyRange, after: Position, until: Version, bytes_max: usize) -> Self {
        let index = ChangeIndex::default();
        Self { table, range, after, until, bytes_max, index, cut: None, next: Some(Vec::new()) }
    }

    /// Goes on for about `steps_max` records. True if the walk is complete.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn advance<V: View>(&mut self, view: &V, steps_max: u64, stats: &mut ReadStats) -> Result<bool, StoreError> {
        let Some(next) = self.next.take() else { return Ok(true) };
        let mut cursor = view.cursor(Family::Data, data::bounds(self.table, &self.range))?;
        stats.seeks += 1;
        cursor.seek(&next)?;
        let (mut prefix, mut skipped, below) = (Vec::new(), 0, self.after.complete());
        for _ in 0..steps_max.max(1) {
            let Some(key) = cursor.key() else { return Ok(true) };
            stats.records += 1;
            let damaged = |reason| StoreError::damaged(Family::Data, key, reason);
            let (found, version) = data::split(key).map_err(damaged)?;
            if found != prefix {
                prefix.clear();
                prefix.extend_from_slice(found);
                skipped = 0;
            }
            let top = self.top();
            if version > below && version <= top {
                let (_, user_key) = data::decode_prefix(found).map_err(damaged)?;
                self.keep(version, user_key.into());
                cursor.next()?;
                continue;
            }
            // Above what is looked for, or below it: the next record of the key, or the next key, is some steps away.
            skipped += 1;
            if skipped < STEPS_BEFORE_SEEK {
                cursor.next()?;
                continue;
            }
            let mut target = prefix.clone();
            if version > top {
                data::put_version(&mut target, top);
            } else {
                data::make_prefix_end(&mut target);
            }
            stats.seeks += 1;
            skipped = 0;
            cursor.seek(&target)?;
        }
        self.next = cursor.key().map(<[u8]>::to_vec);
        Ok(self.next.is_none())
    }

    /// The highest version that is of use.
    fn top(&self) -> Version {
        self.cut.as_ref().map_or(self.until, |(version, _)| *version)
    }

    fn keep(&mut self, version: Version, key: Bytes) {
        let is_cut = self.cut.as_ref().is_some_and(|(cut, cut_key)| (version, &key) >= (*cut, cut_key));
        if is_cut || self.after.has_passed(version, &key) {
            return;
        }
        self.index.insert(version, key);
        while self.index.bytes() > self.bytes_max
            && let Some(dropped) = self.index.drop_last()
        {
            self.cut = Some(dropped);
        }
    }

    /// Whether the walk is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.next.is_none()
    }

    /// Up to where no change is missing, once the walk is complete.
    #[must_use]
    pub fn end(&self) -> Position {
        match (&self.cut, self.index.last()) {
            (Some(_), Some((version, key))) => Position::within(*version, key.clone()),
            _ => Position::after(self.until),
        }
    }

    /// Whether it has, or will have, what comes behind `after` in `range`.
    #[must_use]
    pub fn serves(&self, range: &KeyRange, after: &Position) -> bool {
        let is_within = self.range.covers(range) && after.includes(&self.after) && after.complete() < self.until;
        is_within && (!self.is_complete() || !after.includes(&self.end()))
    }

    /// The changes of `range` behind `after`, in order, up to [`end`](Self::end).
    pub fn changes<'a>(
        &'a self,
        after: &Position,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = (Version, &'a Bytes)> + use<'a> {
        self.index.after(after, range)
    }

    /// The range that is walked over.
    #[must_use]
    pub const fn range(&self) -> &KeyRange {
        &self.range
    }
}
