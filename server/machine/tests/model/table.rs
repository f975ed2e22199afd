//! What readers see: worked out anew each time, from a list of all that was ever done.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_machine::shard::Operation;
use lentic_types::{Expiry, KeyRange, TxnId, Version};

/// A value: its version, its bytes and its end.
pub(crate) type Value = (Version, Vec<u8>, Option<Expiry>);
/// A table: values by key.
pub(crate) type Table = BTreeMap<Vec<u8>, Value>;

/// The keys of the shard.
pub(crate) fn shard_range() -> KeyRange {
    KeyRange::new("a", Some("g")).expect("in order")
}

/// All keys that histories name, of one byte each.
pub(crate) fn keys(range: &KeyRange) -> impl Iterator<Item = Bytes> {
    (b'a'..=b'z').map(|key| Bytes::copy_from_slice(&[key])).filter(|key| range.contains(key))
}

/// Something that was done. Of one version, what the older transaction did comes first.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) version: Version,
    pub(crate) txn: Option<TxnId>,
    pub(crate) what: What,
}

/// What was done.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A put, a delete or a merge.
    Change(Operation),
    /// A range shows what it did at a version.
    Rollback(KeyRange, Version),
}

/// The key of a put, a delete or a merge.
pub(crate) fn key_of(operation: &Operation) -> &Bytes {
    match operation {
        Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => key,
        Operation::DeleteRange { .. } => panic!("delete-ranges are made deletes"),
    }
}

impl Done {
    /// A change at a version of a table whose values live for `ttl_ms`, if their writers do not say.
    pub(crate) fn change(version: Version, txn: Option<TxnId>, mut operation: Operation, ttl_ms: u64) -> Self {
        if let Operation::Put { expiry, .. } | Operation::Merge { expiry, .. } = &mut operation
            && ttl_ms > 0
        {
            expiry.get_or_insert(Expiry(version.ms() + ttl_ms));
        }
        Self { version, txn, what: What::Change(operation) }
    }

    fn changes(&self, key: &Bytes) -> bool {
        matches!(&self.what, What::Change(operation) if key_of(operation) == key)
    }
}

/// The value of `key` at a version, ended or not.
fn value_of(done: &[Done], key: &Bytes, at: Version) -> Option<Value> {
    let rollbacks = done.iter().filter_map(|one| match &one.what {
        What::Rollback(range, to) if range.contains(key) && one.version <= at => Some((one.version, *to)),
        _ => None,
    });
    let last = rollbacks.max();
    let mut value = last.and_then(|(_, to)| value_of(done, key, to));
    let since = last.map_or(Version::ZERO, |(version, _)| version);
    let mut changes: Vec<_> =
        done.iter().filter(|one| one.changes(key) && one.version > since && one.version <= at).collect();
    // Stable: what was done at one version by one writer keeps its order.
    changes.sort_by_key(|one| (one.version, one.txn));
    for Done { version, what, .. } in changes {
        let What::Change(operation) = what else { continue };
        value = change(value, *version, operation).expect("what was done was possible");
    }
    value
}

/// What an operation makes of a value at `version`; `None` if it is of another kind.
#[expect(clippy::option_option, reason = "the outer one is a refusal, the inner one a deleted value")]
fn change(value: Option<Value>, version: Version, operation: &Operation) -> Option<Option<Value>> {
    Some(match operation {
        Operation::Put { value, expiry, .. } => Some((version, value.to_vec(), *expiry)),
        Operation::Delete { .. } => None,
        Operation::Merge { operator, operand, expiry, .. } => {
            let below = value.filter(|value| !is_over(value, version));
            let folded = operator.fold(below.as_ref().map(|value| value.1.as_slice()), [&operand[..]]).ok()?;
            Some((version, folded, expiry.or(below.and_then(|value| value.2))))
        }
        Operation::DeleteRange { .. } => panic!("delete-ranges are made deletes"),
    })
}

fn is_over(value: &Value, at: Version) -> bool {
    value.2.is_some_and(|expiry| expiry.is_over_at(at))
}

/// The value of `key` that a reader at `at` sees.
pub(crate) fn seen(done: &[Done], key: &Bytes, at: Version) -> Option<Value> {
    value_of(done, key, at).filter(|value| !is_over(value, at))
}

/// The table that a reader at `at` sees.
pub(crate) fn table_at(done: &[Done], at: Version) -> Table {
    keys(&shard_range()).filter_map(|key| Some((key.to_vec(), seen(done, &key, at)?))).collect()
}

/// Whether readers at `now` may see a key otherwise than at `since`: `Err`; or else when what they see ends.
pub(crate) fn unchanged(done: &[Done], key: &Bytes, since: Version, now: Version) -> Result<Option<Expiry>, ()> {
    let is_new = |one: &Done| match &one.what {
        What::Change(_) => one.changes(key) && one.version > since,
        What::Rollback(range, _) => range.contains(key) && one.version > since,
    };
    let (before, after) = (seen(done, key, since), seen(done, key, now));
    if done.iter().any(is_new) || before != after { Err(()) } else { Ok(after.and_then(|value| value.2)) }
}

/// Does operations at `version`, one after the other, on top of what was done; delete-ranges become deletes of what they
/// find. The error is the place of one that cannot be.
pub(crate) fn expand<'a>(
    done: &[Done],
    version: Version,
    operations: impl IntoIterator<Item = &'a Operation>,
) -> Result<Vec<Operation>, u32> {
    let mut table = table_at(done, version);
    let mut expanded = Vec::new();
    for (position, operation) in (0u32..).zip(operations) {
        let one_by_one: Vec<Operation> = match operation {
            Operation::DeleteRange { range } => {
                // What an earlier operation made, and has ended already, is not found.
                let found = table.iter().filter(|(key, value)| range.contains(key) && !is_over(value, version));
                found.map(|(key, _)| Operation::Delete { key: key.clone().into() }).collect()
            }
            operation => vec![operation.clone()],
        };
        for operation in &one_by_one {
            let key = key_of(operation).to_vec();
            match change(table.remove(&key), version, operation).ok_or(position)? {
                Some(value) => drop(table.insert(key, value)),
                None => drop(table.remove(&key)),
            }
        }
        expanded.extend(one_by_one);
    }
    Ok(expanded)
}
