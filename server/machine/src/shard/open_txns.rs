//! Open and ended transactions in the store, beside their image: what changes one changes both.
//!
//! ```text
//! family sys   group 0b id                txn: 02 until version valid-until anchor key n participant* n range* decision resolved (00 | 01 take)
//!              group 0c until id          ended: decision
//!              group 0d                   horizon: version
//! family lock  table key id               lock: mode version n operation*
//! anchor       table key                  valid-until  00 | 01 expiry
//! participant  table range                decision     00 none, 01 version: commit, 02: abort
//! mode         00 read, 01 put, 02 operator: merge, 03 write
//! ```

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::keys::{data, lock as lock_key};
use lentic_engine::{Batch, Cursor, Family, MergeOperator, StoreError, View};
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{Expiry, GroupId, TableId, TxnId, Version};

use super::apply::Context;
use super::codec::{Decoder, decode_range, encode_range, encode_take};
use super::command::{Anchor, Participant, TxnRef};
use super::locks::{Lock, Locks, Mode, OpenTxn};
use super::outcome::Decision;
use super::state::{Descriptor, Shard, load_all};

const FORMAT: u8 = 0x02;

impl Shard {
    /// Whether the transaction is decided here.
    pub(super) fn is_anchor(&self, txn: &TxnRef) -> bool {
        txn.anchor.table == self.descriptor.table && self.descriptor.range.contains(&txn.anchor.key)
    }

    /// Whether a prepare that is stamped `version` comes too late: it may have ended before, and that need not be known.
    pub(super) fn is_late(&self, txn: &TxnRef, version: Version) -> bool {
        version >= txn.until || txn.until <= self.locks.horizon()
    }

    /// Opens a transaction, without locks yet.
    pub(super) fn open_txn(&mut self, batch: &mut Batch, open: OpenTxn) {
        let id = open.txn.id;
        self.locks.insert(open);
        self.put_txn(batch, id);
    }

    /// Writes what is known of an open transaction.
    pub(super) fn put_txn(&self, batch: &mut Batch, txn: TxnId) {
        let open = self.locks.get(txn).expect("the transaction is open");
        batch.put(Family::Sys, &sys::key(self.group, SysKind::Txn, &txn.to_bytes()), &encode_open(open));
    }

    /// Writes all transactions, open or ended, as the shard has them.
    pub(super) fn put_locks(&self, batch: &mut Batch) {
        self.locks.open().for_each(|open| self.put_txn(batch, open.txn.id));
        for (txn, until, decision) in self.locks.all_ended() {
            let mut value = Vec::new();
            encode_decision(&mut value, Some(decision));
            batch.put(Family::Sys, &ended_key(self.group, until, txn), &value);
        }
        self.put_horizon(batch);
    }

    /// Writes the horizon of ended transactions, if there is one.
    fn put_horizon(&self, batch: &mut Batch) {
        let horizon = self.locks.horizon();
        if horizon > Version::ZERO {
            let key = sys::key(self.group, SysKind::TxnHorizon, &[]);
            batch.put_with(Family::Sys, |out| out.extend_from_slice(&key), |out| put_varint(out, horizon.0));
        }
    }

    /// Places a lock of an open transaction.
    pub(super) fn place_lock(&mut self, batch: &mut Batch, txn: TxnId, key: Bytes, lock: Lock) {
        let table = self.descriptor.table;
        batch.put_with(Family::Lock, |out| lock_key::put(out, table, &key, txn), |out| encode_lock(out, &lock));
        self.locks.lock(txn, key, lock);
    }

    /// Removes a lock.
    pub(super) fn remove_lock(&mut self, batch: &mut Batch, txn: TxnId, key: &Bytes) -> Lock {
        let mut row = Vec::new();
        lock_key::put(&mut row, self.descriptor.table, key, txn);
        batch.delete(Family::Lock, &row);
        self.locks.unlock(txn, key)
    }

    /// Closes an open transaction if it is done with here, and says whether it is.
    pub(super) fn end_if_done<V: View>(&mut self, txn: TxnId, context: &mut Context<'_, '_, V>) -> bool {
        let is_done = self.locks.is_done(txn);
        if is_done {
            let open = self.locks.end(txn);
            let batch = context.overlay.batch();
            batch.delete(Family::Sys, &sys::key(self.group, SysKind::Txn, &txn.to_bytes()));
            self.put_ended(batch, &open.txn, open.decision.expect("what ends is decided"));
            context.locks.ended.push(txn);
        }
        is_done
    }

    /// Closes a transaction that is not open here, so that it never is.
    pub(super) fn end_txn(&mut self, batch: &mut Batch, txn: &TxnRef, decision: Decision) {
        self.locks.note_end(txn.id, txn.until, decision);
        self.put_ended(batch, txn, decision);
    }

