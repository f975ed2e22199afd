//! A process that ends without warning leaves a prefix of its batches, the same in all families.

use std::path::Path;

use lentic_engine::keys::sys;
use lentic_engine::{Family, Store};
use lentic_types::Index;

use crate::support::{GROUP, entries, entry, open, role_directory, start_role};

const BATCHES_MAX: u64 = 20_000;
const FLUSHED: u64 = 250;
const KNOWN_DURABLE: &str = "known-durable";

#[test]
fn durable_applied_moves_with_flushes_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(store.durable_applied(GROUP), Ok(Index(0)));
    store.write(&entry(1, b"a")).unwrap();
    store.write(&entry(2, b"b")).unwrap();
    assert_eq!(sys::applied(&store, GROUP), Ok(Index(2)));
    assert_eq!(store.durable_applied(GROUP), Ok(Index(0)));
    store.flush().unwrap();
    assert_eq!(store.durable_applied(GROUP), Ok(Index(2)));
    store.write(&entry(3, b"c")).unwrap();
    assert_eq!(sys::applied(&store, GROUP), Ok(Index(3)));
    assert_eq!(store.durable_applied(GROUP), Ok(Index(2)));
}

#[test]
fn a_clean_end_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (1..=10).for_each(|index| store.write(&entry(index, b"v")).unwrap());
    drop(store);
    assert_holds_exactly(directory.path(), 10);
}

#[test]
fn an_abort_goes_back_to_the_last_flush() {
    let directory = tempfile::tempdir().unwrap();
    run_to_abort("crash::role_flushes_once", directory.path());
    assert_holds_exactly(directory.path(), FLUSHED);
}

#[test]
fn an_abort_between_automatic_flushes_keeps_a_prefix() {
    let directory = tempfile::tempdir().unwrap();
    run_to_abort("crash::role_fills_memtables", directory.path());
    let known = std::fs::read_to_string(directory.path().join(KNOWN_DURABLE)).unwrap();
    let (known, last) = known.split_once(' ').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap();
    let store = open(&directory.path().join("store"));
    let Index(durable) = store.durable_applied(GROUP).unwrap();
    drop(store);
    assert!((known..last).contains(&durable), "{known} was durable, {durable} of {last} came back");
    assert_holds_exactly(&directory.path().join("store"), durable);
}

/// All families hold the batches up to `last` and none behind it.
fn assert_holds_exactly(directory: &Path, last: u64) {
    let store = open(directory);
    assert_eq!(store.durable_applied(GROUP), Ok(Index(last)));
    assert_eq!(sys::applied(&store, GROUP), Ok(Index(last)));
    for family in [Family::Data, Family::Lock] {
        assert_eq!(entries(&store, family).len() as u64, last, "{family:?}");
    }
    let last_entry = entries(&store, Family::Lock).pop().map(|(key, _)| key);
    assert_eq!(last_entry, Some(last.to_be_bytes().to_vec()));
}

fn run_to_abort(role: &str, directory: &Path) {
    let output = start_role(role, directory).wait_with_output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{output:?}");
}

/// A role: a test of its own process, started by another.
#[test]
fn role_flushes_once() {
    let Some(directory) = role_directory() else { return };
    let store = open(&directory);
    for index in 1..=FLUSHED + 3 {
        store.write(&entry(index, b"value")).unwrap();
        if index == FLUSHED {
            store.flush().unwrap();
        }
    }
    std::process::abort();
}

/// A role: a test of its own process, started by another.
#[test]
fn role_fills_memtables() {
    let Some(directory) = role_directory() else { return };
    let store = open(&directory.join("store"));
    // The value does not compress, and a few dozen of it fill a memtable.
    let value: Vec<u8> = (0..1_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // Flushes run in threads of their own: go on until one was seen.
    let written = (1..BATCHES_MAX).find(|index| {
        store.write(&entry(*index, &value)).unwrap();
        store.durable_applied(GROUP).unwrap() > Index(0)
    });
    let last = written.expect("a flush began by itself") + 1;
    store.write(&entry(last, &value)).unwrap();
    let known = store.durable_applied(GROUP).unwrap();
    std::fs::write(directory.join(KNOWN_DURABLE), format!("{} {last}", known.0)).unwrap();
    std::process::abort();
}
