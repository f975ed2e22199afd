//! Ranges as files, out of one store and into another.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lentic_engine::keys::{data, sys};
use lentic_engine::{Batch, Bounds, Family, Store, View};
use lentic_rocks::{ExportedFile, OpenError, RocksStore, Span, TransferError};
use lentic_types::{ClusterId, GroupId, Index, KeyRange, TableId};

use crate::support::{CLUSTER, GROUP, entries, entries_in, entry, open, record, small};

const BYTES_PER_FILE: u64 = 16 << 10;

fn table(table: u32) -> Span {
    Span::new(Family::Data, data::bounds(TableId(table), &KeyRange::all()))
}

/// The state of a shard: its table and its group's part of sys.
fn shard() -> Vec<Span> {
    let group = |group: u64| group.to_be_bytes().to_vec();
    vec![table(1), Span { family: Family::Sys, lower: group(GROUP.0), upper: Some(group(GROUP.0 + 1)) }]
}

fn put(store: &RocksStore, table: u32, keys: std::ops::Range<u64>, value: &[u8]) {
    for key in keys {
        let mut batch = Batch::new();
        batch.put(Family::Data, &record(table, &key.to_be_bytes(), 1), value);
        store.write(&batch).unwrap();
    }
}

/// A value that does not compress, so that files fill up.
fn noise(seed: u64) -> Vec<u8> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(seed), step).skip(1).take(40).flat_map(u64::to_be_bytes).collect()
}

fn content(store: &RocksStore, spans: &[Span]) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let bounds = |span: &Span| Bounds::Range { lower: span.lower.clone(), upper: span.upper.clone() };
    spans.iter().map(|span| entries_in(store, span.family, bounds(span))).collect()
}

#[test]
fn a_shard_goes_from_one_store_to_another() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (open(&directory.path().join("from")), open(&directory.path().join("to")));
    (1..=300).for_each(|index| from.write(&entry(index, &noise(index))).unwrap());
    put(&from, 2, 0..10, b"of another shard");
    // What the receiver has in the range goes, also what is there in no other form than memory; its neighbours stay.
    put(&to, 0, 0..50, b"before");
    put(&to, 1, 100..900, b"old");
    to.flush().unwrap();
    put(&to, 1, 900..950, b"old and in memory");
    put(&to, 2, 0..50, b"after");
    let neighbours = content(&to, &[table(0), table(2)]);

    let files = directory.path().join("files");
    let exported = from.export(&shard(), &files, BYTES_PER_FILE).unwrap();
    assert!(exported.len() > 3, "several files, {} it is", exported.len());
    assert_eq!(exported.iter().map(|file| file.entries).sum::<u64>(), 301);
    to.ingest(&files, &exported, &shard()).unwrap();
    assert_eq!(content(&to, &shard()), content(&from, &shard()));
    assert_eq!(content(&to, &[table(0), table(2)]), neighbours);
    assert_eq!(to.durable_applied(GROUP), Ok(Index(300)));
    assert_eq!(fs::read_dir(&files).unwrap().count(), 0, "the files are moved, not copied");

    // What came in is there for point reads, for writes over it, and after a restart.
    let key = record(1, &7u64.to_be_bytes(), 7);
    assert_eq!(to.get(Family::Data, &key), Ok(Some(noise(7))));
    to.write(&entry(301, b"new")).unwrap();
    drop(to);
    let to = open(&directory.path().join("to"));
    assert_eq!(sys::applied(&to, GROUP), Ok(Index(301)));
    assert_eq!(content(&to, &shard())[0].len(), 301);
    assert_eq!(content(&to, &[table(0), table(2)]), neighbours);
}

