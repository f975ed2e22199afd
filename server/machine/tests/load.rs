//! Loading a shard from a damaged store: refused with the name of the key, whatever stands there, without a panic.

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, MemStore, Store, StoreError};
use lentic_machine::Shard;
use lentic_machine::shard::{
    Action, Anchor, Back, Descriptor, HeadsOptions, Operation, Participant, Prepare, RaiseWatermark, RangeRead,
    RequestKey, Take, Token, TxnRef, Write,
};
use lentic_machine::{Command, Request};
use lentic_types::{ClientId, Epoch, GroupId, Index, KeyRange, NodeId, TableId, TxnId, Version};
use proptest::prelude::*;

const GROUP: GroupId = GroupId(3);

/// A store with every kind of state in it.
fn store() -> MemStore {
    let (store, mut batch) = (MemStore::new(), Batch::new());
    let descriptor = Descriptor {
        table: TableId(7),
        range: KeyRange::new("a", Some("m")).expect("in order"),
        epoch: Epoch(2),
        watermark: Version::ZERO,
        ttl_ms: 0,
    };
    Shard::create(&mut batch, GROUP, &descriptor);
    store.write(&batch).expect("the store works");
    let range = KeyRange::new("b", Some("d")).expect("in order");
    let owner = bytes::Bytes::from_static(b"job");
    let put = Operation::Put { key: "b".into(), value: "1".into(), expiry: None };
    let write = Write { fence: Some(Token(Version(20))), operations: vec![put], ..Write::default() };
    let txn = |number| {
        let id = TxnId { begun: Version(9), node: NodeId(1), number };
        TxnRef { id, anchor: Anchor { table: TableId(7), key: "e".into() }, until: Version(1000) }
    };
    let read = RangeRead { range: KeyRange::new("f", Some("g")).expect("in order"), since: Version(20) };
    let put_e = Operation::Put { key: "e".into(), value: "1".into(), expiry: None };
    let part = Write { ranges: vec![read], operations: vec![put_e], ..Write::default() };
    let participants = vec![Participant { table: TableId(7), range: range.clone() }];
    let actions = [
        Action::Take(Take { range: range.clone(), owner: owner.clone(), force: false, back: Vec::new() }),
        Action::Take(Take { back: vec![Back { range: range.clone(), to: Version(10) }], range, owner, force: false }),
        Action::Write(write),
        Action::RaiseWatermark(RaiseWatermark { to: Version(5), revision: 3, pins: vec![Version(2), Version(30)] }),
        Action::Prepare(Prepare { txn: txn(1), participants, parts: vec![part], take: None }),
        Action::Status(txn(2)),
    ];
    let requests = (1u64..).zip(actions).map(|(sequence, action)| Request {
        version: Version(sequence * 10),
        key: Some(RequestKey { client: ClientId(1), sequence, acked_below: 0, issued: Version(1) }),
        action,
    });
    let command = Command { epoch: Epoch(2), requests: requests.collect() };
    let mut shard = load(&store).expect("it loads").expect("it is there");
    let applied = shard.apply(Index(1), &command, &store).expect("the entry is sound");
    store.write(&applied.batch).expect("the store works");
    let loaded = load(&store).expect("it loads").expect("it is there");
    assert!(loaded.is_same_state(&shard));
    store
}

fn load(store: &MemStore) -> Result<Option<Shard>, StoreError> {
    Shard::load(store, GROUP, &HeadsOptions::default())
}

/// The kinds of state and a key of each that the store has.
fn keys(store: &MemStore) -> Vec<Vec<u8>> {
    store.entries(Family::Sys).into_iter().map(|(key, _)| key).collect()
}

fn put(store: &MemStore, key: &[u8], value: &[u8]) {
    put_in(Family::Sys, store, key, value);
}

fn put_in(family: Family, store: &MemStore, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(family, key, value);
    store.write(&batch).expect("the store works");
}

fn assert_damaged_at(key: &[u8], loaded: Result<Option<Shard>, StoreError>) {
    assert_damaged_in("sys", key, loaded);
}

fn assert_damaged_in(name: &str, key: &[u8], loaded: Result<Option<Shard>, StoreError>) {
    match loaded {
        Err(StoreError::Damaged { family, key: named, reason }) if family == name => {
            assert_eq!(named, key.escape_ascii().to_string());
            assert!(!reason.is_empty());
        }
        other => panic!("{} is damaged, but loads as {other:?}", key.escape_ascii()),
    }
}

#[test]
fn every_kind_of_state_is_in_the_store() {
    let kinds: std::collections::BTreeSet<u8> = keys(&store()).iter().map(|key| key[8]).collect();
    assert_eq!(kinds, [0x01, 0x02, 0x03, 0x04, 0x06, 0x0a, 0x0b, 0x0c, 0x0e].into());
    assert_eq!(store().entries(Family::Lock).len(), 1);
}

