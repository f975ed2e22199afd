//! The log as its callers see it.

use crate::error::{OpenError, Poisoned, ReadError, SubmitError};
use crate::fs::Fs;
use crate::group::{Group, GroupState, Purged};
use crate::limits::LogOptions;
use crate::read;
use crate::recovery::{Recovered, recover};
use crate::release::OnPressure;
use crate::state::{Change, Completion, RoomWaiter, Shared, State};
use crate::stats::Stats;
use crate::writer::Writer;
use bytes::Bytes;
use lentic_types::{ClusterId, GroupId, Index};
use std::ops::Range;
use std::sync::Arc;

/// The log of a node, for all its groups. Clones are the same log; it is used from any thread, and no call waits for
/// the disk but [`Self::read`] of entries that are not in memory.
///
/// Every change is submitted: it is seen by reads at once, and durable when its completion says so. **Changes become
/// durable in the order in which they were submitted, over all groups**: after a crash the log holds all of a prefix of
/// that order, which includes everything acknowledged, and nothing after it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    fs: Arc<dyn Fs>,
}

impl Log {
    /// Opens the log of a node, or makes an empty one. When it returns, everything that it shows is durable.
    ///
    /// The [`Writer`] must be run: [`Writer::spawn`] in production, [`Writer::step`] where one thread does everything.
    ///
    /// # Errors
    /// Each says what to do; see [`OpenError`]. Nothing that was there is lost by an attempt.
    pub fn open(
        fs: Arc<dyn Fs>,
        cluster: ClusterId,
        options: LogOptions,
        on_pressure: OnPressure,
    ) -> Result<(Self, Writer), OpenError> {
        options.check()?;
        let Recovered { groups, segments, directory, tail, lock } = recover(Arc::clone(&fs), cluster, &options)?;
        let shared = Arc::new(Shared::new(groups, segments, options));
        let writer = Writer::new(Arc::clone(&shared), directory, options, on_pressure, tail, lock);
        Ok((Self { shared, fs }, writer))
    }

    /// Appends entries after the group's last; `first` is the index of the first of them. A group without entries and
    /// without a purge point begins wherever its first append says.
    ///
    /// When this returns, the entries can be read. `done` is called once they are durable; not, if an error is returned.
    /// The memory of `entries` is shared and kept for as long as the cache likes, so an entry should not be a small part
    /// of a large buffer.
    ///
    /// # Errors
    /// [`SubmitError::Full`] if too much waits: it never blocks, for the caller may be the one thread of a simulation or
    /// a worker of an async runtime. Wait with [`Self::when_room`]. [`SubmitError::Gap`] is an error in the caller.
    pub fn append(
        &self,
        group: GroupId,
        first: Index,
        entries: Vec<Bytes>,
        done: Completion,
    ) -> Result<(), SubmitError> {
        let mut state = self.shared.lock()?;
        let mut changes = state.append(group, first, entries)?;
        let last = changes.pop().expect("an append is at least one change");
        changes.into_iter().for_each(|change| self.shared.submit(&mut state, change, None));
        self.shared.submit(&mut state, last, Some(done));
        Ok(())
    }

    /// Replaces what the group keeps beside its entries: its vote. At most
    /// [`STATE_BYTES_MAX`](crate::limits::STATE_BYTES_MAX) bytes.
    ///
    /// **A vote may be answered only after `done`**, and then it never goes back.
    pub fn save_state(&self, group: GroupId, data: Bytes, done: Completion) -> Result<(), SubmitError> {
        self.change(done, |state| state.save(group, data))
    }

    /// Forgets the entries at and after `from`; none there is fine. The next append begins at `from`.
    ///
    /// # Errors
    /// [`SubmitError::TruncatesPurged`] is an error in the caller: purged entries are committed.
    pub fn truncate(&self, group: GroupId, from: Index, done: Completion) -> Result<(), SubmitError> {
        self.change(done, |state| state.truncate(group, from))
    }

    /// Forgets the entries up to and with `through`, and keeps `marker` beside the group: the id of the last one. At or
    /// below an earlier purge point nothing happens. Above the last entry the group becomes empty and goes on after
    /// `through`, as after the installation of a snapshot.
    ///
    /// **What the entries did must be durable elsewhere before.** Segments that nobody needs any more are used again.
    pub fn purge(&self, group: GroupId, through: Index, marker: Bytes, done: Completion) -> Result<(), SubmitError> {
        self.change(done, |state| state.purge(group, Purged { through, marker }))
    }

    /// Forgets everything of the group.
    pub fn remove_group(&self, group: GroupId, done: Completion) -> Result<(), SubmitError> {
        self.change(done, |state| state.remove(group))
    }

    fn change(
        &self,
        done: Completion,
        make: impl FnOnce(&mut State) -> Result<Change, SubmitError>,
    ) -> Result<(), SubmitError> {
        let mut state = self.shared.lock()?;
        let change = make(&mut state)?;
        self.shared.submit(&mut state, change, Some(done));
        Ok(())
    }

    /// Calls `waiter` once, on the writer's thread, when at least half of the queue is free or the log has stopped; at
    /// once and on this thread if that is so now. Others may be faster: an append after it can be refused again.
    pub fn when_room(&self, waiter: RoomWaiter) {
        let now = match self.shared.lock() {
            Ok(mut state) => state.wait_for_room(waiter),
            Err(_) => Some(waiter),
        };
        now.into_iter().for_each(|waiter| waiter());
    }

    /// Reads entries from `range.start` on: up to `bytes_max` bytes in sum, but at least one if there is one. It sees
    /// everything submitted, durable or not. An unknown group, and a range behind the end, have no entries.
    ///
    /// # Errors
    /// [`ReadError::Purged`] if the range begins below the first entry. Damage and read errors concern this group only.
    pub fn read(&self, group: GroupId, range: Range<Index>, bytes_max: usize) -> Result<Vec<Bytes>, ReadError> {
        read::read(&self.shared, &*self.fs, group, range, bytes_max)
    }

    /// What the log holds of a group, with everything submitted; `None` if it has never heard of it.
    pub fn state(&self, group: GroupId) -> Result<Option<GroupState>, Poisoned> {
        Ok(self.shared.lock()?.groups.get(&group).map(Group::state))
    }

    /// The groups of which the log holds anything, in order.
    pub fn groups(&self) -> Result<Vec<GroupId>, Poisoned> {
        Ok(self.shared.lock()?.groups.keys().copied().collect())
    }

    /// The counters, and what the log holds now.
    pub fn stats(&self) -> Result<Stats, Poisoned> {
        let state = self.shared.lock()?;
        Ok(Stats { segments: state.segments.len(), segment_bytes: state.segment_bytes(), ..state.stats })
    }
}
