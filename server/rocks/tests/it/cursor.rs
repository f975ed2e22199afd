//! Cursors against the model: the same moves over the same entries give the same answers.

use lentic_engine::{Batch, Bounds, Cursor, Family, MemStore, Span, Store, View};
use lentic_rocks::RocksStore;
use proptest::prelude::*;

use crate::support::{open, record};

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Write>),
    Flush,
    Compact,
}

type Write = (Family, Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug)]
enum Move {
    Seek(Vec<u8>),
    SeekBack(Vec<u8>),
    Next,
    Prev,
}

/// Keys as family data has them: few, so that they meet, with zeros and prefixes of each other.
fn store_key() -> impl Strategy<Value = Vec<u8>> {
    let user_key = prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 0..3);
    (1u32..3, user_key, 0u64..4).prop_map(|(table, key, version)| record(table, &key, version))
}

/// A key, or something near one: cut short, or longer.
fn bound() -> impl Strategy<Value = Vec<u8>> {
    (store_key(), 0usize..20, prop::option::of(any::<u8>())).prop_map(|(mut key, length, more)| {
        key.truncate(length);
        key.extend(more);
        key
    })
}

fn step() -> impl Strategy<Value = Step> {
    let family = prop_oneof![3 => Just(Family::Data), 1 => Just(Family::Lock)];
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..4));
    prop_oneof![
        6 => prop::collection::vec((family, store_key(), value), 1..8).prop_map(Step::Write),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
    ]
}

fn range() -> impl Strategy<Value = Bounds> {
    (prop_oneof![Just(vec![]), bound()], prop::option::of(bound()))
        .prop_map(|(lower, upper)| Bounds::Range { lower, upper })
}

fn any_move() -> impl Strategy<Value = Move> {
    let target = || prop_oneof![store_key(), bound()];
    prop_oneof![target().prop_map(Move::Seek), target().prop_map(Move::SeekBack), Just(Move::Next), Just(Move::Prev)]
}

fn forward_move() -> impl Strategy<Value = Move> {
    prop_oneof![store_key().prop_map(Move::Seek), Just(Move::Next)]
}

fn run(store: &RocksStore, model: &MemStore, step: &Step) {
    match step {
        Step::Write(writes) => {
            let mut batch = Batch::new();
            for (family, key, value) in writes {
                match value {
                    Some(value) => batch.put(*family, key, value),
                    None => batch.delete(*family, key),
                }
            }
            store.write(&batch).unwrap();
            model.write(&batch).unwrap();
        }
        Step::Flush => store.flush().unwrap(),
        Step::Compact => store.compact(&Span::all(Family::Data)).unwrap(),
    }
}

/// Where a cursor is after each of the moves.
fn places(view: &impl View, family: Family, bounds: &Bounds, moves: &[Move]) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let mut cursor = view.cursor(family, bounds.clone()).unwrap();
    let mut places = vec![cursor.entry().map(|(key, value)| (key.to_vec(), value.to_vec()))];
    for step in moves {
        match step {
            Move::Seek(key) => cursor.seek(key),
            Move::SeekBack(key) => cursor.seek_back(key),
            Move::Next => cursor.next(),
            Move::Prev => cursor.prev(),
        }
        .unwrap();
        places.push(cursor.entry().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_cursor_is_where_the_model_is(
        steps in prop::collection::vec(step(), 1..12),
        ranges in prop::collection::vec((range(), prop::collection::vec(any_move(), 1..12)), 1..16),
        one_key in prop::collection::vec(forward_move(), 1..40),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (store, model) = (open(directory.path()), MemStore::new());
        steps.iter().for_each(|step| run(&store, &model, step));
        for (bounds, moves) in &ranges {
            for family in [Family::Data, Family::Lock] {
                let found = places(&store, family, bounds, moves);
                prop_assert_eq!(found, places(&model, family, bounds, moves), "{:?} {:?} {:?}", family, bounds, moves);
            }
        }
        let found = places(&store, Family::Data, &Bounds::OneKey, &one_key);
        prop_assert_eq!(found, places(&model, Family::Data, &Bounds::OneKey, &one_key));
        for (key, value) in model.entries(Family::Data) {
            prop_assert_eq!(store.get(Family::Data, &key), Ok(Some(value)));
        }
    }
}

#[test]
fn a_cursor_sees_its_own_moment() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = Batch::new();
    batch.put(Family::Lock, b"k", b"old");
    store.write(&batch).unwrap();
    let mut cursor = store.cursor(Family::Lock, Bounds::Range { lower: vec![], upper: None }).unwrap();
    let mut batch = Batch::new();
    batch.put(Family::Lock, b"k", b"new");
    store.write(&batch).unwrap();
    store.flush().unwrap();
    cursor.seek(b"k").unwrap();
    assert_eq!(cursor.entry(), Some((&b"k"[..], &b"old"[..])));
}

#[test]
#[should_panic(expected = "point cursors only move forward")]
fn a_point_cursor_does_not_go_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let _ = store.cursor(Family::Data, Bounds::OneKey).unwrap().seek_back(b"k");
}
