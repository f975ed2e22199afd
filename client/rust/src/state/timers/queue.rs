//! The earliest timers of each key group, in memory.
//!
//! ```text
//!   a key group   │ loaded: all of them up to here │ the table and the changes have the others │
//!                                        frontier ─┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::key_group::{KeyGroup, KeyGroups};

/// Rows that are read of a key group at once.
pub(super) const PAGE_ROWS: usize = 1_024;
/// Most timers that are held of a key group; those above it are read again in their turn.
const LOADED_MAX: usize = 4 * PAGE_ROWS;

/// Timers of one name. A timer is what is behind the head of its table key: its time, and its key.
#[derive(Debug)]
pub(crate) struct Queue {
    groups: BTreeMap<KeyGroup, Group>,
    /// The first timer of each key group that has one here, and comes before all that are not here.
    firsts: BTreeSet<(Bytes, KeyGroup)>,
    /// Key groups with none here, and perhaps some that are not.
    unknown: BTreeSet<KeyGroup>,
}

#[derive(Debug, Default)]
struct Group {
    loaded: BTreeSet<Bytes>,
    /// The first that may be there and not here; `None`: all are here.
    frontier: Option<Bytes>,
}

impl Queue {
    /// Nothing is known.
    pub(crate) fn new(groups: KeyGroups) -> Self {
        let group = || Group { loaded: BTreeSet::new(), frontier: Some(Bytes::new()) };
        let groups: BTreeMap<_, _> = groups.iter().map(|key_group| (key_group, group())).collect();
        Self { unknown: groups.keys().copied().collect(), firsts: BTreeSet::new(), groups }
    }

    /// The first timer of all that are here.
    pub(super) fn first(&self) -> Option<(KeyGroup, &Bytes)> {
        self.firsts.first().map(|(tail, group)| (*group, tail))
    }

    /// Whether a timer is known to be set.
    pub(super) fn has(&self, group: KeyGroup, tail: &[u8]) -> bool {
        self.groups.get(&group).is_some_and(|group| group.loaded.contains(tail))
    }

    /// The key groups whose first timer is not known and may be due at the time `until`, and where to read on.
    pub(super) fn unknown(&self, until: &[u8]) -> impl Iterator<Item = (KeyGroup, Bytes)> {
        let until = Bytes::copy_from_slice(until);
        self.unknown.iter().filter_map(move |key_group| {
            let from = self.groups[key_group].frontier.clone()?;
            let time = &from[..from.len().min(until.len())];
            (time <= &until[..]).then_some((*key_group, from))
        })
    }

    /// A timer was set.
    pub(super) fn add(&mut self, key_group: KeyGroup, tail: Bytes) {
        self.change(key_group, |group| {
            if group.frontier.as_ref().is_none_or(|frontier| tail < *frontier) {
                group.loaded.insert(tail);
            }
            if group.loaded.len() > LOADED_MAX {
                let middle = group.loaded.iter().nth(LOADED_MAX / 2).expect("there are more").clone();
                group.loaded.split_off(&middle);
                group.frontier = Some(middle);
            }
        });
    }

    /// A timer is gone.
    pub(super) fn remove(&mut self, key_group: KeyGroup, tail: &[u8]) {
        self.change(key_group, |group| {
            group.loaded.remove(tail);
        });
    }

    /// What was read from the frontier on, and where there may be more.
    pub(super) fn loaded(&mut self, key_group: KeyGroup, tails: impl Iterator<Item = Bytes>, rest: Option<Bytes>) {
        self.change(key_group, |group| {
            group.loaded.extend(tails);
            group.frontier = rest;
        });
    }

    fn change(&mut self, key_group: KeyGroup, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(&key_group) else { return };
        let before = group.loaded.first().cloned();
        change(group);
        let after = group.loaded.first();
        if before.as_ref() != after {
            if let Some(before) = before {
                self.firsts.remove(&(before, key_group));
            }
            if let Some(after) = after {
                self.firsts.insert((after.clone(), key_group));
            }
        }
        if after.is_none() && group.frontier.is_some() {
            self.unknown.insert(key_group);
        } else {
            self.unknown.remove(&key_group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: KeyGroup = KeyGroup(3);

    fn tail(number: u32) -> Bytes {
        number.to_be_bytes().to_vec().into()
    }

    fn queue() -> Queue {
        Queue::new(KeyGroups::from_to(KeyGroup(3), KeyGroup(4)).unwrap())
    }

    #[test]
    fn what_may_be_elsewhere_is_asked_for() {
        let mut queue = queue();
        queue.add(GROUP, tail(7));
        assert_eq!(queue.first(), None, "there may be earlier ones in the table");
        assert_eq!(queue.unknown(&tail(0)).count(), 2);
        queue.loaded(GROUP, [tail(5), tail(7)].into_iter(), Some(tail(9)));
        queue.add(GROUP, tail(8));
        queue.add(GROUP, tail(9));
        assert!(queue.has(GROUP, &tail(8)) && !queue.has(GROUP, &tail(9)));
        for number in [5, 7, 8] {
            assert_eq!(queue.first(), Some((GROUP, &tail(number))));
            queue.remove(GROUP, &tail(number));
        }
        queue.loaded(KeyGroup(4), std::iter::empty(), None);
        assert_eq!(queue.unknown(&tail(8)).count(), 0, "none can be due then");
        assert_eq!(queue.unknown(&tail(9)).collect::<Vec<_>>(), [(GROUP, tail(9))]);
        queue.loaded(GROUP, [tail(9)].into_iter(), None);
        queue.add(KeyGroup(4), tail(1));
        assert_eq!(queue.first(), Some((KeyGroup(4), &tail(1))));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut queue = queue();
        [GROUP, KeyGroup(4)].into_iter().for_each(|group| queue.loaded(group, std::iter::empty(), None));
        let count = u32::try_from(LOADED_MAX).unwrap() + 1;
        (0..count).rev().for_each(|number| queue.add(GROUP, tail(number)));
        assert_eq!(queue.groups[&GROUP].loaded.len(), LOADED_MAX / 2);
        assert_eq!(queue.groups[&GROUP].frontier, Some(tail(count / 2)));
        (0..count / 2).for_each(|number| queue.remove(GROUP, &tail(number)));
        assert_eq!(queue.unknown(&tail(count)).collect::<Vec<_>>(), [(GROUP, tail(count / 2))]);
    }
}
