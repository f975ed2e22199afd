//! One value for each key.

use std::borrow::Borrow;
use std::marker::PhantomData;

use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::layer::Access;
use super::task::Task;

/// One value for each key: [`Task::value_state`].
#[derive(Debug)]
pub struct ValueState<K, V> {
    id: u32,
    of: PhantomData<fn(K) -> V>,
}

pub(super) fn decode<V: Data>(bytes: &[u8]) -> Result<V, StateError> {
    V::from_data(bytes).map_err(StateError::damaged("value"))
}

impl<K: Key, V: Data> ValueState<K, V> {
    pub(super) const fn new(id: u32) -> Self {
        Self { id, of: PhantomData }
    }

    /// The value of a key, `None` if it has none.
    pub async fn value<Q>(&self, task: &mut Task, key: &Q) -> Result<Option<V>, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let read = task.memory.read(Access::Point, &table_key, decode).await;
        task.give_back_key(table_key);
        read
    }

    /// The values of keys, in their order: what is not known here is read at once.
    pub async fn values<'a, Q>(
        &self,
        task: &mut Task,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Vec<Option<V>>, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized + 'a,
    {
        let keys = task.keyed_all(self.id, keys)?;
        task.memory.read_many(Access::Point, &keys, decode).await
    }

    /// Reads what is not known of these keys at once, so that their values are here when their events come: until the next
    /// call for any state of the task, whatever the cache has room for.
    pub async fn prefetch<'a, Q>(
        &self,
        task: &mut Task,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized + 'a,
    {
        let keys = task.keyed_all(self.id, keys)?;
        task.memory.prefetch(Access::Point, &keys).await
    }

    /// Sets the value of a key.
    pub async fn update<Q>(&self, task: &mut Task, key: &Q, value: &V) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let bytes = task.encoded(value);
        let written = task.memory.put(Access::Point, &table_key, &bytes).await;
        task.give_back(table_key, bytes);
        written
    }

    /// Removes the value of a key.
    pub async fn clear<Q>(&self, task: &mut Task, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        clear(task, self.id, key).await
    }
}

/// Removes the one row of a key.
pub(super) async fn clear(task: &mut Task, id: u32, key: &(impl KeyBytes + ?Sized)) -> Result<(), StateError> {
    let table_key = task.keyed(id, key)?;
    let written = task.memory.delete(Access::Point, &table_key).await;
    task.give_back_key(table_key);
    written
}
