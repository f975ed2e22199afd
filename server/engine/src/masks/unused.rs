//! Masks that no reader's path goes through any more.
//!
//! Below the watermark W there are few **views**: what readers from W on see there, what each pin sees, and what each
//! rollback above W goes back to. A mask at or below W matters only to a view whose path goes through it:
//!
//! ```text
//! versions  ──●╌╌╌╌╌●──●╌╌╌╌╌╌╌●───W──▶      three rollbacks: from 3 to 9, then from 12 to 20, and in between
//!             3  5╌7 9 12      20            from 5 to 7, which the first of them has undone
//! ```
//!
//! The mask from 5 to 7 is used by readers at 7 and 8 alone. Is no pin there, it hides nothing from anybody, and goes. So
//! a job that goes back to one checkpoint a hundred times leaves one mask, not a hundred.
//!
//! A mask that is used stays, also when all that it hides has been collected: a store may hold such a record below a
//! tombstone, and a compaction that sees it without the mask would take it for the newest of its key, and drop what it
//! hides. See docs/decisions/0021-masks-that-nobody-uses.md.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use lentic_types::{KeyRange, Version};

use super::{Interval, Mask, MaskSet};

/// Intervals looked at before it is given up, some ten milliseconds: masks stay then, and are looked at again with the next
/// watermark. A thousand pins over a shard full of masks are half of it.
const STEPS_MAX: usize = 1 << 23;

impl MaskSet {
    /// The masks that are of no use to any reader to come: one at `watermark` or above, or at one of `pins`, which may
    /// become fewer below the watermark and never more. All of them may go at once, or some.
    #[must_use]
    pub fn unused(&self, watermark: Version, pins: &[Version]) -> Vec<Mask> {
        let old: Vec<_> = self.masks.iter().filter(|mask| mask.end <= watermark).collect();
        if old.is_empty() {
            return Vec::new();
        }
        let (mut steps, mut used) = (0, BTreeSet::new());
        for (start, intervals) in self.pieces.iter().filter(|(_, intervals)| !intervals.is_empty()) {
            let views = views(intervals, watermark, pins);
            steps += pins.len() + views.len() * intervals.len();
            if steps > STEPS_MAX {
                return Vec::new();
            }
            for view in views {
                used.extend(path(intervals, view).map(|interval| (start, interval.end)));
            }
        }
        let mut unused = Vec::new();
        for mask in old {
            let mut pieces = self.pieces.range(bounds(mask));
            if pieces.by_ref().inspect(|_| steps += 1).all(|(start, _)| !used.contains(&(start, mask.end))) {
                unused.push(mask.clone());
            }
            if steps > STEPS_MAX {
                return Vec::new();
            }
        }
        unused
    }

    /// Removes masks. What is left is as if they had never been added.
    pub fn remove(&mut self, gone: &[Mask]) {
        let all: BTreeSet<_> = gone.iter().collect();
        self.masks.retain(|mask| !all.contains(mask));
        let mut by_end: BTreeMap<Version, Vec<&KeyRange>> = BTreeMap::new();
        gone.iter().for_each(|mask| by_end.entry(mask.end).or_default().push(&mask.range));
        for (start, intervals) in &mut self.pieces {
            let is_of = |ranges: &Vec<&KeyRange>| ranges.iter().any(|range| range.contains(start));
            intervals.retain(|interval| !by_end.get(&interval.end).is_some_and(is_of));
        }
        let ends = self.masks.iter().filter_map(|mask| mask.range.end());
        let cuts: BTreeSet<&Bytes> = self.masks.iter().map(|mask| mask.range.start()).chain(ends).collect();
        self.pieces.retain(|start, _| cuts.contains(start));
    }
}

/// The pieces that a mask is in begin there.
fn bounds(mask: &Mask) -> (Bound<Bytes>, Bound<Bytes>) {
    let end = mask.range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
    (Bound::Included(mask.range.start().clone()), end)
}

/// From where somebody may look at what is at or below `watermark`.
fn views(intervals: &[Interval], watermark: Version, pins: &[Version]) -> BTreeSet<Version> {
    let later = intervals.iter().take_while(|interval| interval.end > watermark).map(|interval| interval.from);
    let pins = pins.iter().copied();
    later.chain(pins).filter(|view| *view < watermark).chain([watermark]).collect()
}

