//! Ranges as files: what is RocksDB's own beyond the contract that every store keeps.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lentic_engine::keys::{data, sys};
use lentic_engine::store::{Export, Import, TransferError};
use lentic_engine::{Batch, Family, Portable, Span, Store, View};
use lentic_rocks::{OpenError, RocksStore};
use lentic_types::{ClusterId, GroupId, Index, KeyRange, TableId};

use crate::support::{CLUSTER, GROUP, entries, entries_in, entry, open, record, role_directory, small, start_role};

fn table(table: u32) -> Span {
    Span::new(Family::Data, data::bounds(TableId(table), &KeyRange::all()))
}

/// The state of a shard: its table and its group's part of sys.
fn shard() -> Vec<Span> {
    vec![table(1), Span::of_group(GROUP)]
}

fn put(store: &RocksStore, table: u32, keys: std::ops::Range<u64>, value: &[u8]) {
    for key in keys {
        let mut batch = Batch::new();
        batch.put(Family::Data, &record(table, &key.to_be_bytes(), 1), value);
        store.write(&batch).unwrap();
    }
}

fn content(store: &RocksStore, spans: &[Span]) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    spans.iter().map(|span| entries_in(store, span.family, span.bounds())).collect()
}

/// Sends what an export holds into a store, and installs it.
fn install(to: &RocksStore, export: &impl Export, spans: &[Span]) -> Result<(), TransferError> {
    let mut import = to.import().unwrap();
    for (position, file) in export.files().iter().enumerate() {
        import.write(file, 0, &export.read(position, 0, usize::MAX).unwrap()).unwrap();
    }
    to.install(import, spans, export.files())
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn what_came_in_is_there_after_a_restart_and_scratch_space_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let (from, path) = (open(&directory.path().join("from")), directory.path().join("to"));
    let to = open(&path);
    (1..=300).for_each(|index| from.write(&entry(index, b"v")).unwrap());
    let export = from.export(&shard(), &[]).unwrap();
    install(&to, &export, &shard()).unwrap();
    assert!(is_empty(&path.join("scratch")));
    let import = to.import().unwrap();
    assert!(!is_empty(&path.join("scratch")));
    drop((export, import));
    assert!(is_empty(&path.join("scratch")));
    assert!(is_empty(&directory.path().join("from/scratch")));
    to.write(&entry(301, b"new")).unwrap();
    drop(to);
    let to = open(&path);
    assert_eq!(sys::applied(&to, GROUP), Ok(Index(301)));
    assert_eq!(content(&to, &shard())[0].len(), 301);
    let key = record(1, &7u64.to_be_bytes(), 7);
    assert_eq!(to.get(Family::Data, &key), Ok(Some(b"v".to_vec())));
}

#[test]
fn an_export_outlives_its_store_only_to_be_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.write(&entry(1, b"v")).unwrap();
    let (export, mut import) = (store.export(&shard(), &[]).unwrap(), store.import().unwrap());
    drop(store);
    // The directory is free although they live, and their files are gone with the next to open it.
    let store = open(directory.path());
    assert!(matches!(export.read(0, 0, 1), Err(TransferError::Io { .. })));
    assert!(matches!(import.write(&export.files()[0], 0, b""), Err(TransferError::Io { .. })));
    let again = store.export(&shard(), &[]).unwrap();
    drop((export, import));
    again.read(0, 0, 1).unwrap();
}

#[test]
fn an_export_is_of_one_moment_while_others_write() {
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
        let export = from.export(&shard(), &[(Family::Sys, sys::applied_key(GROUP))]);
        done.store(true, Ordering::Relaxed);
        let export = export.unwrap();
        install(&to, &export, &shard()).unwrap();
        assert_eq!(to.get(Family::Sys, &sys::applied_key(GROUP)).unwrap(), export.values()[0]);
    });
    let Index(applied) = sys::applied(&to, GROUP).unwrap();
    assert!(applied >= 100);
    assert_eq!(content(&to, &shard())[0].len() as u64, applied);
}

const KILLS: u32 = 10;
const ROWS: u64 = 500;

