//! The engine over `MemStore` against the model; RocksDB runs the same histories in its own crate.

use lentic_engine::MemStore;
use lentic_engine::gc::GcHandle;
use lentic_engine::keys::sys;
use lentic_engine::store::{Export, Import, TransferError};
use lentic_engine::testing::{Subject, contract, run, steps, transfer};
use lentic_engine::{Batch, Family, Portable, Span, Store, View};
use lentic_types::{GroupId, Index};
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

#[test]
fn an_interrupted_install_leaves_its_mark() {
    let (group, spans) = (GroupId(1), [Span::of_group(GroupId(1))]);
    let store = |rows: u8| {
        let store = MemStore::new();
        let mut batch = Batch::new();
        (0..rows).for_each(|row| batch.put(Family::Sys, &sys::key(group, sys::SysKind::Answers, &[row]), b""));
        sys::put_applied(&mut batch, group, Index(rows.into()));
        store.write(&batch).unwrap();
        store
    };
    let (from, to) = (store(40), store(20));
    let install = || {
        let (export, mut import) = (from.export(&spans, &[]).unwrap(), to.import().unwrap());
        let file = &export.files()[0];
        import.write(file, 0, &export.read(0, 0, usize::MAX).unwrap()).unwrap();
        to.install(import, group, &spans, export.files())
    };
    to.interrupt_next_install();
    assert!(matches!(install(), Err(TransferError::Store(_))));
    let after = to.crash(0);
    assert_eq!(sys::is_installing(&after, group), Ok(true));
    assert_ne!(after.entries(Family::Sys).len(), 41 + 1, "part of it");
    install().unwrap();
    let after = to.crash(0);
    assert_eq!(sys::is_installing(&after, group), Ok(false));
    assert_eq!(after.entries(Family::Sys), from.entries(Family::Sys));
    assert_eq!(after.get(Family::Sys, &sys::applied_key(group)).unwrap(), Some(vec![40]));
}

proptest! {
    #[test]
    fn reads_agree_with_the_model(history in steps(60)) {
        run(&mut Mem { store: MemStore::new(), gc: GcHandle::new() }, &history);
    }
}
