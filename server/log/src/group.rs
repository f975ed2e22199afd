//! What one group has in the log: where its entries are, the newest of them, and what it keeps beside them.
//!
//! ```text
//!             start                                                next
//!  index        5     6     7     8     9    10    11    12    13    14
//!  on disk    [loc] [loc] [loc] [loc] [loc] [loc]                        written: 5 to 10
//!  recent                       [ 8 ] [ 9 ] [10 ] [11 ] [12 ] [13 ]      in memory: 8 to 13
//!                                                 └── waiting ───┘       8 to 10 may be evicted
//! ```
//!
//! This is the log as it will be when everything submitted is written: reads see what was submitted. **Every entry is
//! on disk, recent, or both.** Locations rise by segment, for an entry is always written after the one before it; so the
//! first location names the oldest segment that the group needs.

use crate::error::SubmitError;
use crate::format::Sequence;
use bytes::Bytes;
use lentic_types::{GroupId, Index};
use std::collections::VecDeque;

/// Where an entry's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: Sequence,
    /// Where the record begins.
    pub(crate) offset: u32,
    /// Bytes of the entry itself.
    pub(crate) length: u32,
}

/// Tells an entry from others that had the same index before a truncation: no two submissions share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

/// An entry in memory.
#[derive(Clone, Debug)]
struct Recent {
    ticket: Ticket,
    data: Bytes,
}

/// What a group keeps beside its entries, with the segment of its newest record. The segment is too old rather than too
/// new while the record waits: it is then carried forward once too often.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) segment: Sequence,
}

/// What is gone from the front of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The last index that is gone.
    pub through: Index,
    /// What the caller said about it.
    pub marker: Bytes,
}

/// A group's log from outside, with everything submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The first and the last index, if there are entries.
    pub range: Option<(Index, Index)>,
    /// What was saved last.
    pub saved: Option<Bytes>,
    /// What was purged last.
    pub purged: Option<Purged>,
}

/// An entry as a reader finds it.
pub(crate) enum Found {
    Memory(Bytes),
    Disk(Location),
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Index of the first entry; meaningful once `begun`.
    start: u64,
    /// Index after the last entry.
    next: u64,
    /// Whether it is known where the next entry goes. A group that never had an entry begins anywhere.
    begun: bool,
    disk: VecDeque<Location>,
    recent: VecDeque<Recent>,
    pub(crate) saved: Option<Kept<Bytes>>,
    pub(crate) purged: Option<Kept<Purged>>,
}

impl Group {
    pub(crate) fn state(&self) -> GroupState {
        GroupState {
            range: (self.start < self.next).then(|| (Index(self.start), Index(self.next - 1))),
            saved: self.saved.as_ref().map(|kept| kept.value.clone()),
            purged: self.purged.as_ref().map(|kept| kept.value.clone()),
        }
    }

    /// First index that can be read.
    pub(crate) fn start(&self) -> Index {
        Index(self.start)
    }

    /// The index after the last entry.
    pub(crate) fn next(&self) -> Index {
        Index(self.next)
    }

    /// The segment of the oldest entry on disk.
    pub(crate) fn oldest_segment(&self) -> Option<Sequence> {
        self.disk.front().map(|location| location.segment)
    }

    /// The last entry that lies in a segment before `below`, if the group needs one of those.
    pub(crate) fn last_before(&self, below: Sequence) -> Option<Index> {
        match self.disk.partition_point(|location| location.segment < below) {
            0 => None,
            entries => Some(Index(self.start + entries as u64 - 1)),
        }
    }

    /// Checks that entries from `first` on follow what is there.
    pub(crate) fn check_append(&self, group: GroupId, first: Index) -> Result<(), SubmitError> {
        match self.begun && first.0 != self.next {
            true => Err(SubmitError::Gap { group, expected: Index(self.next), found: first }),
            false => Ok(()),
        }
    }

