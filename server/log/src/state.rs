//! The memory that callers and the writer share: every group as it will be, the queue, the cache.
//!
//! A change is checked and made in memory when it is submitted, and queued under the same lock; so the queue's order is
//! the order of the log, and a reader sees what was submitted. **Completions, hooks and file operations run on no
//! lock.**

use crate::error::{Poisoned, SubmitError};
use crate::format::{ENTRY_FRAME_BYTES, RECORD_HEADER_BYTES, Record, Sequence};
use crate::group::{Group, Kept, Location, Purged, Ticket};
use crate::limits::{ENTRY_OVERHEAD_BYTES, LogOptions, QUEUE_RESERVE_BYTES, STATE_BYTES_MAX};
use crate::segment::Segment;
use crate::stats::Stats;
use bytes::Bytes;
use lentic_types::limits::ENTRY_BYTES_MAX;
use lentic_types::{GroupId, Index};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Called once on the writer's thread: with `Ok` when the change and all before it are durable, in the order of
/// submission; with the poison when the log stops first. It should be quick, for the next gather waits for
/// it, and must not panic, for that stops the log.
pub type Completion = Box<dyn FnOnce(Result<(), Poisoned>) + Send>;

/// Called once when there is room in the queue again, or when the log has stopped.
pub type RoomWaiter = Box<dyn FnOnce() + Send>;

/// What a command does to the log.
pub(crate) enum Change {
    Append {
        group: GroupId,
        first: Index,
        ticket: Ticket,
        entries: Vec<Bytes>,
    },
    Save {
        group: GroupId,
        data: Bytes,
    },
    Truncate {
        group: GroupId,
        from: Index,
    },
    Purge {
        group: GroupId,
        purged: Purged,
    },
    Remove {
        group: GroupId,
    },
    Release {
        below: Sequence,
    },
    /// Nothing is to be written: only the completion has its place in the order.
    Nothing,
}

impl Change {
    /// The records of the change, in order.
    pub(crate) fn for_each_record<'a>(&'a self, mut each: impl FnMut(Record<'a>)) {
        match self {
            Self::Append { group, first, entries, .. } => {
                for (index, data) in (first.0..).zip(entries) {
                    each(Record::Entry { group: *group, index: Index(index), data });
                }
            }
            Self::Save { group, data } => each(Record::Save { group: *group, data }),
            Self::Truncate { group, from } => each(Record::Truncate { group: *group, from: *from }),
            Self::Purge { group, purged } => {
                each(Record::Purge { group: *group, through: purged.through, marker: &purged.marker });
            }
            Self::Remove { group } => each(Record::Remove { group: *group }),
            Self::Release { below } => each(Record::Release { below: *below }),
            Self::Nothing => {}
        }
    }

    fn encoded_bytes(&self) -> usize {
        let mut bytes = 0;
        self.for_each_record(|record| bytes += record.encoded_bytes());
        bytes
    }

    /// Whether it may leave a segment without anything that is needed.
    pub(crate) fn may_release(&self) -> bool {
        matches!(self, Self::Truncate { .. } | Self::Purge { .. } | Self::Remove { .. })
    }
}

/// A change in the queue.
pub(crate) struct Command {
    pub(crate) change: Change,
    pub(crate) done: Option<Completion>,
    /// Bytes of its records.
    pub(crate) bytes: usize,
}

/// A written entry that the cache holds.
struct Cached {
    group: GroupId,
    index: Index,
    ticket: Ticket,
    bytes: usize,
}

pub(crate) struct State {
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) segments: BTreeMap<Sequence, Arc<Segment>>,
    pub(crate) stats: Stats,
    options: LogOptions,
    queue: VecDeque<Command>,
    /// Written entries in memory, oldest first. One that is truncated or purged stays counted until its turn comes: so
    /// the bound holds for this queue, too.
    cached: VecDeque<Cached>,
    room_waiters: Vec<RoomWaiter>,
    ticket_next: u64,
    /// A release is in the queue or in the writer's hands.
    pub(crate) releasing: bool,
    closing: bool,
    poisoned: Option<Poisoned>,
}

