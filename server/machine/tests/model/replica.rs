//! Replicas with different habits.

use std::convert::Infallible;

use lentic_engine::gc::GcHandle;
use lentic_engine::{Batch, Direction, MemStore, ReadStats, ScanLimits, Store, View};
use lentic_machine::shard::{Descriptor, HeadsOptions};
use lentic_machine::{Applied, Command, Event, Outcome, Overlay, Shard};
use lentic_types::{Epoch, GroupId, Index, TableId, Version};

use super::history::Luck;
use super::table::{Table, shard_range};

const GROUP: GroupId = GroupId(4);
/// The table.
pub(crate) const TABLE: TableId = TableId(2);

fn new_store(ttl_ms: u64) -> MemStore {
    let (store, mut batch) = (MemStore::new(), Batch::new());
    let descriptor =
        Descriptor { table: TABLE, range: shard_range(), epoch: Epoch(1), watermark: Version::ZERO, ttl_ms };
    Shard::create(&mut batch, GROUP, &descriptor);
    store.write(&batch).expect("the store works");
    store.flush().expect("the store works");
    store
}

fn load(view: &impl View, memo_bytes: u64) -> Shard {
    let options = HeadsOptions { bytes_max: memo_bytes, seed: 1 };
    Shard::load(view, GROUP, &options).expect("the store works").expect("the shard is there")
}

fn table_at(shard: &Shard, store: &MemStore, version: Version) -> Table {
    let (at, limits) = (shard.read_at(version), ScanLimits::default());
    let range = &shard.descriptor().range;
    let page = at.scan(store, range, Direction::Forward, &limits, &mut ReadStats::default()).expect("the store works");
    let rows = page.rows.into_iter().map(|row| (row.key.to_vec(), row.found));
    rows.map(|(key, found)| (key, (found.version, found.value.to_vec(), found.expiry))).collect()
}

/// Writes each entry by itself, and remembers heads.
pub(crate) struct Plain {
    pub(crate) store: MemStore,
    pub(crate) shard: Shard,
}

impl Plain {
    pub(crate) fn new(ttl_ms: u64) -> Self {
        let store = new_store(ttl_ms);
        Self { shard: load(&store, 4096), store }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Vec<Outcome> {
        let applied = self.shard.apply(self.shard.applied().next(), command, &self.store).expect("no fault");
        self.store.write(&applied.batch).expect("the store works");
        applied.replies
    }

    pub(crate) fn table_at(&self, version: Version) -> Table {
        table_at(&self.shard, &self.store, version)
    }
}

/// Gathers the batches of several entries, and has no memo.
pub(crate) struct Gathered {
    pub(crate) store: MemStore,
    shard: Shard,
    waiting: Batch,
}

impl Gathered {
    pub(crate) fn new(ttl_ms: u64) -> Self {
        let store = new_store(ttl_ms);
        Self { shard: load(&store, 0), store, waiting: Batch::new() }
    }

    pub(crate) fn apply(&mut self, command: &Command, is_written: bool) -> Vec<Outcome> {
        let mut overlay = Overlay::new(&self.store);
        overlay.batch().append(&self.waiting);
        let applied = self.shard.apply(self.shard.applied().next(), command, &overlay).expect("no fault");
        self.waiting.append(&applied.batch);
        if is_written {
            self.write();
        }
        applied.replies
    }

    pub(crate) fn write(&mut self) {
        self.store.write(&self.waiting).expect("the store works");
        self.waiting.truncate(0);
    }
}

/// Crashes and applies its log again, and collects garbage.
pub(crate) struct Unlucky {
    pub(crate) store: MemStore,
    pub(crate) shard: Shard,
    gc: GcHandle,
    log: Vec<(Command, Vec<Outcome>)>,
}

impl Unlucky {
    pub(crate) fn new(ttl_ms: u64) -> Self {
        let store = new_store(ttl_ms);
        Self { shard: load(&store, 1024), store, gc: GcHandle::new(), log: Vec::new() }
    }

    pub(crate) fn apply(&mut self, command: &Command, luck: &Luck) -> Vec<Outcome> {
        let replies = self.apply_next(command);
        self.log.push((command.clone(), replies.clone()));
        match luck {
            Luck::Nothing => {}
            Luck::Flush => self.flush(),
            Luck::Collect => {
                self.flush();
                self.store.compact(TABLE, &shard_range(), &self.gc);
            }
            Luck::Crash(batches) => self.crash(*batches),
        }
        replies
    }

    fn apply_next(&mut self, command: &Command) -> Vec<Outcome> {
        let index = self.shard.applied().next();
        let Applied { batch, replies, events, .. } = self.shard.apply(index, command, &self.store).expect("no fault");
        self.store.write(&batch).expect("the store works");
        for event in events {
            if let Event::GcRulesChanged(rules) = event {
                self.gc.stage(GROUP, index, Some(rules));
            }
        }
        replies
    }

    fn flush(&self) {
        self.store.flush().expect("the store works");
        let durable = |group| Ok::<Index, Infallible>(self.store.durable_applied(group).expect("the store works"));
        self.gc.promote(durable).expect("cannot fail");
    }

    /// Comes back with a part of what was not flushed, and gives the same answers again.
    fn crash(&mut self, batches: usize) {
        self.store = self.store.crash(batches);
        self.shard = load(&self.store, 1024);
        self.gc = GcHandle::new();
        self.gc.stage(GROUP, self.shard.applied(), Some(self.shard.gc_rules()));
        let applied = usize::try_from(self.shard.applied().0).expect("small");
        for (command, replies) in self.log.clone().into_iter().skip(applied) {
            assert_eq!(self.apply_next(&command), replies, "applied again: {command:?}");
        }
    }

    pub(crate) fn table_at(&self, version: Version) -> Table {
        table_at(&self.shard, &self.store, version)
    }
}
