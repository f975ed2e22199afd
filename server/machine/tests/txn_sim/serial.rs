//! A serial model: transactions one after the other, on a map. It knows nothing of the engine.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_machine::shard::{Condition, Expected, Operation, RangeRead, Write};
use lentic_types::{Expiry, KeyRange, Version};

use super::replica::Row;
use super::work::{Work, point};

struct Value {
    version: Version,
    bytes: Vec<u8>,
    expiry: Option<Expiry>,
}

/// The values of all shards' keys.
#[derive(Default)]
pub(crate) struct Serial(BTreeMap<(usize, Bytes), Value>);

impl Serial {
    /// What a reader at `at` sees of a shard.
    pub(crate) fn rows(&self, group: usize, range: &KeyRange, at: Version) -> Vec<Row> {
        let from = Bound::Included((group, range.start().clone()));
        let all = self.0.range((from, Bound::Unbounded));
        let inside = all.take_while(|((of, key), _)| *of == group && range.contains(key));
        let live = inside.filter(|(_, value)| value.expiry.is_none_or(|end| at.ms() < end.0));
        live.map(|((_, key), value)| (key.clone(), value.version, value.bytes.clone().into(), value.expiry)).collect()
    }

    /// Does a work at `version`. The error says what does not hold there.
    pub(crate) fn commit(&mut self, work: &Work, version: Version) -> Result<(), String> {
        for (group, share) in &work.shares {
            self.check(work, *group, share, version)?;
        }
        for (group, share) in &work.shares {
            for operation in &share.operations {
                self.operate(*group, operation, version)?;
            }
        }
        Ok(())
    }

    fn check(&self, work: &Work, group: usize, share: &Write, version: Version) -> Result<(), String> {
        for Condition { key, expected } in &share.conditions {
            let found = self.rows(group, &point(key), version);
            let holds = match expected {
                Expected::Exists => !found.is_empty(),
                Expected::Absent => found.is_empty(),
                Expected::VersionIs(wanted) => found.first().is_some_and(|row| row.1 == *wanted),
                Expected::ValueIs(wanted) => found.first().is_some_and(|row| row.2 == *wanted),
                Expected::UnchangedSince(since) => self.is_as_read(work, group, &point(key), *since, version),
            };
            if !holds {
                return Err(format!("shard {group}: {expected:?} does not hold of {key:?}, found {found:?}"));
            }
        }
        for RangeRead { range, since } in &share.ranges {
            if !self.is_as_read(work, group, range, *since, version) {
                let found = self.rows(group, range, version);
                return Err(format!("shard {group}: {range:?} is not as it was at {since}, found {found:?}"));
            }
        }
        Ok(())
    }

    fn is_as_read(&self, work: &Work, group: usize, range: &KeyRange, since: Version, version: Version) -> bool {
        let is_it = |read: &&super::work::Read| read.group == group && read.range == *range && read.at == since;
        let read = work.reads.iter().find(is_it).expect("what is validated was read");
        read.rows.as_ref() == Some(&self.rows(group, range, version))
    }

    fn operate(&mut self, group: usize, operation: &Operation, version: Version) -> Result<(), String> {
        match operation {
            Operation::Put { key, value, expiry } => {
                let value = Value { version, bytes: value.to_vec(), expiry: *expiry };
                self.0.insert((group, key.clone()), value);
            }
            Operation::Delete { key } => drop(self.0.remove(&(group, key.clone()))),
            Operation::DeleteRange { range } => self.0.retain(|(of, key), _| *of != group || !range.contains(key)),
            Operation::Merge { key, operator, operand, expiry } => {
                let found = self.rows(group, &point(key), version).pop();
                let (bytes, end) = found.map_or((None, None), |(_, _, bytes, end)| (Some(bytes), end));
                let bytes = fold(*operator, bytes.as_deref(), operand)?;
                self.0.insert((group, key.clone()), Value { version, bytes, expiry: expiry.or(end) });
            }
        }
        Ok(())
    }
}

fn fold(operator: MergeOperator, value: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, String> {
    let Some(value) = value else { return Ok(operand.to_vec()) };
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).map_err(|_| format!("{bytes:?} is no number"));
    match operator {
        MergeOperator::AddI64 => Ok(number(value)?.wrapping_add(number(operand)?).to_be_bytes().to_vec()),
        MergeOperator::Append => Ok([value, operand].concat()),
        other => Err(format!("the model does not know {other}")),
    }
}
