//! Random histories of a table and its branches, judged by the machine and by a model that keeps every version as a map.
//!
//! Two replicas apply the same entries: one writes each and never collects anything, one crashes, comes back and collects
//! garbage by the rules that the shards give. Both show the model's tables at every version that may be read: at the newest,
//! from the watermark on, at pins below it, and at what branches were made of.

use std::collections::BTreeMap;

use lentic_engine::gc::GcHandle;
use lentic_engine::{Batch, Direction, MemStore, MergeOperator, ReadStats, ScanLimits, Store};
use lentic_machine::shard::{
    Action, Back, Branch, Command, Descriptor, HeadsOptions, Operation, RaiseWatermark, Release, Request, Take, Token,
    Write,
};
use lentic_machine::{Outcome, Shard, invariants};
use lentic_types::{Epoch, GroupId, Index, KeyRange, ShardId, TableId, Version};
use proptest::prelude::*;

const HOME: GroupId = GroupId(2);
const TABLES_MAX: usize = 6;

type Map = BTreeMap<u8, i64>;

/// What is done; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8, i64),
    Add(usize, u8, i64),
    Delete(usize, u8),
    DeleteAll(usize),
    /// Goes back by so many versions.
    Rollback(usize, usize),
    Branch(usize, usize),
    Drop(usize),
    Raise(usize, usize),
    Collect,
    Reload,
    Crash(usize),
}

/// A table of the model.
struct Table {
    shard: ShardId,
    parent: Option<usize>,
    base: Version,
    /// Its contents from each version on.
    states: Vec<(Version, Map)>,
    watermark: Version,
    /// Versions below the watermark that are kept.
    pins: Vec<Version>,
    is_dropped: bool,
}

impl Table {
    fn at(&self, version: Version) -> Map {
        let seen = self.states.iter().rev().find(|(from, _)| *from <= version);
        seen.map_or_else(Map::new, |(_, map)| map.clone())
    }

