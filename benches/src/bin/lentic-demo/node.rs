//! A node with one shard: log, state machine and store, put together in the order that makes it durable.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use lentic_engine::gc::GcHandle;
use lentic_engine::{Batch, Direction, ReadStats, ScanLimits, Store};
use lentic_log::{DiskFs, Log, LogOptions, WriterThread};
use lentic_machine::shard::{Action, Descriptor, HeadsOptions};
use lentic_machine::{Command, Event, Outcome, Request, Shard};
use lentic_rocks::{RocksStore, StoreOptions};
use lentic_types::{ClusterId, Epoch, GroupId, Index, KeyRange, TableId, Version};

const CLUSTER: ClusterId = ClusterId(*b"lentic demo node");
const GROUP: GroupId = GroupId(1);
const ENTRIES_AT_ONCE: u64 = 4_096;

pub(crate) struct Node {
    store: RocksStore,
    gc: GcHandle,
    log: Log,
    shard: Shard,
    // Dropped last: it closes the log.
    _writer: WriterThread,
}

impl Node {
    /// Opens the node in `directory`, new or not, and applies what the log has and the store lost. Returns how many
    /// entries that were, too.
    pub(crate) fn open(directory: &Path) -> (Self, u64) {
        std::fs::create_dir_all(directory.join("log")).expect("the directory is writable");
        let gc = GcHandle::new();
        let store = RocksStore::open(&directory.join("store"), CLUSTER, &StoreOptions::default(), gc.clone());
        let store = store.unwrap_or_else(|error| panic!("{error}"));
        let files = Arc::new(DiskFs::new(directory.join("log")));
        let opened = Log::open(files, CLUSTER, LogOptions::default(), Box::new(|_| {}));
        let (log, writer) = opened.unwrap_or_else(|error| panic!("{error}"));
        let shard = load_or_create(&store);
        let mut node = Self { store, gc, log, shard, _writer: writer.spawn() };
        let replayed = node.replay();
        (node, replayed)
    }

    fn replay(&mut self) -> u64 {
        let first = self.shard.applied().next();
        let last = self.log.state(GROUP).expect("the log works").and_then(|state| state.range);
        let end = last.map_or(first, |(_, last)| last.next());
        while self.shard.applied().next() < end {
            let range = Range { start: self.shard.applied().next(), end };
            for entry in self.log.read(GROUP, range, 16 << 20).expect("the log works") {
                self.apply(&Command::decode(&entry).expect("an entry of this release"));
            }
        }
        end.0 - first.0
    }

    /// Makes an action durable, applies it, and returns its outcome.
    pub(crate) fn act(&mut self, version: Version, action: Action) -> Outcome {
        let mut outcomes = self.act_together(vec![Request { version, key: None, action }]);
        outcomes.pop().expect("one request has one outcome")
    }

    /// Makes requests durable in one entry, applies them, and returns their outcomes.
    pub(crate) fn act_together(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        let command = Command { epoch: Epoch(1), requests };
        let (done, durable) = sync_channel(1);
        let completion = Box::new(move |result| drop(done.send(result)));
        let index = self.shard.applied().next();
        self.log.append(GROUP, index, vec![command.encode().into()], completion).expect("there is room");
        durable.recv().expect("the writer answers").unwrap_or_else(|error| panic!("{error}"));
        self.apply(&command)
    }

    fn apply(&mut self, command: &Command) -> Vec<Outcome> {
        let index = self.shard.applied().next();
        let applied = self.shard.apply(index, command, &self.store).unwrap_or_else(|error| panic!("{error}"));
        self.store.write(&applied.batch).unwrap_or_else(|error| panic!("{error}"));
        for Event::GcRulesChanged(rules) in applied.events {
            self.gc.stage(GROUP, index, Some(rules));
        }
        applied.replies
    }

    /// The newest stamp: the next one is above it.
    pub(crate) fn newest(&self) -> Version {
        self.shard.newest()
    }

    pub(crate) fn applied(&self) -> Index {
        self.shard.applied()
    }

    /// The value of a counter at a version.
    pub(crate) fn counter(&self, key: &str, at: Version) -> Option<i64> {
        let found = self.shard.read_at(at).get(&self.store, key.as_bytes(), &mut ReadStats::default());
        found.expect("the store works").map(|found| i64::from_be_bytes(found.value[..].try_into().expect("a counter")))
    }

    /// How many keys there are at a version, and the sum of their counters.
    pub(crate) fn total(&self, at: Version) -> (usize, i64) {
        let (mut rest, mut keys, mut sum) = (Some(KeyRange::all()), 0, 0);
        let limits = ScanLimits { rows_max: usize::try_from(ENTRIES_AT_ONCE).expect("small"), ..ScanLimits::default() };
        while let Some(range) = rest {
            let page = self.shard.read_at(at).scan(
                &self.store,
                &range,
                Direction::Forward,
                &limits,
                &mut ReadStats::default(),
            );
            let page = page.expect("the store works");
            keys += page.rows.len();
            for row in &page.rows {
                sum += i64::from_be_bytes(row.found.value[..].try_into().expect("a counter"));
            }
            rest = page.rest;
        }
        (keys, sum)
    }

    /// What the log did.
    pub(crate) fn log_stats(&self) -> lentic_log::Stats {
        self.log.stats().expect("the log works")
    }
}

fn load_or_create(store: &RocksStore) -> Shard {
    let load = || Shard::load(store, GROUP, &HeadsOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    load().unwrap_or_else(|| {
        let mut batch = Batch::new();
        let (table, range, epoch, watermark) = (TableId(1), KeyRange::all(), Epoch(1), Version::ZERO);
        Shard::create(&mut batch, GROUP, &Descriptor { table, range, epoch, watermark });
        store.write(&batch).expect("the store works");
        load().expect("the shard was created")
    })
}
