//! What a meta group is loaded from: rows as the formats say, and damage, refused by the name of its key or group.

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, MemStore, Store, StoreError};
use lentic_machine::meta::{GROUP, TableOptions};
use lentic_machine::{Meta, MetaCommand, invariants};
use lentic_types::{ClusterId, Index, Version};
use proptest::prelude::*;

fn load(store: &MemStore) -> Result<Option<Meta>, StoreError> {
    Meta::load(store)
}

fn row(suffix: &[u8]) -> Vec<u8> {
    sys::key(GROUP, SysKind::Meta, suffix)
}

fn put(store: &MemStore, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(Family::Sys, key, value);
    store.write(&batch).expect("the store works");
}

fn delete(store: &MemStore, key: &[u8]) {
    let mut batch = Batch::new();
    batch.delete(Family::Sys, key);
    store.write(&batch).expect("the store works");
}

/// Two nodes; table 1 in two shards, table 2 in one.
fn store() -> MemStore {
    let (store, mut batch) = (MemStore::new(), Batch::new());
    Meta::create(&mut batch, ClusterId(*b"0123456789abcdef"));
    store.write(&batch).expect("the store works");
    let mut meta = load(&store).expect("it loads").expect("it is there");
    let register = |number: u8| MetaCommand::RegisterNode {
        node: None,
        address: format!("n:{number}"),
        http_address: String::new(),
        incarnation: [number; 16],
    };
    let table = |name: &str, shards| MetaCommand::CreateTable {
        name: name.to_owned(),
        options: TableOptions { shards, ..TableOptions::default() },
        avoid: vec![],
    };
    let extend = MetaCommand::ExtendWindow { until: Version(300) };
    for command in [register(1), register(2), table("a", 2), table("b", 1), extend] {
        let applied = meta.apply(meta.applied().next(), Some(&command)).expect("it applies");
        store.write(&applied.batch).expect("the store works");
    }
    store
}

#[test]
fn golden_rows() {
    let store = store();
    let key = |suffix: &[u8]| [b"\x00\x00\x00\x00\x00\x00\x00\x01\x08", suffix].concat();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"\x00\x00\x00\x00\x00\x00\x00\x01\x01".to_vec(), b"\x05".to_vec()),
        (key(b"\x01"), b"0123456789abcdef\x05\x03".to_vec()),
        (key(b"\x02"), b"\x03\x03\x05\x01".to_vec()),
        (key(b"\x03"), b"\xac\x02".to_vec()),
        (key(b"\x10\0\0\0\0\0\0\0\x01"), [b"\x03n:1\x00", &[1; 16][..]].concat()),
        (key(b"\x10\0\0\0\0\0\0\0\x02"), [b"\x03n:2\x00", &[2; 16][..]].concat()),
        (key(b"\x11\0\0\0\x01"), b"\x09default.a\x02\x00\x00\x00\x00".to_vec()),
        (key(b"\x11\0\0\0\x02"), b"\x09default.b\x01\x00\x00\x00\x00".to_vec()),
        (key(b"\x12\0\0\0\0\0\0\0\x02"), b"\x01\x01\x01\x00\x02\x80\x00\x02\x01\x02".to_vec()),
        (key(b"\x12\0\0\0\0\0\0\0\x03"), b"\x01\x01\x00\x02\x80\x00\x02\x02\x01".to_vec()),
        (key(b"\x12\0\0\0\0\0\0\0\x04"), b"\x02\x01\x00\x00\x02\x01\x02".to_vec()),
    ];
    assert_eq!(store.entries(Family::Sys), rows);
    let meta = load(&store).expect("it loads").expect("it is there");
    assert_eq!(meta.applied(), Index(5));
    invariants::check_meta(&meta, &store).expect("the invariants hold");
}

#[test]
fn nothing_is_no_group() {
    assert_eq!(load(&MemStore::new()), Ok(None));
    // Another group's state is not this one's.
    let store = MemStore::new();
    put(&store, &sys::key(lentic_types::GroupId(2), SysKind::Meta, b"\x01"), b"");
    assert_eq!(load(&store), Ok(None));
}

