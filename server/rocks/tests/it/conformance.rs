//! The suite that every store runs: the contract, and the engine over the store against a model.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lentic_engine::gc::GcHandle;
use lentic_engine::testing::{Subject, contract, run, steps, transfer};
use lentic_engine::{Family, Span};
use lentic_rocks::{RocksStore, StoreOptions};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{CLUSTER, small};

/// A process with its store.
struct Rocks {
    // Before its directory, for it writes into it to its end.
    store: RocksStore,
    gc: GcHandle,
    directory: TempDir,
}

impl Rocks {
    fn open(directory: TempDir) -> Self {
        let gc = GcHandle::new();
        // Files change at flushes and collections only, so that a copy of them is what a crash leaves.
        let options = StoreOptions { automatic_compaction: false, ..small() };
        let store = RocksStore::open(directory.path(), CLUSTER, &options, gc.clone()).unwrap();
        Self { store, gc, directory }
    }
}

impl Subject for Rocks {
    type Store = RocksStore;

    fn store(&self) -> &RocksStore {
        &self.store
    }

    fn gc(&self) -> &GcHandle {
        &self.gc
    }

    /// Goes on with a copy of the files: they are all that a killed process leaves.
    fn crash(&mut self, _batches: usize) {
        let copy = tempfile::tempdir().unwrap();
        copy_files(self.directory.path(), copy.path());
        *self = Self::open(copy);
    }

    fn collect(&mut self) {
        self.store.compact(&Span::all(Family::Data)).unwrap();
        self.store.remove_buried(5).unwrap();
    }
}

/// Copies what the directory holds at one moment: RocksDB removes files in the background, and none of those that a
/// copied manifest names may be among them. Its file numbers are not used twice, so equal names are equal files.
fn copy_files(from: &Path, to: &Path) {
    loop {
        let before = names(from);
        let copied = before.iter().all(|name| copy_file(&from.join(name), &to.join(name)));
        if copied && names(from) == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
        fs::create_dir(to).unwrap();
    }
}

/// All files below a directory, in order.
fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let below = |name: OsString| names(&directory.join(&name)).into_iter().map(move |file| Path::new(&name).join(file));
    entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => below(entry.file_name()).collect(),
            false => vec![PathBuf::from(entry.file_name())],
        })
        .collect()
}

/// False where the file is gone.
fn copy_file(from: &Path, to: &Path) -> bool {
    fs::create_dir_all(to.parent().expect("a file lies in a directory")).unwrap();
    let copied = fs::copy(from, to).map(drop);
    let gone = copied.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    assert!(gone || copied.is_ok(), "{copied:?}");
    !gone
}

#[test]
fn the_contract_is_kept() {
    let mut directories = Vec::new();
    let mut make = || {
        directories.push(tempfile::tempdir().unwrap());
        crate::support::open(directories.last().expect("one was pushed").path())
    };
    contract::check(&mut make);
    transfer::check(&mut make);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reads_agree_with_the_model(history in steps(60)) {
        run(&mut Rocks::open(tempfile::tempdir().unwrap()), &history);
    }
}