/// The state behind its lock.
pub(crate) struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    pub(crate) fn new(
        groups: BTreeMap<GroupId, Group>,
        segments: BTreeMap<Sequence, Arc<Segment>>,
        options: LogOptions,
    ) -> Self {
        let state = State {
            groups,
            segments,
            stats: Stats::default(),
            options,
            queue: VecDeque::new(),
            cached: VecDeque::new(),
            room_waiters: Vec::new(),
            ticket_next: 0,
            releasing: false,
            closing: false,
            poisoned: None,
        };
        Self { state: Mutex::new(state), work: Condvar::new() }
    }

    /// The state, if the log still works.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, State>, Poisoned> {
        let state = self.state.lock().map_err(|_| Poisoned::new("a thread panicked inside the log"))?;
        match &state.poisoned {
            Some(poisoned) => Err(poisoned.clone()),
            None => Ok(state),
        }
    }

    /// Waits until there is something to do: commands, or closing.
    pub(crate) fn wait_for_work(&self) -> Result<(), Poisoned> {
        let state = self.lock()?;
        let idle = |state: &mut State| state.queue.is_empty() && !state.closing;
        let waited = self.work.wait_while(state, idle);
        waited.map(drop).map_err(|_| Poisoned::new("a thread panicked inside the log"))
    }

    /// Lets the writer drain the queue and end.
    pub(crate) fn begin_closing(&self) {
        if let Ok(mut state) = self.lock() {
            state.closing = true;
            self.work.notify_one();
        }
    }

    /// Queues a change that is already made in memory.
    pub(crate) fn submit(&self, state: &mut State, change: Change, done: Option<Completion>) {
        if state.queue.is_empty() {
            self.work.notify_one();
        }
        state.enqueue(change, done);
    }

    /// Stops the log: tells everyone who waits, in order, beginning with `taken`. The first cause stays.
    pub(crate) fn poison(&self, poisoned: Poisoned, taken: Vec<Command>) {
        // Whoever panicked under the lock has left a state that is not looked at again, but for those who wait.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let poisoned = state.poisoned.get_or_insert(poisoned).clone();
        let commands: Vec<Command> = taken.into_iter().chain(state.queue.drain(..)).collect();
        let waiters = std::mem::take(&mut state.room_waiters);
        drop(state);
        for done in commands.into_iter().filter_map(|command| command.done) {
            done(Err(poisoned.clone()));
        }
        waiters.into_iter().for_each(|waiter| waiter());
    }
}

impl State {
    /// Queues a change without waking the writer: for the writer itself.
    pub(crate) fn enqueue(&mut self, change: Change, done: Option<Completion>) {
        let bytes = change.encoded_bytes();
        self.stats.queue_bytes += bytes;
        self.queue.push_back(Command { change, done, bytes });
    }

    /// Refuses what does not fit the queue. A change that is larger than the queue alone is taken when nothing waits.
    pub(crate) fn check_room(&self, bytes: usize, reserve: bool) -> Result<(), SubmitError> {
        if self.closing {
            return Err(Poisoned::new("the log is closed").into());
        }
        let waiting = self.stats.queue_bytes;
        let max = self.options.queue_bytes_max + if reserve { QUEUE_RESERVE_BYTES } else { 0 };
        match waiting > 0 && waiting.saturating_add(bytes) > max {
            true => Err(SubmitError::Full { waiting, max }),
            false => Ok(()),
        }
    }

    /// Calls `waiter` back when half of the queue is free, or gives it back if that is so now.
    pub(crate) fn wait_for_room(&mut self, waiter: RoomWaiter) -> Option<RoomWaiter> {
        if self.has_room() {
            return Some(waiter);
        }
        self.room_waiters.push(waiter);
        None
    }

    fn has_room(&self) -> bool {
        self.stats.queue_bytes <= self.options.queue_bytes_max / 2
    }

    /// Checks and stores entries in memory. Returns the changes to queue: as many as gathers are needed at least.
    pub(crate) fn append(
        &mut self,
        group_id: GroupId,
        first: Index,
        entries: Vec<Bytes>,
    ) -> Result<Vec<Change>, SubmitError> {
        if let Some(entry) = entries.iter().find(|entry| entry.len() > ENTRY_BYTES_MAX) {
            return Err(SubmitError::TooLarge { what: "an entry", bytes: entry.len(), max: ENTRY_BYTES_MAX });
        }
        self.check_room(entries.iter().map(|entry| ENTRY_FRAME_BYTES + entry.len()).sum(), false)?;
        if let Some(group) = self.groups.get(&group_id) {
            group.check_append(group_id, first)?;
        }
        if entries.is_empty() {
            return Ok(vec![Change::Nothing]);
        }
        let ticket = self.ticket();
        let group = self.groups.entry(group_id).or_default();
        for (index, entry) in (first.0..).zip(&entries) {
            group.push(Index(index), ticket, entry.clone());
        }
        Ok(self.split(group_id, first, ticket, entries))
    }

    fn ticket(&mut self) -> Ticket {
        self.ticket_next += 1;
        Ticket(self.ticket_next)
    }

    /// Divides an append so that no part is larger than a gather, unless one entry is.
    fn split(&self, group: GroupId, first: Index, ticket: Ticket, entries: Vec<Bytes>) -> Vec<Change> {
        let mut changes = Vec::with_capacity(1);
        let (mut part, mut part_first, mut part_bytes) = (Vec::with_capacity(entries.len()), first, 0);
        for (index, entry) in (first.0..).zip(entries) {
            let bytes = ENTRY_FRAME_BYTES + entry.len();
            if part_bytes > 0 && part_bytes + bytes > self.options.gather_bytes_max {
                let entries = std::mem::take(&mut part);
                changes.push(Change::Append { group, first: part_first, ticket, entries });
                (part_first, part_bytes) = (Index(index), 0);
            }
            part_bytes += bytes;
            part.push(entry);
        }
        changes.push(Change::Append { group, first: part_first, ticket, entries: part });
        changes
    }

