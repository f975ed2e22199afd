//! What a transaction has read and is to write in one table.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_proto::v1::operation::Operation as Wire;
use lentic_proto::v1::{self, Operation};
use lentic_types::{ErrorKind, KeyRange, Version};

use super::places::Places;
use crate::batch::{Touched, WriteBatch, touched};
use crate::error::Error;
use crate::read::Value;

/// Reads and writes of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    pub(super) fence: Option<u64>,
    reads: BTreeSet<Bytes>,
    ranges: Vec<KeyRange>,
    /// What is required, each with its place among all that the transaction requires.
    required: Vec<(u32, v1::Condition)>,
    operations: Vec<Operation>,
    /// The place of each operation among all that the transaction writes.
    places: Vec<u32>,
    /// Which operations change a key, but for those that delete a range.
    by_key: BTreeMap<Bytes, Vec<usize>>,
    /// Which operations delete a range.
    deletes: Vec<(usize, KeyRange)>,
}

impl Buffer {
    /// Whether it neither writes nor requires anything.
    pub(super) fn is_read_only(&self) -> bool {
        self.operations.is_empty() && self.required.is_empty()
    }

    /// Adds a condition on what is stored when the transaction commits.
    pub(super) fn require(&mut self, condition: v1::Condition, place: u32) {
        self.required.push((place, condition));
    }

    /// Adds a write.
    pub(super) fn write(&mut self, operation: Operation, place_of_all: u32) {
        let place = self.operations.len();
        self.places.push(place_of_all);
        match touched(&operation) {
            Touched::Key(key) => self.by_key.entry(key.clone()).or_default().push(place),
            Touched::Range { start, end } => {
                if let Ok(range) = KeyRange::new(start.clone(), end.cloned()) {
                    self.deletes.push((place, range));
                }
            }
        }
        self.operations.push(operation);
    }

    /// A key is read: nothing of it may change until the commit. A range that is read holds its keys, too.
    pub(super) fn read(&mut self, key: &Bytes) {
        if !self.ranges.iter().any(|range| range.contains(key)) {
            self.reads.insert(key.clone());
        }
    }

    /// A range is read.
    pub(super) fn read_range(&mut self, range: KeyRange) {
        if !self.ranges.iter().any(|known| known.covers(&range)) {
            self.ranges.push(range);
        }
    }

    /// Whether the value of a key does not depend on what is stored.
    pub(super) fn is_set(&self, key: &Bytes) -> bool {
        self.operations_on(key).iter().any(|operation| !matches!(operation.operation, Some(Wire::Merge(_)) | None))
    }

    /// The keys in a range that have writes, in order.
    pub(super) fn written_in(&self, range: &KeyRange) -> Vec<Bytes> {
        self.by_key.keys().filter(|key| range.contains(key)).cloned().collect()
    }

    /// Whether the transaction changes a key.
    pub(super) fn changes(&self, key: &Bytes) -> bool {
        self.by_key.contains_key(key) || self.deletes.iter().any(|(_, range)| range.contains(key))
    }

    /// What the transaction's own writes make of a stored value.
    ///
    /// # Errors
    /// `WrongKind` if a merge does not fold into it.
    pub(super) fn apply(&self, key: &Bytes, stored: Option<Value>) -> Result<Option<Value>, Error> {
        let mut value = stored;
        for operation in self.operations_on(key) {
            value = match operation.operation.as_ref() {
                Some(Wire::Put(put)) => Some(own(put.value.clone(), put.expires_unix_ms)),
                Some(Wire::Merge(merge)) => Some(fold(value.as_ref(), merge)?),
                Some(Wire::Delete(_) | Wire::DeleteRange(_)) | None => None,
            };
        }
        Ok(value)
    }

    /// The writes that concern a key, in order.
    fn operations_on(&self, key: &Bytes) -> Vec<&Operation> {
        let deletes = self.deletes.iter().filter(|(_, range)| range.contains(key)).map(|(place, _)| *place);
        let mut places: Vec<usize> = self.by_key.get(key).into_iter().flatten().copied().chain(deletes).collect();
        places.sort_unstable();
        places.into_iter().map(|place| &self.operations[place]).collect()
    }

