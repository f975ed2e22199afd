//! From an operation to the record it leaves.
//!
//! Puts and deletes are blind: they read nothing. A merge needs the [`Head`] of its key, which the caller keeps or
//! reads, and, once in a while, the whole value.

use std::borrow::Cow;

use bytes::Bytes;
use lentic_types::{Expiry, TableId, Version};

use crate::keys::data;
use crate::merge::{MergeError, MergeOperator, Merged};
use crate::read::{Head, ReadAt, ReadError, ReadStats};
use crate::record::Record;
use crate::store::{Batch, Family, View};

/// Adds `record` of `key` at `version` to `batch`.
pub fn record(batch: &mut Batch, table: TableId, key: &[u8], version: Version, record: &Record<'_>) {
    batch.put_with(Family::Data, |out| data::put(out, table, key, version), |out| record.encode(out));
}

/// A merge of one operand into one key.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// How the operand folds.
    pub operator: MergeOperator,
    /// The operand.
    pub operand: &'a [u8],
    /// When the merged value ends; `None` leaves the end that the value has.
    pub expiry: Option<Expiry>,
}

/// Adds what `merge` leaves above `head` to `batch`, at the version of `at`, and returns the key's new head.
///
/// `at` and `view` show the key as `head` does; they are read only when a chain must be folded. The inner error is the
/// answer to the request: nothing was added then.
pub fn merge<V: View>(
    batch: &mut Batch,
    view: &V,
    at: &ReadAt<'_>,
    head: &Head,
    merge: &Merge<'_>,
    stats: &mut ReadStats,
) -> Result<Result<Head, MergeError>, ReadError> {
    let mut merged = merge.operator.place(head, merge.operand);
    // A cell holds one record: onto an earlier write of the same version, an operand would take its base's place. And in
    // a branch, what the parent has is no base: chains do not go from one table to another.
    let lacks_base = |version| version == at.version || at.is_of_layer(version);
    let lacks_base = matches!(merged, Ok(Merged::Operand(_))) && head.version().is_some_and(lacks_base);
    if lacks_base || merged == Ok(Merged::NeedsValue) {
        let value = at.get(view, merge.key, stats)?.map(|found| found.value).unwrap_or_default();
        merged = merge.operator.fold_to_put(&value, merge.operand);
    }
    let (version, expiry) = (at.version, merge.expiry.or_else(|| head.expiry()));
    Ok(merged.map(|merged| match merged {
        Merged::Put(value) => {
            record(batch, at.table, merge.key, version, &Record::Put { value: &value, expiry });
            Head::Put { version, value: owned(value), expiry }
        }
        Merged::Operand(operand) => {
            record(batch, at.table, merge.key, version, &Record::Operand { operand, expiry });
            let (operator, depth, folded_bytes) = (operand.operator, operand.depth, operand.folded_bytes);
            Head::Operand { version, operator, depth, folded_bytes, expiry }
        }
        Merged::NeedsValue => unreachable!("the value was read"),
    }))
}

fn owned(value: Cow<'_, [u8]>) -> Bytes {
    match value {
        Cow::Owned(value) => value.into(),
        Cow::Borrowed(value) => Bytes::copy_from_slice(value),
    }
}