    /// Takes a submitted entry, checked to be the next.
    pub(crate) fn push(&mut self, index: Index, ticket: Ticket, data: Bytes) {
        self.begin(index);
        self.recent.push_back(Recent { ticket, data });
        self.next += 1;
    }

    fn begin(&mut self, index: Index) {
        if !self.begun {
            (self.start, self.next, self.begun) = (index.0, index.0, true);
        }
        assert_eq!(index.0, self.next, "entries of a group follow each other");
    }

    /// Takes an entry found by recovery. `false` if it cannot follow what recovery found before it.
    ///
    /// Without entries any index above the purge point is right: what stood between may have been purged later, and
    /// the segments that held it released.
    pub(crate) fn replay(&mut self, index: Index, location: Location) -> bool {
        let purged = self.purged.as_ref().is_some_and(|kept| index <= kept.value.through);
        if purged || (self.start < self.next && index.0 != self.next) {
            return false;
        }
        if self.start == self.next {
            self.begun = false;
        }
        self.begin(index);
        self.disk.push_back(location);
        self.next += 1;
        true
    }

    /// Whether the log begins right after the purge point, as it must once everything is replayed.
    pub(crate) fn is_whole(&self) -> bool {
        let after_purge = self.purged.as_ref().map(|kept| kept.value.through.0 + 1);
        after_purge.is_none_or(|index| index == self.start)
    }

    /// Notes where a written entry is. `false` if it has been truncated or purged since it was submitted.
    pub(crate) fn written(&mut self, index: Index, ticket: Ticket, location: Location) -> bool {
        let expected = self.start + self.disk.len() as u64;
        let live = index.0 == expected && self.recent_at(index).is_some_and(|entry| entry.ticket == ticket);
        if live {
            self.disk.push_back(location);
        }
        live
    }

    /// Forgets the bytes of a written entry.
    pub(crate) fn evict(&mut self, index: Index, ticket: Ticket) {
        let first = self.next - self.recent.len() as u64;
        if index.0 == first && self.recent.front().is_some_and(|entry| entry.ticket == ticket) {
            self.recent.pop_front();
        }
    }

    fn recent_at(&self, index: Index) -> Option<&Recent> {
        let first = self.next - self.recent.len() as u64;
        self.recent.get(usize::try_from(index.0.checked_sub(first)?).ok()?)
    }

    /// Where an entry between start and next is.
    pub(crate) fn find(&self, index: Index) -> Found {
        match self.recent_at(index) {
            Some(entry) => Found::Memory(entry.data.clone()),
            None => Found::Disk(self.disk[offset(index.0 - self.start)]),
        }
    }

    /// Checks that a truncation leaves purged entries alone.
    pub(crate) fn check_truncate(&self, group: GroupId, from: Index) -> Result<(), SubmitError> {
        match self.purged.as_ref().map(|kept| kept.value.through) {
            Some(through) if from <= through => Err(SubmitError::TruncatesPurged { group, from, through }),
            _ => Ok(()),
        }
    }

    /// Forgets the entries at and after `from`.
    pub(crate) fn truncate(&mut self, from: Index) {
        if from.0 >= self.next {
            return;
        }
        let gone = offset(self.next - from.0.max(self.start));
        self.recent.truncate(self.recent.len().saturating_sub(gone));
        // At recovery the truncation may reach below the first entry: the segments with those were released since.
        self.start = self.start.min(from.0);
        self.next = from.0;
        self.disk.truncate(self.disk.len().min(offset(self.next - self.start)));
        // Recovery cannot know where a group began that has neither entries nor a purge point, so nor may we.
        self.begun = self.start < self.next || self.purged.is_some();
    }

