//! What a running store tells of itself.

use std::collections::BTreeSet;

use lentic_engine::gc::GcHandle;
use lentic_engine::store::MetricKind;
use lentic_engine::{Bounds, Cursor, Family, Portable, Pressure, Span, Store, View};
use lentic_rocks::{RocksStore, StoreOptions};

use crate::support::{CLUSTER, GROUP, entries, entry, open, record, small};

fn value_of(store: &RocksStore, name: &str) -> u64 {
    store.metrics().iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("there is {name}")).value
}

/// Asked often enough that the answer is a fresh one.
fn pressure(store: &RocksStore) -> Pressure {
    (0..16).map(|_| store.pressure()).max().unwrap()
}

#[test]
fn pressure_rises_with_the_files_of_level_zero() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { automatic_compaction: false, level_zero_files_slow: 8, level_zero_files_stop: 10, ..small() };
    let store = RocksStore::open(directory.path(), CLUSTER, &options, GcHandle::new()).unwrap();
    let expected = |files| match files {
        0..6 => Pressure::None,
        6..10 => Pressure::Slow,
        _ => Pressure::Stop,
    };
    for files in 1..=12 {
        store.write(&entry(files, b"v")).unwrap();
        store.flush().unwrap();
        assert_eq!(pressure(&store), expected(files), "{files} files");
    }
    assert_eq!(value_of(&store, "lentic_rocks_level_zero_files_count"), 12);
    drop(store);
    // Compactions take the debt away.
    let store = open(directory.path());
    store.compact(&Span::all(Family::Data)).unwrap();
    assert_eq!(entries(&store, Family::Data).len(), 12);
}

#[test]
fn filters_spare_reads_of_absent_keys() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (1..=200).for_each(|index| store.write(&entry(index, b"v")).unwrap());
    store.flush().unwrap();
    let mut cursor = store.cursor(Family::Data, Bounds::OneKey).unwrap();
    for index in 0..100u64 {
        // Between keys that are there, so that no file is ruled out by its bounds.
        let absent = [&index.to_be_bytes()[..], b"x"].concat();
        cursor.seek(&record(1, &absent, u64::MAX)).unwrap();
        assert_eq!(cursor.entry(), None);
    }
    let useful = value_of(&store, "lentic_rocks_filter_useful_count");
    assert!(useful >= 90, "{useful} of 100 reads were spared");
}

#[test]
fn damage_that_a_read_meets_is_an_error_and_not_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (1..=10).for_each(|index| store.write(&entry(index, b"v")).unwrap());
    store.flush().unwrap();
    drop(store);
    let files = std::fs::read_dir(directory.path().join("db")).unwrap().map(|file| file.unwrap().path());
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "sst")) {
        let mut bytes = std::fs::read(&file).unwrap();
        // In the first block of entries, which nobody reads to open the file.
        bytes[10] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let store = open(directory.path());
    let key = record(1, &5u64.to_be_bytes(), 5);
    let failures = [
        store.get(Family::Data, &key).unwrap_err(),
        store.cursor(Family::Data, Bounds::OneKey).unwrap().seek(&key).unwrap_err(),
        store.cursor(Family::Lock, Bounds::Range { lower: vec![], upper: None }).unwrap().seek(b"").unwrap_err(),
        store.durable_applied(GROUP).unwrap_err(),
    ];
    for failure in failures {
        assert!(failure.to_string().contains("Corruption: block checksum mismatch"), "{failure}");
    }
}

#[test]
fn memory_that_is_not_flushed_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path(), CLUSTER, &StoreOptions::default(), GcHandle::new()).unwrap();
    let empty = store.memtable_bytes();
    (1..=100).for_each(|index| store.write(&entry(index, &[0; 20_000])).unwrap());
    assert!(store.memtable_bytes() >= empty + 100 * 2 * 20_000);
    store.request_flush().unwrap();
    // It answers before it is done; a flush that waits comes after it.
    store.flush().unwrap();
    assert_eq!(store.durable_applied(GROUP), Ok(lentic_types::Index(100)));
    // Its memory is given back a moment later, by the thread that flushed.
    assert!(value_of(&store, "lentic_rocks_memtable_used_bytes") < 100 * 20_000);
}

#[test]
fn nothing_is_written_to_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (1..=100).for_each(|index| store.write(&entry(index, &[0; 100])).unwrap());
    store.clear(&[Span::all(Family::Lock)]).unwrap();
    for file in std::fs::read_dir(directory.path().join("db")).unwrap() {
        let file = file.unwrap();
        if file.path().extension().is_some_and(|extension| extension == "log") {
            assert_eq!(file.metadata().unwrap().len(), 0, "{}", file.path().display());
        }
    }
}

#[test]
fn metrics_have_names_units_and_sentences() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (1..=100).for_each(|index| store.write(&entry(index, b"v")).unwrap());
    store.flush().unwrap();
    let metrics = store.metrics();
    let names: BTreeSet<_> = metrics.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), metrics.len(), "names are unique");
    for metric in &metrics {
        let unit = ["_bytes", "_count", "_micros"].iter().any(|unit| metric.name.ends_with(unit));
        assert!(unit && metric.name.starts_with("lentic_rocks_"), "{}", metric.name);
        assert!(metric.help.ends_with('.') && metric.help.starts_with(char::is_uppercase), "{}", metric.help);
    }
    let written = metrics.iter().find(|metric| metric.name == "lentic_rocks_flush_write_bytes").unwrap();
    assert!(written.kind == MetricKind::Counter && written.value > 0);
    assert_eq!(value_of(&store, "lentic_rocks_entries_count"), 201);
    assert!(value_of(&store, "lentic_rocks_live_files_bytes") > 0);
}
