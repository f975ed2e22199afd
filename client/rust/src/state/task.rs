//! A task: its key groups, its states, and its checkpoints.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_types::codec::DecodeError;

use super::aggregate::{self, Aggregate, AggregatingState};
use super::broadcast::BroadcastState;
use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::format;
use super::job::TaskCheckpoint;
use super::key_group::{KeyGroup, KeyGroups, MaxParallelism};
use super::list::ListState;
use super::map::MapState;
use super::memory::Memory;
use super::reduce::{Reduce, ReducingState};
use super::timers::{Queue, Timers};
use super::value::ValueState;
use crate::owners::Fence;
use crate::scan::Row;

/// Longest name of a state in bytes.
const NAME_BYTES_MAX: usize = 128;
/// What the types of broadcast states begin with.
const BROADCAST: &str = "broadcast(";

/// One of a job's parallel tasks: the only writer of its key groups.
///
/// States are registered by name and used with the task. Changes stay in the task's memory until a flush: in the
/// background when there are many, and at each checkpoint.
///
/// # Errors
/// Of any operation, and of all after it, `Lost`: a flush has failed, or another attempt has taken the task's place.
pub struct Task {
    pub(super) memory: Memory,
    max: MaxParallelism,
    groups: KeyGroups,
    states: BTreeMap<u32, Described>,
    /// What broadcast states have, all of it.
    pub(super) broadcast: BTreeMap<u32, BTreeMap<Bytes, Bytes>>,
    pub(super) queues: BTreeMap<u32, Queue>,
    /// Room for a table key, and for a value, that are used again and again.
    key: Vec<u8>,
    value: Vec<u8>,
}

/// What is known of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Described {
    name: String,
    form: String,
}

impl Task {
    pub(super) fn new(memory: Memory, max: MaxParallelism, groups: KeyGroups) -> Self {
        let (states, broadcast, queues) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { memory, max, groups, states, broadcast, queues, key: Vec::new(), value: Vec::new() }
    }

    /// Its key groups.
    #[must_use]
    pub const fn groups(&self) -> KeyGroups {
        self.groups
    }

    /// Whether a key is in its key groups.
    #[must_use]
    pub fn has(&self, key: &(impl KeyBytes + ?Sized)) -> bool {
        self.groups.contains(self.max.group_of(key.hash_code()))
    }

