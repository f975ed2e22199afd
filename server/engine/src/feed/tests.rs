//! What the comparison with the model does not reach: changes that come out of order, and memory.

use bytes::Bytes;
use lentic_types::{KeyRange, Position, TableId, Version};
use proptest::prelude::*;

use super::*;
use crate::masks::{Mask, MaskSet};
use crate::mem::MemStore;
use crate::read::ReadStats;
use crate::record::Record;
use crate::store::{Batch, Store as _};
use crate::write;

const TABLE: TableId = TableId(3);

fn put(batch: &mut Batch, key: &[u8], version: u64) {
    write::record(batch, TABLE, key, Version(version), &Record::Put { value: b"v", expiry: None });
}

fn all_after(recent: &Recent, position: &Position) -> Option<Vec<(u64, Vec<u8>)>> {
    let range = KeyRange::all();
    let changes = recent.changes(position, &range)?;
    Some(changes.map(|(version, key)| (version.0, key.to_vec())).collect())
}

proptest! {
    /// Transactions commit later than what was stamped after them: what is noted comes in any order.
    #[test]
    fn what_was_noted_is_told_in_order_or_not_at_all(
        begun in 0u64..20,
        noted in proptest::collection::vec((1u64..40, 0u8..4), 0..40),
        room in 1usize..30,
        from in 0u64..45,
        key in proptest::option::of(0u8..4),
    ) {
        let mut recent = Recent::new(TABLE, Version(begun), room * 100);
        for (version, key) in &noted {
            let mut batch = Batch::new();
            put(&mut batch, &[*key], *version);
            let other = Record::Put { value: b"of another table", expiry: None };
            write::record(&mut batch, TableId(TABLE.0 + 1), &[*key], Version(*version + 1), &other);
            batch.put(crate::Family::Sys, b"other", b"rows");
            recent.note(&batch).unwrap();
        }
        let position = match key {
            Some(key) => Position::within(Version(from), Bytes::copy_from_slice(&[key])),
            None => Position::after(Version(from)),
        };
        let complete = recent.complete_after();
        match all_after(&recent, &position) {
            None => prop_assert!(position.complete() < complete),
            Some(found) => {
                let mut expected: Vec<_> = noted.iter().map(|(version, key)| (*version, vec![*key])).collect();
                expected.retain(|(version, key)| !position.has_passed(Version(*version), key));
                expected.sort();
                expected.dedup();
                prop_assert_eq!(found, expected);
            }
        }
        let is_roomy = noted.len() <= room / 2;
        prop_assert!(!is_roomy || complete == Version(begun), "nothing goes while there is room");
    }
}

/// A store with `keys` keys, each written at every version from 1 to `versions`.
fn store(keys: u8, versions: u64) -> MemStore {
    let store = MemStore::new();
    let mut batch = Batch::new();
    for version in 1..=versions {
        (0..keys).for_each(|key| put(&mut batch, &[key], version));
    }
    store.write(&batch).unwrap();
    store
}

#[test]
fn a_version_larger_than_a_window_is_passed_in_parts() {
    let (store, range) = (store(50, 2), KeyRange::all());
    let (mut at, mut seen, mut windows) = (Position::after(Version(1)), 0, 0);
    while at.complete() < Version(2) {
        let mut window = Window::new(TABLE, range.clone(), at.clone(), Version(2), 10 * 97);
        while !window.advance(&store, 7, &mut ReadStats::default()).unwrap() {}
        let found = window.changes(&at, &range).count();
        assert!(found <= 10, "a window keeps what fits, found {found}");
        seen += found;
        windows += 1;
        at = window.end();
    }
    assert_eq!((seen, windows), (50, 5));
}

#[test]
fn a_walk_steps_over_old_history() {
    let (store, range) = (store(3, 500), KeyRange::all());
    let mut stats = ReadStats::default();
    let mut window = Window::new(TABLE, range.clone(), Position::after(Version(498)), Version(500), 1 << 20);
    assert!(window.advance(&store, u64::MAX, &mut stats).unwrap());
    assert_eq!(window.changes(&Position::after(Version(498)), &range).count(), 6);
    assert!(stats.records < 60, "looked at {} records", stats.records);
    let mut window = Window::new(TABLE, range.clone(), Position::after(Version::ZERO), Version(2), 1 << 20);
    let mut stats = ReadStats::default();
    assert!(window.advance(&store, u64::MAX, &mut stats).unwrap());
    assert_eq!(window.changes(&Position::after(Version::ZERO), &range).count(), 6);
    assert!(stats.records < 60, "looked at {} records", stats.records);
}

#[test]
fn a_window_serves_what_it_has_and_no_more() {
    let (store, range) = (store(4, 10), KeyRange::new("\x01", Some("\x03")).unwrap());
    let mut window = Window::new(TABLE, range.clone(), Position::after(Version(2)), Version(9), 5 * 97);
    assert!(window.advance(&store, 1_000, &mut ReadStats::default()).unwrap());
    assert_eq!(window.end(), Position::within(Version(5), Bytes::from_static(b"\x01")));
    let at = |version| Position::after(Version(version));
    assert!(window.serves(&range, &at(2)) && window.serves(&range, &at(4)));
    assert!(!window.serves(&range, &at(1)), "it has nothing of version 2");
    assert!(!window.serves(&range, &at(5)), "of version 5 it has a part only");
    assert!(!window.serves(&KeyRange::all(), &at(2)), "it has a part of the keys only");
    let part = KeyRange::new("\x01", Some("\x02")).unwrap();
    assert!(window.serves(&part, &Position::within(Version(5), Bytes::new())));
}

#[test]
fn a_rollback_comes_at_its_version_between_the_changes() {
    let (store, range) = (store(2, 4), KeyRange::new("\x01", None::<Bytes>).unwrap());
    let mask = Mask { range: KeyRange::all(), from: Version(1), end: Version(3) };
    let masks = MaskSet::from_iter([mask]);
    let feed = Feed { table: TABLE, masks: &masks, range: &range };
    let mut window = Window::new(TABLE, range.clone(), Position::default(), Version(9), 1 << 20);
    window.advance(&store, 1_000, &mut ReadStats::default()).unwrap();
    let mut at = Position::default();
    let mut told = Vec::new();
    while at.complete() < Version(9) {
        let limits = FeedLimits { events_max: 1, bytes_max: 0 };
        let changes = window.changes(&at, &range);
        let page = feed.page(&store, &at, changes, &window.end(), &limits, &mut ReadStats::default()).unwrap().unwrap();
        told.extend(page.events.iter().map(|event| match event {
            FeedEvent::Change { key, version, .. } => format!("{version} {}", key.escape_ascii()),
            FeedEvent::RolledBack(mask) => format!("{} {} back to {}", mask.end, mask.range, mask.from),
        }));
        at = page.next;
    }
    let back = format!("v3 {range} back to v1");
    assert_eq!(told, ["v1 \\x01", "v2 \\x01", "v3 \\x01", &back, "v4 \\x01"]);
}

#[test]
fn what_is_gone_from_the_store_is_no_page() {
    let (store, range, masks) = (store(1, 4), KeyRange::all(), MaskSet::new());
    let feed = Feed { table: TABLE, masks: &masks, range: &range };
    let key = Bytes::from_static(b"\0");
    let changes = [(Version(9), &key)].into_iter();
    let (after, until) = (Position::after(Version(4)), Position::after(Version(9)));
    let page = feed.page(&store, &after, changes, &until, &FeedLimits::default(), &mut ReadStats::default());
    assert_eq!(page, Ok(None));
}