#[test]
fn an_export_is_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (open(&directory.path().join("from")), open(&directory.path().join("to")));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                from.write(&entry(index, b"v")).unwrap();
            }
        });
        while sys::applied(&from, GROUP).unwrap() < Index(100) {
            std::thread::yield_now();
        }
        let files = directory.path().join("files");
        let exported = from.export(&shard(), &files, BYTES_PER_FILE);
        done.store(true, Ordering::Relaxed);
        to.ingest(&files, &exported.unwrap(), &shard()).unwrap();
    });
    let Index(applied) = sys::applied(&to, GROUP).unwrap();
    assert!(applied >= 100);
    assert_eq!(content(&to, &shard())[0].len() as u64, applied);
}

#[test]
fn nothing_changes_unless_every_file_is_good() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (open(&directory.path().join("from")), open(&directory.path().join("to")));
    (1..=300).for_each(|index| from.write(&entry(index, &noise(index))).unwrap());
    put(&to, 1, 0..10, b"old");
    let before = entries(&to, Family::Data);
    let files = directory.path().join("files");
    let exported = from.export(&shard(), &files, BYTES_PER_FILE).unwrap();
    let path = files.join(&exported[1].name);
    let good = fs::read(&path).unwrap();
    let refusal = |exported: &[ExportedFile]| {
        let error = to.ingest(&files, exported, &shard()).unwrap_err();
        assert_eq!(entries(&to, Family::Data), before, "{error}");
        error
    };

    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    fs::write(&path, &flipped).unwrap();
    assert!(matches!(refusal(&exported), TransferError::Checksum { path: found, .. } if found == path));
    fs::write(&path, &good[1..]).unwrap();
    let (expected, found) = (good.len() as u64, good.len() as u64 - 1);
    assert_eq!(refusal(&exported), TransferError::Size { path: path.clone(), expected, found });
    fs::remove_file(&path).unwrap();
    assert_eq!(refusal(&exported), TransferError::Missing { path: path.clone() });
    fs::write(&path, &good).unwrap();

    let changed = |change: fn(&mut ExportedFile)| {
        let mut exported = exported.clone();
        change(&mut exported[1]);
        exported
    };
    for described in [
        changed(|file| file.name = format!("../files/{}", file.name)),
        changed(|file| file.largest = record(9, b"elsewhere", 1)),
        changed(|file| file.family = Family::Lock),
        changed(|file| file.entries = 0),
        [&exported[..2], &exported[1..]].concat(),
    ] {
        assert!(matches!(refusal(&described), TransferError::Description { .. }));
    }
    to.ingest(&files, &exported, &shard()).unwrap();
    assert_eq!(content(&to, &shard()), content(&from, &shard()));
}

/// The bytes are those that were sent, and they are no file of entries.
#[test]
fn what_rocksdb_refuses_leaves_no_applied_index() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (open(&directory.path().join("from")), open(&directory.path().join("to")));
    (1..=10).for_each(|index| from.write(&entry(index, b"v")).unwrap());
    let files = directory.path().join("files");
    let mut exported = from.export(&shard(), &files, BYTES_PER_FILE).unwrap();
    let garbage = [7; 1_000];
    fs::write(files.join(&exported[0].name), garbage).unwrap();
    (exported[0].bytes, exported[0].crc32) = (1_000, crc32fast::hash(&garbage));
    let error = to.ingest(&files, &exported, &shard()).unwrap_err();
    assert!(matches!(error, TransferError::Io { .. }), "{error}");
    assert_eq!(sys::applied(&to, GROUP), Ok(Index(0)));
    // The store itself is well, and takes the same range from another export.
    let again = directory.path().join("again");
    let exported = from.export(&shard(), &again, BYTES_PER_FILE).unwrap();
    to.ingest(&again, &exported, &shard()).unwrap();
    assert_eq!(content(&to, &shard()), content(&from, &shard()));
}

