//! Conditions and operations to send together.

use bytes::Bytes;
use lentic_proto::v1::condition::Expected;
use lentic_proto::v1::{self, operation};
use lentic_types::{KeyRange, Version};

use crate::merge::MergeOperator;
use crate::owners::Fence;

/// Conditions and operations that take effect together or not at all, in the order in which they were added: a later
/// operation sees the earlier ones. Conditions are judged before all operations.
///
/// ```
/// use lentic_client::WriteBatch;
/// let batch = WriteBatch::new().if_absent("lock/a").put("lock/a", "me").delete("queue/a");
/// assert_eq!((batch.conditions(), batch.operations()), (1, 2));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteBatch {
    pub(crate) fence: Option<u64>,
    pub(crate) conditions: Vec<v1::Condition>,
    pub(crate) ranges: Vec<v1::RangeRead>,
    pub(crate) operations: Vec<v1::Operation>,
}

impl WriteBatch {
    /// A batch that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value.
    #[must_use]
    pub fn put(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.with(put(key.into(), value.into(), None))
    }

    /// Sets a value that ends at a time, in milliseconds since 1970, from 2020 to 2159. The end is judged against the
    /// versions of readers.
    #[must_use]
    pub fn put_with(self, key: impl Into<Bytes>, value: impl Into<Bytes>, expires_unix_ms: u64) -> Self {
        self.with(put(key.into(), value.into(), Some(expires_unix_ms)))
    }

    /// Removes a value, if there is one.
    #[must_use]
    pub fn delete(self, key: impl Into<Bytes>) -> Self {
        self.with(delete(key.into()))
    }

    /// Removes the values of all keys in a range: at most 10,000, else the batch is refused as too large.
    #[must_use]
    pub fn delete_range(self, range: &KeyRange) -> Self {
        self.with(delete_range(range))
    }

    /// Folds an operand into a value at the server. The value keeps its end.
    #[must_use]
    pub fn merge(self, key: impl Into<Bytes>, operator: MergeOperator, operand: impl Into<Bytes>) -> Self {
        self.with(merge(key.into(), operator, operand.into(), None))
    }

    /// Folds an operand into a value at the server, and sets when the value ends, in milliseconds since 1970.
    #[must_use]
    pub fn merge_with(
        self,
        key: impl Into<Bytes>,
        operator: MergeOperator,
        operand: impl Into<Bytes>,
        expires_unix_ms: u64,
    ) -> Self {
        self.with(merge(key.into(), operator, operand.into(), Some(expires_unix_ms)))
    }

    /// Requires that the key has a value.
    #[must_use]
    pub fn if_exists(self, key: impl Into<Bytes>) -> Self {
        self.require(key.into(), Expected::Exists(v1::Nothing {}))
    }

    /// Requires that the key has no value.
    #[must_use]
    pub fn if_absent(self, key: impl Into<Bytes>) -> Self {
        self.require(key.into(), Expected::Absent(v1::Nothing {}))
    }

    /// Requires that the key's value was last changed at `version`.
    #[must_use]
    pub fn if_version(self, key: impl Into<Bytes>, version: Version) -> Self {
        self.require(key.into(), Expected::VersionIs(version.0))
    }

    /// Requires that the key has this value.
    #[must_use]
    pub fn if_value(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.require(key.into(), Expected::ValueIs(value.into()))
    }

    /// Requires that nothing of the key has changed since it was read at `since`; otherwise the error is a conflict.
    #[must_use]
    pub fn if_unchanged(self, key: impl Into<Bytes>, since: Version) -> Self {
        self.require(key.into(), Expected::UnchangedSince(since.0))
    }

    /// Requires that no row of the range has come, gone or changed since it was read at `since`; otherwise the error is a
    /// conflict. For transactions ([`Client::commit`](crate::Client::commit)).
    #[must_use]
    pub fn if_range_unchanged(mut self, range: &KeyRange, since: Version) -> Self {
        let (start, end) = (range.start().clone(), range.end().cloned());
        self.ranges.push(v1::RangeRead { start, end, since: since.0 });
        self
    }

    /// Shows the fence under which the writer owns the keys: [`Table::acquire`](crate::Table::acquire). Without it, or with
    /// an older one, it fails as `Fenced`, and so it does with one for keys that nobody owns.
    #[must_use]
    pub fn fence(mut self, fence: impl Into<Fence>) -> Self {
        self.fence = Some(fence.into().0);
        self
    }

    /// How many conditions it has.
    #[must_use]
    pub const fn conditions(&self) -> usize {
        self.conditions.len()
    }

    /// How many operations it has.
    #[must_use]
    pub const fn operations(&self) -> usize {
        self.operations.len()
    }

    fn with(mut self, operation: v1::Operation) -> Self {
        self.operations.push(operation);
        self
    }

    fn require(mut self, key: Bytes, expected: Expected) -> Self {
        self.conditions.push(v1::Condition { key, expected: Some(expected) });
        self
    }
}

pub(crate) fn put(key: Bytes, value: Bytes, expires_unix_ms: Option<u64>) -> v1::Operation {
    operation::Operation::Put(v1::Put { key, value, expires_unix_ms }).into_message()
}

pub(crate) fn delete(key: Bytes) -> v1::Operation {
    operation::Operation::Delete(v1::Delete { key }).into_message()
}

pub(crate) fn delete_range(range: &KeyRange) -> v1::Operation {
    let (start, end) = (range.start().clone(), range.end().cloned());
    operation::Operation::DeleteRange(v1::DeleteRange { start, end }).into_message()
}

pub(crate) fn merge(
    key: Bytes,
    operator: MergeOperator,
    operand: Bytes,
    expires_unix_ms: Option<u64>,
) -> v1::Operation {
    let operator = operator.wire().into();
    operation::Operation::Merge(v1::Merge { key, operator, operand, expires_unix_ms }).into_message()
}

trait IntoMessage {
    fn into_message(self) -> v1::Operation;
}

impl IntoMessage for operation::Operation {
    fn into_message(self) -> v1::Operation {
        v1::Operation { operation: Some(self) }
    }
}

/// The keys that an operation touches: one, or a range.
pub(crate) enum Touched<'a> {
    Key(&'a Bytes),
    Range { start: &'a Bytes, end: Option<&'a Bytes> },
}

impl Touched<'_> {
    /// The first key.
    pub(crate) fn first(&self) -> &Bytes {
        match self {
            Self::Key(key) => key,
            Self::Range { start, .. } => start,
        }
    }

    /// Whether all of them lie in `range`.
    pub(crate) fn lies_in(&self, range: &KeyRange) -> bool {
        match self {
            Self::Key(key) => range.contains(key),
            Self::Range { start, end } => {
                let ends_inside = match (range.end(), end) {
                    (None, _) => true,
                    (Some(last), Some(end)) => *end <= last,
                    (Some(_), None) => false,
                };
                range.contains(start) && ends_inside
            }
        }
    }
}

/// What an operation touches. Those of a [`WriteBatch`] always touch something.
pub(crate) fn touched(operation: &v1::Operation) -> Touched<'_> {
    match operation.operation.as_ref().expect("a batch makes whole operations") {
        operation::Operation::Put(put) => Touched::Key(&put.key),
        operation::Operation::Delete(delete) => Touched::Key(&delete.key),
        operation::Operation::Merge(merge) => Touched::Key(&merge.key),
        operation::Operation::DeleteRange(range) => Touched::Range { start: &range.start, end: range.end.as_ref() },
    }
}

/// About how many bytes an operation adds to a request.
pub(crate) fn bytes_of(operation: &v1::Operation) -> usize {
    prost::Message::encoded_len(operation)
}
