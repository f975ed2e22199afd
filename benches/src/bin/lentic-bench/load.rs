//! The load: keys, values, and a shard on a store.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use lentic_engine::gc::GcHandle;
use lentic_engine::{Batch, Store};
use lentic_machine::shard::{Action, Descriptor, HeadsOptions, Operation, RequestKey, Write};
use lentic_machine::{Command, Outcome, Request, Shard};
use lentic_rocks::{RocksStore, StoreOptions};
use lentic_types::{ClientId, ClusterId, Epoch, GroupId, KeyRange, TableId, Version};

/// The table of all loads.
pub(crate) const TABLE: TableId = TableId(1);
const GROUP: GroupId = GroupId(1);

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;
/// Operations in a batch.
pub(crate) const BATCH: usize = 100;

/// The key with a number: 16 bytes that all differ, as hashes of something do.
pub(crate) fn key(number: u64) -> Bytes {
    let (high, low) = (scramble(number), scramble(number ^ 0x5bd1_e995));
    let mut bytes = Vec::with_capacity(16);
    bytes.extend_from_slice(&high.to_be_bytes());
    bytes.extend_from_slice(&low.to_be_bytes());
    bytes.into()
}

/// A one-to-one mix of 64 bits (splitmix64).
pub(crate) const fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A value that compresses about by half, as state does.
pub(crate) fn value(number: u64) -> Bytes {
    let mut bytes = vec![b'.'; VALUE_BYTES];
    for (position, chunk) in bytes.chunks_exact_mut(16).enumerate() {
        chunk[..8].copy_from_slice(&scramble(number.wrapping_add(position as u64)).to_be_bytes());
    }
    bytes.into()
}

/// Seconds that `work` takes.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// One shard on RocksDB, fed entry by entry.
pub(crate) struct Subject {
    pub(crate) store: RocksStore,
    pub(crate) shard: Shard,
    version: Version,
    sequence: u64,
}

impl Subject {
    pub(crate) fn open(directory: &Path) -> Self {
        let store = RocksStore::open(directory, ClusterId([7; 16]), &StoreOptions::default(), GcHandle::new())
            .expect("a new directory opens");
        let mut batch = Batch::new();
        let (range, epoch, watermark) = (KeyRange::all(), Epoch(1), Version::ZERO);
        Shard::create(&mut batch, GROUP, &Descriptor { table: TABLE, range, epoch, watermark, ttl_ms: 0 });
        store.write(&batch).expect("the store works");
        let shard = Shard::load(&store, GROUP, &HeadsOptions::default()).expect("the store works");
        let first_tick = Version::tick(1, 0).expect("within its bits");
        Self { shard: shard.expect("the shard was created"), store, version: first_tick, sequence: 0 }
    }

    /// An entry of one request with an idempotency key, as a client sends it.
    pub(crate) fn entry(&mut self, write: Write) -> Command {
        let issued = self.version;
        self.version = Version::tick(self.version.ms() + 1, 0).expect("a short run");
        self.sequence += 1;
        let (sequence, acked_below) = (self.sequence, self.sequence);
        let key = RequestKey { client: ClientId(1), sequence, acked_below, issued };
        Command {
            epoch: Epoch(1),
            requests: vec![Request { version: self.version, key: Some(key), action: Action::Write(write) }],
        }
    }

    /// An entry of puts.
    pub(crate) fn puts(&mut self, rows: impl Iterator<Item = (Bytes, Bytes)>) -> Command {
        let operations = rows.map(|(key, value)| Operation::Put { key, value, expiry: None }).collect();
        self.entry(Write { operations, ..Write::default() })
    }

    /// Applies an entry and writes its batch.
    pub(crate) fn apply(&mut self, command: &Command) {
        let index = self.shard.applied().next();
        let applied = self.shard.apply(index, command, &self.store).expect("no fault");
        let is_committed = |outcome: &Outcome| matches!(outcome, Outcome::Committed { .. });
        assert!(applied.replies.iter().all(is_committed), "{:?}", applied.replies);
        self.store.write(&applied.batch).expect("the store works");
    }
}