    pub(crate) fn save(&mut self, group: GroupId, data: Bytes) -> Result<Change, SubmitError> {
        check_state_bytes("a saved state", &data)?;
        self.check_room(RECORD_HEADER_BYTES + data.len(), true)?;
        // Until it is written, the segment is older than any: carried forward once too often rather than lost.
        let kept = Kept { value: data.clone(), segment: Sequence(0) };
        self.groups.entry(group).or_default().saved = Some(kept);
        Ok(Change::Save { group, data })
    }

    pub(crate) fn truncate(&mut self, group_id: GroupId, from: Index) -> Result<Change, SubmitError> {
        self.check_room(RECORD_HEADER_BYTES, true)?;
        let Some(group) = self.groups.get_mut(&group_id) else { return Ok(Change::Nothing) };
        group.check_truncate(group_id, from)?;
        if from >= group.next() {
            return Ok(Change::Nothing);
        }
        group.truncate(from);
        Ok(Change::Truncate { group: group_id, from })
    }

    pub(crate) fn purge(&mut self, group_id: GroupId, purged: Purged) -> Result<Change, SubmitError> {
        check_state_bytes("a purge marker", &purged.marker)?;
        self.check_room(RECORD_HEADER_BYTES + purged.marker.len(), true)?;
        let group = self.groups.entry(group_id).or_default();
        if group.purged.as_ref().is_some_and(|kept| purged.through <= kept.value.through) {
            return Ok(Change::Nothing);
        }
        group.purge(purged.clone(), Sequence(0));
        Ok(Change::Purge { group: group_id, purged })
    }

    pub(crate) fn remove(&mut self, group: GroupId) -> Result<Change, SubmitError> {
        self.check_room(RECORD_HEADER_BYTES, true)?;
        Ok(self.groups.remove(&group).map_or(Change::Nothing, |_| Change::Remove { group }))
    }

    /// Takes the commands of the next gather: at least one if there is one, and no more bytes than a gather holds
    /// unless the first alone has more.
    pub(crate) fn take_gather(&mut self) -> Vec<Command> {
        let mut bytes = 0;
        let fits = |command: &&Command| {
            bytes += command.bytes;
            bytes == command.bytes || bytes <= self.options.gather_bytes_max
        };
        let count = self.queue.iter().take_while(fits).count();
        self.queue.drain(..count).collect()
    }

    /// Takes over what a gather has written: the places of entries and of what is kept beside them.
    pub(crate) fn publish(&mut self, commands: &[Command], places: &[Place], segment: Sequence) {
        for place in places {
            let group = self.groups.get_mut(&place.group);
            if group.is_some_and(|group| group.written(place.index, place.ticket, place.location)) {
                let bytes = place.location.length as usize + ENTRY_OVERHEAD_BYTES;
                self.stats.cache_bytes += bytes;
                let cached = Cached { group: place.group, index: place.index, ticket: place.ticket, bytes };
                self.cached.push_back(cached);
            }
        }
        for command in commands {
            self.stats.queue_bytes -= command.bytes;
            match &command.change {
                Change::Save { group, .. } => {
                    let kept = self.groups.get_mut(group).and_then(|group| group.saved.as_mut());
                    kept.into_iter().for_each(|kept| kept.segment = segment);
                }
                Change::Purge { group, .. } => {
                    let kept = self.groups.get_mut(group).and_then(|group| group.purged.as_mut());
                    kept.into_iter().for_each(|kept| kept.segment = segment);
                }
                _ => {}
            }
        }
        self.evict();
    }

    fn evict(&mut self) {
        while self.stats.cache_bytes > self.options.cache_bytes_max {
            let oldest = self.cached.pop_front().expect("bytes are counted only for what is queued");
            self.stats.cache_bytes -= oldest.bytes;
            if let Some(group) = self.groups.get_mut(&oldest.group) {
                group.evict(oldest.index, oldest.ticket);
            }
        }
    }

    /// Those who waited for room, if there is room.
    pub(crate) fn take_room_waiters(&mut self) -> Vec<RoomWaiter> {
        match self.has_room() {
            true => std::mem::take(&mut self.room_waiters),
            false => Vec::new(),
        }
    }
}

/// A written entry with its place.
pub(crate) struct Place {
    pub(crate) group: GroupId,
    pub(crate) index: Index,
    pub(crate) ticket: Ticket,
    pub(crate) location: Location,
}

fn check_state_bytes(what: &'static str, data: &Bytes) -> Result<(), SubmitError> {
    match data.len() > STATE_BYTES_MAX {
        true => Err(SubmitError::TooLarge { what, bytes: data.len(), max: STATE_BYTES_MAX }),
        false => Ok(()),
    }
}
