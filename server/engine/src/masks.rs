//! Masks: what a rollback hides.
//!
//! A rollback of a range to version `from`, committed at version `end`, makes the range look as it did at `from`, for
//! everyone who reads at `end` or later. No data moves; what was written in between is hidden:
//!
//! ```text
//! versions  ──────────────●╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌●────────▶ T       a reader at T ≥ end sees [end, T],
//!                       from    hidden    end                 and below that what a reader at `from` sees
//! ```
//!
//! Reads below `end` see the history as it was. Read "what a reader at `from` sees" as it stands: a rollback that lies
//! between `from` and `end` is undone with everything else of that time, so going back to before a rollback brings back
//! what that rollback hid. The path of a reader is thus a chain of disjoint stretches:
//!
//! ```text
//! versions  ──●╌╌╌╌╌╌●──────●╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌●──▶ T
//!           from3   end3  from1   (from2 ╌╌╌ end2)    end1
//! ```
//!
//! GC removes what is hidden from everybody, and with a rise of the watermark masks go that nobody uses any more.

mod unused;

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use lentic_types::{KeyRange, Version};

/// One rollback: versions hidden in a key range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mask {
    /// The keys rolled back.
    pub range: KeyRange,
    /// The newest version that stays visible.
    pub from: Version,
    /// The rollback's own commit version.
    pub end: Version,
}

/// A mask without its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The newest version that stays visible.
    pub from: Version,
    /// The rollback's own commit version.
    pub end: Version,
}

/// All masks of a table, or of a part of it.
///
/// The key space is cut where masks begin and end; each piece knows its intervals, newest rollback first. Finding the
/// intervals of a key is one search, and following a reader's path through them is one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskSet {
    masks: Vec<Mask>,
    /// From the start of a piece to its intervals, up to the next piece.
    pieces: BTreeMap<Bytes, Vec<Interval>>,
}

/// The masks that concern one key.
#[derive(Clone, Copy, Debug)]
pub struct KeyMasks<'a>(&'a [Interval]);

impl MaskSet {
    /// No masks: nothing is hidden.
    #[must_use]
    pub const fn new() -> Self {
        Self { masks: Vec::new(), pieces: BTreeMap::new() }
    }

    /// Adds a mask. Those that share keys are added in the order of their ends: a range is rolled back by one at a time.
    ///
    /// # Panics
    /// If the mask is empty, or not newer than all others that share a key with it.
    pub fn add(&mut self, mask: Mask) {
        assert!(mask.from < mask.end, "a rollback goes back");
        self.cut_at(mask.range.start().clone());
        if let Some(end) = mask.range.end() {
            self.cut_at(end.clone());
        }
        let end = mask.range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
        for (_, intervals) in self.pieces.range_mut((Bound::Included(mask.range.start().clone()), end)) {
            assert!(
                intervals.first().is_none_or(|last| last.end < mask.end),
                "masks of a key are added in commit order"
            );
            intervals.insert(0, Interval { from: mask.from, end: mask.end });
        }
        let order = |mask: &Mask| (mask.end, mask.range.start().clone());
        let place = self.masks.partition_point(|other| order(other) < order(&mask));
        self.masks.insert(place, mask);
    }

    /// Makes `key` the start of a piece.
    fn cut_at(&mut self, key: Bytes) {
        if !self.pieces.contains_key(&key) {
            let intervals = self.intervals(&key).to_vec();
            self.pieces.insert(key, intervals);
        }
    }

    fn intervals(&self, key: &[u8]) -> &[Interval] {
        let piece = self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        piece.map_or(&[], |(_, intervals)| intervals)
    }

    /// Whether nothing is hidden from anybody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// The masks, in commit order.
    #[must_use]
    pub fn masks(&self) -> &[Mask] {
        &self.masks
    }

    /// Whether some key of `range` has what was written at `version` hidden from a read at `at`.
    #[must_use]
    pub fn hides_in(&self, range: &KeyRange, version: Version, at: Version) -> bool {
        let end = range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
        let others = self.pieces.range((Bound::Excluded(range.start().clone()), end)).map(|(_, piece)| &piece[..]);
        let mut pieces = std::iter::once(self.intervals(range.start())).chain(others);
        pieces.any(|piece| KeyMasks(piece).hidden_from(version, at).is_some())
    }

    /// The masks that concern `key`.
    #[must_use]
    pub fn of_key(&self, key: &[u8]) -> KeyMasks<'_> {
        KeyMasks(self.intervals(key))
    }
}

impl FromIterator<Mask> for MaskSet {
    fn from_iter<I: IntoIterator<Item = Mask>>(masks: I) -> Self {
        let mut masks: Vec<_> = masks.into_iter().collect();
        masks.sort_by_key(|mask| mask.end);
        let mut set = Self::new();
        masks.into_iter().for_each(|mask| set.add(mask));
        set
    }
}

impl<'a> KeyMasks<'a> {
    /// No masks.
    pub const NONE: KeyMasks<'static> = KeyMasks(&[]);

    /// If a record of `version` is hidden from a read at `at`: the version at which the reader goes on below it.
    #[must_use]
    pub fn hidden_from(&self, version: Version, at: Version) -> Option<Version> {
        let mut stretch_end = at;
        for interval in self.0 {
            if version >= interval.end {
                return None;
            }
            // A rollback above the stretch is in the reader's future, or was undone by a later one.
            if interval.end <= stretch_end {
                if version > interval.from {
                    return Some(interval.from);
                }
                stretch_end = interval.from;
            }
        }
        None
    }