#[test]
fn an_export_leaves_nothing_behind_when_it_fails() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("store"));
    put(&store, 1, 0..10, b"v");
    let taken = directory.path().join("taken");
    fs::create_dir(&taken).unwrap();
    let error = store.export(&shard(), &taken, BYTES_PER_FILE).unwrap_err();
    assert!(matches!(error, TransferError::Io { action: "create directory", .. }), "{error}");
    let spans = [table(2), table(1)];
    let files = directory.path().join("files");
    let found = spans[1].lower.clone();
    assert_eq!(store.export(&spans, &files, BYTES_PER_FILE), Err(TransferError::Ranges { found }));
    assert!(!files.exists());
    assert_eq!(store.export(&[table(5)], &files, BYTES_PER_FILE), Ok(vec![]));
}

/// Deleted entries lie deep, their deletes above them, in files that the range holds whole.
#[test]
fn a_cleared_range_brings_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = open(path);
    let big = [1; 500];
    put(&store, 1, 0..2_000, &big);
    // The files of the range's ends reach into its neighbours.
    put(&store, 0, 0..100, &big);
    put(&store, 2, 0..100, &big);
    store.compact(&Span::all(Family::Data)).unwrap();
    for key in 0..2_000u64 {
        let mut batch = Batch::new();
        batch.delete(Family::Data, &record(1, &key.to_be_bytes(), 1));
        if key % 3 == 0 {
            batch.put(Family::Data, &record(1, &key.to_be_bytes(), 2), &big);
        }
        store.write(&batch).unwrap();
    }
    store.flush().unwrap();
    let neighbours = content(&store, &[table(0), table(2)]);
    store.clear_range(&table(1)).unwrap();
    assert_eq!(content(&store, &[table(1)]), [vec![]]);
    assert_eq!(content(&store, &[table(0), table(2)]), neighbours);
    drop(store);
    let store = open(path);
    store.compact(&Span::all(Family::Data)).unwrap();
    assert_eq!(content(&store, &[table(1)]), [vec![]]);
    assert_eq!(content(&store, &[table(0), table(2)]), neighbours);
    store.clear_range(&Span::all(Family::Data)).unwrap();
    assert_eq!(entries(&store, Family::Data), []);
    store.clear_range(&Span::all(Family::Data)).unwrap();
}

/// RocksDB drops files whose last key is the end that it is given.
#[test]
fn the_key_at_the_end_of_a_cleared_range_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = Batch::new();
    [b"a", b"b", b"c"].iter().for_each(|key| batch.put(Family::Lock, *key, b"v"));
    store.write(&batch).unwrap();
    store.compact(&Span::all(Family::Lock)).unwrap();
    store.clear_range(&Span { family: Family::Lock, lower: b"a".to_vec(), upper: Some(b"c".to_vec()) }).unwrap();
    assert_eq!(entries(&store, Family::Lock), [(b"c".to_vec(), b"v".to_vec())]);
}

#[test]
fn a_checkpoint_is_a_store_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("store"), directory.path().join("copy"));
    let store = open(&path);
    (1..=50).for_each(|index| store.write(&entry(index, b"v")).unwrap());
    store.checkpoint(&copy).unwrap();
    store.write(&entry(51, b"v")).unwrap();
    let copied = open(&copy);
    assert_eq!(copied.durable_applied(GROUP), Ok(Index(50)));
    assert_eq!(entries(&copied, Family::Data).len(), 50);
    copied.write(&entry(60, b"of the copy")).unwrap();
    assert_eq!(sys::applied(&store, GROUP), Ok(Index(51)));
    assert_eq!(store.durable_applied(GroupId(9)), Ok(Index(0)));
    drop(copied);
    let other = RocksStore::open(&copy, ClusterId([9; 16]), &small(), Default::default()).unwrap_err();
    assert!(matches!(other, OpenError::Cluster { found: CLUSTER, .. }));
    let error = store.checkpoint(&copy).unwrap_err();
    assert!(matches!(error, TransferError::Io { .. }), "{error}");
    assert_no_identity(&copy.join("db"));
}

fn assert_no_identity(directory: &Path) {
    assert!(!directory.join("LENTIC").exists());
}