    fn put_ended(&self, batch: &mut Batch, txn: &TxnRef, decision: Decision) {
        let mut value = Vec::new();
        encode_decision(&mut value, Some(decision));
        batch.put(Family::Sys, &ended_key(self.group, txn.until, txn.id), &value);
    }

    /// Lets go of transactions that have ended and are too old to be prepared, at the end of an entry of so many requests:
    /// more than can have ended with it.
    pub(super) fn forget_ended(&mut self, batch: &mut Batch, requests: usize) {
        let horizon = self.locks.horizon();
        for _ in 0..2 * requests + 2 {
            let Some((until, txn)) = self.locks.forget_one(self.newest) else { break };
            batch.delete(Family::Sys, &ended_key(self.group, until, txn));
        }
        if self.locks.horizon() != horizon {
            self.put_horizon(batch);
        }
    }
}

fn ended_key(group: GroupId, until: Version, txn: TxnId) -> Vec<u8> {
    let mut suffix = until.0.to_be_bytes().to_vec();
    suffix.extend_from_slice(&txn.to_bytes());
    sys::key(group, SysKind::Ended, &suffix)
}

/// All that the store has of a shard's transactions.
pub(super) fn load(view: &impl View, group: GroupId, descriptor: &Descriptor) -> Result<Locks, StoreError> {
    let mut locks = Locks::default();
    let key = sys::key(group, SysKind::TxnHorizon, &[]);
    if let Some(value) = view.get(Family::Sys, &key)? {
        let mut reader = Reader::new(&value);
        let horizon = reader.varint("horizon of transactions").and_then(|horizon| {
            reader.finish("horizon of transactions")?;
            Ok(Version(horizon))
        });
        locks.set_horizon(horizon.map_err(|reason| StoreError::damaged(Family::Sys, &key, reason))?);
    }
    for (txn, until, decision) in load_all(view, group, SysKind::Ended, decode_ended)? {
        locks.note_end(txn, until, decision);
    }
    for open in load_all(view, group, SysKind::Txn, decode_open)? {
        locks.insert(open);
    }
    if lentic_types::mutant!("locks-not-loaded") {
        return Ok(Locks::default());
    }
    let mut cursor = view.cursor(Family::Lock, data::bounds(descriptor.table, &descriptor.range))?;
    cursor.seek(&[])?;
    while let Some((key, value)) = cursor.entry() {
        let damaged = |reason: DecodeError| StoreError::damaged(Family::Lock, key, reason);
        let (_, user_key, txn) = lock_key::decode(key).map_err(damaged)?;
        let lock = decode_lock(value).map_err(damaged)?;
        if locks.get(txn).is_none() {
            return Err(damaged(DecodeError::Invalid { field: "lock of a transaction that is not open" }));
        }
        locks.lock(txn, user_key.into(), lock);
        cursor.next()?;
    }
    Ok(locks)
}

pub(super) fn encode_ref(out: &mut Vec<u8>, txn: &TxnRef) {
    out.extend_from_slice(&txn.id.to_bytes());
    put_varint(out, txn.until.0);
    put_varint(out, u64::from(txn.anchor.table.0));
    put_bytes(out, &txn.anchor.key);
}

pub(super) fn encode_participants(out: &mut Vec<u8>, participants: &[Participant]) {
    put_varint(out, participants.len() as u64);
    for Participant { table, range } in participants {
        put_varint(out, u64::from(table.0));
        encode_range(out, range);
    }
}

pub(super) fn encode_decision(out: &mut Vec<u8>, decision: Option<Decision>) {
    match decision {
        None => out.push(0x00),
        Some(Decision::Commit(version)) => {
            out.push(0x01);
            put_varint(out, version.0);
        }
        Some(Decision::Abort) => out.push(0x02),
    }
}

pub(super) fn encode_until(out: &mut Vec<u8>, until: Option<Expiry>) {
    out.push(u8::from(until.is_some()));
    until.iter().for_each(|until| put_varint(out, until.0));
}

pub(super) fn decode_until(reader: &mut Reader<'_>) -> Result<Option<Expiry>, DecodeError> {
    Ok(if reader.bool("end of what was read")? { Some(Expiry(reader.varint("end of what was read")?)) } else { None })
}

pub(super) fn decode_decision(reader: &mut Reader<'_>) -> Result<Option<Decision>, DecodeError> {
    match reader.u8("decision")? {
        0x00 => Ok(None),
        0x01 => Ok(Some(Decision::Commit(Version(reader.varint("commit version")?)))),
        0x02 => Ok(Some(Decision::Abort)),
        tag => Err(DecodeError::UnknownTag { field: "decision", tag }),
    }
}