    /// All of it, with what was read at `at` to be validated behind what is required. Notes in `all` what stands where.
    pub(super) fn into_batch(self, at: Option<Version>, all: &mut Places) -> WriteBatch {
        let Self { fence, reads, ranges, required, operations, places, .. } = self;
        let (required, conditions): (Vec<u32>, Vec<v1::Condition>) = required.into_iter().unzip();
        let mut batch = WriteBatch { fence, conditions, operations, ..WriteBatch::default() };
        if let Some(at) = at {
            let held = |key: &Bytes| ranges.iter().any(|range| range.contains(key));
            for key in reads.into_iter().filter(|key| !held(key)) {
                batch = batch.if_unchanged(key, at);
            }
            batch = ranges.iter().fold(batch, |batch, range| batch.if_range_unchanged(range, at));
        }
        all.add(&required, batch.conditions.len() + batch.ranges.len(), &places);
        batch
    }
}

fn own(value: Bytes, expires_unix_ms: Option<u64>) -> Value {
    Value { value, version: Version::MAX, expires_unix_ms }
}

fn fold(stored: Option<&Value>, merge: &v1::Merge) -> Result<Value, Error> {
    let wrong = |words: String| Error::new(ErrorKind::WrongKind, words);
    let operator = u8::try_from(merge.operator).ok().and_then(MergeOperator::from_tag);
    let operator = operator.ok_or_else(|| wrong("the merge operator is not known".to_owned()))?;
    let base = stored.map(|stored| stored.value.as_ref());
    let folded = operator.fold(base, [merge.operand.as_ref()]).map_err(|error| wrong(error.to_string()))?;
    let expires = merge.expires_unix_ms.or_else(|| stored.and_then(|stored| stored.expires_unix_ms));
    Ok(own(folded.into(), expires))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch;
    use crate::merge::MergeOperator as Operator;

    fn number(buffer: &Buffer, stored: Option<i64>) -> Option<i64> {
        let stored = stored.map(|number| own(number.to_be_bytes().to_vec().into(), None));
        buffer.apply(&"k".into(), stored).unwrap().and_then(|value| value.as_i64())
    }

    fn add(addend: i64) -> Operation {
        batch::merge("k".into(), Operator::AddI64, addend.to_be_bytes().to_vec().into(), None)
    }

    #[test]
    fn own_writes_are_seen_in_their_order() {
        let mut buffer = Buffer::default();
        buffer.write(add(5), 0);
        assert_eq!((number(&buffer, None), number(&buffer, Some(2))), (Some(5), Some(7)));
        assert!(!buffer.is_set(&"k".into()), "a merge depends on what is stored");
        buffer.write(batch::delete_range(&KeyRange::new("a", Some("z")).unwrap()), 1);
        assert!(buffer.is_set(&"k".into()) && buffer.changes(&"b".into()));
        assert_eq!(number(&buffer, Some(2)), None);
        buffer.write(add(1), 2);
        assert_eq!(number(&buffer, Some(2)), Some(1));
        buffer.write(batch::put("k".into(), "text".into(), None), 3);
        buffer.write(add(1), 4);
        assert_eq!(buffer.apply(&"k".into(), None).unwrap_err().kind(), ErrorKind::WrongKind);
    }

    #[test]
    fn a_range_that_was_read_holds_its_keys() {
        let mut buffer = Buffer::default();
        buffer.read(&"b".into());
        buffer.read(&"x".into());
        buffer.read_range(KeyRange::new("a", Some("c")).unwrap());
        buffer.read(&"bb".into());
        buffer.write(batch::delete("q".into()), 0);
        let batch = buffer.into_batch(Some(Version(9)), &mut Places::default());
        assert_eq!((batch.conditions.len(), batch.ranges.len(), batch.operations.len()), (1, 1, 1));
    }
}
