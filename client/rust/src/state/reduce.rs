//! What a function makes of all values that a key was given.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::marker::PhantomData;

use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::layer::Access;
use super::task::Task;
use super::value::{self, decode};
use crate::merge::MergeOperator;

/// How two values become one: by an operator that the server knows, so that nothing is read before, or by a function here.
///
/// The operators and functions must give the same whatever is combined first, for operands are combined before they are
/// sent. Sums of floats do so only as far as they are exact.
#[derive(Clone, Copy, Debug)]
pub struct Reduce<V> {
    name: &'static str,
    by: By<V>,
}

#[derive(Clone, Copy, Debug)]
enum By<V> {
    Server(MergeOperator),
    Here(fn(V, V) -> V),
}

impl<V> Reduce<V> {
    /// A function of the job's own. Its name is kept with the state; it must not be that of an operator of the server.
    pub const fn with(name: &'static str, reduce: fn(V, V) -> V) -> Self {
        Self { name, by: By::Here(reduce) }
    }

    const fn server(operator: MergeOperator, name: &'static str) -> Self {
        Self { name, by: By::Server(operator) }
    }

    /// Its name in the state's type.
    pub(super) fn name(&self) -> String {
        match self.by {
            By::Server(_) => self.name.to_owned(),
            By::Here(_) => format!("fn {}", self.name),
        }
    }
}

/// Operators of the server, under the names that streams have for them.
macro_rules! operators {
    ($($type:ty { $($function:ident = $operator:ident $name:literal: $doc:literal),* })*) => {$(
        impl Reduce<$type> {
            $(
                #[doc = $doc]
                #[must_use]
                pub const fn $function() -> Self {
                    Self::server(MergeOperator::$operator, $name)
                }
            )*
        }
    )*};
}

operators! {
    i64 {
        sum = AddI64 "add-i64": "The sum, wrapping.",
        min = MinI64 "min-i64": "The smallest.",
        max = MaxI64 "max-i64": "The largest."
    }
    f64 {
        sum = AddF64 "add-f64": "The sum.",
        min = MinF64 "min-f64": "The smallest, in IEEE 754 total order.",
        max = MaxF64 "max-f64": "The largest, in IEEE 754 total order."
    }
    Vec<u8> {
        first = MinBytes "min-bytes": "The one that sorts first.",
        last = MaxBytes "max-bytes": "The one that sorts last.",
        append = Append "append": "One behind the other."
    }
    BTreeSet<Vec<u8>> {
        union = SetUnion "set-union": "The union."
    }
}

/// What a function makes of all values that a key was given: [`Task::reducing_state`].
#[derive(Debug)]
pub struct ReducingState<K, V> {
    id: u32,
    reduce: Reduce<V>,
    of: PhantomData<fn(K)>,
}

impl<K: Key, V: Data> ReducingState<K, V> {
    pub(super) const fn new(id: u32, reduce: Reduce<V>) -> Self {
        Self { id, reduce, of: PhantomData }
    }

    /// What a key's values have become, `None` if it was given none.
    pub async fn get<Q>(&self, task: &mut Task, key: &Q) -> Result<Option<V>, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let read = task.memory.read(Access::Point, &table_key, decode).await;
        task.give_back_key(table_key);
        read
    }

    /// Gives a key one more value.
    pub async fn add<Q>(&self, task: &mut Task, key: &Q, value: V) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let value = match self.reduce.by {
            By::Server(_) => value,
            By::Here(reduce) => match task.memory.read(Access::Point, &table_key, decode).await? {
                Some(known) => reduce(known, value),
                None => value,
            },
        };
        let bytes = task.encoded(&value);
        let written = match self.reduce.by {
            By::Server(operator) => task.memory.merge(&table_key, operator, &bytes).await,
            By::Here(_) => task.memory.put(Access::Point, &table_key, &bytes).await,
        };
        task.give_back(table_key, bytes);
        written
    }

    /// Forgets a key's values.
    pub async fn clear<Q>(&self, task: &mut Task, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        value::clear(task, self.id, key).await
    }
}
