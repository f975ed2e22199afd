//! Giving old segments back.
//!
//! A segment is needed while a group has an entry in it. What a group keeps beside its entries does not hold a segment:
//! it is written again at the end of the log first.
//!
//! ```text
//!   queue:   ... │ save g1 │ purge g4 │ release below 7 │        one gather or several, in this order
//!                └ carried forward ───┘        └ synced: segments before 7 may go
//! ```
//!
//! What is carried is what the groups hold in memory, with all that waits in the queue before it: so it is the newest,
//! and right at its place in the order. A quiet group with a few old entries does hold its segments; for that the log
//! names it to the [`OnPressure`] hook when it has grown too large.

use crate::format::Sequence;
use crate::group::Group;
use crate::segment::Segment;
use crate::state::{Change, State};
use lentic_types::{GroupId, Index};
use std::sync::Arc;

/// A group that holds segments which should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The group.
    pub group: GroupId,
    /// Its last entry in one of those segments: purge up to here at least, after what the entries did is durable. Those that a
    /// snapshot under way needs to be of use may wait.
    pub through: Index,
    /// As `through`, of the segments that keep the log above twice the bound; 0 if there are none. They go whoever needs them.
    pub overdue: Index,
}

/// Called on the writer's thread, on no lock, at each roll that leaves the log above `bytes_max`: with the groups that
/// hold the oldest segments, down to the bound. It should only pass the names on; the flush and the purge follow later.
pub type OnPressure = Box<dyn Fn(&[Holder]) + Send>;

impl State {
    /// Queues the release of all segments that no group needs, if there are any.
    pub(crate) fn plan_release(&mut self) {
        let newest = *self.segments.last_key_value().expect("a log always has a segment").0;
        let oldest = self.groups.values().filter_map(Group::oldest_segment).min();
        let below = oldest.map_or(newest, |oldest| oldest.min(newest));
        let first = *self.segments.first_key_value().expect("a log always has a segment").0;
        if self.releasing || first >= below {
            return;
        }
        self.releasing = true;
        let mut changes = Vec::new();
        for (group, kept) in &self.groups {
            if let Some(saved) = kept.saved.as_ref().filter(|kept| kept.segment < below) {
                changes.push(Change::Save { group: *group, data: saved.value.clone() });
            }
            if let Some(purged) = kept.purged.as_ref().filter(|kept| kept.segment < below) {
                changes.push(Change::Purge { group: *group, purged: purged.value.clone() });
            }
        }
        changes.push(Change::Release { below });
        changes.into_iter().for_each(|change| self.enqueue(change, None));
    }

    /// Takes the segments out that a synced record has released.
    pub(crate) fn take_released(&mut self, below: Sequence) -> Vec<Arc<Segment>> {
        self.releasing = false;
        let kept = self.segments.split_off(&below);
        let released: Vec<_> = std::mem::replace(&mut self.segments, kept).into_values().collect();
        self.stats.released += released.len() as u64;
        released
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.values().map(|segment| u64::from(segment.bytes)).sum()
    }

    /// The groups that keep the log above `bytes_max`; none if it is not above.
    pub(crate) fn holders(&self, bytes_max: u64) -> Vec<Holder> {
        let Some(below) = self.in_excess_of(bytes_max) else { return Vec::new() };
        let overdue_below = self.in_excess_of(bytes_max.saturating_mul(2));
        let held = |(group, kept): (&GroupId, &Group)| {
            let through = kept.last_before(below)?;
            let overdue = overdue_below.and_then(|below| kept.last_before(below)).unwrap_or(Index(0));
            Some(Holder { group: *group, through, overdue })
        };
        self.groups.iter().filter_map(held).collect()
    }

    /// Were all segments before this one gone, the log would not be above `bytes_max`; none if it is not.
    fn in_excess_of(&self, bytes_max: u64) -> Option<Sequence> {
        let mut bytes = self.segment_bytes();
        let excess = self.segments.values().take_while(|segment| {
            let above = bytes > bytes_max;
            bytes -= u64::from(segment.bytes);
            above
        });
        excess.last().map(|last| last.sequence.next())
    }
}
