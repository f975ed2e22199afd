//! From the wire to the machine, and back.

use std::time::Duration;

use bytes::Bytes;
use lentic_engine::feed::{FeedEvent, FeedLimits, FeedPage};
use lentic_engine::{Found, MergeOperator};
use lentic_machine::shard::{Condition, Expected, Operation, RangeRead, RequestKey, Token, Write};
use lentic_proto::v1::{self, Failure};
use lentic_types::{ClientId, Expiry, KeyRange, Position, Version, limits};

use crate::failure;
use crate::shard::feed::Poll;
use crate::shard::queue::Cost;

/// What a small operation costs in memory beyond its bytes.
pub(crate) const OPERATION_BYTES: usize = 64;
/// What a request costs in memory beyond its operations.
pub(crate) const HEAD_BYTES: usize = 64;

/// A write, with what it costs.
pub(crate) fn write(request: v1::WriteRequest) -> Result<(Option<RequestKey>, Write, Cost), Failure> {
    let key = request.key.as_ref().map(request_key).transpose()?;
    let mut cost = Cost { bytes: HEAD_BYTES, operations: request.operations.len() + request.conditions.len() };
    let mut conditions = Vec::with_capacity(request.conditions.len());
    for (position, condition) in request.conditions.into_iter().enumerate() {
        cost.bytes += OPERATION_BYTES + condition.key.len();
        conditions.push(self::condition(condition).ok_or_else(|| missing("condition", position))?);
    }
    let mut operations = Vec::with_capacity(request.operations.len());
    for (position, operation) in request.operations.into_iter().enumerate() {
        let operation = operation.operation.ok_or_else(|| missing("operation", position))?;
        let operation = self::operation(operation, position)?;
        cost.bytes += OPERATION_BYTES + operation.bytes();
        operations.push(operation);
    }
    let fence = request.fence.map(|token| Token(Version(token)));
    Ok((key, Write { fence, conditions, ranges: Vec::new(), operations }, cost))
}

/// A transaction's parts, each with its table's name.
type NamedParts = Vec<(String, Write)>;

/// A transaction: its key and its parts.
pub(crate) fn transaction(request: v1::TransactRequest) -> Result<(Option<RequestKey>, NamedParts), Failure> {
    let key = request.key.as_ref().map(request_key).transpose()?;
    let (mut read, mut written) = (0, 0);
    let mut parts = Vec::with_capacity(request.parts.len());
    for part in request.parts {
        let mut write = Write { fence: part.fence.map(|token| Token(Version(token))), ..Write::default() };
        for condition in part.conditions {
            write.conditions.push(self::condition(condition).ok_or_else(|| missing("condition", read))?);
            read += 1;
        }
        for range in part.ranges {
            let since = Version(range.since);
            let range = self::range(range.start, range.end).map_err(|failure| failure.at_position(read))?;
            write.ranges.push(RangeRead { range, since });
            read += 1;
        }
        for operation in part.operations {
            let operation = operation.operation.ok_or_else(|| missing("operation", written))?;
            write.operations.push(self::operation(operation, written)?);
            written += 1;
        }
        parts.push((part.table, write));
    }
    Ok((key, parts))
}

pub(crate) fn request_key(key: &v1::RequestKey) -> Result<RequestKey, Failure> {
    if key.issued == 0 {
        return Err(failure::invalid("the key's `issued` is 0; give the newest version known when it was made"));
    }
    if key.acked_below > key.sequence {
        return Err(failure::invalid("the key's `acked_below` is above its `sequence`; it is at most the sequence"));
    }
    Ok(RequestKey {
        client: ClientId(key.client),
        sequence: key.sequence,
        acked_below: key.acked_below,
        issued: Version(key.issued),
    })
}

fn condition(condition: v1::Condition) -> Option<Condition> {
    use v1::condition::Expected as Wire;
    let expected = match condition.expected? {
        Wire::Exists(_) => Expected::Exists,
        Wire::Absent(_) => Expected::Absent,
        Wire::VersionIs(version) => Expected::VersionIs(Version(version)),
        Wire::ValueIs(value) => Expected::ValueIs(value),
        Wire::UnchangedSince(version) => Expected::UnchangedSince(Version(version)),
    };
    Some(Condition { key: condition.key, expected })
}