    /// Forgets the entries up to and with `through`; the next entry follows `through` if none is left.
    pub(crate) fn purge(&mut self, purged: Purged, segment: Sequence) {
        let start = purged.through.0 + 1;
        self.purged = Some(Kept { value: purged, segment });
        if start >= self.next || !self.begun {
            self.disk.clear();
            self.recent.clear();
            (self.start, self.next, self.begun) = (start, start, true);
        } else if start > self.start {
            let gone = offset(start - self.start);
            self.disk.drain(..gone.min(self.disk.len()));
            let left = offset(self.next - start);
            self.recent.drain(..self.recent.len().saturating_sub(left));
            self.start = start;
        }
        // A long log that was purged keeps no memory of its length.
        if self.disk.capacity() > 4 * self.disk.len() {
            self.disk.shrink_to(2 * self.disk.len());
        }
    }

    /// What must hold at any time.
    pub(crate) fn check(&self) {
        let entries = offset(self.next - self.start);
        assert!(self.disk.len() <= entries && self.recent.len() <= entries, "no entry is known that does not exist");
        assert!(self.disk.len() + self.recent.len() >= entries, "every entry is on disk, recent, or both");
        let ordered = self.disk.front().zip(self.disk.back()).is_none_or(|(first, last)| first.segment <= last.segment);
        assert!(ordered, "locations rise by segment");
    }
}

/// The distance between two indexes of entries that are all in memory by location.
fn offset(distance: u64) -> usize {
    usize::try_from(distance).expect("entries with a location in memory are counted by usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(segment: u32) -> Location {
        Location { segment: Sequence(segment), offset: 0, length: 1 }
    }

    fn group_of(indexes: std::ops::RangeInclusive<u64>) -> Group {
        let mut group = Group::default();
        indexes.for_each(|index| group.push(Index(index), Ticket(index), Bytes::from(vec![0])));
        group.check();
        group
    }

    fn purged(through: u64) -> Purged {
        Purged { through: Index(through), marker: Bytes::new() }
    }

    #[test]
    fn an_entry_written_after_its_truncation_is_not_taken_for_its_successor() {
        let mut group = group_of(1..=3);
        group.truncate(Index(2));
        group.push(Index(2), Ticket(20), Bytes::from("new"));
        assert!(group.written(Index(1), Ticket(1), location(1)));
        assert!(!group.written(Index(2), Ticket(2), location(1)));
        assert!(!group.written(Index(3), Ticket(3), location(1)));
        assert!(group.written(Index(2), Ticket(20), location(2)));
        group.check();
        assert_eq!(group.oldest_segment(), Some(Sequence(1)));
        assert_eq!(group.last_before(Sequence(2)), Some(Index(1)));
    }

    #[test]
    fn purge_beyond_the_end_moves_the_next_index() {
        let mut group = group_of(1..=3);
        group.purge(purged(10), Sequence(1));
        group.check();
        assert_eq!(group.state().range, None);
        assert!(group.check_append(GroupId(1), Index(4)).is_err());
        assert!(group.check_append(GroupId(1), Index(11)).is_ok());
        assert!(!group.written(Index(1), Ticket(1), location(1)));
        assert!(group.check_truncate(GroupId(1), Index(10)).is_err());
    }

    #[test]
    fn purge_of_written_waiting_and_evicted_entries() {
        let mut group = group_of(1..=5);
        (1..=3).for_each(|index| assert!(group.written(Index(index), Ticket(index), location(1))));
        group.evict(Index(1), Ticket(1));
        group.check();
        group.purge(purged(2), Sequence(1));
        group.check();
        assert_eq!(group.state().range, Some((Index(3), Index(5))));
        group.evict(Index(3), Ticket(99));
        assert!(matches!(group.find(Index(3)), Found::Memory(_)));
        group.evict(Index(3), Ticket(3));
        assert!(matches!(group.find(Index(3)), Found::Disk(_)));
        group.purge(purged(4), Sequence(1));
        group.check();
        assert!(!group.written(Index(4), Ticket(4), location(1)));
        assert!(group.written(Index(5), Ticket(5), location(1)));
    }
}