/// A process is killed while it installs one of two states over the other, again and again.
#[test]
fn a_kill_leaves_one_state_or_the_other() {
    let directory = tempfile::tempdir().unwrap();
    for seed in [1, 2] {
        let store = open(&directory.path().join(format!("from-{seed}")));
        (1..=ROWS * seed).for_each(|index| store.write(&entry(index, &[u8::try_from(seed).unwrap(); 40])).unwrap());
    }
    let mut cut_short = 0;
    for kill in 0..KILLS {
        let mut child = start_role("transfer::role_installs", directory.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut installs = lines.filter(|line| line.contains("install")).map(|_| Instant::now());
        let (begin, end) = (installs.nth(2).unwrap(), installs.next().unwrap());
        // As far into the next install as the number of the kill says; every second time, until one has begun to replace.
        let installs = directory.path().join("to/installs");
        while end.elapsed() < (end - begin) * kill / KILLS || kill % 2 == 0 && begun(&installs) == 0 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        cut_short += begun(&installs);
        let to = open(&directory.path().join("to"));
        assert!(is_empty(&installs), "what was cut short is done");
        let Index(applied) = sys::applied(&to, GROUP).unwrap();
        let rows = content(&to, &shard()).swap_remove(0);
        assert!(applied == ROWS || applied == 2 * ROWS, "{applied} is neither state's");
        assert_eq!(rows.len() as u64, applied);
        let value = u8::try_from(applied / ROWS).unwrap();
        assert!(rows.iter().all(|(_, found)| *found == [value; 40]), "rows of both states");
    }
    assert!(cut_short > 0, "no kill of {KILLS} cut an install short");
}

/// How many installs have begun to replace what was, and have not ended.
fn begun(installs: &Path) -> usize {
    let directories = fs::read_dir(installs).unwrap().map(|install| install.unwrap().path());
    directories.filter(|install| install.join("plan").exists()).count()
}

#[test]
fn role_installs() {
    let Some(directory) = role_directory() else { return };
    let to = open(&directory.join("to"));
    let exports = [1, 2].map(|seed| {
        let store = open(&directory.join(format!("from-{seed}")));
        let export = store.export(&shard(), &[]).unwrap();
        (store, export)
    });
    for (_, export) in exports.iter().cycle() {
        println!("install");
        install(&to, export, &shard()).unwrap();
    }
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
    store.clear(&[table(1)]).unwrap();
    assert_eq!(content(&store, &[table(1)]), [vec![]]);
    assert_eq!(content(&store, &[table(0), table(2)]), neighbours);
    drop(store);
    let store = open(path);
    store.compact(&Span::all(Family::Data)).unwrap();
    assert_eq!(content(&store, &[table(1)]), [vec![]]);
    assert_eq!(content(&store, &[table(0), table(2)]), neighbours);
    store.clear(&[Span::all(Family::Data)]).unwrap();
    assert_eq!(entries(&store, Family::Data), []);
    store.clear(&[Span::all(Family::Data)]).unwrap();
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
    let span = Span { family: Family::Lock, lower: b"a".to_vec(), upper: Some(b"c".to_vec()) };
    store.clear(&[span]).unwrap();
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

/// Flushes of other groups end at every moment of an install: left to itself, RocksDB then finds its memtables in
/// disorder, and lets no file in.
#[test]
fn files_come_in_while_others_write_and_flush() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (open(&directory.path().join("from")), open(&directory.path().join("to")));
    (1..=50).for_each(|index| from.write(&entry(index, &[7; 40])).unwrap());
    let export = from.export(&shard(), &[]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for other in 2..4 {
            let (to, done) = (&to, &done);
            scope.spawn(move || {
                for round in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    put(to, other, round..round + 100, &[1; 200]);
                    if round % 3 == 0 {
                        to.flush().unwrap();
                    }
                }
            });
        }
        let installed: Result<(), TransferError> = (0..40).try_for_each(|_| install(&to, &export, &shard()));
        done.store(true, Ordering::Relaxed);
        installed.unwrap();
    });
    assert_eq!(content(&to, &shard())[0].len(), 50);
}