fn table(reader: &mut Reader<'_>) -> Result<TableId, DecodeError> {
    let table = u32::try_from(reader.varint("table")?).map_err(|_| DecodeError::Invalid { field: "table" })?;
    Ok(TableId(table))
}

pub(super) fn decode_ref(reader: &mut Reader<'_>) -> Result<TxnRef, DecodeError> {
    let id = TxnId::decode(reader)?;
    let until = Version(reader.varint("last version of a prepare")?);
    let anchor = Anchor { table: table(reader)?, key: Bytes::copy_from_slice(reader.bytes("key of anchor")?) };
    Ok(TxnRef { id, anchor, until })
}

pub(super) fn decode_participants(reader: &mut Reader<'_>) -> Result<Vec<Participant>, DecodeError> {
    let count = reader.count(3, "participants")?;
    let mut all = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        all.push(Participant { table: table(reader)?, range: decode_range(reader)? });
    }
    Ok(all)
}

fn encode_open(open: &OpenTxn) -> Vec<u8> {
    let mut out = vec![FORMAT];
    encode_ref(&mut out, &open.txn);
    put_varint(&mut out, open.version.0);
    encode_until(&mut out, open.valid_until);
    super::codec::encode_request_key(&mut out, open.key.as_ref());
    encode_participants(&mut out, &open.participants);
    put_varint(&mut out, open.ranges.len() as u64);
    open.ranges.iter().for_each(|range| encode_range(&mut out, range));
    encode_decision(&mut out, open.decision);
    out.push(u8::from(open.is_resolved));
    out.push(u8::from(open.take.is_some()));
    open.take.iter().for_each(|take| encode_take(&mut out, take));
    out
}

fn decode_open(suffix: &[u8], value: &[u8]) -> Result<OpenTxn, DecodeError> {
    let value = Bytes::copy_from_slice(value);
    let mut decoder = Decoder::new(&value);
    let reader = &mut decoder.reader;
    match reader.u8("format of transaction")? {
        FORMAT => {}
        tag => return Err(DecodeError::UnknownTag { field: "format of transaction", tag }),
    }
    let txn = decode_ref(reader)?;
    let version = Version(reader.varint("version of prepare")?);
    let valid_until = decode_until(reader)?;
    let key = super::codec::decode_request_key(reader)?;
    let participants = decode_participants(reader)?;
    let count = reader.count(2, "ranges of transaction")?;
    let mut ranges = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        ranges.push(decode_range(reader)?);
    }
    let decision = decode_decision(reader)?;
    let is_resolved = reader.bool("resolved")?;
    let take = if reader.bool("take")? { Some(decoder.take()?) } else { None };
    decoder.reader.finish("transaction")?;
    if txn.id.to_bytes() != suffix {
        return Err(DecodeError::Invalid { field: "transaction under this key" });
    }
    Ok(OpenTxn { txn, version, valid_until, key, participants, ranges, take, decision, is_resolved })
}

fn decode_ended(suffix: &[u8], value: &[u8]) -> Result<(TxnId, Version, Decision), DecodeError> {
    let mut reader = Reader::new(suffix);
    let until = Version(reader.u64_be("last version of a prepare")?);
    let txn = TxnId::decode(&mut reader)?;
    reader.finish("key of ended transaction")?;
    let mut reader = Reader::new(value);
    let decision = decode_decision(&mut reader)?.ok_or(DecodeError::Invalid { field: "end of transaction" })?;
    reader.finish("ended transaction")?;
    Ok((txn, until, decision))
}

fn encode_lock(out: &mut Vec<u8>, lock: &Lock) {
    match lock.mode {
        Mode::Read => out.push(0x00),
        Mode::Put => out.push(0x01),
        Mode::Merge(operator) => out.extend([0x02, operator as u8]),
        Mode::Write => out.push(0x03),
    }
    put_varint(out, lock.version.0);
    put_varint(out, lock.operations.len() as u64);
    lock.operations.iter().for_each(|operation| operation.encode(out));
}

