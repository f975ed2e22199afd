//! Changes that the table does not have yet: the newest of each key.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use bytes::Bytes;
use lentic_engine::MergeOperator as Stored;
use lentic_types::codec::DecodeError;
use lentic_types::limits::VALUE_BYTES_MAX;

use super::error::StateError;
use crate::merge::MergeOperator;

/// What a change costs beside its key and value.
const CHANGE_BYTES: usize = 96;

/// How a state's keys are found: one by one, or in order, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Point,
    Ordered,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Vec<u8>),
    Delete,
    /// What is stored is not known, nor asked for.
    Merge(MergeOperator, Vec<u8>),
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(value) | Self::Merge(_, value) => value.len(),
            Self::Delete => 0,
        }
    }
}

/// Changes, each key once. Keys that are never scanned are hashed, without a secret: runs are a function of their input.
#[derive(Debug, Default)]
pub(super) struct Layer {
    points: HashMap<Bytes, Change, BuildHasherDefault<DefaultHasher>>,
    ordered: BTreeMap<Bytes, Change>,
    bytes: usize,
}

impl Layer {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty() && self.ordered.is_empty()
    }

    pub(super) fn get(&self, access: Access, key: &[u8]) -> Option<&Change> {
        match access {
            Access::Point => self.points.get(key),
            Access::Ordered => self.ordered.get(key),
        }
    }

    /// The changes from `from` on, before `to`, in order.
    pub(super) fn range(&self, from: &Bytes, to: Option<&Bytes>) -> impl Iterator<Item = (&Bytes, &Change)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        self.ordered.range::<Bytes, _>((Included(from), to.map_or(Unbounded, Excluded)))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Change)> {
        self.points.iter().chain(&self.ordered)
    }

    /// All of them, with how each is found.
    pub(super) fn into_changes(self) -> impl Iterator<Item = (Access, Bytes, Change)> {
        let points = self.points.into_iter().map(|(key, change)| (Access::Point, key, change));
        points.chain(self.ordered.into_iter().map(|(key, change)| (Access::Ordered, key, change)))
    }

    fn get_mut(&mut self, access: Access, key: &[u8]) -> Option<&mut Change> {
        match access {
            Access::Point => self.points.get_mut(key),
            Access::Ordered => self.ordered.get_mut(key),
        }
    }

    fn insert(&mut self, access: Access, key: &[u8], change: Change) {
        self.bytes += CHANGE_BYTES + key.len() + change.bytes();
        let key = Bytes::copy_from_slice(key);
        match access {
            Access::Point => self.points.insert(key, change),
            Access::Ordered => self.ordered.insert(key, change),
        };
    }

    /// Sets a value. A key that is changed again and again allocates nothing.
    pub(super) fn put(&mut self, access: Access, key: &[u8], value: &[u8]) {
        let Some(change) = self.get_mut(access, key) else {
            return self.insert(access, key, Change::Put(value.to_vec()));
        };
        let before = change.bytes();
        match change {
            Change::Put(known) => {
                known.clear();
                known.extend_from_slice(value);
            }
            _ => *change = Change::Put(value.to_vec()),
        }
        self.bytes = self.bytes + value.len() - before;
    }

    pub(super) fn delete(&mut self, access: Access, key: &[u8]) {
        match self.get_mut(access, key) {
            Some(change) => {
                let before = change.bytes();
                *change = Change::Delete;
                self.bytes -= before;
            }
            None => self.insert(access, key, Change::Delete),
        }
    }

    /// Folds an operand into what becomes of a key.
    pub(super) fn merge(&mut self, key: &[u8], operator: MergeOperator, operand: &[u8]) -> Result<(), StateError> {
        let Some(change) = self.points.get_mut(key) else {
            self.insert(Access::Point, key, Change::Merge(operator, operand.to_vec()));
            return Ok(());
        };
        let before = change.bytes();
        match change {
            Change::Delete => *change = Change::Put(operand.to_vec()),
            Change::Put(value) => fold(operator, value, operand)?,
            Change::Merge(known, value) => {
                assert!(*known == operator, "a state has one operator");
                fold(operator, value, operand)?;
            }
        }
        self.bytes = self.bytes + change.bytes() - before;
        Ok(())
    }
}

/// Folds an operand into a value as the server does.
pub(super) fn fold(operator: MergeOperator, value: &mut Vec<u8>, operand: &[u8]) -> Result<(), StateError> {
    match operator {
        MergeOperator::Append => {
            let bytes = value.len() + operand.len();
            if bytes > VALUE_BYTES_MAX {
                return Err(StateError::TooLarge { what: "merged value", bytes, bytes_max: VALUE_BYTES_MAX });
            }
            value.extend_from_slice(operand);
        }
        MergeOperator::AddI64 if value.len() == 8 && operand.len() == 8 => {
            let of = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("it has eight bytes"));
            let sum = of(value).wrapping_add(of(operand));
            value.copy_from_slice(&sum.to_be_bytes());
        }
        _ => {
            let tag = u8::try_from(operator.wire() as i32).ok();
            let stored = tag.and_then(Stored::from_tag).expect("the engine has every operator");
            let folded = stored.fold(Some(value), [operand]);
            let damaged =
                |_| StateError::Damaged { what: "value", error: DecodeError::Invalid { field: operator.name() } };
            *value = folded.map_err(damaged)?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(StateError::TooLarge {
                    what: "merged value",
                    bytes: value.len(),
                    bytes_max: VALUE_BYTES_MAX,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use MergeOperator::{AddI64, Append, MaxF64, SetUnion};

    #[test]
    fn the_newest_change_of_a_key_is_kept() {
        let mut layer = Layer::default();
        let three = 3i64.to_be_bytes();
        layer.merge(b"n", AddI64, &three).unwrap();
        layer.merge(b"n", AddI64, &(-5i64).to_be_bytes()).unwrap();
        assert_eq!(layer.get(Access::Point, b"n"), Some(&Change::Merge(AddI64, (-2i64).to_be_bytes().to_vec())));
        layer.delete(Access::Point, b"n");
        layer.merge(b"n", AddI64, &three).unwrap();
        assert_eq!(layer.get(Access::Point, b"n"), Some(&Change::Put(three.to_vec())), "what was before is gone");
        layer.merge(b"n", AddI64, &three).unwrap();
        assert_eq!(layer.get(Access::Point, b"n"), Some(&Change::Put(6i64.to_be_bytes().to_vec())));
        assert_eq!(layer.bytes(), CHANGE_BYTES + 1 + 8);
        layer.put(Access::Point, b"n", b"long value");
        layer.delete(Access::Ordered, b"n");
        assert_eq!(layer.bytes(), 2 * (CHANGE_BYTES + 1) + 10);
        layer.delete(Access::Point, b"n");
        assert_eq!((layer.bytes(), layer.iter().count()), (2 * (CHANGE_BYTES + 1), 2));
    }

    #[test]
    fn a_merged_value_has_its_limit() {
        let mut value = vec![0; VALUE_BYTES_MAX - 1];
        fold(Append, &mut value, &[1]).unwrap();
        assert!(matches!(fold(Append, &mut value, &[1]), Err(StateError::TooLarge { .. })));
        let mut value = 1.5f64.to_be_bytes().to_vec();
        fold(MaxF64, &mut value, &2.5f64.to_be_bytes()).unwrap();
        assert_eq!(value, 2.5f64.to_be_bytes());
        assert!(matches!(fold(SetUnion, &mut vec![9], &[]), Err(StateError::Damaged { .. })));
    }
}