#[test]
fn values_that_no_writer_writes_are_refused() {
    for key in keys(&store()) {
        let whole = store().entries(Family::Sys).into_iter().find(|(other, _)| *other == key).unwrap().1;
        let garbage = [&b""[..], b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x80\x00\x00\x00"];
        let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
        let longer = [[&whole[..], b"\x00"].concat()];
        for value in garbage.iter().map(|value| value.to_vec()).chain(cuts).chain(longer) {
            let store = store();
            put(&store, &key, &value);
            assert_damaged_at(&key, load(&store));
        }
    }
}

#[test]
fn keys_that_no_writer_writes_are_refused() {
    let value_of = |kind: SysKind| {
        let prefix = sys::key(GROUP, kind, &[]);
        store().entries(Family::Sys).into_iter().find(|(key, _)| key.starts_with(&prefix)).unwrap()
    };
    for kind in [SysKind::Fence, SysKind::Mask, SysKind::Answers, SysKind::Txn, SysKind::Ended] {
        let (key, value) = value_of(kind);
        for other in [sys::key(GROUP, kind, b""), sys::key(GROUP, kind, b"\x01"), [&key[..], b"\x00"].concat()] {
            let store = store();
            put(&store, &other, &value);
            assert_damaged_at(&other, load(&store));
        }
    }
}

#[test]
fn locks_that_no_writer_writes_are_refused() {
    let (key, whole) = store().entries(Family::Lock).remove(0);
    let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
    for value in cuts.chain([[&whole[..], b"\x00"].concat(), b"\xff".to_vec()]) {
        let store = store();
        put_in(Family::Lock, &store, &key, &value);
        assert_damaged_in("lock", &key, load(&store));
    }
    // Of another transaction, which is not open; without its end; without a key.
    let mut other = key.clone();
    *other.last_mut().expect("it is not empty") += 1;
    for other in [other, key[..key.len() - 1].to_vec(), [&key[..4], b"e"].concat()] {
        let store = store();
        put_in(Family::Lock, &store, &other, &whole);
        assert_damaged_in("lock", &other, load(&store));
    }
}

#[test]
fn a_mask_must_go_back() {
    let (store, key) = (store(), sys::key(GROUP, SysKind::Mask, &9u64.to_be_bytes()));
    put(&store, &key, b"\x09\x00\x00");
    assert_damaged_at(&key, load(&store));
}

#[test]
fn another_group_is_not_looked_at() {
    let store = store();
    put(&store, &sys::key(GroupId(2), SysKind::Fence, b""), b"\xff");
    put(&store, &sys::key(GroupId(4), SysKind::Descriptor, b""), b"\xff");
    assert!(load(&store).unwrap().is_some());
    assert!(Shard::load(&store, GroupId(2), &HeadsOptions::default()).unwrap().is_none());
}

proptest! {
    #[test]
    fn any_value_loads_or_is_refused_by_its_key(which: prop::sample::Index, value in proptest::collection::vec(any::<u8>(), 0..24)) {
        let store = store();
        let keys = keys(&store);
        let key = which.get(&keys);
        put(&store, key, &value);
        if let Err(error) = load(&store) {
            assert_damaged_at(key, Err(error));
        }
    }

    #[test]
    fn any_flipped_bit_loads_or_is_refused_by_its_key(which: prop::sample::Index, place: prop::sample::Index, bit in 0u8..8) {
        let store = store();
        let (key, mut value) = which.get(&store.entries(Family::Sys)).clone();
        let place = place.index(value.len());
        value[place] ^= 1 << bit;
        put(&store, &key, &value);
        if let Err(error) = load(&store) {
            assert_damaged_at(&key, Err(error));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_lock_loads_or_is_refused_by_its_key(place: prop::sample::Index, bit in 0u8..8) {
        let store = store();
        let (key, mut value) = store.entries(Family::Lock).remove(0);
        let place = place.index(value.len());
        value[place] ^= 1 << bit;
        put_in(Family::Lock, &store, &key, &value);
        if let Err(error) = load(&store) {
            assert_damaged_in("lock", &key, Err(error));
        }
    }

    #[test]
    fn any_key_loads_or_is_refused_by_its_name(kind in prop::sample::select(vec![3u8, 4, 5, 0x0b, 0x0c]), suffix in proptest::collection::vec(any::<u8>(), 0..18), which: prop::sample::Index) {
        let store = store();
        let (_, value) = which.get(&store.entries(Family::Sys)).clone();
        let mut key = sys::key(GROUP, SysKind::Fence, &suffix);
        key[8] = kind;
        put(&store, &key, &value);
        if let Err(error) = load(&store) {
            assert_damaged_at(&key, Err(error));
        }
    }
}
