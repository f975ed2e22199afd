//! A directory that is not this node's store is refused, in words that say what to do, and is left as it was.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use lentic_engine::gc::GcHandle;
use lentic_engine::{Family, Store};
use lentic_rocks::{OpenError, RocksStore, StoreOptions};
use lentic_types::{ClusterId, Index};

use crate::support::{CLUSTER, GROUP, entries, entry, open, role_directory, small, start_role};

fn refusal(path: &Path) -> OpenError {
    RocksStore::open(path, CLUSTER, &small(), GcHandle::new()).expect_err("the store does not open")
}

/// A store with one flushed entry.
fn make(path: &Path) {
    let store = open(path);
    store.write(&entry(1, b"v")).unwrap();
    store.flush().unwrap();
}

fn assert_is_whole(path: &Path) {
    assert_eq!(entries(&open(path), Family::Data).len(), 1);
}

#[test]
fn a_missing_directory_and_an_empty_one_become_stores() {
    let directory = tempfile::tempdir().unwrap();
    make(&directory.path().join("some/where/deep"));
    assert_is_whole(&directory.path().join("some/where/deep"));
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    fs::remove_dir_all(directory.path().join("some")).unwrap();
    make(directory.path());
    assert_is_whole(directory.path());
    let identity = fs::read_to_string(directory.path().join("LENTIC")).unwrap();
    assert_eq!(identity, format!("lentic store\nformat: 1\ncluster: {CLUSTER}\nstate: ready\n"));
}

#[test]
fn a_first_open_that_was_cut_short_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let identity = fs::read_to_string(directory.path().join("LENTIC")).unwrap();
    fs::write(directory.path().join("LENTIC"), identity.replace("ready", "creating")).unwrap();
    fs::write(directory.path().join("LENTIC.new"), "lentic st").unwrap();
    fs::remove_dir_all(directory.path().join("db")).unwrap();
    make(directory.path());
    assert_is_whole(directory.path());
}

#[test]
fn another_cluster_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let other = ClusterId([8; 16]);
    let error = RocksStore::open(directory.path(), other, &small(), GcHandle::new()).unwrap_err();
    assert_eq!(error, OpenError::Cluster { path: directory.path().into(), expected: other, found: CLUSTER });
    assert_is_whole(directory.path());
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let identity = directory.path().join("LENTIC");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("format: 1", "format: 2")).unwrap();
    assert_eq!(refusal(directory.path()), OpenError::Format { path: directory.path().into(), expected: 1, found: 2 });
    fs::write(&identity, "garbage").unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Identity { path, .. } if path == identity));
    fs::write(&identity, text).unwrap();
    assert_is_whole(directory.path());
}

#[test]
fn a_foreign_directory_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let found = "thesis.txt".to_owned();
    assert_eq!(refusal(directory.path()), OpenError::Foreign { path: directory.path().into(), found });
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "not even a lock file is left");
    // A database that has lost its identity may be anybody's.
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    fs::remove_file(directory.path().join("LENTIC")).unwrap();
    assert!(matches!(refusal(directory.path()), OpenError::Foreign { found, .. } if found == "db"));
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&file), OpenError::Failed { .. }));
}

#[test]
fn a_second_opener_learns_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let process = Some(std::process::id());
    assert_eq!(refusal(directory.path()), OpenError::Locked { path: directory.path().into(), process });
    drop(store);
    let mut child = start_role("open::role_holds_the_store", directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("open")), "the child has the store open");
    let process = Some(child.id());
    assert_eq!(refusal(directory.path()), OpenError::Locked { path: directory.path().into(), process });
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    drop(open(directory.path()));
}

/// A role: a test of its own process, started by another.
#[test]
fn role_holds_the_store() {
    let Some(directory) = role_directory() else { return };
    let _store = open(&directory);
    println!("open");
    std::io::stdout().flush().unwrap();
    // Until the parent lets go.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn a_lost_database_is_not_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    fs::remove_dir_all(directory.path().join("db")).unwrap();
    assert_eq!(refusal(directory.path()), OpenError::Missing { path: directory.path().join("db") });
}

#[test]
fn damage_is_named_whatever_is_hit() {
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() / 2);
    // A manifest that is cut short reads as one whose last record was being written: RocksDB opens it, as of before.
    let flip: fn(&mut Vec<u8>) = |bytes| bytes[20] ^= 1;
    for (name, damage) in [("CURRENT", cut), ("MANIFEST", flip), (".sst", cut)] {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        let mut files = fs::read_dir(directory.path().join("db")).unwrap().map(|file| file.unwrap().path());
        let file = files.find(|file| file.to_string_lossy().contains(name)).unwrap();
        let bytes = fs::read(&file).unwrap();
        let mut damaged = bytes.clone();
        damage(&mut damaged);
        fs::write(&file, damaged).unwrap();
        let error = refusal(directory.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error}");
        fs::write(&file, bytes).unwrap();
        assert_is_whole(directory.path());
    }
}

#[test]
fn unusable_options_are_refused_first() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { background_jobs: 0, ..small() };
    let error = RocksStore::open(directory.path(), CLUSTER, &options, GcHandle::new()).unwrap_err();
    assert!(matches!(error, OpenError::Options(error) if error.name == "background_jobs"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A file system of its own, in memory. Only root may mount one; without it the words of the errors are still tested
/// beside their mapping.
struct Mount(PathBuf);

impl Mount {
    fn new(path: &Path, options: &str) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "lentic-test"]).arg(path).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(path.to_path_buf()))
    }

    fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success());
        assert!(unmounted || std::thread::panicking(), "{} is still mounted", self.0.display());
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(directory.path(), "size=64m") else { return };
    make(directory.path());
    mount.change("ro");
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    mount.change("rw");
    assert_is_whole(directory.path());
}

#[test]
fn a_full_disk_is_named_and_room_is_enough() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(directory.path(), "size=4k") else { return };
    // Where the room ends, a first open fails: at the identity, in the middle of RocksDB, or not at all.
    let mut refusals = 0;
    for kib in [4, 8, 12, 16, 20, 24, 28, 32, 40, 48] {
        mount.change(&format!("size={kib}k"));
        if let Err(error) = RocksStore::open(directory.path(), CLUSTER, &small(), GcHandle::new()) {
            assert!(matches!(error, OpenError::DiskFull { .. }), "{kib} KiB: {error}");
            refusals += 1;
        }
    }
    assert!(refusals >= 4, "{refusals}");
    mount.change("size=64m");
    make(directory.path());
    assert_is_whole(directory.path());
}

#[test]
fn a_disk_that_fills_up_ends_the_store_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(directory.path(), "size=64m") else { return };
    let store = open(directory.path());
    (1..=5).for_each(|index| store.write(&entry(index, b"v")).unwrap());
    store.flush().unwrap();
    let mut ballast = fs::File::create(directory.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    drop(ballast);
    let failure = (6..=400).find_map(|index| {
        let written = store.write(&entry(index, &[7; 1_000]));
        written.and_then(|()| store.flush()).err()
    });
    assert!(failure.is_some_and(|error| error.to_string().contains("No space left")));
    drop(store);
    fs::remove_file(directory.path().join("ballast")).unwrap();
    let store = open(directory.path());
    let Index(durable) = store.durable_applied(GROUP).unwrap();
    assert!(durable >= 5);
    assert_eq!(entries(&store, Family::Data).len() as u64, durable);
    assert_eq!(entries(&store, Family::Lock).len() as u64, durable);
    drop(store);
    drop(mount);
}
