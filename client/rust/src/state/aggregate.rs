//! What is aggregated of all that a key was given.

use std::borrow::Borrow;
use std::marker::PhantomData;

use super::data::{Data, Key, KeyBytes};
use super::error::StateError;
use super::layer::Access;
use super::task::Task;
use super::value::{self, decode};
use crate::merge::MergeOperator;

/// An aggregate: what is kept of inputs, and what is told of it.
pub trait Aggregate {
    /// What a key is given.
    type Input: ?Sized;
    /// What is kept of it.
    type Accumulator: Data;
    /// What is told.
    type Output;

    /// Its name, kept with the state.
    const NAME: &'static str;
    /// The operator of the server that makes one accumulator of two, if there is one: then nothing is read before. It must
    /// give the same as adding all inputs to one accumulator, of the form that it folds.
    const OPERATOR: Option<MergeOperator> = None;

    /// What is kept of no inputs.
    fn create(&self) -> Self::Accumulator;

    /// Adds an input to what is kept.
    fn add(&self, accumulator: &mut Self::Accumulator, input: &Self::Input);

    /// What is told of what is kept.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Output;
}

/// Refuses an aggregate whose accumulators the server would not take.
pub(super) fn check<A: Aggregate>() -> Result<(), StateError> {
    let expected = match A::OPERATOR {
        Some(MergeOperator::AddI64 | MergeOperator::MinI64 | MergeOperator::MaxI64) => "i64",
        Some(MergeOperator::AddF64 | MergeOperator::MinF64 | MergeOperator::MaxF64) => "f64",
        Some(MergeOperator::SetUnion) => "set",
        Some(MergeOperator::Append | MergeOperator::MinBytes | MergeOperator::MaxBytes) | None => return Ok(()),
    };
    let found = A::Accumulator::form();
    if found == expected {
        return Ok(());
    }
    Err(StateError::Invalid(format!(
        "aggregate {} keeps {found}, and its operator folds {expected}; keep that, or use no operator",
        A::NAME
    )))
}

/// How many inputs there were. The server counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl Aggregate for Count {
    type Input = ();
    type Accumulator = i64;
    type Output = i64;

    const NAME: &'static str = "count";
    const OPERATOR: Option<MergeOperator> = Some(MergeOperator::AddI64);

    fn create(&self) -> i64 {
        0
    }

    fn add(&self, count: &mut i64, (): &()) {
        *count = count.wrapping_add(1);
    }

    fn result(&self, count: &i64) -> i64 {
        *count
    }
}

/// The mean of numbers: their sum and their count are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean;

impl Aggregate for Mean {
    type Input = f64;
    type Accumulator = (f64, i64);
    type Output = f64;

    const NAME: &'static str = "mean";

    fn create(&self) -> (f64, i64) {
        (0.0, 0)
    }

    fn add(&self, (sum, count): &mut (f64, i64), input: &f64) {
        *sum += input;
        *count = count.wrapping_add(1);
    }

    #[allow(clippy::cast_precision_loss, reason = "a count above 2^53 is none")]
    fn result(&self, (sum, count): &(f64, i64)) -> f64 {
        sum / *count as f64
    }
}

/// What is aggregated of all that a key was given: [`Task::aggregating_state`].
#[derive(Debug)]
pub struct AggregatingState<K, A> {
    id: u32,
    aggregate: A,
    of: PhantomData<fn(K)>,
}

impl<K: Key, A: Aggregate> AggregatingState<K, A> {
    pub(super) const fn new(id: u32, aggregate: A) -> Self {
        Self { id, aggregate, of: PhantomData }
    }

    /// What is told of a key, `None` if it was given nothing.
    pub async fn get<Q>(&self, task: &mut Task, key: &Q) -> Result<Option<A::Output>, StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let read = task.memory.read(Access::Point, &table_key, decode::<A::Accumulator>).await;
        task.give_back_key(table_key);
        Ok(read?.map(|accumulator| self.aggregate.result(&accumulator)))
    }

    /// Gives a key one more input.
    pub async fn add<Q>(&self, task: &mut Task, key: &Q, input: &A::Input) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        let table_key = task.keyed(self.id, key)?;
        let known = match A::OPERATOR {
            Some(_) => None,
            None => task.memory.read(Access::Point, &table_key, decode).await?,
        };
        let mut accumulator = known.unwrap_or_else(|| self.aggregate.create());
        self.aggregate.add(&mut accumulator, input);
        let bytes = task.encoded(&accumulator);
        let written = match A::OPERATOR {
            Some(operator) => task.memory.merge(&table_key, operator, &bytes).await,
            None => task.memory.put(Access::Point, &table_key, &bytes).await,
        };
        task.give_back(table_key, bytes);
        written
    }

    /// Forgets what a key was given.
    pub async fn clear<Q>(&self, task: &mut Task, key: &Q) -> Result<(), StateError>
    where
        K: Borrow<Q>,
        Q: KeyBytes + ?Sized,
    {
        value::clear(task, self.id, key).await
    }
}
