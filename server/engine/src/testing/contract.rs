//! What [`crate::store`] promises, one function a promise. Each takes an empty store.

use lentic_types::{GroupId, Index, TableId, Version};

use crate::keys::{data, sys};
use crate::store::{Batch, Bounds, Change, Cursor, Family, Store};

/// Runs the whole contract, each part on a store of its own from `make`.
pub fn check<S: Store>(mut make: impl FnMut() -> S) {
    batches_are_atomic_and_ordered(&make());
    families_are_apart(&make());
    cursors_move_within_bounds(&make());
    cursors_are_frozen(&make());
    point_cursors_stay_on_their_key(&make());
    flush_makes_durable(&make());
}

fn put(store: &impl Store, family: Family, entries: &[(&[u8], &[u8])]) {
    let mut batch = Batch::new();
    entries.iter().for_each(|(key, value)| batch.put(family, key, value));
    store.write(&batch).expect("the store works");
}

fn key_of(cursor: &impl Cursor) -> Option<Vec<u8>> {
    cursor.entry().map(|(key, _)| key.to_vec())
}

fn batches_are_atomic_and_ordered(store: &impl Store) {
    let mut batch = Batch::new();
    batch.put(Family::Sys, b"a", b"1");
    batch.put(Family::Sys, b"b", b"1");
    batch.put(Family::Sys, b"a", b"2");
    batch.delete(Family::Sys, b"b");
    batch.delete(Family::Sys, b"never there");
    assert!(matches!(batch.change(0), Change::Put(..)));
    store.write(&batch).expect("the store works");
    assert_eq!(store.get(Family::Sys, b"a"), Ok(Some(b"2".to_vec())), "the last change of a key wins");
    assert_eq!(store.get(Family::Sys, b"b"), Ok(None));
    store.write(&Batch::new()).expect("an empty batch is fine");
}

fn families_are_apart(store: &impl Store) {
    put(store, Family::Sys, &[(b"key-000000", b"sys")]);
    put(store, Family::Data, &[(b"key-000000", b"data")]);
    assert_eq!(store.get(Family::Sys, b"key-000000"), Ok(Some(b"sys".to_vec())));
    assert_eq!(store.get(Family::Data, b"key-000000"), Ok(Some(b"data".to_vec())));
    assert_eq!(store.get(Family::Lock, b"key-000000"), Ok(None));
}

fn cursors_move_within_bounds(store: &impl Store) {
    for family in Family::ALL {
        put(store, family, &[(b"a-------1", b"a"), (b"b-------1", b"b"), (b"c-------1", b"c"), (b"d-------1", b"d")]);
        let bounds = Bounds::Range { lower: b"b-------1".to_vec(), upper: Some(b"d-------1".to_vec()) };
        let mut cursor = store.cursor(family, bounds).expect("the store works");
        assert_eq!(key_of(&cursor), None, "at no entry before the first seek");
        let mut at = |action: &dyn Fn(&mut dyn Cursor) -> Result<(), crate::StoreError>| {
            action(&mut cursor).expect("the store works");
            key_of(&cursor).map(|key| key[0])
        };
        assert_eq!(at(&|cursor| cursor.seek(b"")), Some(b'b'), "a seek before the lower bound");
        assert_eq!(at(&|cursor| cursor.prev()), None, "no step below the lower bound");
        assert_eq!(at(&|cursor| cursor.next()), None, "a step from no entry has no effect");
        assert_eq!(at(&|cursor| cursor.seek(b"b-------2")), Some(b'c'));
        assert_eq!(at(&|cursor| cursor.next()), None, "the upper bound is exclusive");
        assert_eq!(at(&|cursor| cursor.seek_back(b"z")), Some(b'c'), "a seek back from behind the upper bound");
        assert_eq!(at(&|cursor| cursor.prev()), Some(b'b'));
        assert_eq!(at(&|cursor| cursor.seek_back(b"c-------0")), Some(b'b'));
        assert_eq!(at(&|cursor| cursor.seek_back(b"c-------1")), Some(b'c'), "a seek back is inclusive");
        assert_eq!(at(&|cursor| cursor.seek_back(b"a-------9")), None);
        let open = Bounds::Range { lower: Vec::new(), upper: None };
        let mut cursor = store.cursor(family, open).expect("the store works");
        cursor.seek_back(&[0xff; 20]).expect("the store works");
        assert_eq!(key_of(&cursor).expect("an entry")[0], b'd');
    }
}

fn cursors_are_frozen(store: &impl Store) {
    put(store, Family::Sys, &[(b"a", b"old"), (b"b", b"old")]);
    let mut cursor =
        store.cursor(Family::Sys, Bounds::Range { lower: Vec::new(), upper: None }).expect("the store works");
    cursor.seek(b"a").expect("the store works");
    put(store, Family::Sys, &[(b"a1", b"new"), (b"b", b"new")]);
    cursor.next().expect("the store works");
    assert_eq!(cursor.entry(), Some((&b"b"[..], &b"old"[..])));
    assert_eq!(store.get(Family::Sys, b"b"), Ok(Some(b"new".to_vec())), "a get sees what was written before it");
}

fn point_cursors_stay_on_their_key(store: &impl Store) {
    let key = |key: &[u8], version| {
        let mut out = Vec::new();
        data::put(&mut out, TableId(1), key, Version(version));
        out
    };
    let mut batch = Batch::new();
    for (name, version) in [(&b"a"[..], 10), (b"a", 20), (b"b", 15), (b"d", 5)] {
        batch.put(Family::Data, &key(name, version), b"");
    }
    store.write(&batch).expect("the store works");
    let check = || {
        let mut cursor = store.cursor(Family::Data, Bounds::OneKey).expect("the store works");
        for (name, at, expected) in [
            (&b"a"[..], 25, Some(20)),
            (b"a", 19, Some(10)),
            (b"a", 9, None),
            (b"d", 99, Some(5)),
            (b"c", 99, None),
            (b"b", 15, Some(15)),
        ] {
            cursor.seek(&key(name, at)).expect("the store works");
            assert_eq!(key_of(&cursor), expected.map(|version| key(name, version)), "{name:?} at {at}");
        }
        cursor.seek(&key(b"a", 25)).expect("the store works");
        cursor.next().expect("the store works");
        assert_eq!(key_of(&cursor), Some(key(b"a", 10)));
        cursor.next().expect("the store works");
        assert_eq!(key_of(&cursor), None, "a step behind the key is at no entry");
    };
    check();
    store.flush().expect("the store works");
    check();
}

fn flush_makes_durable(store: &impl Store) {
    let group = GroupId(9);
    assert_eq!(store.durable_applied(group), Ok(Index(0)), "nothing was applied");
    let mut batch = Batch::new();
    sys::put_applied(&mut batch, group, Index(5));
    store.write(&batch).expect("the store works");
    assert_eq!(store.durable_applied(group), Ok(Index(0)), "written is not durable");
    store.flush().expect("the store works");
    assert_eq!(store.durable_applied(group), Ok(Index(5)));
    assert_eq!(store.durable_applied(GroupId(8)), Ok(Index(0)));
}
