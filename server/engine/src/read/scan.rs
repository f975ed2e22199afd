//! Scans: the live keys of a range at a version, forward or backward, a page at a time.
//!
//! A page ends at a limit of rows, of bytes or of records stepped over, and says which part of the range is left:
//! reading that as the next page's range goes on where this one ended, with no state kept anywhere. All pages at one
//! version see the same, as long as the watermark stays at or below it.

use bytes::Bytes;
use lentic_types::{KeyRange, limits};

use super::{Found, ReadAt, ReadError, ReadStats, Resolver};
use crate::keys::data;
use crate::masks::KeyMasks;
use crate::store::{Cursor, Family, View};

/// Above every key of the last table, whose bounds are open: no user key is as long.
pub(super) static ABOVE_ALL: [u8; limits::KEY_BYTES_MAX + 8] = [0xff; limits::KEY_BYTES_MAX + 8];

/// Which end of the range a scan begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first key on.
    Forward,
    /// From the last key back.
    Reverse,
}

/// How large a page may be. A limit of 0 counts as 1: a page always moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Most rows.
    pub rows_max: usize,
    /// Most bytes of keys and values; a page has one row all the same, if there is one.
    pub bytes_max: usize,
    /// Most records looked at. A page may end by this without any row.
    pub steps_max: u64,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { rows_max: limits::SCAN_ROWS_MAX, bytes_max: limits::SCAN_BYTES_MAX, steps_max: limits::SCAN_STEPS_MAX }
    }
}

/// A live key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The user key.
    pub key: Bytes,
    /// Its value.
    pub found: Found,
}

/// Some rows of a scan, in its direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// What is left to scan, or `None` at the end.
    pub rest: Option<KeyRange>,
}

impl ReadAt<'_> {
    /// One page of the live keys of `range`.
    pub fn scan<V: View>(
        &self,
        view: &V,
        range: &KeyRange,
        direction: Direction,
        page_limits: &ScanLimits,
        stats: &mut ReadStats,
    ) -> Result<ScanPage, ReadError> {
        let steps_end = stats.records.saturating_add(page_limits.steps_max.max(1));
        let page_limits = ScanLimits {
            rows_max: page_limits.rows_max.max(1),
            bytes_max: page_limits.bytes_max.max(1),
            ..*page_limits
        };
        let mut page = Page { limits: page_limits, steps_end, range, direction, bytes: 0, page: ScanPage::default() };
        if !self.layers.is_empty() {
            self.scan_layers(view, &mut page, stats)?;
            return Ok(page.page);
        }
        let cursor = view.cursor(Family::Data, data::bounds(self.table, range))?;
        let mut resolver = Resolver::new(cursor, self.version, stats);
        match direction {
            Direction::Forward => {
                resolver.seek(&[])?;
                self.forward(&mut resolver, &mut page)?;
            }
            Direction::Reverse => {
                resolver.seek_back(&ABOVE_ALL)?;
                self.reverse(&mut resolver, &mut page)?;
            }
        }
        Ok(page.page)
    }

    fn forward<C: Cursor>(&self, resolver: &mut Resolver<'_, C>, page: &mut Page<'_>) -> Result<(), ReadError> {
        let mut prefix = Vec::new();
        while next_prefix(resolver, &mut prefix)? {
            if page.is_full(resolver.stats().records) {
                return page.end_before(&prefix);
            }
            let found = self.resolve_key(resolver, &prefix)?;
            if let Some(found) = found
                && !page.push(&prefix, found)?
            {
                return Ok(());
            }
            resolver.leave(&prefix)?;
        }
        Ok(())
    }

    fn reverse<C: Cursor>(&self, resolver: &mut Resolver<'_, C>, page: &mut Page<'_>) -> Result<(), ReadError> {
        let mut prefix = Vec::new();
        // The cursor is at the oldest record of a key: the newest one visible is found by a seek, and then the key
        // before it by another.
        while next_prefix(resolver, &mut prefix)? {
            if page.is_full(resolver.stats().records) {
                return page.end_before(&prefix);
            }
            let mut first = prefix.clone();
            data::put_version(&mut first, lentic_types::Version::MAX);
            resolver.seek(&first)?;
            let found = self.resolve_key(resolver, &prefix)?;
            if let Some(found) = found
                && !page.push(&prefix, found)?
            {
                return Ok(());
            }
            // No record has the version MAX, so this is the last record of the key before.
            resolver.seek_back(&first)?;
        }
        Ok(())
    }

    fn resolve_key<C: Cursor>(
        &self,
        resolver: &mut Resolver<'_, C>,
        prefix: &[u8],
    ) -> Result<Option<Found>, ReadError> {
        if self.masks.is_empty() {
            return Ok(resolver.resolve(prefix, KeyMasks::NONE)?.value());
        }
        let key = user_key(prefix)?;
        Ok(resolver.resolve(prefix, self.masks.of_key(&key))?.value())
    }
}

/// Copies the prefix of the record at the cursor. False at the end.
pub(super) fn next_prefix<C: Cursor>(resolver: &Resolver<'_, C>, prefix: &mut Vec<u8>) -> Result<bool, ReadError> {
    let Some(key) = resolver.key() else { return Ok(false) };
    let (key_prefix, _) = data::split(key).map_err(|reason| ReadError::record(key, &reason))?;
    prefix.clear();
    prefix.extend_from_slice(key_prefix);
    Ok(true)
}

pub(super) fn user_key(prefix: &[u8]) -> Result<Vec<u8>, ReadError> {
    data::decode_prefix(prefix).map(|(_, key)| key).map_err(|reason| ReadError::record(prefix, &reason))
}

/// A page being filled.
pub(super) struct Page<'a> {
    limits: ScanLimits,
    steps_end: u64,
    pub(super) range: &'a KeyRange,
    pub(super) direction: Direction,
    bytes: usize,
    page: ScanPage,
}

impl Page<'_> {
    /// Whether no more fits, with so many records looked at.
    pub(super) fn is_full(&self, records: u64) -> bool {
        self.page.rows.len() >= self.limits.rows_max || self.bytes >= self.limits.bytes_max || records >= self.steps_end
    }

    /// Adds a row. False if it does not fit: the page ends before it.
    pub(super) fn push(&mut self, prefix: &[u8], found: Found) -> Result<bool, ReadError> {
        let key = user_key(prefix)?;
        let bytes = key.len() + found.value.len();
        if !self.page.rows.is_empty() && self.bytes + bytes > self.limits.bytes_max {
            self.end_before(prefix)?;
            return Ok(false);
        }
        self.bytes += bytes;
        self.page.rows.push(Row { key: key.into(), found });
        Ok(true)
    }

    /// Ends the page: the key with `prefix` is the first of what is left.
    pub(super) fn end_before(&mut self, prefix: &[u8]) -> Result<(), ReadError> {
        let mut key = user_key(prefix)?;
        let rest = match self.direction {
            Direction::Forward => KeyRange::new(key, self.range.end().cloned()),
            Direction::Reverse => {
                key.push(0);
                KeyRange::new(self.range.start().clone(), Some(key))
            }
        };
        self.page.rest = Some(rest.expect("a key of the range is left"));
        Ok(())
    }
}
