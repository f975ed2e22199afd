//! Which changes there are: versions with keys, in the order of a feed.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use lentic_types::{KeyRange, Position, Version};

/// What a change takes in memory beside its key: about what the tree and the key's own header take.
const CHANGE_BYTES: usize = 96;

/// Versions with keys, in order.
#[derive(Debug, Default)]
pub(super) struct ChangeIndex {
    changes: BTreeSet<(Version, Bytes)>,
    bytes: usize,
}

impl ChangeIndex {
    pub(super) fn insert(&mut self, version: Version, key: Bytes) {
        let bytes = key.len() + CHANGE_BYTES;
        if self.changes.insert((version, key)) {
            self.bytes += bytes;
        }
    }

    /// Takes the first change out, unless it is the only one.
    pub(super) fn drop_first(&mut self) -> Option<(Version, Bytes)> {
        let dropped = (self.changes.len() > 1).then(|| self.changes.pop_first()).flatten()?;
        self.bytes -= dropped.1.len() + CHANGE_BYTES;
        Some(dropped)
    }

    /// Takes the last change out, unless it is the only one.
    pub(super) fn drop_last(&mut self) -> Option<(Version, Bytes)> {
        let dropped = (self.changes.len() > 1).then(|| self.changes.pop_last()).flatten()?;
        self.bytes -= dropped.1.len() + CHANGE_BYTES;
        Some(dropped)
    }

    pub(super) fn last(&self) -> Option<&(Version, Bytes)> {
        self.changes.last()
    }

    /// About how many bytes it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes of `range` behind `after`, in order.
    pub(super) fn after<'a>(
        &'a self,
        after: &Position,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = (Version, &'a Bytes)> + use<'a> {
        let start = match &after.key {
            Some(key) => Bound::Excluded((after.version, key.clone())),
            None => Bound::Included((Version(after.version.0.saturating_add(1)), Bytes::new())),
        };
        let changes = self.changes.range((start, Bound::Unbounded));
        changes.map(|(version, key)| (*version, key)).filter(|(_, key)| range.contains(key))
    }
}
