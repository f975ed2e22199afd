//! The bytes of commands and outcomes: pinned, round trips, and whatever else may arrive.

use lentic_types::{NodeId, TableId, TxnId};
use proptest::prelude::*;

use super::*;
use crate::shard::answers::{Answer, decode_page, encode_page};
use crate::shard::command::{Anchor, Participant, TxnRef};

mod steps;

/// The bytes of one request without a key at version 300, behind the frame of an entry at epoch 2 that holds only it.
fn golden(action: Action, bytes: &[u8]) {
    let request = Request { version: Version(300), key: None, action };
    let command = Command { epoch: Epoch(2), requests: vec![request] };
    let expected = [b"\x01\x02\x01\xac\x02\x00", bytes].concat();
    assert_eq!(command.encode().escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(Command::decode(&expected.into()), Ok(command));
}

fn range(start: &'static str, end: Option<&'static str>) -> KeyRange {
    KeyRange::new(start, end).unwrap()
}

fn key(key: &'static str) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

#[test]
fn golden_bytes_of_actions() {
    let owner = key("job");
    golden(Action::Write(Write::default()), b"\x01\x00\x00\x00");
    golden(Action::Write(Write { fence: Some(Token(Version(300))), ..Write::default() }), b"\x01\x01\xac\x02\x00\x00");
    let take = Take { range: range("a", Some("c")), owner: owner.clone(), force: true, back: vec![] };
    golden(Action::Take(take), b"\x0e\x01\x01a\x01c\x03job\x01\x00");
    let back =
        vec![Back { range: range("a", Some("c")), to: Version(5) }, Back { range: range("d", None), to: Version(300) }];
    let take = Take { range: range("", None), owner, force: false, back };
    golden(Action::Take(take), b"\x0e\x00\x00\x03job\x00\x02\x01\x01a\x01c\x05\x00\x01d\xac\x02");
    golden(
        Action::Release(Release { range: range("a", Some("c")), token: Token(Version(128)) }),
        b"\x16\x80\x01\x01\x01a\x01c",
    );
    let raise = |to, revision, pins: &[u64]| {
        let pins = pins.iter().copied().map(Version).collect();
        Action::RaiseWatermark(RaiseWatermark { to: Version(to), revision, pins })
    };
    golden(raise(u64::MAX, 0, &[]), b"\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00");
    golden(raise(5, 300, &[3, 4, 304]), b"\x0f\x05\xac\x02\x03\x03\x01\xac\x02");
    golden(Action::Decline(Refusal::TooLarge { position: 300 }), b"\x0c\x14\xac\x02");
    let branch = Branch { shard: ShardId(300), table: TableId(7), version: Version(128), revision: 9 };
    golden(Action::Branch(branch), b"\x10\xac\x02\x07\x80\x01\x09");
    golden(Action::DropBranch(ShardId(300)), b"\x11\xac\x02");
    let split = Split { at: key("m"), child: ShardId(300), voters: vec![NodeId(1), NodeId(128)] };
    golden(Action::Split(split), b"\x17\x01m\xac\x02\x02\x01\x80\x01");
}

/// A transaction, and its bytes.
fn golden_txn() -> (TxnRef, &'static [u8]) {
    let id = TxnId { begun: Version(5), node: NodeId(2), number: 9 };
    let txn = TxnRef { id, anchor: Anchor { table: TableId(7), key: key("k") }, until: Version(300) };
    (txn, b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x09\xac\x02\x07\x01k")
}

#[test]
fn golden_bytes_of_transactions() {
    let (txn, name) = golden_txn();
    let prepare = |participants, parts| Action::Prepare(Prepare { txn: txn.clone(), participants, parts, take: None });
    golden(prepare(vec![], vec![]), &[b"\x08", name, b"\x00\x00"].concat());
    let participants = vec![
        Participant { table: TableId(7), range: range("", Some("m")) },
        Participant { table: TableId(300), range: range("m", None) },
    ];
    let ranges = vec![RangeRead { range: range("a", Some("c")), since: Version(300) }];
    let conditions = vec![Condition { key: key("k"), expected: Expected::UnchangedSince(Version(300)) }];
    let operations = vec![Operation::Delete { key: key("k") }];
    let part = Write { fence: Some(Token(Version(128))), conditions, ranges, operations };
    let bytes = b"\x02\x07\x01\x00\x01m\xac\x02\x00\x01m\x02\
        \x01\x80\x01\x01\x05\x01k\xac\x02\x01\x01\x01a\x01c\xac\x02\x01\x03\x01k\
        \x00\x00\x00\x00";
    golden(prepare(participants, vec![part.clone(), Write::default()]), &[b"\x08", name, bytes].concat());
    golden(Action::Write(part), b"\x07\x01\x80\x01\x01\x05\x01k\xac\x02\x01\x01\x01a\x01c\xac\x02\x01\x03\x01k");
    let back = vec![Back { range: range("a", None), to: Version(5) }];
    let take = Some(Box::new(Take { range: range("a", None), owner: key("job"), force: true, back }));
    let prepare = Prepare { txn: txn.clone(), participants: vec![], parts: vec![], take };
    golden(Action::Prepare(prepare), &[b"\x0d", name, b"\x00\x00\x01a\x03job\x01\x01\x00\x01a\x05"].concat());
    for (decision, bytes) in [(Decision::Commit(Version(300)), &b"\x01\xac\x02"[..]), (Decision::Abort, b"\x02")] {
        golden(Action::Decide(Decide { txn: txn.clone(), decision }), &[b"\x09", name, bytes].concat());
        golden(Action::Resolve(Resolve { txn: txn.clone(), decision }), &[b"\x0a", name, bytes].concat());
    }
    golden(Action::Status(txn.clone()), &[b"\x0b", name].concat());
}

#[test]
fn golden_bytes_of_an_entry() {
    let key = RequestKey { client: ClientId(7), sequence: 300, acked_below: 299, issued: Version(1) };
    let release = |version, key| Request {
        version: Version(version),
        key,
        action: Action::Release(Release { range: range("k", None), token: Token(Version(1)) }),
    };
    let command = Command { epoch: Epoch(1), requests: vec![release(2, None), release(3, Some(key))] };
    let bytes = b"\x01\x01\x02\x02\x00\x16\x01\x00\x01k\x03\x01\x07\xac\x02\xab\x02\x01\x16\x01\x00\x01k";
    assert_eq!(command.encode(), bytes);
    assert_eq!(Command::decode(&Bytes::from_static(bytes)), Ok(command));
    let empty = Command { epoch: Epoch(0), requests: vec![] };
    assert_eq!(empty.encode(), b"\x01\x00\x00");
    let of_rider = Bytes::from_static(b"\x02\xac\x02\x00\x00");
    assert_eq!(empty.encode_for(Some(ShardId(300))), of_rider);
    assert!(Command::decode(&of_rider).is_err(), "it is none of the group's own shard");
    assert_eq!(Command::decode_for(&of_rider), Ok((Some(ShardId(300)), empty)));
}

#[test]
fn golden_bytes_of_conditions() {
    for (expected, bytes) in [
        (Expected::Exists, &b"\x01\x01k"[..]),
        (Expected::Absent, b"\x02\x01k"),
        (Expected::VersionIs(Version(300)), b"\x03\x01k\xac\x02"),
        (Expected::ValueIs(key("val")), b"\x04\x01k\x03val"),
        (Expected::UnchangedSince(Version(300)), b"\x05\x01k\xac\x02"),
    ] {
        let write = Write { conditions: vec![Condition { key: key("k"), expected }], ..Write::default() };
        golden(Action::Write(write), &[b"\x01\x00\x01", bytes, b"\x00"].concat());
    }
}

#[test]
fn golden_bytes_of_operations() {
    let put = |expiry| Operation::Put { key: key("k"), value: key("v"), expiry };
    let merge = |operator, expiry| Operation::Merge { key: key("k"), operator, operand: key("op"), expiry };
    for (operation, bytes) in [
        (put(None), &b"\x01\x01k\x01v"[..]),
        (put(Some(Expiry(300))), b"\x02\x01k\x01v\xac\x02"),
        (Operation::Delete { key: key("k") }, b"\x03\x01k"),
        (Operation::DeleteRange { range: range("a", Some("c")) }, b"\x04\x01\x01a\x01c"),
        (Operation::DeleteRange { range: range("a", None) }, b"\x04\x00\x01a"),
        (merge(MergeOperator::Append, None), b"\x05\x01k\x07\x02op"),
        (merge(MergeOperator::MaxBytes, Some(Expiry(1))), b"\x06\x01k\x0a\x02op\x01"),
    ] {
        let write = Write { operations: vec![operation], ..Write::default() };
        golden(Action::Write(write), &[b"\x01\x00\x00\x01", bytes].concat());
    }
}

#[test]
fn golden_bytes_of_kept_outcomes() {
    let version = Version(300);
    let token = Token(version);
    let rows: Vec<(Outcome, &[u8])> = vec![
        (Outcome::Committed { version }, b"\x01\xac\x02"),
        (Outcome::Taken { token }, b"\x02\xac\x02"),
        (Outcome::Released, b"\x03"),
        (Outcome::Raised { watermark: version }, b"\x05\xac\x02"),
        (Refusal::ConditionFailed { position: 128, found: None }.into(), b"\x10\x80\x01\x00"),
        (Refusal::ConditionFailed { position: 0, found: Some(version) }.into(), b"\x10\x00\x01\xac\x02"),
        (Refusal::Fenced { newest: None }.into(), b"\x11\x00"),
        (Refusal::Fenced { newest: Some(token) }.into(), b"\x11\x01\xac\x02"),
        (Refusal::Owned { owner: key("job") }.into(), b"\x12\x03job"),
        (Refusal::WrongKind { position: 2 }.into(), b"\x13\x02"),
        (Refusal::TooLarge { position: 2 }.into(), b"\x14\x02"),
        (Refusal::VersionTooOld { watermark: version }.into(), b"\x15\xac\x02"),
        (Refusal::VersionTooNew { newest: version }.into(), b"\x16\xac\x02"),
        (Refusal::Conflict { position: 2 }.into(), b"\x17\x02"),
    ];
    for (outcome, bytes) in rows {
        let answer = Answer { version: Version(5), acked_below: 6, age_ms: 7, outcome };
        let page = vec![((ClientId(300), 2), answer)];
        let expected = [b"\x01\xac\x02\x02\x05\x06\x07", bytes].concat();
        assert_eq!(encode_page(&page), expected, "{page:?}");
        assert_eq!(decode_page(&expected), Ok(page));
    }
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let (_, name) = golden_txn();
    let no_decision = [b"\x01\x00\x01\x05\x00\x09", name, b"\x00"].concat();
    let many_parts = [b"\x01\x00\x01\x05\x00\x08", name, b"\x00\xff\xff\xff\xff\x0f"].concat();
    let rows: [(&[u8], &str); 21] = [
        (b"", "nothing"),
        (b"\x02\x00\x00", "another format"),
        (b"\x01\x00\x00\x00", "something left over"),
        (b"\x01\x80\x00\x00", "a number in a longer form"),
        (b"\x01\x00\x01\x05\x02\x03\x01", "a flag that is neither"),
        (b"\x01\x00\x01\x05\x00\x0c\x01", "an unknown action"),
        (b"\x01\x00\x01\x05\x00\x00\x01", "no action"),
        (b"\x01\x00\x01\x05\x00\x01\x00\x01\x06\x01k\x00", "an unknown condition"),
        (b"\x01\x00\x01\x05\x00\x07\x00\x00\x00\x00", "a write with ranges, and none"),
        (b"\x01\x00\x01\x05\x00\x01\x00\x00\x01\x07\x01k", "an unknown operation"),
        (b"\x01\x00\x01\x05\x00\x01\x00\x00\x01\x05\x01k\x0b\x00", "an unknown operator"),
        (b"\x01\x00\x01\x05\x00\x01\x00\x00\x01\x04\x01\x01c\x01a", "a range inside out"),
        (b"\x01\x00\x01\x05\x00\x01\x00\x00\x01\x04\x01\x01a\x01a", "a range without keys"),
        (b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more requests than bytes"),
        (b"\x01\x00\x01\x05\x00\x01\x00\xff\xff\xff\xff\x0f", "more conditions than bytes"),
        (b"\x01\x00\x01\x05\x00\x0b\0\0\0\0\0\0\0\x05", "half the name of a transaction"),
        (b"\x01\x00\x01\x05\x00\x05\x05", "a watermark without pins"),
        (b"\x01\x00\x01\x05\x00\x0d\x05\x00\x02\x05\x00", "a pin that is told twice"),
        (b"\x01\x00\x01\x05\x00\x0d\x05\x00\xff\xff\xff\xff\x0f", "more pins than bytes"),
        (&no_decision, "no decision"),
        (&many_parts, "more parts than bytes"),
    ];
    for (bytes, name) in rows {
        assert!(Command::decode(&Bytes::copy_from_slice(bytes)).is_err(), "{name}");
    }
    let outcomes: [&[u8]; 7] =
        [b"", b"\x00", b"\x06\x01", b"\x0f\x01", b"\x18\x01", b"\x22", b"\x13\x80\x80\x80\x80\x10"];
    for bytes in outcomes {
        assert!(Outcome::decode(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_long_list_asks_for_memory_as_it_is_read() {
    // All of the input is one list of deletes, the smallest operation, cut off in the last.
    let mut bytes = b"\x01\x00\x01\x05\x00\x01\x00\x00".to_vec();
    put_varint(&mut bytes, 100_000);
    (0..100_000).for_each(|_| bytes.extend_from_slice(b"\x03\x00"));
    let command = Command::decode(&Bytes::from(bytes.clone())).unwrap();
    let Action::Write(Write { operations, .. }) = &command.requests[0].action else { panic!("a write") };
    assert!(operations.len() == 100_000 && operations.capacity() < 200_000);
    // What the shortest bytes of each can grow to in memory: a proposer bounds entries by bytes, and so by this.
    let sizes = [
        (size_of::<Operation>(), 2),
        (size_of::<Condition>(), 2),
        (size_of::<RangeRead>(), 3),
        (size_of::<Participant>(), 3),
        (size_of::<Write>(), 4),
        (size_of::<Request>(), 4),
    ];
    assert!(sizes.iter().all(|(memory, bytes)| *memory <= 48 * bytes), "{sizes:?}");
    bytes.pop();
    assert_eq!(Command::decode(&Bytes::from(bytes)), Err(DecodeError::Truncated { field: "operations" }));
}

#[test]
fn keys_and_values_stay_where_they_are() {
    let operations = vec![Operation::Put { key: key("some key"), value: key("some value"), expiry: None }];
    let write = Write { operations, ..Write::default() };
    let request = Request { version: Version(1), key: None, action: Action::Write(write) };
    let bytes = Bytes::from(Command { epoch: Epoch(1), requests: vec![request] }.encode());
    let command = Command::decode(&bytes).unwrap();
    let Action::Write(Write { operations, .. }) = &command.requests[0].action else { panic!("a write") };
    let Operation::Put { key, value, .. } = &operations[0] else { panic!("a put") };
    for slice in [key, value] {
        assert!(bytes.as_ptr_range().contains(&slice.as_ptr()), "a slice of the entry, not a copy");
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let length = prop_oneof![8 => 0usize..4, 1 => 120usize..300];
    length.prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length)).prop_map(Bytes::from)
}

pub(in crate::shard) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![0u64..300, any::<u64>()].prop_map(Version)
}

fn token() -> impl Strategy<Value = Token> {
    version().prop_map(Token)
}

pub(in crate::shard) fn expiry() -> impl Strategy<Value = Option<Expiry>> {
    proptest::option::of(any::<u64>().prop_map(Expiry))
}

pub(in crate::shard) fn key_range() -> impl Strategy<Value = KeyRange> {
    (bytes(), proptest::option::of(bytes())).prop_map(|(one, other)| match other {
        Some(other) if other < one => KeyRange::new(other, Some(one)).expect("in order"),
        other => KeyRange::new(one.clone(), other).unwrap_or_else(|_| KeyRange::new(one, None::<Bytes>).expect("open")),
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let expected = prop_oneof![
        Just(Expected::Exists),
        Just(Expected::Absent),
        version().prop_map(Expected::VersionIs),
        bytes().prop_map(Expected::ValueIs),
        version().prop_map(Expected::UnchangedSince),
    ];
    (bytes(), expected).prop_map(|(key, expected)| Condition { key, expected })
}

pub(in crate::shard) fn operation() -> impl Strategy<Value = Operation> {
    let operator = prop::sample::select(MergeOperator::ALL.to_vec()).prop_map(|(operator, _)| operator);
    prop_oneof![
        (bytes(), bytes(), expiry()).prop_map(|(key, value, expiry)| Operation::Put { key, value, expiry }),
        bytes().prop_map(|key| Operation::Delete { key }),
        key_range().prop_map(|range| Operation::DeleteRange { range }),
        (bytes(), operator, bytes(), expiry()).prop_map(|(key, operator, operand, expiry)| Operation::Merge {
            key,
            operator,
            operand,
            expiry
        }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let list = |most| 0usize..most;
    let read = (key_range(), version()).prop_map(|(range, since)| RangeRead { range, since });
    let ranges = prop_oneof![Just(vec![]), proptest::collection::vec(read, list(3))];
    let conditions = proptest::collection::vec(condition(), list(4));
    let operations = proptest::collection::vec(operation(), list(5));
    (proptest::option::of(token()), conditions, ranges, operations)
        .prop_map(|(fence, conditions, ranges, operations)| Write { fence, conditions, ranges, operations })
}

fn txn_id() -> impl Strategy<Value = TxnId> {
    (version(), any::<u64>(), any::<u64>()).prop_map(|(begun, node, number)| TxnId {
        begun,
        node: NodeId(node),
        number,
    })
}

pub(in crate::shard) fn txn() -> impl Strategy<Value = TxnRef> {
    (txn_id(), any::<u32>(), bytes(), version()).prop_map(|(id, table, key, until)| TxnRef {
        id,
        anchor: Anchor { table: TableId(table), key },
        until,
    })
}

pub(in crate::shard) fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![version().prop_map(Decision::Commit), Just(Decision::Abort)]
}

pub(in crate::shard) fn participants() -> impl Strategy<Value = Vec<Participant>> {
    let one = (any::<u32>(), key_range()).prop_map(|(table, range)| Participant { table: TableId(table), range });
    proptest::collection::vec(one, 0..3)
}

pub(in crate::shard) fn take() -> impl Strategy<Value = Take> {
    let back = (key_range(), version()).prop_map(|(range, to)| Back { range, to });
    (key_range(), bytes(), any::<bool>(), proptest::collection::vec(back, 0..3))
        .prop_map(|(range, owner, force, back)| Take { range, owner, force, back })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => write().prop_map(Action::Write),
        2 => take().prop_map(Action::Take),
        1 => (key_range(), token()).prop_map(|(range, token)| Action::Release(Release { range, token })),
        1 => (version(), any::<u64>(), proptest::collection::btree_set(version(), 0..4)).prop_map(|(to, revision, pins)| {
            Action::RaiseWatermark(RaiseWatermark { to, revision, pins: pins.into_iter().collect() })
        }),
        1 => (any::<u64>(), any::<u32>(), version(), any::<u64>()).prop_map(|(shard, table, version, revision)| {
            Action::Branch(Branch { shard: ShardId(shard), table: TableId(table), version, revision })
        }),
        1 => any::<u64>().prop_map(|shard| Action::DropBranch(ShardId(shard))),
        1 => (bytes(), any::<u64>(), proptest::collection::vec(any::<u64>().prop_map(NodeId), 0..4))
            .prop_map(|(at, child, voters)| Action::Split(Split { at, child: ShardId(child), voters })),
        1 => any::<u32>().prop_map(|position| Action::Decline(Refusal::TooLarge { position })),
        2 => (txn(), participants(), proptest::collection::vec(write(), 0..3))
            .prop_map(|(txn, participants, parts)| Action::Prepare(Prepare { txn, participants, parts, take: None })),
        1 => (txn(), participants(), take()).prop_map(|(txn, participants, take)| {
            Action::Prepare(Prepare { txn, participants, parts: vec![], take: Some(Box::new(take)) })
        }),
        1 => (txn(), decision()).prop_map(|(txn, decision)| Action::Decide(Decide { txn, decision })),
        1 => (txn(), decision()).prop_map(|(txn, decision)| Action::Resolve(Resolve { txn, decision })),
        1 => txn().prop_map(Action::Status),
    ]
}

pub(in crate::shard) fn request_key() -> impl Strategy<Value = Option<RequestKey>> {
    let key =
        (any::<u64>(), any::<u64>(), any::<u64>(), version()).prop_map(|(client, sequence, acked_below, issued)| {
            RequestKey { client: ClientId(client), sequence, acked_below, issued }
        });
    proptest::option::of(key)
}

fn command() -> impl Strategy<Value = Command> {
    let request =
        (version(), request_key(), action()).prop_map(|(version, key, action)| Request { version, key, action });
    (any::<u64>(), proptest::collection::vec(request, 0..4))
        .prop_map(|(epoch, requests)| Command { epoch: Epoch(epoch), requests })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        version().prop_map(|version| Outcome::Committed { version }),
        token().prop_map(|token| Outcome::Taken { token }),
        Just(Outcome::Released),
        version().prop_map(|watermark| Outcome::Raised { watermark }),
        (any::<u32>(), proptest::option::of(version())).prop_map(|(position, found)| Refusal::ConditionFailed {
            position,
            found
        }
        .into()),
        proptest::option::of(token()).prop_map(|newest| Refusal::Fenced { newest }.into()),
        bytes().prop_map(|owner| Refusal::Owned { owner }.into()),
        any::<u32>().prop_map(|position| Refusal::WrongKind { position }.into()),
        any::<u32>().prop_map(|position| Refusal::TooLarge { position }.into()),
        version().prop_map(|watermark| Refusal::VersionTooOld { watermark }.into()),
        version().prop_map(|newest| Refusal::VersionTooNew { newest }.into()),
        any::<u32>().prop_map(|position| Refusal::Conflict { position }.into()),
    ]
}

/// Decodes what may be anything: an error, or a command that has exactly these bytes. So nothing in it is larger than
/// the input, and no two inputs are one command. Lists have no more room than their lengths, which have been read, ask
/// for.
fn decoded_or_refused(input: Vec<u8>) -> Result<(), TestCaseError> {
    if let Ok((rider, command)) = Command::decode_for(&Bytes::from(input.clone())) {
        prop_assert!(command.requests.capacity() <= 2 * command.requests.len());
        for request in &command.requests {
            let parts = match &request.action {
                Action::Write(write) => std::slice::from_ref(write),
                Action::Prepare(prepare) => &prepare.parts[..],
                _ => continue,
            };
            for Write { conditions, ranges, operations, .. } in parts {
                prop_assert!(conditions.capacity() <= 2 * conditions.len());
                prop_assert!(ranges.capacity() <= 2 * ranges.len());
                prop_assert!(operations.capacity() <= 2 * operations.len());
            }
        }
        prop_assert_eq!(command.encode_for(rider), input);
    }
    Ok(())
}

proptest! {
    #[test]
    fn commands_come_back(command in command(), rider in proptest::option::of(any::<u64>().prop_map(ShardId))) {
        prop_assert_eq!(Command::decode_for(&command.encode_for(rider).into()), Ok((rider, command)));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut input: Vec<u8>) {
        decoded_or_refused(input.clone())?;
        // Past the first byte, which most inputs have wrong.
        input.insert(0, FORMAT);
        decoded_or_refused(input.clone())?;
        input[0] = FORMAT_OF_RIDER;
        decoded_or_refused(input)?;
    }

    #[test]
    fn every_cut_is_refused(command in command()) {
        let bytes = Bytes::from(command.encode());
        for length in 0..bytes.len() {
            prop_assert!(Command::decode(&bytes.slice(..length)).is_err(), "the first {} bytes", length);
        }
    }

    #[test]
    fn every_flip_is_decoded_or_refused(command in command(), flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..3)) {
        let mut bytes = command.encode();
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        decoded_or_refused(bytes)?;
    }

    #[test]
    fn something_spliced_in_is_decoded_or_refused(command in command(), place: prop::sample::Index, other in proptest::collection::vec(any::<u8>(), 1..12)) {
        let mut bytes = command.encode();
        let place = place.index(bytes.len());
        bytes.splice(place..place, other);
        decoded_or_refused(bytes)?;
    }

    #[test]
    fn pages_of_answers_come_back(page in proptest::collection::vec(kept_answer(), 1..5)) {
        let bytes = encode_page(&page);
        prop_assert_eq!(decode_page(&bytes), Ok(page));
        for length in 0..bytes.len() {
            prop_assert!(decode_page(&bytes[..length]).is_err(), "the first {} bytes", length);
        }
    }

    #[test]
    fn any_page_of_answers_is_decoded_or_refused(input: Vec<u8>) {
        if let Ok(page) = decode_page(&input) {
            prop_assert_eq!(encode_page(&page), input);
        }
    }
}

fn kept_answer() -> impl Strategy<Value = ((ClientId, u64), Answer)> {
    (any::<u64>(), any::<u64>(), version(), any::<u64>(), any::<u64>(), outcome()).prop_map(
        |(client, sequence, version, acked_below, age_ms, outcome)| {
            ((ClientId(client), sequence), Answer { version, acked_below, age_ms, outcome })
        },
    )
}
