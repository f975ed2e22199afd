//! The suite that every store runs: the contract, and the engine over the store against a model.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

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

fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_files(&file.path(), &to);
        } else {
            // Files that a collection has replaced are removed a moment later: one that is gone was not needed.
            let copied = fs::copy(file.path(), to).map(drop);
            assert!(copied.is_ok() || copied.is_err_and(|error| error.kind() == ErrorKind::NotFound));
        }
    }
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