fn operation(operation: v1::operation::Operation, position: usize) -> Result<Operation, Failure> {
    use v1::operation::Operation as Wire;
    Ok(match operation {
        Wire::Put(put) => {
            Operation::Put { key: put.key, value: put.value, expiry: expiry(put.expires_unix_ms, position)? }
        }
        Wire::Delete(delete) => Operation::Delete { key: delete.key },
        Wire::DeleteRange(range) => Operation::DeleteRange { range: self::range(range.start, range.end)? },
        Wire::Merge(merge) => Operation::Merge {
            operator: operator(merge.operator).ok_or_else(|| missing("merge operator", position))?,
            key: merge.key,
            operand: merge.operand,
            expiry: expiry(merge.expires_unix_ms, position)?,
        },
    })
}

fn operator(number: i32) -> Option<MergeOperator> {
    MergeOperator::from_tag(u8::try_from(number).ok()?)
}

fn expiry(unix_ms: Option<u64>, position: usize) -> Result<Option<Expiry>, Failure> {
    unix_ms.map(lentic_proto::expiry).transpose().map_err(|failure| failure.at_position(position))
}

/// The range of a request; an empty one is refused.
pub(crate) fn range(start: Bytes, end: Option<Bytes>) -> Result<KeyRange, Failure> {
    KeyRange::new(start, end).map_err(|error| failure::invalid(error.to_string()))
}

/// A value, as the wire has it.
pub(crate) fn value(found: Found) -> v1::Value {
    v1::Value {
        value: found.value,
        version: found.version.0,
        expires_unix_ms: found.expiry.map(lentic_proto::expiry_unix_ms),
    }
}

/// Bytes of a page of a feed that asks for none.
const FEED_PAGE_BYTES: usize = 1 << 20;

/// What a follower of a range asks for.
pub(crate) fn poll(request: v1::FeedRequest) -> Result<Poll, Failure> {
    let range = self::range(request.start, request.end)?;
    let after = request.after.unwrap_or_default();
    if after.key.as_ref().is_some_and(|key| key.len() > limits::KEY_BYTES_MAX) {
        return Err(failure::invalid("the key of the position is longer than a key can be; give what an answer gave"));
    }
    let bytes_max = match usize::try_from(request.page_bytes).unwrap_or(usize::MAX) {
        0 => FEED_PAGE_BYTES,
        bytes => bytes.min(limits::FEED_BYTES_MAX),
    };
    let wait = Duration::from_millis(u64::from(request.wait_ms.min(limits::FEED_WAIT_MS_MAX)));
    let after = Position { version: Version(after.version), key: after.key };
    Ok(Poll { range, after, limits: FeedLimits { bytes_max, ..FeedLimits::default() }, wait })
}

/// A page of a feed, as the wire has it.
pub(crate) fn feed_page(page: FeedPage) -> v1::FeedResponse {
    let Position { version, key } = page.next;
    let next = Some(v1::FeedPosition { version: version.0, key });
    v1::FeedResponse { events: page.events.into_iter().map(feed_event).collect(), next, rest: None }
}

fn feed_event(event: FeedEvent) -> v1::FeedEvent {
    use v1::feed_event::Event;
    let event = match event {
        FeedEvent::Change { key, version, value } => {
            let expires_unix_ms = value.as_ref().and_then(|found| found.expiry).map(lentic_proto::expiry_unix_ms);
            let value = value.map(|found| found.value);
            Event::Change(v1::FeedChange { key, version: version.0, value, expires_unix_ms })
        }
        FeedEvent::RolledBack(mask) => Event::RolledBack(v1::FeedRollback {
            start: mask.range.start().clone(),
            end: mask.range.end().cloned(),
            to: mask.from.0,
            version: mask.end.0,
        }),
    };
    v1::FeedEvent { event: Some(event) }
}

fn missing(what: &str, position: usize) -> Failure {
    let mut failure = failure::invalid(format!("{what} {position} says nothing this release knows; check the client"));
    failure.position = u32::try_from(position).ok();
    failure
}
