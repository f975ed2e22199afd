//! A map for each key.

use std::borrow::Borrow;
use std::marker::PhantomData;

use bytes::Bytes;

use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::format;
use super::layer::Access;
use super::task::Task;
use super::value::decode;
use crate::routes::prefix_range;

/// Rows that a map is read by.
const PAGE_ROWS: usize = 1_000;

/// A map for each key, a row for each entry: [`Task::map_state`].
#[derive(Debug)]
pub struct MapState<K, M, V> {
    id: u32,
    of: PhantomData<fn(K, M) -> V>,
}

impl<K: Key, M: Key, V: Data> MapState<K, M, V> {
    pub(super) const fn new(id: u32) -> Self {
        Self { id, of: PhantomData }
    }

    /// The value of an entry of a key's map.
    pub async fn get<Q, N>(&self, task: &mut Task, key: &Q, map_key: &N) -> Result<Option<V>, StateError>
    where
        K: Borrow<Q>,
        M: Borrow<N>,
        Q: KeyBytes + ?Sized,
        N: KeyBytes + ?Sized,
    {
        let mut table_key = task.keyed(self.id, key)?;
        map_key.put_key(&mut table_key);
        let read = task.memory.read(Access::Ordered, &table_key, decode).await;
        task.give_back_key(table_key);
        read
    }

    /// Whether a key's map has an entry.
    pub async fn contains<Q, N>(&self, task: &mut Task, key: &Q, map_key: &N) -> Result<bool, StateError>
    where
        K: Borrow<Q>,
        M: Borrow<N>,
        Q: KeyBytes + ?Sized,
        N: KeyBytes + ?Sized,
    {
        Ok(self.get(task, key, map_key).await?.is_some())
    }

    /// Sets an entry of a key's map.
    pub async fn put<Q, N>(&self, task: &mut Task, key: &Q, map_key: &N, value: &V) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        M: Borrow<N>,
        Q: KeyBytes + ?Sized,
        N: KeyBytes + ?Sized,
    {
        let mut table_key = task.keyed(self.id, key)?;
        map_key.put_key(&mut table_key);
        let bytes = task.encoded(value);
        let written = task.memory.put(Access::Ordered, &table_key, &bytes).await;
        task.give_back(table_key, bytes);
        written
    }

    /// Removes an entry of a key's map.
    pub async fn remove<Q, N>(&self, task: &mut Task, key: &Q, map_key: &N) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        M: Borrow<N>,
        Q: KeyBytes + ?Sized,
        N: KeyBytes + ?Sized,
    {
        let mut table_key = task.keyed(self.id, key)?;
        map_key.put_key(&mut table_key);
        let written = task.memory.delete(Access::Ordered, &table_key).await;
        task.give_back_key(table_key);
        written
    }

    /// All entries of a key's map, in the order of their keys. They are held in memory.
    pub async fn entries<Q>(&self, task: &mut Task, key: &Q) -> Result<Vec<(M, V)>, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let entry = |(key, value): (Bytes, Bytes)| {
            let map_key = format::rest_of(&key).and_then(M::from_key).map_err(StateError::damaged("map key"))?;
            Ok((map_key, decode(&value)?))
        };
        self.rows(task, key).await?.into_iter().map(entry).collect()
    }

    /// Whether a key's map has no entries.
    pub async fn is_empty<Q>(&self, task: &mut Task, key: &Q) -> Result<bool, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let mut rest = Some(prefix_range(task.keyed(self.id, key)?));
        while let Some(range) = rest {
            let (rows, next) = task.memory.page(&range, 1).await?;
            if !rows.is_empty() {
                return Ok(false);
            }
            rest = format::range_from(next, &range);
        }
        Ok(true)
    }

    /// Removes all entries of a key's map, one by one: it is read before.
    pub async fn clear<Q>(&self, task: &mut Task, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        for (table_key, _) in self.rows(task, key).await? {
            task.memory.delete(Access::Ordered, &table_key).await?;
        }
        Ok(())
    }

    async fn rows(&self, task: &mut Task, key: &(impl KeyBytes + ?Sized)) -> Result<Vec<(Bytes, Bytes)>, StateError> {
        let mut rest = Some(prefix_range(task.keyed(self.id, key)?));
        let mut all = Vec::new();
        while let Some(range) = rest {
            let (rows, next) = task.memory.page(&range, PAGE_ROWS).await?;
            all.extend(rows);
            rest = format::range_from(next, &range);
        }
        Ok(all)
    }
}
