//! A list for each key.

use std::borrow::Borrow;
use std::marker::PhantomData;

use lentic_types::codec::{Reader, put_bytes};

use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::layer::Access;
use super::task::Task;
use super::value;
use crate::merge::MergeOperator;

/// A list for each key: [`Task::list_state`]. What is added goes out as it is, and the server appends it: nothing is read.
/// All of a list is one value, of at most 8 MiB; one that has grown above it fails in a flush, and the task with it.
#[derive(Debug)]
pub struct ListState<K, V> {
    id: u32,
    of: PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Data> ListState<K, V> {
    pub(super) const fn new(id: u32) -> Self {
        Self { id, of: PhantomData }
    }

    /// The list of a key, from the element that was added first. A key without one has an empty one.
    pub async fn get<Q>(&self, task: &mut Task, key: &Q) -> Result<Vec<V>, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let read = task.memory.read(Access::Point, &table_key, decode).await;
        task.give_back_key(table_key);
        Ok(read?.unwrap_or_default())
    }

    /// Adds an element to the end of a key's list.
    pub async fn add<Q>(&self, task: &mut Task, key: &Q, element: &V) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        self.add_all(task, key, [element]).await
    }

    /// Adds elements to the end of a key's list, in their order.
    pub async fn add_all<'a, Q>(
        &self,
        task: &mut Task,
        key: &Q,
        elements: impl IntoIterator<Item = &'a V>,
    ) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
        V: 'a,
    {
        let operand = encode(elements);
        if operand.is_empty() {
            return Ok(());
        }
        let table_key = task.keyed(self.id, key)?;
        let written = task.memory.merge(&table_key, MergeOperator::Append, &operand).await;
        task.give_back_key(table_key);
        written
    }

    /// Sets the list of a key.
    pub async fn update<'a, Q>(
        &self,
        task: &mut Task,
        key: &Q,
        elements: impl IntoIterator<Item = &'a V>,
    ) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
        V: 'a,
    {
        let list = encode(elements);
        if list.is_empty() {
            return self.clear(task, key).await;
        }
        let table_key = task.keyed(self.id, key)?;
        let written = task.memory.put(Access::Point, &table_key, &list).await;
        task.give_back_key(table_key);
        written
    }

    /// Empties the list of a key.
    pub async fn clear<Q>(&self, task: &mut Task, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        value::clear(task, self.id, key).await
    }
}

fn encode<'a, V: Data + 'a>(elements: impl IntoIterator<Item = &'a V>) -> Vec<u8> {
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    for element in elements {
        bytes.clear();
        element.put(&mut bytes);
        put_bytes(&mut list, &bytes);
    }
    list
}

fn decode<V: Data>(list: &[u8]) -> Result<Vec<V>, StateError> {
    let (mut reader, mut elements) = (Reader::new(list), Vec::new());
    while !reader.rest().is_empty() {
        let element = reader.bytes("element of a list").and_then(V::from_data);
        elements.push(element.map_err(StateError::damaged("list"))?);
    }
    Ok(elements)
}
