//! Timers: what is to happen at a time, for a key.

mod queue;

use std::borrow::Borrow;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::try_join_all;
use lentic_types::KeyRange;

use super::data::{Key, KeyBytes};
use super::error::StateError;
use super::format;
use super::key_group::KeyGroup;
use super::layer::Access;
use super::task::Task;

pub(super) use queue::Queue;

/// A timer that was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer<K> {
    /// When it is due, as a rule in milliseconds since 1970.
    pub time: i64,
    /// For whom.
    pub key: K,
}

/// Timers of a task's keys, each time and key once: [`Task::timers`]. A job has one of them for event time and one for
/// processing time, or more; what the time is, the caller says.
///
/// They come in the order of times, those of one time in that of their keys, over all key groups of the task. The earliest
/// of each key group are held in memory: up to 4,096, however many there are.
#[derive(Debug)]
pub struct Timers<K> {
    id: u32,
    of: PhantomData<fn(K)>,
}

impl<K: Key> Timers<K> {
    pub(super) const fn new(id: u32) -> Self {
        Self { id, of: PhantomData }
    }

    /// Sets a timer. One that is set already is not set twice.
    pub async fn add<Q>(&self, task: &mut Task, time: i64, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let (group, table_key) = self.table_key(task, time, key)?;
        let queue = task.queues.get_mut(&self.id).ok_or_else(not_registered)?;
        let tail = &table_key[format::HEAD_BYTES..];
        if !queue.has(group, tail) {
            task.memory.put_now(Access::Ordered, &table_key, &[])?;
            queue.add(group, Bytes::copy_from_slice(tail));
        }
        task.give_back_key(table_key);
        task.memory.make_room().await
    }

    /// Removes a timer, if it is set.
    pub async fn remove<Q>(&self, task: &mut Task, time: i64, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let (group, table_key) = self.table_key(task, time, key)?;
        let queue = task.queues.get_mut(&self.id).ok_or_else(not_registered)?;
        task.memory.delete_now(Access::Ordered, &table_key)?;
        queue.remove(group, &table_key[format::HEAD_BYTES..]);
        task.give_back_key(table_key);
        task.memory.make_room().await
    }

    /// The timer that is due first.
    pub async fn peek(&self, task: &mut Task) -> Result<Option<Timer<K>>, StateError> {
        self.load(task, i64::MAX).await?;
        let queue = task.queues.get(&self.id).ok_or_else(not_registered)?;
        queue.first().map(|(_, tail)| timer(tail)).transpose()
    }

    /// Takes the timer that is due first, if it is due at `time` or before: call it until there is none, whenever time has
    /// gone on. Timers that are set meanwhile come in their turn.
    pub async fn pop_up_to(&self, task: &mut Task, time: i64) -> Result<Option<Timer<K>>, StateError> {
        self.load(task, time).await?;
        let queue = task.queues.get(&self.id).ok_or_else(not_registered)?;
        let Some((group, tail)) = queue.first() else { return Ok(None) };
        let (tail, due) = (tail.clone(), timer::<K>(tail)?);
        if due.time > time {
            return Ok(None);
        }
        let mut table_key = Vec::with_capacity(format::HEAD_BYTES + tail.len());
        format::put_head(&mut table_key, group, self.id);
        table_key.extend_from_slice(&tail);
        // Room is made before: a timer that was taken is always given.
        task.memory.make_room().await?;
        task.memory.delete_now(Access::Ordered, &table_key)?;
        task.queues.get_mut(&self.id).ok_or_else(not_registered)?.remove(group, &tail);
        Ok(Some(due))
    }

    fn table_key(
        &self,
        task: &mut Task,
        time: i64,
        key: &(impl KeyBytes + ?Sized),
    ) -> Result<(KeyGroup, Vec<u8>), StateError> {
        let group = task.group_of(key)?;
        let mut room = task.room();
        format::put_head(&mut room, group, self.id);
        format::put_time(&mut room, time);
        key.put_key(&mut room);
        Ok((group, room))
    }

    /// Reads on in all key groups whose first timer is not known and may be due at `time`, at once.
    async fn load(&self, task: &mut Task, time: i64) -> Result<(), StateError> {
        let mut until = Vec::new();
        format::put_time(&mut until, time);
        loop {
            let queue = task.queues.get(&self.id).ok_or_else(not_registered)?;
            let pages = queue.unknown(&until).map(|(group, from)| {
                let memory = &task.memory;
                async move {
                    let range = format::range_of(group, self.id);
                    let start = [range.start(), &from[..]].concat();
                    let range = KeyRange::new(start, range.end().cloned()).expect("a timer is below the state's end");
                    Ok::<_, StateError>((group, memory.page(&range, queue::PAGE_ROWS).await?))
                }
            });
            let pages = try_join_all(pages.collect::<Vec<_>>()).await?;
            if pages.is_empty() {
                return Ok(());
            }
            let queue = task.queues.get_mut(&self.id).ok_or_else(not_registered)?;
            for (group, (rows, rest)) in pages {
                let tails = rows.into_iter().map(|(key, _)| Bytes::copy_from_slice(&key[format::HEAD_BYTES..]));
                queue.loaded(group, tails, rest.map(|rest| rest.slice(format::HEAD_BYTES..)));
            }
        }
    }
}

fn timer<K: Key>(tail: &[u8]) -> Result<Timer<K>, StateError> {
    let (time, key) = format::timer_of(tail).map_err(StateError::damaged("timer"))?;
    Ok(Timer { time, key })
}

fn not_registered() -> StateError {
    StateError::Invalid("the timers are of another task; register them with this one".to_owned())
}