/// The rollbacks that a reader at `view` goes through.
fn path(intervals: &[Interval], view: Version) -> impl Iterator<Item = &Interval> {
    let mut stretch_end = view;
    intervals.iter().filter(move |interval| {
        let is_met = interval.end <= stretch_end;
        if is_met {
            stretch_end = interval.from;
        }
        is_met
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{mask, masks};
    use super::*;
    use proptest::prelude::*;

    fn versions(all: &[u64]) -> Vec<Version> {
        all.iter().copied().map(Version).collect()
    }

    #[test]
    fn a_rollback_that_was_undone_is_of_no_use_but_to_pins_in_between() {
        let undone = mask("a", None, 5, 7);
        let set = MaskSet::from_iter([undone.clone(), mask("a", None, 3, 9), mask("a", None, 12, 20)]);
        assert_eq!(set.unused(Version(20), &[]), std::slice::from_ref(&undone));
        assert_eq!(set.unused(Version(20), &versions(&[3, 5, 6, 9, 15])), [undone]);
        for pin in [7, 8] {
            assert_eq!(set.unused(Version(20), &versions(&[pin])), [], "{pin} reads through it");
        }
        assert_eq!(set.unused(Version(8), &[]), [], "readers at 8 do");
    }

    #[test]
    fn what_a_later_rollback_goes_back_to_is_a_view() {
        let set = MaskSet::from_iter([mask("a", None, 5, 7), mask("a", None, 3, 9), mask("a", None, 8, 30)]);
        assert_eq!(set.unused(Version(20), &[]), []);
        assert_eq!(set.unused(Version(30), &[]), [mask("a", None, 3, 9)], "it was undone by the last");
    }

    #[test]
    fn a_mask_that_is_used_for_a_part_of_its_keys_stays() {
        let wide = mask("a", Some("z"), 5, 7);
        let set = MaskSet::from_iter([wide.clone(), mask("a", Some("m"), 3, 9)]);
        assert_eq!(set.unused(Version(20), &[]), []);
        let all = MaskSet::from_iter([wide.clone(), mask("a", Some("m"), 3, 9), mask("m", None, 4, 10)]);
        assert_eq!(all.unused(Version(20), &[]), [wide]);
    }

    #[test]
    fn going_back_to_one_checkpoint_a_hundred_times_leaves_one_mask() {
        let mut set: MaskSet = (0..100).map(|round| mask("a", Some("m"), 5, 10 + round)).collect();
        let unused = set.unused(Version(200), &versions(&[5]));
        assert_eq!(unused.len(), 99);
        set.remove(&unused);
        assert_eq!(set, MaskSet::from_iter([mask("a", Some("m"), 5, 109)]));
    }

    proptest! {
        /// Nobody sees a difference, however many of them go; and no more of them are found then.
        #[test]
        fn nobody_misses_them(
            masks in masks(), watermark in 0u64..60, pins in proptest::collection::vec(0u64..60, 0..4), some: u64,
        ) {
            let set = MaskSet::from_iter(masks.clone());
            let (watermark, pins) = (Version(watermark), versions(&pins));
            let unused = set.unused(watermark, &pins);
            let (mut rest, mut part) = (set.clone(), set.clone());
            rest.remove(&unused);
            let some: Vec<_> = unused.iter().enumerate().filter(|(place, _)| some >> place & 1 == 1).collect();
            part.remove(&some.into_iter().map(|(_, mask)| mask.clone()).collect::<Vec<_>>());
            prop_assert_eq!(&rest, &masks.iter().filter(|mask| !unused.contains(mask)).cloned().collect::<MaskSet>());
            let later = (watermark.0..70).map(Version);
            for at in later.chain(pins.iter().copied()) {
                for (key, version) in (0u8..7).flat_map(|key| (0..at.0).map(move |version| (key, Version(version)))) {
                    let hidden = set.of_key(&[key]).hidden_from(version, at);
                    prop_assert_eq!(hidden, rest.of_key(&[key]).hidden_from(version, at));
                    prop_assert_eq!(hidden, part.of_key(&[key]).hidden_from(version, at));
                }
            }
            prop_assert_eq!(rest.unused(watermark, &pins), []);
        }

        /// A rollback to what may be read then is seen by all as if they were there.
        #[test]
        fn nor_does_a_later_rollback(
            masks in masks(), watermark in 0u64..60, pins in proptest::collection::vec(0u64..60, 1..4), to in 0usize..8,
        ) {
            let mut set = MaskSet::from_iter(masks);
            let (watermark, pins) = (Version(watermark), versions(&pins));
            let mut rest = set.clone();
            rest.remove(&set.unused(watermark, &pins));
            let from = pins.get(to).map_or(watermark, |pin| (*pin).min(watermark));
            let back = Mask { range: KeyRange::all(), from, end: Version(80) };
            set.add(back.clone());
            rest.add(back);
            for (key, version) in (0u8..7).flat_map(|key| (0..90).map(move |version| (key, Version(version)))) {
                let hidden = |set: &MaskSet| set.of_key(&[key]).hidden_from(version, Version(90));
                prop_assert_eq!(hidden(&set), hidden(&rest));
            }
        }
    }
}
