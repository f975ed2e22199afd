//! What the tests share.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lentic_engine::gc::GcHandle;
use lentic_engine::keys::{data, sys};
use lentic_engine::{Batch, Bounds, Cursor, Family, View};
use lentic_rocks::{RocksStore, StoreOptions};
use lentic_types::{ClusterId, GroupId, Index, TableId, Version};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
pub(crate) const GROUP: GroupId = GroupId(1);

/// Names the directory that a role works in.
const ROLE_DIRECTORY: &str = "LENTIC_ROCKS_ROLE_DIRECTORY";

/// Small, so that little data makes many files.
pub(crate) fn small() -> StoreOptions {
    StoreOptions {
        block_cache_bytes: 4 << 20,
        memtable_bytes: 64 << 10,
        memtables_bytes_max: 8 << 20,
        file_bytes: 64 << 10,
        background_jobs: 2,
        ..StoreOptions::default()
    }
}

pub(crate) fn open(path: &Path) -> RocksStore {
    open_with(path, GcHandle::new())
}

pub(crate) fn open_with(path: &Path, gc: GcHandle) -> RocksStore {
    RocksStore::open(path, CLUSTER, &small(), gc).expect("the store opens")
}

pub(crate) fn record(table: u32, key: &[u8], version: u64) -> Vec<u8> {
    let mut out = Vec::new();
    data::put(&mut out, TableId(table), key, Version(version));
    out
}

/// Entry `index` of a group's log, as its effects: one entry in each family and the applied index.
pub(crate) fn entry(index: u64, value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(Family::Data, &record(1, &index.to_be_bytes(), index), value);
    batch.put(Family::Lock, &index.to_be_bytes(), value);
    sys::put_applied(&mut batch, GROUP, Index(index));
    batch
}

/// All entries of a family within bounds, forward.
pub(crate) fn entries_in(view: &impl View, family: Family, bounds: Bounds) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = view.cursor(family, bounds).expect("a cursor");
    cursor.seek(b"").expect("a seek");
    let mut entries = Vec::new();
    while let Some((key, value)) = cursor.entry() {
        entries.push((key.to_vec(), value.to_vec()));
        cursor.next().expect("a step");
    }
    entries
}

pub(crate) fn entries(view: &impl View, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries_in(view, family, Bounds::Range { lower: vec![], upper: None })
}

/// Starts this test binary again as the one test `role`, which works in `directory`. A role is a test that does
/// nothing when it is run with the others.
pub(crate) fn start_role(role: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().expect("the path of this binary"))
        .args([role, "--exact", "--nocapture"])
        .env(ROLE_DIRECTORY, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child process")
}

/// In a role: where to work. `None` when it is run with the others.
pub(crate) fn role_directory() -> Option<PathBuf> {
    std::env::var_os(ROLE_DIRECTORY).map(Into::into)
}
