//! Layers: reading a branch through to what it is a branch of.
//!
//! A branch of a table at version `b` is a table of its own with no records at first. Of a key of which it shows nothing,
//! a reader sees what its parent shows at `b`:
//!
//! ```text
//!            v10   v20   v30   v40   v50          the branch's parent goes on with v40 and v50, which the branch
//!   parent    =a          =b     =c    ×          does not see
//!                          ┆ b = v30
//!   branch                 └╌╌╌╌╌╌╌╌╌╌╌╌ =d ──▶   below v60: =b, from the parent; from v60 on: =d
//!                                       v60
//! ```
//!
//! A delete in a branch is a record and hides the parent's. What a rollback of the branch hides is no record for its
//! readers, so they see the parent's again. What ends, ends by the version of the reader, wherever it was found.
//! The parent may be a branch itself: then it is the first layer and what it reads through to are the next.
//!
//! Nothing at or below `b` may be written to the parent any more, and a pin at `b` keeps what is read there from GC. All
//! versions in a branch are above `b`: a reader below asks the parent.

use lentic_types::{Expiry, KeyRange, TableId, Version};

use super::scan::{ABOVE_ALL, Page, next_prefix};
use super::{Change, Direction, ReadAt, ReadError, ReadStats, Resolver, ScanLimits, Sight, earlier};
use crate::keys::data;
use crate::masks::MaskSet;
use crate::store::{Cursor, Family, View};

/// Bytes of the table at the front of a key's prefix.
const TABLE_BYTES: usize = 4;

/// The history of a table up to a version, which another table continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The table.
    pub table: TableId,
    /// The newest version that is seen of it.
    pub version: Version,
    /// Its masks, those at least whose end lies at or below the version.
    pub masks: MaskSet,
}

impl Layer {
    /// Turns `resolver` and `prefix` to `key` in this layer, for a reader at `at`.
    pub(super) fn enter<C: Cursor>(
        &self,
        resolver: &mut Resolver<'_, C>,
        prefix: &mut Vec<u8>,
        key: &[u8],
        at: Version,
    ) {
        prefix.clear();
        data::put_prefix(prefix, self.table, key);
        resolver.go_down_to(self.seen_at(at), at);
    }

    /// The newest version of it that a reader at `at` sees.
    fn seen_at(&self, at: Version) -> Version {
        if lentic_types::mutant!("branch-reads-on") { at } else { self.version.min(at) }
    }
}

/// A table or a layer of it, while all are scanned together.
struct Source<'s, 'a, C> {
    resolver: Resolver<'s, C>,
    masks: &'a MaskSet,
    /// The prefix of the key that the cursor is at; empty at the end.
    prefix: Vec<u8>,
}

impl<C: Cursor> Source<'_, '_, C> {
    /// The user key that the cursor is at, escaped, which keeps the order of user keys.
    fn key(&self) -> Option<&[u8]> {
        self.prefix.get(TABLE_BYTES..)
    }

    fn look(&mut self) -> Result<(), ReadError> {
        if !next_prefix(&self.resolver, &mut self.prefix)? {
            self.prefix.clear();
        }
        Ok(())
    }
}

