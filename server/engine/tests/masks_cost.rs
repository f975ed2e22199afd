//! What a hundred rollbacks cost the readers of their range.

#![allow(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

use lentic_engine::record::Record;
use lentic_engine::store::{Batch, Store as _};
use lentic_engine::{Direction, Mask, MaskSet, MemStore, ReadAt, ReadStats, ScanLimits, write};
use lentic_types::{KeyRange, TableId, Version};

const TABLE: TableId = TableId(1);
const ROLLBACKS: u64 = 100;
const KEYS: u8 = 20;

/// A store and the rollbacks of its keys; each round a job writes them all, is lost and goes back.
struct World {
    store: MemStore,
    masks: MaskSet,
    version: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { store: MemStore::new(), masks: MaskSet::new(), version: 0 };
        world.write();
        world
    }

    fn write(&mut self) {
        let mut batch = Batch::new();
        self.version += 1;
        for key in 0..KEYS {
            let record = Record::Put { value: &self.version.to_be_bytes(), expiry: None };
            write::record(&mut batch, TABLE, &[key], Version(self.version), &record);
        }
        self.store.write(&batch).unwrap();
    }

    fn go_back(&mut self, to: u64) {
        self.version += 1;
        self.masks.add(Mask { range: KeyRange::all(), from: Version(to), end: Version(self.version) });
    }

    /// What a get and a scan of all keys cost, and what the keys were last written at.
    fn read(&self) -> (ReadStats, ReadStats, u64) {
        let at = ReadAt { table: TABLE, version: Version::MAX, masks: &self.masks, layers: &[] };
        let (mut get, mut scan) = (ReadStats::default(), ReadStats::default());
        let found = at.get(&self.store, &[3], &mut get).unwrap().unwrap();
        let limits = ScanLimits::default();
        let page = at.scan(&self.store, &KeyRange::all(), Direction::Forward, &limits, &mut scan).unwrap();
        assert!(page.rows.iter().all(|row| row.found.version == found.version) && page.rows.len() == usize::from(KEYS));
        (get, scan, found.version.0)
    }
}

/// The usual course: the job goes on, and its keys are written again.
#[test]
fn what_is_written_after_the_last_rollback_is_read_as_before() {
    let mut world = World::new();
    let before = world.read();
    for _ in 0..ROLLBACKS {
        let checkpoint = world.version;
        world.write();
        world.go_back(checkpoint);
        world.write();
    }
    let after = world.read();
    assert_eq!(after.0, before.0, "a get is one seek to one record");
    assert!(after.1.seeks <= before.1.seeks + u64::from(KEYS), "{:?}, before {:?}", after.1, before.1);
}

/// A hundred attempts from one checkpoint, and nothing written since the last: one step over all that is hidden.
#[test]
fn one_rollback_hides_what_a_hundred_have() {
    let mut world = World::new();
    let checkpoint = world.version;
    for _ in 0..ROLLBACKS {
        world.write();
        world.go_back(checkpoint);
    }
    let (get, scan, version) = world.read();
    assert_eq!((version, get.seeks), (checkpoint, 2), "to the newest, and below what is hidden");
    assert!(get.records <= 12 && scan.seeks <= 1 + 2 * u64::from(KEYS), "{get:?}, {scan:?}");
}

/// The worst: each attempt goes back to where the one before it has ended, and only lost attempts have written.
#[test]
fn what_only_lost_attempts_wrote_costs_a_step_for_each_until_it_is_collected() {
    let mut world = World::new();
    for _ in 0..ROLLBACKS {
        let checkpoint = world.version;
        world.write();
        world.go_back(checkpoint);
    }
    let (get, _, version) = world.read();
    assert_eq!(version, 1);
    assert!(get.records <= 2 * ROLLBACKS + 2, "{get:?}");
    let gc = lentic_engine::gc::GcHandle::new();
    let (watermark, masks) = (Version(world.version), world.masks.clone());
    let (table, range, pins) = (TABLE, KeyRange::all(), Vec::new());
    let rules = lentic_engine::gc::GcRules { table, range, watermark, pins, masks, is_branch: false };
    gc.stage(lentic_types::GroupId(1), lentic_types::Index(1), Some(rules));
    gc.promote(|_| Ok::<_, std::convert::Infallible>(lentic_types::Index(1))).unwrap();
    world.store.flush().unwrap();
    world.store.compact(TABLE, &KeyRange::all(), &gc);
    let (get, _, version) = world.read();
    assert_eq!((version, get.records, get.seeks), (1, 1, 1), "what is hidden is gone");
}