#[test]
fn a_state_that_does_not_fit_together_is_refused() {
    let (node, table, shard) = (b"\x10\0\0\0\0\0\0\0\x02", b"\x11\0\0\0\x01", b"\x12\0\0\0\0\0\0\0\x03");
    let deleted: [&[u8]; 6] = [b"\x01", b"\x02", b"\x03", node, table, shard];
    for suffix in deleted {
        let store = store();
        delete(&store, &row(suffix));
        assert!(matches!(load(&store), Err(StoreError::Damaged { .. })), "without {suffix:?}");
    }
    let changed: [(&str, &[u8], &[u8]); 9] = [
        ("a node still to be issued", b"\x02", b"\x02\x03\x05\x01"),
        ("a table still to be issued", b"\x02", b"\x03\x02\x05\x01"),
        ("a shard still to be issued", b"\x02", b"\x03\x03\x04\x01"),
        ("counters at the end of their bits", b"\x02", b"\x03\x03\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("no client ever", b"\x02", b"\x03\x03\x05\x00"),
        ("no replicas by default", b"\x01", b"0123456789abcdef\x05\x00"),
        ("a name without its namespace", table, b"\x01a\x02\x00\x00\x00\x00"),
        ("options of no shards", table, b"\x09default.a\x00\x00\x00\x00\x00"),
        ("one name twice", table, b"\x09default.b\x02\x00\x00\x00\x00"),
    ];
    for (name, suffix, value) in changed {
        let store = store();
        put(&store, &row(suffix), value);
        assert!(matches!(load(&store), Err(StoreError::Damaged { .. })), "{name}");
    }
}

fn assert_damaged_at(key: &[u8], loaded: &Result<Option<Meta>, StoreError>) {
    match loaded {
        Err(StoreError::Damaged { family, key: named, .. }) => {
            assert_eq!((*family, named.as_str()), ("sys", key.escape_ascii().to_string().as_str()));
        }
        other => panic!("expected damage at {}, found {other:?}", key.escape_ascii()),
    }
}

#[test]
fn what_no_encoder_writes_is_refused_by_its_key() {
    for (key, value) in store().entries(Family::Sys) {
        for changed in [[&value[..], b"\x00"].concat(), value[..value.len() - 1].to_vec()] {
            let store = store();
            put(&store, &key, &changed);
            assert_damaged_at(&key, &load(&store));
        }
        // The same row under a longer key, or a shorter one.
        if key[8] == 0x08 {
            for other in [[&key[..], b"\x00"].concat(), key[..key.len() - 1].to_vec()] {
                let store = store();
                put(&store, &other, &value);
                assert_damaged_at(&other, &load(&store));
            }
        }
    }
    for tag in [0x00, 0x04, 0x0f, 0x13, 0xff] {
        let store = store();
        put(&store, &row(&[tag]), b"");
        assert_damaged_at(&row(&[tag]), &load(&store));
    }
}

proptest! {
    #[test]
    fn any_flip_is_loaded_or_refused(which: prop::sample::Index, place: prop::sample::Index, bit in 0u8..8) {
        let store = store();
        let (key, mut value) = which.get(&store.entries(Family::Sys)).clone();
        let place = place.index(value.len());
        value[place] ^= 1 << bit;
        put(&store, &key, &value);
        match load(&store) {
            Ok(Some(meta)) => prop_assert_eq!(invariants::check_meta(&meta, &store), Ok(())),
            Ok(None) => prop_assert!(false, "the group is there"),
            Err(error) => prop_assert!(matches!(error, StoreError::Damaged { .. }), "{}", error),
        }
    }

    #[test]
    fn any_row_is_loaded_or_refused(suffix in proptest::collection::vec(any::<u8>(), 0..10), tag in 0u8..0x14, value in proptest::collection::vec(any::<u8>(), 0..30)) {
        let store = store();
        put(&store, &row(&[&[tag][..], &suffix].concat()), &value);
        prop_assert!(!matches!(load(&store), Ok(None)));
    }
}