fn decode_lock(value: &[u8]) -> Result<Lock, DecodeError> {
    let value = Bytes::copy_from_slice(value);
    let mut decoder = Decoder::new(&value);
    let mode = match decoder.reader.u8("mode of lock")? {
        0x00 => Mode::Read,
        0x01 => Mode::Put,
        0x02 => {
            let tag = decoder.reader.u8("merge operator")?;
            let known = MergeOperator::from_tag(tag);
            Mode::Merge(known.ok_or(DecodeError::UnknownTag { field: "merge operator", tag })?)
        }
        0x03 => Mode::Write,
        tag => return Err(DecodeError::UnknownTag { field: "mode of lock", tag }),
    };
    let version = Version(decoder.reader.varint("version of prepare")?);
    let operations = decoder.list(2, "operations of lock", Decoder::operation)?;
    decoder.reader.finish("lock")?;
    Ok(Lock { mode, version, operations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Operation;
    use crate::shard::codec::tests::{
        decision, expiry, key_range, operation, participants, request_key, take, txn, version,
    };
    use lentic_types::NodeId;
    use proptest::prelude::*;

    fn open() -> impl Strategy<Value = OpenTxn> {
        let decided = (proptest::option::of(decision()), any::<bool>(), proptest::option::of(take()));
        let ranges = proptest::collection::vec(key_range(), 0..3);
        (txn(), version(), expiry(), request_key(), participants(), ranges, decided).prop_map(
            |(txn, version, valid_until, key, participants, ranges, (decision, is_resolved, take))| OpenTxn {
                txn,
                version,
                valid_until,
                key,
                participants,
                ranges,
                decision,
                is_resolved,
                take,
            },
        )
    }

    fn lock() -> impl Strategy<Value = Lock> {
        let operator =
            prop::sample::select(MergeOperator::ALL.to_vec()).prop_map(|(operator, _)| Mode::Merge(operator));
        let mode = prop_oneof![Just(Mode::Read), Just(Mode::Put), operator, Just(Mode::Write)];
        (mode, version(), proptest::collection::vec(operation(), 0..3)).prop_map(|(mode, version, operations)| Lock {
            mode,
            version,
            operations,
        })
    }

    fn lock_bytes(lock: &Lock) -> Vec<u8> {
        let mut out = Vec::new();
        encode_lock(&mut out, lock);
        out
    }

    #[test]
    fn golden_bytes() {
        let id = lentic_types::TxnId { begun: Version(5), node: NodeId(2), number: 9 };
        let txn = TxnRef { id, anchor: Anchor { table: TableId(7), key: "k".into() }, until: Version(300) };
        let range = |start: &'static str| lentic_types::KeyRange::new(start, None::<Bytes>).unwrap();
        let open = OpenTxn {
            txn,
            version: Version(128),
            valid_until: Some(Expiry(6)),
            key: None,
            participants: vec![Participant { table: TableId(7), range: range("a") }],
            ranges: vec![range("b")],
            decision: Some(Decision::Commit(Version(129))),
            is_resolved: true,
            take: None,
        };
        let name = b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x09";
        let rest = b"\xac\x02\x07\x01k\x80\x01\x01\x06\x00\x01\x07\x00\x01a\x01\x00\x01b\x01\x81\x01\x01\x00";
        assert_eq!(encode_open(&open), [b"\x02", &name[..], rest].concat());
        let delete = Operation::Delete { key: "k".into() };
        for (mode, bytes) in [
            (Mode::Read, &b"\x00"[..]),
            (Mode::Put, b"\x01"),
            (Mode::Merge(MergeOperator::AddI64), b"\x02\x01"),
            (Mode::Write, b"\x03"),
        ] {
            let lock = Lock { mode, version: Version(128), operations: vec![delete.clone()] };
            assert_eq!(lock_bytes(&lock), [bytes, b"\x80\x01\x01\x03\x01k"].concat());
        }
        let key = ended_key(GroupId(3), Version(300), id);
        assert_eq!(key, [b"\0\0\0\0\0\0\0\x03\x0c\0\0\0\0\0\0\x01\x2c", &name[..]].concat());
        assert_eq!(decode_ended(&key[9..], b"\x02"), Ok((id, Version(300), Decision::Abort)));
        assert!(decode_ended(&key[9..], b"\x00").is_err(), "what has ended is decided");
        assert!(decode_open(&[0; 24], &encode_open(&open)).is_err(), "the key names another");
    }

    proptest! {
        #[test]
        fn rows_come_back(open in open(), lock in lock()) {
            let suffix = open.txn.id.to_bytes();
            let bytes = encode_open(&open);
            prop_assert_eq!(decode_open(&suffix, &bytes), Ok(open));
            for length in 0..bytes.len() {
                prop_assert!(decode_open(&suffix, &bytes[..length]).is_err(), "the first {} bytes", length);
            }
            let bytes = lock_bytes(&lock);
            prop_assert_eq!(decode_lock(&bytes), Ok(lock));
            for length in 0..bytes.len() {
                prop_assert!(decode_lock(&bytes[..length]).is_err(), "the first {} bytes", length);
            }
        }

        #[test]
        fn any_row_is_decoded_or_refused(input: Vec<u8>, suffix: Vec<u8>) {
            if let Ok(lock) = decode_lock(&input) {
                prop_assert_eq!(lock_bytes(&lock), input.clone());
            }
            if let Ok(open) = decode_open(&suffix, &[&[FORMAT][..], &suffix, &input].concat()) {
                prop_assert_eq!(encode_open(&open), [&[FORMAT][..], &suffix, &input].concat());
            }
            let _ = decode_ended(&suffix, &input);
        }
    }
}
