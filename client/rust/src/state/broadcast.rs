//! A map that all tasks of a job have.

use std::borrow::Borrow;
use std::marker::PhantomData;

use bytes::Bytes;

use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::layer::Access;
use super::task::Task;
use super::value::decode;

/// A map that all tasks of a job have, each a copy of its own, which is held in memory: [`Task::broadcast_state`].
///
/// All tasks must have changed it alike when they make a checkpoint: a task that is restored at another parallelism gets
/// the copy of one of those before it.
#[derive(Debug)]
pub struct BroadcastState<M, V> {
    id: u32,
    of: PhantomData<fn(M) -> V>,
}

impl<M: Key, V: Data> BroadcastState<M, V> {
    pub(super) const fn new(id: u32) -> Self {
        Self { id, of: PhantomData }
    }

    /// The value of an entry. Nothing is read for it.
    pub fn get<N>(&self, task: &Task, map_key: &N) -> Result<Option<V>, StateError>
    where
        M: Borrow<N>,
        N: KeyBytes + ?Sized,
    {
        let Some(copy) = task.broadcast.get(&self.id) else { return Ok(None) };
        copy.get(&bytes_of(map_key)).map(|value| decode(value)).transpose()
    }

    /// All entries, in the order of their keys.
    pub fn entries(&self, task: &Task) -> Result<Vec<(M, V)>, StateError> {
        let entry = |(key, value): (&Bytes, &Bytes)| {
            Ok((M::from_key(key).map_err(StateError::damaged("key of a broadcast state"))?, decode(value)?))
        };
        task.broadcast.get(&self.id).into_iter().flatten().map(entry).collect()
    }

    /// Sets an entry of this task's copy.
    pub async fn put<N>(&self, task: &mut Task, map_key: &N, value: &V) -> Result<(), StateError>
    where
        M: Borrow<N>,
        N: KeyBytes + ?Sized,
    {
        let map_key = bytes_of(map_key);
        let table_key = task.broadcast_key(self.id, &map_key);
        let bytes = task.encoded(value);
        task.memory.put_now(Access::Ordered, &table_key, &bytes)?;
        task.broadcast.entry(self.id).or_default().insert(map_key, Bytes::copy_from_slice(&bytes));
        task.give_back(table_key, bytes);
        task.memory.make_room().await
    }

    /// Removes an entry of this task's copy.
    pub async fn remove<N>(&self, task: &mut Task, map_key: &N) -> Result<(), StateError>
    where
        M: Borrow<N>,
        N: KeyBytes + ?Sized,
    {
        let map_key = bytes_of(map_key);
        let table_key = task.broadcast_key(self.id, &map_key);
        task.memory.delete_now(Access::Ordered, &table_key)?;
        task.broadcast.entry(self.id).or_default().remove(&map_key);
        task.give_back_key(table_key);
        task.memory.make_room().await
    }
}

fn bytes_of(key: &(impl KeyBytes + ?Sized)) -> Bytes {
    let mut out = Vec::new();
    key.put_key(&mut out);
    out.into()
}
