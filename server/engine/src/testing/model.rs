//! The definitions, as plainly as they can be computed.

use std::collections::BTreeMap;

use lentic_types::{Expiry, KeyRange, Version};

use crate::masks::Mask;
use crate::merge::MergeOperator;

/// A table that keeps every version and computes every answer from all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    cells: BTreeMap<Vec<u8>, BTreeMap<Version, Cell>>,
    masks: Vec<Mask>,
}

/// What was written to a key at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// A put.
    Put(Vec<u8>, Option<Expiry>),
    /// A delete.
    Delete,
    /// A merge that was accepted.
    Merge(MergeOperator, Vec<u8>, Option<Expiry>),
}

/// A value: its version, its bytes and its end.
pub(super) type Value = (Version, Vec<u8>, Option<Expiry>);

impl Model {
    /// Writes a cell.
    pub(super) fn write(&mut self, key: &[u8], version: Version, cell: Cell) {
        self.cells.entry(key.to_vec()).or_default().insert(version, cell);
    }

    /// Rolls a range back.
    pub(super) fn rollback(&mut self, mask: Mask) {
        self.masks.push(mask);
    }

    /// What a reader of `key` at `at` sees, oldest first: what was written since the last rollback, on top of what a
    /// reader at the version of that rollback sees.
    fn visible(&self, key: &[u8], at: Version) -> Vec<(Version, &Cell)> {
        let rollbacks = self.masks.iter().filter(|mask| mask.range.contains(key) && mask.end <= at);
        let last = rollbacks.max_by_key(|mask| mask.end);
        let mut cells = last.map_or_else(Vec::new, |mask| self.visible(key, mask.from));
        let since = last.map_or(Version::ZERO, |mask| mask.end);
        let written = self.cells.get(key).into_iter().flat_map(|cells| cells.range(since..=at));
        cells.extend(written.map(|(version, cell)| (*version, cell)));
        cells
    }

    /// The value of `key` at `at`.
    pub(super) fn get(&self, key: &[u8], at: Version) -> Option<Value> {
        let cells = self.visible(key, at).into_iter();
        let value = cells.fold(None, |value: Option<Value>, (version, cell)| {
            let below = value.filter(|(_, _, expiry)| !expiry.is_some_and(|expiry| expiry.is_over_at(version)));
            match cell {
                Cell::Put(bytes, expiry) => Some((version, bytes.clone(), *expiry)),
                Cell::Delete => None,
                Cell::Merge(operator, operand, expiry) => {
                    let (bytes, end) = below.map_or((None, None), |(_, bytes, end)| (Some(bytes), end));
                    let folded =
                        operator.fold(bytes.as_deref(), [operand.as_slice()]).expect("an accepted merge folds");
                    Some((version, folded, expiry.or(end)))
                }
            }
        });
        value.filter(|(_, _, expiry)| !expiry.is_some_and(|expiry| expiry.is_over_at(at)))
    }

    /// The live keys of `range` at `at`, in order.
    pub(super) fn scan(&self, range: &KeyRange, at: Version) -> Vec<(Vec<u8>, Value)> {
        let keys = self.cells.keys().filter(|key| range.contains(key));
        keys.filter_map(|key| Some((key.clone(), self.get(key, at)?))).collect()
    }

    /// All that was ever written to `range`, visible or not: versions with keys.
    pub(super) fn written(&self, range: &KeyRange) -> Vec<(Version, Vec<u8>)> {
        let keys = self.cells.iter().filter(|(key, _)| range.contains(key));
        keys.flat_map(|(key, cells)| cells.keys().map(move |version| (*version, key.clone()))).collect()
    }

    /// Every key ever written.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.cells.keys().map(Vec::as_slice)
    }
}
