//! A group's own state: group (8 bytes), kind (1 byte), and what the kind adds.

use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::{GroupId, Index};

use crate::store::{Batch, Bounds, Family, StoreError, View};

/// The kinds of state a group keeps. Numbers are part of the format and never reused; 0x05 was one answer, 0x09 the mark of
/// a state in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SysKind {
    /// The index of the last entry applied.
    Applied = 0x01,
    /// The shard's range, epoch and watermark.
    Descriptor = 0x02,
    /// An owned range and its token.
    Fence = 0x03,
    /// An interval of versions hidden in a range.
    Mask = 0x04,
    /// The newest stamp, the version below which answers may be forgotten, and how old the shard is.
    Stamp = 0x06,
    /// The id of the last entry applied and the members then: replication's own, opaque here.
    Replica = 0x07,
    /// A row of the meta group: nodes, tables, shards, counters.
    Meta = 0x08,
    /// What the requests of one entry that had idempotency keys were told.
    Answers = 0x0a,
    /// A transaction that is prepared, or decided and not resolved everywhere.
    Txn = 0x0b,
    /// A transaction that has ended here: a late prepare of it is refused.
    Ended = 0x0c,
    /// Up to which version of their last prepare ended transactions may have been let go of.
    TxnHorizon = 0x0d,
    /// The pins that a shard knows of.
    Pins = 0x0e,
    /// A branch's shard that rides in the group, or did.
    Rider = 0x0f,
    /// Of a branch's shard: which shard it is a branch of, and at which version.
    Base = 0x10,
    /// The last entry that changed which branches' shards ride in the group.
    RidersChanged = 0x11,
    /// The entry of the last split that the shard came out of.
    Born = 0x12,
}

/// The key of `group`'s state of one kind; `suffix` tells several of the kind apart.
#[must_use]
pub fn key(group: GroupId, kind: SysKind, suffix: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + suffix.len());
    out.extend_from_slice(&group.0.to_be_bytes());
    out.push(kind as u8);
    out.extend_from_slice(suffix);
    out
}

/// The bounds of all of `group`'s state of one kind.
#[must_use]
pub fn bounds(group: GroupId, kind: SysKind) -> Bounds {
    let mut upper = key(group, kind, &[]);
    *upper.last_mut().expect("a sys key ends with its kind") += 1;
    Bounds::Range { lower: key(group, kind, &[]), upper: Some(upper) }
}

/// The bounds of all of `group`'s state.
#[must_use]
pub fn group_bounds(group: GroupId) -> Bounds {
    let upper = group.0.checked_add(1).map(|next| next.to_be_bytes().to_vec());
    Bounds::Range { lower: group.0.to_be_bytes().to_vec(), upper }
}

/// The key of the applied index. A store reads it to know what a crash would come back with.
#[must_use]
pub fn applied_key(group: GroupId) -> Vec<u8> {
    key(group, SysKind::Applied, &[])
}

/// Records in `batch` that everything up to `index` is applied once the batch is.
pub fn put_applied(batch: &mut Batch, group: GroupId, index: Index) {
    batch.put_with(Family::Sys, |out| out.extend_from_slice(&applied_key(group)), |out| put_varint(out, index.0));
}

/// The applied index of `group` as `view` sees it; index 0 if nothing was applied.
pub fn applied(view: &impl View, group: GroupId) -> Result<Index, StoreError> {
    let key = applied_key(group);
    match view.get(Family::Sys, &key)? {
        None => Ok(Index(0)),
        Some(value) => decode_applied(&value).map_err(|reason| StoreError::damaged(Family::Sys, &key, reason)),
    }
}

/// Decodes the value behind [`applied_key`].
pub fn decode_applied(value: &[u8]) -> Result<Index, DecodeError> {
    let mut reader = Reader::new(value);
    let index = Index(reader.varint("applied index")?);
    reader.finish("applied index")?;
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        assert_eq!(key(GroupId(3), SysKind::Mask, b"x"), b"\x00\x00\x00\x00\x00\x00\x00\x03\x04x");
        assert_eq!(applied_key(GroupId(256)), b"\x00\x00\x00\x00\x00\x00\x01\x00\x01");
        let mut batch = Batch::new();
        put_applied(&mut batch, GroupId(1), Index(300));
        let crate::store::Change::Put(_, _, value) = batch.change(0) else { panic!("a put") };
        assert_eq!(value, [0xac, 0x02]);
        assert_eq!(decode_applied(value), Ok(Index(300)));
    }

    #[test]
    fn bounds_hold_one_kind_of_one_group() {
        let Bounds::Range { lower, upper } = bounds(GroupId(7), SysKind::Fence) else { panic!("a range") };
        let inside = |key: Vec<u8>| key >= lower && key < upper.clone().expect("an upper bound");
        assert!(inside(key(GroupId(7), SysKind::Fence, b"")));
        assert!(inside(key(GroupId(7), SysKind::Fence, &[0xff; 9])));
        assert!(!inside(key(GroupId(7), SysKind::Mask, b"")));
        assert!(!inside(key(GroupId(7), SysKind::Descriptor, &[0xff; 9])));
        assert!(!inside(key(GroupId(8), SysKind::Fence, b"")));
    }
}