    /// Whether some rollback came above `version`.
    #[must_use]
    pub fn ends_above(&self, version: Version) -> bool {
        self.0.iter().any(|interval| interval.end > version)
    }

    /// The intervals, newest rollback first.
    #[must_use]
    pub const fn intervals(&self) -> &'a [Interval] {
        self.0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn mask(start: &str, end: Option<&str>, from: u64, until: u64) -> Mask {
        let range = KeyRange::new(start.to_owned(), end.map(str::to_owned)).unwrap();
        Mask { range, from: Version(from), end: Version(until) }
    }

    #[test]
    fn hides_between_from_everyone_later() {
        let set = MaskSet::from_iter([mask("b", Some("d"), 10, 20)]);
        let hidden = |key: &str, version, at| set.of_key(key.as_bytes()).hidden_from(Version(version), Version(at));
        assert_eq!(hidden("b", 11, 20), Some(Version(10)));
        assert_eq!(hidden("c", 19, 99), Some(Version(10)));
        assert_eq!(hidden("c", 19, 19), None, "history before the rollback stays as it was");
        assert_eq!(hidden("c", 10, 99), None, "what was rolled back to stays");
        assert_eq!(hidden("c", 20, 99), None, "the rollback's own version is its first new one");
        assert_eq!(hidden("a", 15, 99), None, "outside the range");
        assert_eq!(hidden("d", 15, 99), None, "the end is exclusive");
    }

    #[test]
    fn going_back_to_before_a_rollback_undoes_it() {
        let set = MaskSet::from_iter([mask("a", None, 10, 20), mask("a", None, 15, 30)]);
        let hidden = |version, at| set.of_key(b"k").hidden_from(Version(version), Version(at));
        assert_eq!(hidden(12, 25), Some(Version(10)), "between the rollbacks");
        assert_eq!(hidden(12, 30), None, "it was there at 15");
        assert_eq!(hidden(16, 30), Some(Version(15)));
        assert_eq!(hidden(25, 30), Some(Version(15)));
    }

    pub(super) fn masks() -> impl Strategy<Value = Vec<Mask>> {
        let one = (0u8..6, 0u8..6, 0u64..30, 1u64..30);
        proptest::collection::vec(one, 0..8).prop_map(|rows| {
            let mut masks: Vec<Mask> = Vec::new();
            for (start, end, from, length) in rows {
                let end = (start < end).then(|| vec![end]);
                let range = KeyRange::new(vec![start], end).unwrap();
                let mask = Mask { range, from: Version(from), end: Version(from + length) };
                if masks.iter().all(|other| other.end != mask.end || !other.range.overlaps(&mask.range)) {
                    masks.push(mask);
                }
            }
            masks
        })
    }

    /// The definition: a reader at `at` sees what was written since the last rollback, and what a reader at that
    /// rollback's `from` sees.
    fn is_visible(masks: &[Mask], key: u8, version: u64, at: u64) -> bool {
        let rollbacks = masks.iter().filter(|mask| mask.range.contains(&[key]) && mask.end.0 <= at);
        match rollbacks.max_by_key(|mask| mask.end) {
            None => version <= at,
            Some(last) => (last.end.0 <= version && version <= at) || is_visible(masks, key, version, last.from.0),
        }
    }

    #[test]
    fn those_of_different_keys_come_in_any_order() {
        let all = [mask("a", Some("c"), 10, 30), mask("c", Some("e"), 10, 30), mask("e", None, 5, 20)];
        let mut set = MaskSet::new();
        all.iter().rev().cloned().for_each(|mask| set.add(mask));
        assert_eq!(set, all.iter().cloned().collect());
        assert_eq!(set.masks().iter().map(|mask| mask.end.0).collect::<Vec<_>>(), [20, 30, 30]);
    }

    #[test]
    #[should_panic(expected = "in commit order")]
    fn those_of_a_key_come_in_the_order_of_their_ends() {
        let mut set = MaskSet::from_iter([mask("a", None, 10, 30)]);
        set.add(mask("b", Some("c"), 5, 20));
    }

    proptest! {
        #[test]
        fn a_range_is_hidden_if_one_of_its_keys_is(
            masks in masks(), start in 0u8..7, length in 1u8..7, version in 0u64..62, above in 0u64..62,
        ) {
            let at = version + above;
            let set = MaskSet::from_iter(masks.clone());
            let range = KeyRange::new(vec![start], Some(vec![start + length])).unwrap();
            let expected = (start..start + length).any(|key| !is_visible(&masks, key, version, at));
            prop_assert_eq!(set.hides_in(&range, Version(version), Version(at)), expected);
        }

        #[test]
        fn agrees_with_the_definition(masks in masks(), key in 0u8..7, version in 0u64..62, above in 0u64..62) {
            let at = version + above;
            let set = MaskSet::from_iter(masks.clone());
            let hidden = set.of_key(&[key]).hidden_from(Version(version), Version(at));
            prop_assert_eq!(hidden.is_none(), is_visible(&masks, key, version, at));
            prop_assert!(hidden.is_none_or(|from| from.0 < version && (from.0..version).all(|v| v == from.0 || !is_visible(&masks, key, v, at))));
        }
    }
}