    /// The versions at which it may be read.
    fn readable(&self) -> Vec<Version> {
        let above = self.states.iter().map(|(from, _)| *from).filter(|from| *from >= self.watermark);
        let mut all: Vec<_> = above.chain(self.pins.iter().copied()).chain([self.watermark]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A store with the group's shard, and with the log.
struct Replica {
    store: MemStore,
    shard: Shard,
    log: Vec<(Option<ShardId>, Command, Vec<Outcome>)>,
}

impl Replica {
    fn new() -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        let (range, watermark) = (KeyRange::all(), Version::ZERO);
        Shard::create(
            &mut batch,
            HOME,
            &Descriptor { table: TableId(1), range, epoch: Epoch(1), watermark, ttl_ms: 0 },
        );
        store.write(&batch).expect("the store works");
        store.flush().expect("the store works");
        Self { shard: load(&store), store, log: Vec::new() }
    }

    fn apply(&mut self, rider: Option<ShardId>, command: &Command) -> Vec<Outcome> {
        // What replicas apply has been through the log.
        let (rider, command) = Command::decode_for(&command.encode_for(rider).into()).expect("an encoded command");
        let applied =
            self.shard.apply_for(rider, self.shard.applied().next(), &command, &self.store).expect("no fault");
        self.store.write(&applied.batch).expect("the store works");
        self.log.push((rider, command, applied.replies.clone()));
        applied.replies
    }

    fn reload(&mut self) {
        let loaded = load(&self.store);
        assert!(loaded.is_same_state(&self.shard), "what is loaded is what was kept");
        self.shard = loaded;
    }

    fn crash(&mut self, batches: usize) {
        self.store = self.store.crash(batches);
        self.shard = load(&self.store);
        let back = usize::try_from(self.shard.applied().0).expect("small");
        for (rider, command, told) in self.log.split_off(back) {
            assert_eq!(self.apply(rider, &command), told, "applied again");
        }
    }

    fn collect(&self) {
        self.store.flush().expect("the store works");
        let gc = GcHandle::new();
        for shard in self.shard.riders().map(|(rider, _)| rider).chain([&self.shard]) {
            gc.stage(shard.group(), Index(0), Some(shard.gc_rules()));
        }
        gc.promote(|_| Ok::<_, std::convert::Infallible>(Index(1))).expect("it cannot fail");
        gc.ranges().iter().for_each(|(table, range)| self.store.compact(*table, range, &gc));
    }

    fn table(&self, shard: ShardId, at: Version) -> Map {
        let shard = if shard == HOME.into() { &self.shard } else { self.shard.rider(shard).expect("it rides there") };
        let (read, mut stats) = (shard.read_at(at), ReadStats::default());
        let limits = ScanLimits { rows_max: 2, ..ScanLimits::default() };
        let (mut map, mut rest) = (Map::new(), Some(KeyRange::all()));
        while let Some(range) = rest {
            let page = read.scan(&self.store, &range, Direction::Forward, &limits, &mut stats).expect("it works");
            for row in &page.rows {
                let found = read.get(&self.store, &row.key, &mut stats).expect("it works");
                assert_eq!(found.as_ref(), Some(&row.found), "a get and a scan at {at}");
                map.insert(row.key[0], i64::from_be_bytes(row.found.value[..].try_into().expect("a number")));
            }
            rest = page.rest;
        }
        map
    }
}

fn load(store: &MemStore) -> Shard {
    let shard = Shard::load(store, HOME, &HeadsOptions::default()).expect("the store works");
    shard.expect("the shard is there")
}

struct World {
    tables: Vec<Table>,
    plain: Replica,
    unlucky: Replica,
    ms: u64,
    revision: u64,
}

impl World {
    fn new() -> Self {
        let root = Table {
            shard: HOME.into(),
            parent: None,
            base: Version::ZERO,
            states: vec![(Version::ZERO, Map::new())],
            watermark: Version::ZERO,
            pins: Vec::new(),
            is_dropped: false,
        };
        Self { tables: vec![root], plain: Replica::new(), unlucky: Replica::new(), ms: 0, revision: 0 }
    }

    /// One of the tables that are there.
    fn choose(&self, number: usize) -> usize {
        let live: Vec<_> = (0..self.tables.len()).filter(|place| !self.tables[*place].is_dropped).collect();
        live[number % live.len()]
    }

    fn children(&self, of: usize) -> Vec<usize> {
        let is_child = |place: &usize| self.tables[*place].parent == Some(of) && !self.tables[*place].is_dropped;
        (0..self.tables.len()).filter(is_child).collect()
    }

    /// Applies requests as one entry of a table's shard; the version of the first.
    fn enter(&mut self, shard: ShardId, actions: Vec<Action>) -> Version {
        let first = Version::tick(self.ms + 1, 0).expect("histories are short");
        let stamped = actions.into_iter().map(|action| {
            self.ms += 1;
            Request { version: Version::tick(self.ms, 0).expect("short"), key: None, action }
        });
        let command = Command { epoch: Epoch(1), requests: stamped.collect() };
        let rider = (shard != HOME.into()).then_some(shard);
        let told = self.plain.apply(rider, &command);
        assert_eq!(self.unlucky.apply(rider, &command), told);
        let is_refused = told.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
        assert!(!is_refused, "{command:?}: {told:?}");
        first
    }

    fn change(&mut self, place: usize, operation: Operation, change: impl FnOnce(&mut Map)) {
        let write = Write { operations: vec![operation], ..Write::default() };
        let version = self.enter(self.tables[place].shard, vec![Action::Write(write)]);
        let mut map = self.tables[place].at(Version::MAX);
        change(&mut map);
        self.tables[place].states.push((version, map));
    }

    fn step(&mut self, step: &Step) {
        let key = |key: &u8| bytes::Bytes::copy_from_slice(&[b'a' + key]);
        match step {
            Step::Put(table, at, value) => {
                let put = Operation::Put { key: key(at), value: value.to_be_bytes().to_vec().into(), expiry: None };
                self.change(self.choose(*table), put, |map| {
                    map.insert(b'a' + at, *value);
                });
            }
            Step::Add(table, at, value) => {
                let (operator, operand) = (MergeOperator::AddI64, value.to_be_bytes().to_vec().into());
                let add = Operation::Merge { key: key(at), operator, operand, expiry: None };
                self.change(self.choose(*table), add, |map| *map.entry(b'a' + at).or_insert(0) += value);
            }
            Step::Delete(table, at) => {
                self.change(self.choose(*table), Operation::Delete { key: key(at) }, |map| {
                    map.remove(&(b'a' + at));
                });
            }
            Step::DeleteAll(table) => {
                self.change(self.choose(*table), Operation::DeleteRange { range: KeyRange::all() }, Map::clear);
            }
            Step::Rollback(table, back) => self.rollback(self.choose(*table), *back),
            Step::Branch(table, back) if self.tables.len() < TABLES_MAX => self.branch(self.choose(*table), *back),
            Step::Drop(table) => self.drop(self.choose(*table)),
            Step::Raise(table, back) => self.raise(self.choose(*table), *back),
            Step::Branch(..) => {}
            Step::Collect => self.unlucky.collect(),
            Step::Reload => self.plain.reload(),
            Step::Crash(batches) => self.unlucky.crash(*batches),
        }
    }

    fn rollback(&mut self, place: usize, back: usize) {
        let table = &self.tables[place];
        let to = *table.readable().iter().rev().nth(back % table.readable().len()).expect("within");
        let (range, shard, state) = (KeyRange::all(), table.shard, table.at(to));
        let owner = bytes::Bytes::from_static(b"job");
        let take = Take { range: range.clone(), owner, force: false, back: vec![Back { range, to }] };
        let version = self.enter(shard, vec![Action::Take(take)]);
        self.enter(shard, vec![Action::Release(Release { range: KeyRange::all(), token: Token(version) })]);
        self.tables[place].states.push((version, state));
    }

    fn branch(&mut self, place: usize, back: usize) {
        let parent = &self.tables[place];
        let base = *parent.readable().iter().rev().nth(back % parent.readable().len()).expect("within");
        let (state, of) = (parent.at(base), parent.shard);
        let shard = ShardId(HOME.0 + self.tables.len() as u64);
        let table = TableId(u32::try_from(self.tables.len() + 1).expect("few"));
        let branch = Action::Branch(Branch { shard, table, version: base, revision: 1 });
        self.enter(of, vec![branch.clone()]);
        // A copy of it does nothing.
        self.enter(of, vec![branch]);
        let (parent, states) = (Some(place), vec![(base, state)]);
        self.tables.push(Table { shard, parent, base, states, watermark: base, pins: vec![], is_dropped: false });
    }

    fn drop(&mut self, place: usize) {
        if place == 0 || !self.children(place).is_empty() {
            return;
        }
        self.enter(HOME.into(), vec![Action::DropBranch(self.tables[place].shard)]);
        self.tables[place].is_dropped = true;
    }

    /// Raises a watermark, with the pins that the branches of the table keep.
    fn raise(&mut self, place: usize, back: usize) {
        let mut pins: Vec<_> = self.children(place).iter().map(|child| self.tables[*child].base).collect();
        pins.sort_unstable();
        pins.dedup();
        let table = &self.tables[place];
        let to = *table.readable().iter().rev().nth(back % table.readable().len()).expect("within");
        let to = to.max(table.watermark);
        self.revision += 1;
        let raise = RaiseWatermark { to, revision: self.revision, pins: pins.clone() };
        self.enter(table.shard, vec![Action::RaiseWatermark(raise)]);
        let table = &mut self.tables[place];
        table.watermark = to;
        table.pins = pins;
    }

    fn compare(&self) {
        for replica in [&self.plain, &self.unlucky] {
            invariants::check(&replica.shard, &replica.store).expect("the invariants hold");
            for table in self.tables.iter().filter(|table| !table.is_dropped) {
                for version in table.readable().into_iter().chain([Version::MAX]) {
                    assert_eq!(replica.table(table.shard, version), table.at(version), "{} at {version}", table.shard);
                }
            }
            let gone: Vec<_> = self.tables.iter().filter(|table| table.is_dropped).map(|table| table.shard).collect();
            assert!(replica.shard.gone_riders().map(|(shard, _)| shard).eq(gone));
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (table, back) = (|| 0usize..TABLES_MAX, || prop_oneof![3 => 0usize..3, 1 => 0usize..12]);
    prop_oneof![
        6 => (table(), 0u8..4, -9i64..9).prop_map(|(table, key, value)| Step::Put(table, key, value)),
        5 => (table(), 0u8..4, -9i64..9).prop_map(|(table, key, value)| Step::Add(table, key, value)),
        4 => (table(), 0u8..4).prop_map(|(table, key)| Step::Delete(table, key)),
        1 => table().prop_map(Step::DeleteAll),
        2 => (table(), back()).prop_map(|(table, back)| Step::Rollback(table, back)),
        4 => (table(), back()).prop_map(|(table, back)| Step::Branch(table, back)),
        1 => table().prop_map(Step::Drop),
        3 => (table(), back()).prop_map(|(table, back)| Step::Raise(table, back)),
        2 => Just(Step::Collect),
        1 => Just(Step::Reload),
        1 => (0usize..8).prop_map(Step::Crash),
    ]
}

/// A rollback that undoes another: the first one's mask goes from the table, and from what a branch of it reads through.
#[test]
fn masks_that_go_in_a_parent_go_in_its_branches() {
    let mut world = World::new();
    let write = |key| Step::Put(0, key, 7);
    let history = [write(0), write(1), Step::Rollback(0, 1), write(2), Step::Rollback(0, 3), Step::Branch(0, 0)];
    for step in history.into_iter().chain([Step::Raise(0, 0), Step::Put(1, 3, 5), Step::Reload, Step::Collect]) {
        world.step(&step);
        world.compare();
    }
}

proptest! {
    #[test]
    fn branches_agree_with_the_model(history in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &history {
            world.step(step);
            world.compare();
        }
    }
}
