//! Random histories.

use proptest::prelude::*;

use crate::merge::{MergeOperator, set};

/// One step of a history. Numbers are small on purpose, so that steps meet.
#[derive(Clone, Debug)]
pub enum Step {
    /// Puts a value that ends after some milliseconds, if given.
    Put(Vec<u8>, Vec<u8>, Option<u64>),
    /// Deletes a key.
    Delete(Vec<u8>),
    /// Merges an operand, perhaps of the wrong kind.
    Merge(Vec<u8>, MergeOperator, Vec<u8>, Option<u64>),
    /// Rolls the keys from the first to the second (or to the end) back by so many steps.
    Rollback(Vec<u8>, Option<Vec<u8>>, u64),
    /// Raises the watermark to so many steps ago.
    Raise(u64),
    /// Pins the version of so many steps ago.
    Pin(u64),
    /// Releases one of the pins.
    Unpin(usize),
    /// Goes on in a branch of the table.
    Branch,
    /// Collects garbage by the rules that are durable.
    Collect,
    /// Flushes the store.
    Flush,
    /// Loses all but some of the unflushed batches.
    Crash(usize),
}

/// Histories of up to `length` steps.
pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..=length)
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = || proptest::option::weighted(0.3, 1u64..12);
    let back = || prop_oneof![4 => 0u64..8, 1 => 0u64..40];
    prop_oneof![
        8 => (key(), value(), ttl()).prop_map(|(key, value, ttl)| Step::Put(key, value, ttl)),
        3 => key().prop_map(Step::Delete),
        10 => (key(), merge(), ttl()).prop_map(|(key, (operator, operand), ttl)| Step::Merge(key, operator, operand, ttl)),
        2 => (key(), proptest::option::of(key()), back()).prop_map(|(start, end, back)| Step::Rollback(start, end, back)),
        2 => back().prop_map(Step::Raise),
        2 => back().prop_map(Step::Pin),
        1 => (0usize..4).prop_map(Step::Unpin),
        1 => Just(Step::Branch),
        2 => Just(Step::Collect),
        2 => Just(Step::Flush),
        1 => (0usize..10).prop_map(Step::Crash),
    ]
}

/// A few keys, among them one that begins another and ones with the bytes that escapes must get right.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        b"a".to_vec(),
        b"a\0".to_vec(),
        b"a\0\x01".to_vec(),
        b"b".to_vec(),
        b"b\xff".to_vec(),
        b"c".to_vec(),
    ])
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let number = (-9i64..9).prop_map(|number| number.to_be_bytes().to_vec());
    let bytes = proptest::collection::vec(any::<u8>(), 0..4);
    let large = (1usize..4).prop_map(|hundreds| vec![b'x'; hundreds * 100]);
    prop_oneof![4 => number, 2 => bytes, 2 => large]
}

fn merge() -> impl Strategy<Value = (MergeOperator, Vec<u8>)> {
    let number = (0usize..6, -9i64..9).prop_map(|(position, number)| {
        let operand = if position % 2 == 0 { number.to_be_bytes() } else { (number as f64).to_be_bytes() };
        (MergeOperator::ALL[position].0, operand.to_vec())
    });
    let append = value().prop_map(|operand| (MergeOperator::Append, operand));
    let set = proptest::collection::vec(value(), 0..3)
        .prop_map(|members| (MergeOperator::SetUnion, set::encode(members.iter().map(Vec::as_slice))));
    let wrong = (prop::sample::select(MergeOperator::ALL.to_vec()), value())
        .prop_map(|((operator, _), operand)| (operator, operand));
    prop_oneof![3 => number, 4 => append, 3 => set, 1 => wrong]
}