impl ReadAt<'_> {
    /// Whether a record of `version`, seen by this reader, is of a layer and not of the table itself.
    pub(crate) fn is_of_layer(&self, version: Version) -> bool {
        self.layers.first().is_some_and(|layer| version <= layer.version)
    }

    /// Fills a page from the table and its layers, key by key.
    pub(super) fn scan_layers<V: View>(
        &self,
        view: &V,
        page: &mut Page<'_>,
        stats: &mut ReadStats,
    ) -> Result<(), ReadError> {
        let mut counted = vec![ReadStats::default(); self.layers.len() + 1];
        let of_layers = self.layers.iter().map(|layer| (layer.table, layer.seen_at(self.version), &layer.masks));
        let tables = std::iter::once((self.table, self.version, self.masks)).chain(of_layers);
        let mut sources = Vec::with_capacity(counted.len());
        for ((table, version, masks), stats) in tables.zip(&mut counted) {
            let cursor = view.cursor(Family::Data, data::bounds(table, page.range))?;
            let mut resolver = Resolver::new(cursor, version, stats);
            resolver.go_down_to(version, self.version);
            match page.direction {
                Direction::Forward => resolver.seek(&[])?,
                Direction::Reverse => resolver.seek_back(&ABOVE_ALL)?,
            }
            let mut source = Source { resolver, masks, prefix: Vec::new() };
            source.look()?;
            sources.push(source);
        }
        let filled = merge(&mut sources, page, stats.records);
        drop(sources);
        for counted in counted {
            stats.records += counted.records;
            stats.seeks += counted.seeks;
        }
        filled
    }

    /// Whether readers at this version see any key of `range` otherwise than readers at `since` do. What the layers hold
    /// does not change, but it ends.
    pub(super) fn change_in_layers<V: View>(
        &self,
        view: &V,
        range: &KeyRange,
        since: Version,
        stats: &mut ReadStats,
    ) -> Result<Change, ReadError> {
        let mut resolver =
            Resolver::new(view.cursor(Family::Data, data::bounds(self.table, range))?, self.version, stats);
        resolver.seek(&[])?;
        let mut prefix = Vec::new();
        while next_prefix(&resolver, &mut prefix)? {
            if resolver.newest(&prefix)?.is_some_and(|(version, _)| version > since) {
                return Ok(Change::Some);
            }
            resolver.leave(&prefix)?;
        }
        let before = ReadAt { version: since, ..*self };
        let (mut rest, mut until): (_, Option<Expiry>) = (Some(range.clone()), None);
        while let Some(range) = rest {
            let page = before.scan(view, &range, Direction::Forward, &ScanLimits::default(), stats)?;
            for expiry in page.rows.iter().filter_map(|row| row.found.expiry) {
                if expiry.is_over_at(self.version) {
                    return Ok(Change::Some);
                }
                until = earlier(until, Some(expiry));
            }
            rest = page.rest;
        }
        Ok(Change::None { until })
    }
}

/// Adds keys to `page` until it is full: of each key, what the first source shows that shows something.
fn merge<C: Cursor>(sources: &mut [Source<'_, '_, C>], page: &mut Page<'_>, before: u64) -> Result<(), ReadError> {
    loop {
        let keys = sources.iter().filter_map(Source::key);
        let next = match page.direction {
            Direction::Forward => keys.min(),
            Direction::Reverse => keys.max(),
        };
        let Some(next) = next.map(<[u8]>::to_vec) else { return Ok(()) };
        let prefix = [&[0; TABLE_BYTES], &next[..]].concat();
        let records: u64 = sources.iter_mut().map(|source| source.resolver.stats().records).sum();
        if page.is_full(before + records) {
            return page.end_before(&prefix);
        }
        let user_key = super::scan::user_key(&prefix)?;
        let mut found = Sight::Nothing;
        for source in sources.iter_mut().filter(|source| source.key() == Some(&next)) {
            if page.direction == Direction::Reverse {
                let mut first = source.prefix.clone();
                data::put_version(&mut first, Version::MAX);
                if found == Sight::Nothing {
                    source.resolver.seek(&first)?;
                    found = source.resolver.resolve(&source.prefix, source.masks.of_key(&user_key))?;
                }
                // No record has the version MAX, so this is the last record of the key before.
                source.resolver.seek_back(&first)?;
            } else if found == Sight::Nothing {
                found = source.resolver.resolve(&source.prefix, source.masks.of_key(&user_key))?;
                source.resolver.leave(&source.prefix)?;
            } else {
                source.resolver.pass(&source.prefix)?;
            }
            source.look()?;
        }
        if let Sight::Value(found) = found
            && !page.push(&prefix, found)?
        {
            return Ok(());
        }
    }
}