    /// The fence of its writes, for what it writes to the table by itself.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.memory.target().fence
    }

    /// Bytes of changes that wait in memory for a flush to begin with them.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.memory.dirty_bytes()
    }

    /// A state of one value for each key.
    ///
    /// # Errors
    /// `Registered` if there is a state of this name with another type; the same holds for all kinds of states.
    pub fn value_state<K: Key, V: Data>(&mut self, name: &str) -> Result<ValueState<K, V>, StateError> {
        let id = self.register(name, format!("value({},{})", K::form(), V::form()))?;
        Ok(ValueState::new(id))
    }

    /// A state of a list for each key.
    ///
    /// # Errors
    /// `Registered`.
    pub fn list_state<K: Key, V: Data>(&mut self, name: &str) -> Result<ListState<K, V>, StateError> {
        let id = self.register(name, format!("list({},{})", K::form(), V::form()))?;
        Ok(ListState::new(id))
    }

    /// A state of a map for each key.
    ///
    /// # Errors
    /// `Registered`.
    pub fn map_state<K: Key, M: Key, V: Data>(&mut self, name: &str) -> Result<MapState<K, M, V>, StateError> {
        let id = self.register(name, format!("map({},{},{})", K::form(), M::form(), V::form()))?;
        Ok(MapState::new(id))
    }

    /// A state of what a function makes of all values that a key was given.
    ///
    /// # Errors
    /// `Registered`.
    pub fn reducing_state<K: Key, V: Data>(
        &mut self,
        name: &str,
        reduce: Reduce<V>,
    ) -> Result<ReducingState<K, V>, StateError> {
        let id = self.register(name, format!("reducing({},{},{})", K::form(), V::form(), reduce.name()))?;
        Ok(ReducingState::new(id, reduce))
    }

    /// A state of what is aggregated of all that a key was given.
    ///
    /// # Errors
    /// `Registered`; `Invalid` if the aggregate's operator does not fold its accumulators.
    pub fn aggregating_state<K: Key, A: Aggregate>(
        &mut self,
        name: &str,
        aggregate: A,
    ) -> Result<AggregatingState<K, A>, StateError> {
        aggregate::check::<A>()?;
        let form = format!("aggregating({},{},{})", K::form(), A::Accumulator::form(), A::NAME);
        Ok(AggregatingState::new(self.register(name, form)?, aggregate))
    }

    /// A map that all tasks have, each its own copy: they must change it alike, between the same two checkpoints.
    ///
    /// # Errors
    /// `Registered`.
    pub fn broadcast_state<M: Key, V: Data>(&mut self, name: &str) -> Result<BroadcastState<M, V>, StateError> {
        let id = self.register(name, format!("{BROADCAST}{},{})", M::form(), V::form()))?;
        self.broadcast.entry(id).or_default();
        Ok(BroadcastState::new(id))
    }

    /// Timers with keys: of event time or of processing time, as their user reads the times.
    ///
    /// # Errors
    /// `Registered`.
    pub fn timers<K: Key>(&mut self, name: &str) -> Result<Timers<K>, StateError> {
        let id = self.register(name, format!("timers({})", K::form()))?;
        let groups = self.groups;
        self.queues.entry(id).or_insert_with(|| Queue::new(groups));
        Ok(Timers::new(id))
    }

    /// Waits until the table has all changes. No task needs it: a checkpoint does it, too.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn flush(&mut self) -> Result<(), StateError> {
        self.memory.flush().await
    }

    /// Makes a checkpoint of all that was done before: flushes it, and names a version above it. The number is the job's.
    ///
    /// # Errors
    /// `Lost`; `Table` if all was flushed and only the checkpoint could not be made: try again.
    pub async fn checkpoint(&mut self, number: u64) -> Result<TaskCheckpoint, StateError> {
        self.begin_checkpoint(number).await?;
        self.end_checkpoint().await
    }

    /// Begins a checkpoint of all that was done before, and lets events go on beside it: what they change is not in it. If
    /// a flush is under way, waits for that.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn begin_checkpoint(&mut self, number: u64) -> Result<(), StateError> {
        self.memory.begin_checkpoint(number).await
    }

    /// Waits for the checkpoint that was begun.
    ///
    /// # Errors
    /// As of [`checkpoint`](Self::checkpoint); `Invalid` if none was begun.
    pub async fn end_checkpoint(&mut self) -> Result<TaskCheckpoint, StateError> {
        let (number, made) = self.memory.end_checkpoint().await?;
        Ok(TaskCheckpoint { number, groups: self.groups, token: made.token, version: made.version })
    }

    /// Ends the task: flushes what it has, and gives up its key groups. Without it the next attempt takes them all the same.
    ///
    /// # Errors
    /// `Lost`; `Table` if the key groups could not be given up.
    pub async fn stop(mut self) -> Result<(), StateError> {
        self.memory.flush().await?;
        let target = self.memory.target();
        Ok(target.table.release(&target.range, target.fence).await?)
    }

    fn register(&mut self, name: &str, form: String) -> Result<u32, StateError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let bytes = name.len();
            return Err(StateError::Invalid(format!(
                "a state's name of {bytes} bytes, expected 1 to {NAME_BYTES_MAX}; choose another"
            )));
        }
        let id = format::state_id(name);
        if id == format::STATES {
            return Err(StateError::Collides { name: name.to_owned(), other: "the list of states".to_owned() });
        }
        match self.states.get(&id) {
            Some(known) if known.name != name => {
                Err(StateError::Collides { name: name.to_owned(), other: known.name.clone() })
            }
            Some(known) if known.form != form => {
                Err(StateError::Registered { name: name.to_owned(), found: known.form.clone(), asked: form })
            }
            Some(_) => Ok(id),
            None => {
                self.describe(id, Described { name: name.to_owned(), form });
                Ok(id)
            }
        }
    }

    fn describe(&mut self, id: u32, described: Described) {
        let mut key = std::mem::take(&mut self.key);
        format::put_head(&mut key, self.groups.first(), format::STATES);
        described.name.put_key(&mut key);
        self.memory.note(&key, described.form.as_bytes());
        self.key = key;
        self.states.insert(id, described);
    }

    /// A state that a task before had.
    pub(super) fn recall_state(&mut self, name: &[u8], form: &[u8]) -> Result<(), StateError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let (Ok(name), Ok(form)) = (text(name), text(form)) else {
            return Err(StateError::Damaged { what: "state", error: DecodeError::Invalid { field: "name or type" } });
        };
        if form.starts_with(BROADCAST) {
            self.broadcast.entry(format::state_id(&name)).or_default();
        }
        self.describe(format::state_id(&name), Described { name, form });
        Ok(())
    }

    pub(super) fn broadcast_states(&self) -> Vec<u32> {
        self.broadcast.keys().copied().collect()
    }

    /// A row that the broadcast state of a task before had.
    pub(super) fn recall_broadcast(&mut self, state: u32, row: &Row) {
        let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let map_key = copy(&row.key[format::HEAD_BYTES..]);
        let key = self.broadcast_key(state, &map_key);
        self.memory.note(&key, &row.value);
        self.key = key;
        self.broadcast.entry(state).or_default().insert(map_key, copy(&row.value));
    }

    /// The table key of a row of this task's copy. Its room is used again when it is given back.
    pub(super) fn broadcast_key(&mut self, state: u32, map_key: &[u8]) -> Vec<u8> {
        let mut key = std::mem::take(&mut self.key);
        format::put_head(&mut key, self.groups.first(), state);
        key.extend_from_slice(map_key);
        key
    }

    /// A key's group, which must be one of the task's.
    pub(super) fn group_of(&self, key: &(impl KeyBytes + ?Sized)) -> Result<KeyGroup, StateError> {
        let group = self.max.group_of(key.hash_code());
        if self.groups.contains(group) { Ok(group) } else { Err(StateError::Elsewhere { group, groups: self.groups }) }
    }

    /// The table key of a user's key in a state. Its room is used again when it is given back.
    pub(super) fn keyed(&mut self, state: u32, key: &(impl KeyBytes + ?Sized)) -> Result<Vec<u8>, StateError> {
        let group = self.group_of(key)?;
        let mut room = std::mem::take(&mut self.key);
        format::put_keyed(&mut room, group, state, key);
        Ok(room)
    }

    /// The table keys of many.
    pub(super) fn keyed_all<'a, Q: KeyBytes + ?Sized + 'a>(
        &self,
        state: u32,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Vec<Bytes>, StateError> {
        let keyed = |key: &Q| {
            let mut out = Vec::new();
            format::put_keyed(&mut out, self.group_of(key)?, state, key);
            Ok(out.into())
        };
        keys.into_iter().map(keyed).collect()
    }

    /// A value's bytes. Their room is used again when it is given back.
    pub(super) fn encoded(&mut self, value: &impl Data) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.value);
        room.clear();
        value.put(&mut room);
        room
    }

    /// The room that keys are written to.
    pub(super) fn room(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.key)
    }

    pub(super) fn give_back_key(&mut self, key: Vec<u8>) {
        self.key = key;
    }

    pub(super) fn give_back(&mut self, key: Vec<u8>, value: Vec<u8>) {
        (self.key, self.value) = (key, value);
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("groups", &self.groups).field("states", &self.states).finish_non_exhaustive()
    }
}
