//! A page of a feed: what changes are, and the rollbacks between them.

use bytes::Bytes;
use lentic_types::{KeyRange, Position, TableId, Version, limits};

use crate::keys::data;
use crate::masks::{Mask, MaskSet};
use crate::read::{Found, ReadError, ReadStats, Resolver};
use crate::store::{Bounds, Family, View};

/// Something that happened in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// A commit to a key.
    Change {
        /// The key.
        key: Bytes,
        /// The commit version.
        version: Version,
        /// The value that a reader at the version sees; `None` if there is none.
        value: Option<Found>,
    },
    /// A rollback: from its end on, readers see the range as it was at its `from`.
    RolledBack(Mask),
}

impl FeedEvent {
    /// The version at which it happened.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::Change { version, .. } => *version,
            Self::RolledBack(mask) => mask.end,
        }
    }
}

/// How large a page may be. A limit of 0 counts as 1: a page always moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLimits {
    /// Most events.
    pub events_max: usize,
    /// Most bytes of keys and values; a page has one event all the same, if there is one.
    pub bytes_max: usize,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self { events_max: limits::FEED_EVENTS_MAX, bytes_max: limits::FEED_BYTES_MAX }
    }
}

/// Some events, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The events.
    pub events: Vec<FeedEvent>,
    /// Up to where it has them all: where the next page begins.
    pub next: Position,
}

/// What a feed is of.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    /// The table.
    pub table: TableId,
    /// Its masks.
    pub masks: &'a MaskSet,
    /// The keys.
    pub range: &'a KeyRange,
}

impl Feed<'_> {
    /// The events behind `after`, up to `until`, which must not be before it: `changes` says which changes there are behind `after`, in
    /// order and without a gap.
    ///
    /// `None` if a change is not in the store any more: then the watermark has passed it, which the caller knows or finds
    /// out.
    ///
    /// # Errors
    /// The store failed or is damaged.
    pub fn page<'i, V: View>(
        &self,
        view: &V,
        after: &Position,
        changes: impl Iterator<Item = (Version, &'i Bytes)>,
        until: &Position,
        limits: &FeedLimits,
        stats: &mut ReadStats,
    ) -> Result<Option<FeedPage>, ReadError> {
        let mut page = Page { limits, bytes: 0, events: Vec::new(), next: after.clone() };
        let mut resolver = Resolver::new(view.cursor(Family::Data, Bounds::OneKey)?, after.version, stats);
        let mut rollbacks = self.rollbacks(after, until).into_iter().peekable();
        let mut prefix = Vec::new();
        for (version, key) in changes.take_while(|(version, key)| until.has_passed(*version, key)) {
            while let Some(mask) = rollbacks.next_if(|mask| mask.end < version) {
                if !page.push_rollback(mask) {
                    return Ok(Some(page.cut()));
                }
            }
            if page.is_full() {
                return Ok(Some(page.cut()));
            }
            prefix.clear();
            data::put_prefix(&mut prefix, self.table, key);
            resolver.go_to(version);
            let value = resolver.point(&prefix, self.masks.of_key(key))?.value();
            if value.as_ref().is_some_and(|found| found.version != version) {
                return Ok(None);
            }
            if !page.push_change(key, version, value) {
                return Ok(Some(page.cut()));
            }
        }
        for mask in rollbacks {
            if !page.push_rollback(mask) {
                return Ok(Some(page.cut()));
            }
        }
        page.next = until.clone();
        Ok(Some(page.cut()))
    }

    /// The rollbacks behind `after`, up to `until`, as far as they concern the range. In its version a rollback is the last.
    fn rollbacks(&self, after: &Position, until: &Position) -> Vec<Mask> {
        let (after, until) = (after.complete(), until.complete());
        let masks = self.masks.masks().iter().filter(|mask| mask.end > after && mask.end <= until);
        masks.filter_map(|mask| Some(Mask { range: mask.range.intersection(self.range)?, ..mask.clone() })).collect()
    }
}

/// A page being filled.
struct Page<'a> {
    limits: &'a FeedLimits,
    bytes: usize,
    events: Vec<FeedEvent>,
    next: Position,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.events.len() >= self.limits.events_max.max(1) || self.bytes >= self.limits.bytes_max.max(1)
    }

    /// Makes room for so many bytes. False if there is none.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.events.is_empty() || (!self.is_full() && self.bytes + bytes <= self.limits.bytes_max);
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    fn push_change(&mut self, key: &Bytes, version: Version, value: Option<Found>) -> bool {
        let fits = self.take(key.len() + value.as_ref().map_or(0, |found| found.value.len()));
        if fits {
            self.next = Position::within(version, key.clone());
            self.events.push(FeedEvent::Change { key: key.clone(), version, value });
        }
        fits
    }

    fn push_rollback(&mut self, mask: Mask) -> bool {
        let fits = self.take(mask.range.start().len() + mask.range.end().map_or(0, Bytes::len));
        if fits {
            self.next = Position::after(mask.end);
            self.events.push(FeedEvent::RolledBack(mask));
        }
        fits
    }

    fn cut(self) -> FeedPage {
        FeedPage { events: self.events, next: self.next }
    }
}
