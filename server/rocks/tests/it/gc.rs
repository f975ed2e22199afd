//! Rules become files: what nobody can see goes at compactions, and not before its command is durable.

use lentic_engine::gc::{GcHandle, GcRules};
use lentic_engine::keys::sys;
use lentic_engine::record::DELETE_BYTES;
use lentic_engine::{Batch, Family, MaskSet, Portable, Span, Store};
use lentic_rocks::RocksStore;
use lentic_types::{Index, KeyRange, TableId, Version};

use crate::support::{GROUP, entries, open_with, record};

const PUT: &[u8] = b"\x01value";

fn write(store: &RocksStore, index: u64, records: &[(&[u8], u64, &[u8])]) {
    let mut batch = Batch::new();
    for (key, version, value) in records {
        batch.put(Family::Data, &record(1, key, *version), value);
    }
    sys::put_applied(&mut batch, GROUP, Index(index));
    store.write(&batch).unwrap();
}

fn stage(gc: &GcHandle, index: u64, watermark: u64) {
    let rules = GcRules {
        table: TableId(1),
        range: KeyRange::all(),
        watermark: Version(watermark),
        pins: vec![],
        masks: MaskSet::default(),
        is_branch: false,
    };
    gc.stage(GROUP, Index(index), Some(rules));
}

fn keys(store: &RocksStore) -> Vec<Vec<u8>> {
    entries(store, Family::Data).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn rules_wait_for_their_command_to_be_durable() {
    let directory = tempfile::tempdir().unwrap();
    let gc = GcHandle::new();
    let store = open_with(directory.path(), gc.clone());
    write(&store, 1, &[(b"k", 10, PUT), (b"k", 20, PUT), (b"k", 30, PUT)]);
    // The rules are of entry 2, which is not applied yet.
    stage(&gc, 2, 25);
    store.compact(&Span::all(Family::Data)).unwrap();
    assert_eq!(keys(&store), [record(1, b"k", 30), record(1, b"k", 20), record(1, b"k", 10)]);
    write(&store, 2, &[]);
    store.maintain().unwrap();
    assert_eq!(store.durable_applied(GROUP), Ok(Index(1)), "entry 2 is in memory only");
    store.compact(&Span::all(Family::Data)).unwrap();
    assert_eq!(keys(&store), [record(1, b"k", 30), record(1, b"k", 20)]);
}

#[test]
fn a_delete_goes_once_nothing_is_below_it() {
    let directory = tempfile::tempdir().unwrap();
    let gc = GcHandle::new();
    let store = open_with(directory.path(), gc.clone());
    write(&store, 1, &[(b"gone", 10, PUT), (b"gone", 20, DELETE_BYTES), (b"stays", 10, PUT)]);
    write(&store, 2, &[(b"late", 10, PUT), (b"late", 20, DELETE_BYTES), (b"late", 90, PUT)]);
    stage(&gc, 2, 50);
    store.compact(&Span::all(Family::Data)).unwrap();
    // The puts are dropped at once, the deletes hide nothing now, but no compaction can know.
    let deletes = [(record(1, b"gone", 20), DELETE_BYTES.to_vec()), (record(1, b"late", 20), DELETE_BYTES.to_vec())];
    assert!(deletes.iter().all(|delete| entries(&store, Family::Data).contains(delete)));
    assert_eq!(store.remove_buried(1), Ok(1));
    assert_eq!(store.remove_buried(100), Ok(1));
    assert_eq!(store.remove_buried(100), Ok(0));
    assert_eq!(keys(&store), [record(1, b"late", 90), record(1, b"stays", 10)]);
    // Rules or not, the removal is final.
    store.flush().unwrap();
    drop(store);
    let store = open_with(directory.path(), GcHandle::new());
    assert_eq!(keys(&store), [record(1, b"late", 90), record(1, b"stays", 10)]);
}

#[test]
fn a_delete_stays_while_it_hides_an_older_record() {
    let directory = tempfile::tempdir().unwrap();
    let gc = GcHandle::new();
    let store = open_with(directory.path(), gc.clone());
    write(&store, 1, &[(b"k", 20, DELETE_BYTES)]);
    stage(&gc, 1, 50);
    store.compact(&Span::all(Family::Data)).unwrap();
    // An older record, such as one that the compaction did not read.
    write(&store, 2, &[(b"k", 10, PUT)]);
    assert_eq!(store.remove_buried(100), Ok(0));
    assert_eq!(keys(&store), [record(1, b"k", 20), record(1, b"k", 10)]);
}

#[test]
fn an_ended_record_is_buried_as_a_delete() {
    let directory = tempfile::tempdir().unwrap();
    let gc = GcHandle::new();
    let store = open_with(directory.path(), gc.clone());
    // A put that ends at time 1, long before the watermark.
    write(&store, 1, &[(b"k", 20, b"\x02\x01value")]);
    stage(&gc, 1, u64::MAX / 2);
    store.compact(&Span::all(Family::Data)).unwrap();
    assert_eq!(entries(&store, Family::Data), [(record(1, b"k", 20), DELETE_BYTES.to_vec())]);
    assert_eq!(store.remove_buried(100), Ok(1));
    assert_eq!(entries(&store, Family::Data), []);
}
