//! Random entries.

use bytes::Bytes;
use lentic_engine::{MergeOperator, merge::set};
use lentic_machine::shard::{Acquire, Action, Condition, Expected, Operation, Release, Rollback, Token, Write};
use lentic_types::{Expiry, KeyRange, Version};
use proptest::prelude::*;

/// Requests that share an entry, and what befalls the replicas after it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) requests: Vec<Draft>,
    /// Whether the gathering replica writes what it has gathered.
    pub(crate) is_written: bool,
    pub(crate) luck: Luck,
}

/// What befalls the unlucky replica.
#[derive(Clone, Debug)]
pub(crate) enum Luck {
    Nothing,
    Flush,
    Collect,
    Crash(usize),
}

/// A request before it is stamped.
#[derive(Clone, Debug)]
pub(crate) enum Draft {
    /// A new request; relative versions and tokens are filled in by the stamp. The flag: with an idempotency key.
    New(Action, bool),
    /// A copy of the request so many keyed requests ago.
    Copy(usize),
}

pub(crate) fn history(length: usize) -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(), 1..=length)
}

fn entry() -> impl Strategy<Value = Entry> {
    let luck = prop_oneof![
        5 => Just(Luck::Nothing),
        1 => Just(Luck::Flush),
        1 => Just(Luck::Collect),
        1 => (0usize..6).prop_map(Luck::Crash)
    ];
    (proptest::collection::vec(draft(), 0..4), any::<bool>(), luck).prop_map(|(requests, is_written, luck)| Entry {
        requests,
        is_written,
        luck,
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let action = prop_oneof![
        14 => write().prop_map(Action::Write),
        2 => (range(), owner(), any::<bool>()).prop_map(|(range, owner, force)| Action::Acquire(Acquire { range, owner, force })),
        1 => token().prop_map(|token| Action::Release(Release { token })),
        2 => (range(), back(), owner(), any::<bool>())
            .prop_map(|(range, to, owner, force)| Action::Rollback(Rollback { range, to, owner, force })),
        1 => back().prop_map(Action::RaiseWatermark),
        1 => (0u32..3).prop_map(|position| Action::Decline { position }),
    ];
    prop_oneof![8 => (action, any::<bool>()).prop_map(|(action, keyed)| Draft::New(action, keyed)), 1 => (0usize..4).prop_map(Draft::Copy)]
}

/// A version so many steps ago, to be resolved by the stamp; 0 is the request's own version.
fn back() -> impl Strategy<Value = Version> {
    prop_oneof![1 => Just(0u64), 6 => 1u64..6, 2 => 6u64..40].prop_map(Version)
}

/// A token by its place in the order they were given, newest first; beyond them, one never given.
fn token() -> impl Strategy<Value = Token> {
    (0u64..3).prop_map(|place| Token(Version(place)))
}

fn write() -> impl Strategy<Value = Write> {
    let conditions = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(condition(), 1..3)];
    let fence = proptest::option::weighted(0.4, token());
    (fence, conditions, proptest::collection::vec(operation(), 0..5))
        .prop_map(|(fence, conditions, operations)| Write { fence, conditions, operations })
}

fn condition() -> impl Strategy<Value = Condition> {
    let expected = prop_oneof![
        Just(Expected::Exists),
        Just(Expected::Absent),
        back().prop_map(Expected::VersionIs),
        value().prop_map(Expected::ValueIs),
    ];
    (key(), expected).prop_map(|(key, expected)| Condition { key, expected })
}

fn operation() -> impl Strategy<Value = Operation> {
    // Relative to the stamp, in milliseconds.
    let expiry = || proptest::option::weighted(0.2, (1u64..8).prop_map(Expiry));
    prop_oneof![
        5 => (key(), value(), expiry()).prop_map(|(key, value, expiry)| Operation::Put { key, value, expiry }),
        2 => key().prop_map(|key| Operation::Delete { key }),
        1 => range().prop_map(|range| Operation::DeleteRange { range }),
        8 => (key(), merge(), expiry()).prop_map(|(key, (operator, operand), expiry)| Operation::Merge { key, operator, operand, expiry }),
    ]
}

/// Keys of one byte: ranges begin and end at them. The last lies outside the shard.
fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![30 => b'a'..b'f', 1 => Just(b'z')].prop_map(|byte| Bytes::copy_from_slice(&[byte]))
}

fn range() -> impl Strategy<Value = KeyRange> {
    (b'a'..b'f', b'b'..b'g')
        .prop_filter_map("inside out", |(start, end)| KeyRange::new(vec![start], Some(vec![end])).ok())
}

fn owner() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just("job"), 1 => Just("other")].prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    let number = (-2i64..3).prop_map(|number| number.to_be_bytes().to_vec());
    prop_oneof![3 => number, 1 => Just(vec![b'x'; 150]), 1 => Just(vec![b'y'; 300])].prop_map(Bytes::from)
}

fn merge() -> impl Strategy<Value = (MergeOperator, Bytes)> {
    let number = (-2i64..3).prop_map(|number| Bytes::from(number.to_be_bytes().to_vec()));
    let one_set = value().prop_map(|member| Bytes::from(set::encode([&member[..]])));
    prop_oneof![
        3 => number.prop_map(|operand| (MergeOperator::AddI64, operand)),
        4 => value().prop_map(|operand| (MergeOperator::Append, operand)),
        2 => one_set.prop_map(|operand| (MergeOperator::SetUnion, operand)),
        1 => value().prop_map(|operand| (MergeOperator::MaxI64, operand)),
    ]
}
