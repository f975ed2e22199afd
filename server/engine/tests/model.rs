//! The engine over `MemStore` against the model; RocksDB runs the same histories in its own crate.

use lentic_engine::MemStore;
use lentic_engine::gc::GcHandle;
use lentic_engine::testing::{Subject, contract, run, steps, transfer};
use proptest::prelude::*;

/// A process with its store.
struct Mem {
    store: MemStore,
    gc: GcHandle,
}

impl Subject for Mem {
    type Store = MemStore;

    fn store(&self) -> &MemStore {
        &self.store
    }

    fn gc(&self) -> &GcHandle {
        &self.gc
    }

    fn crash(&mut self, batches: usize) {
        *self = Self { store: self.store.crash(batches), gc: GcHandle::new() };
    }

    fn collect(&mut self) {
        self.gc.ranges().iter().for_each(|(table, range)| self.store.compact(*table, range, &self.gc));
    }
}

#[test]
fn mem_store_keeps_the_contract() {
    contract::check(MemStore::new);
    transfer::check(MemStore::new);
}

proptest! {
    #[test]
    fn reads_agree_with_the_model(history in steps(60)) {
        run(&mut Mem { store: MemStore::new(), gc: GcHandle::new() }, &history);
    }
}
