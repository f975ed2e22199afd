//! Plays a history over a store and over the model, side by side.

use lentic_types::{Expiry, GroupId, Index, KeyRange, TableId, Version};

use super::feeds;
use super::model::{Cell, Model, Value};
use super::step::Step;
use crate::gc::{GcHandle, GcRules};
use crate::keys::sys;
use crate::masks::{Mask, MaskSet};
use crate::read::{Diff, Direction, Found, Layer, ReadAt, ReadStats, ScanLimits};
use crate::record::Record;
use crate::store::{Batch, Store};
use crate::write;

/// The first table, and the group that has the rules of it. Each branch has the next of both.
const TABLE: TableId = TableId(7);
const GROUP: GroupId = GroupId(3);
/// How deep branches go.
const BRANCHES_MAX: usize = 3;

/// A store under test.
pub trait Subject {
    /// The store's type.
    type Store: Store;
    /// The store as it is now.
    fn store(&self) -> &Self::Store;
    /// The GC rules of the store.
    fn gc(&self) -> &GcHandle;
    /// Dies and comes back, keeping at least what is durable and, if it can choose, `batches` more. GC rules are state
    /// of the process: they are gone afterwards.
    fn crash(&mut self, batches: usize);
    /// Collects garbage in the whole store by the active rules.
    fn collect(&mut self);
}

/// What a crash takes back: everything that follows from the log.
#[derive(Clone, Debug)]
struct Replicated {
    model: Model,
    masks: MaskSet,
    watermark: Version,
    pins: Vec<Version>,
    /// What is compared is a branch of the first of these, and that one of the next. To the model it is one table.
    layers: Vec<Layer>,
}

impl Replicated {
    fn table(&self) -> TableId {
        TableId(TABLE.0 + u32::try_from(self.layers.len()).expect("few"))
    }

    fn read_at(&self, version: Version) -> ReadAt<'_> {
        ReadAt { table: self.table(), version, masks: &self.masks, layers: &self.layers }
    }

    /// What GC must know of the table and of all that it reads through to. Those let go of all that they may.
    fn rules(&self) -> Vec<GcRules> {
        let rules = |table, pins, masks: &MaskSet| {
            let (range, watermark, masks) = (KeyRange::all(), self.watermark, masks.clone());
            GcRules { table, range, watermark, pins, masks, is_branch: table != TABLE }
        };
        let layers = self.layers.iter().map(|layer| rules(layer.table, vec![layer.version], &layer.masks));
        layers.chain([rules(self.table(), self.pins.clone(), &self.masks)]).collect()
    }

    fn stage(&self, gc: &GcHandle, index: Index) {
        for rules in self.rules() {
            gc.stage(group_of(rules.table), index, Some(rules));
        }
    }

    /// Goes on in a branch of the table as it was at `version`.
    fn branch(&mut self, version: Version) {
        let (table, masks) = (self.table(), std::mem::take(&mut self.masks));
        self.layers.insert(0, Layer { table, version, masks });
        (self.watermark, self.pins) = (version, Vec::new());
    }

    /// What others do meanwhile to what the branch reads through to.
    fn disturb(&mut self, batch: &mut Batch, key: &[u8], version: Version) {
        for layer in &mut self.layers {
            write::record(batch, layer.table, key, version, &Record::Put { value: b"of the parent", expiry: None });
            layer.masks.add(Mask { range: KeyRange::all(), from: Version(layer.version.0 / 2), end: version });
        }
    }
}

fn group_of(table: TableId) -> GroupId {
    GroupId(GROUP.0 + u64::from(table.0 - TABLE.0))
}

/// Plays `history` and compares as it goes.
///
/// # Panics
/// Where the store and the model differ.
pub fn run(subject: &mut impl Subject, history: &[Step]) {
    let first = Replicated {
        model: Model::default(),
        masks: MaskSet::new(),
        watermark: Version::ZERO,
        pins: vec![],
        layers: vec![],
    };
    let mut play = Play { states: vec![first] };
    for step in history {
        match step {
            Step::Collect => {
                promote(subject);
                subject.collect();
                play.compare(subject);
            }
            Step::Flush => {
                subject.store().flush().expect("the store works");
                promote(subject);
            }
            Step::Crash(batches) => {
                let durable = subject.store().durable_applied(GROUP).expect("the store works");
                subject.crash(*batches);
                play.come_back(subject, durable);
                play.compare(subject);
            }
            logged => play.log(subject, logged),
        }
    }
    play.compare(subject);
}

fn promote(subject: &impl Subject) {
    subject.gc().promote(|group| subject.store().durable_applied(group)).expect("the store works");
}

/// The state after each log index; the last is now.
struct Play {
    states: Vec<Replicated>,
}

impl Play {
    fn now(&self) -> &Replicated {
        self.states.last().expect("there is a first state")
    }

    /// One index is one version: the millisecond of its number.
    fn version(index: u64) -> Version {
        Version::tick(index, 0).expect("histories are short")
    }

    fn index(&self) -> u64 {
        self.states.len() as u64
    }

    fn back(&self, steps: u64) -> Version {
        Self::version(self.index().saturating_sub(1 + steps))
    }

    /// Applies a step that goes through the log.
    fn log(&mut self, subject: &impl Subject, step: &Step) {
        let (index, version) = (Index(self.index()), Self::version(self.index()));
        let mut next = self.now().clone();
        let mut batch = Batch::new();
        let mut rules_change = true;
        match step {
            Step::Rollback(start, end, back) => {
                let from = self.back(*back).max(next.watermark);
                if let Ok(range) = KeyRange::new(start.clone(), end.clone()) {
                    let mask = Mask { range, from, end: version };
                    next.masks.add(mask.clone());
                    next.model.rollback(mask);
                }
            }
            Step::Branch if next.layers.len() < BRANCHES_MAX => next.branch(self.back(0)),
            Step::Raise(back) => {
                next.watermark = next.watermark.max(self.back(*back));
                next.masks.remove(&next.masks.unused(next.watermark, &next.pins));
            }
            Step::Pin(back) => next.pins.push(self.back(*back).max(next.watermark)),
            Step::Unpin(position) if *position < next.pins.len() => drop(next.pins.remove(*position)),
            write => {
                rules_change = false;
                apply_write(subject, &mut next, &mut batch, version, write);
            }
        }
        if let Step::Put(key, ..) | Step::Delete(key) | Step::Merge(key, ..) | Step::Rollback(key, ..) = step {
            next.disturb(&mut batch, key, version);
        }
        for rules in next.rules() {
            sys::put_applied(&mut batch, group_of(rules.table), index);
        }
        subject.store().write(&batch).expect("the store works");
        if rules_change {
            next.stage(subject.gc(), index);
        }
        self.states.push(next);
    }

    /// Goes back to what the store came back with.
    fn come_back(&mut self, subject: &impl Subject, durable: Index) {
        let applied = sys::applied(subject.store(), GROUP).expect("the store works");
        assert!(applied >= durable, "{applied} is back, but {durable} was durable");
        assert!(applied.0 < self.index(), "{applied} was never applied");
        self.states.truncate(usize::try_from(applied.0).expect("small") + 1);
        self.now().stage(subject.gc(), applied);
    }

    /// Compares every read at every version that may be read.
    fn compare(&self, subject: &impl Subject) {
        let now = self.now();
        let above = (0..self.index() + 20).map(Self::version).filter(|version| *version >= now.watermark);
        let readable: Vec<_> = above.chain(now.pins.iter().copied()).chain([Version::MAX]).collect();
        for version in &readable {
            compare_at(subject.store(), now, *version);
        }
        // Some pairs of them, in both orders.
        let number = usize::try_from(self.index()).expect("short");
        for (place, from) in readable.iter().enumerate() {
            for step in [1, 3, readable.len() / 2] {
                compare_two(subject.store(), now, *from, readable[(place + step + number) % readable.len()]);
            }
        }
        // Nothing is committed above the newest index. A feed begins anywhere from the watermark on.
        let newest = Self::version(self.index());
        let afters = (0..self.index()).map(Self::version).filter(|version| *version > now.watermark);
        for after in [now.watermark].into_iter().chain(afters.step_by(3)) {
            let until = if after.ms().is_multiple_of(4) { self.back(1).max(after) } else { newest };
            let number = after.ms() + self.index();
            feeds::compare(subject.store(), now.table(), (&now.model, &now.masks), (after, until), number);
        }
    }
}

fn apply_write(subject: &impl Subject, next: &mut Replicated, batch: &mut Batch, version: Version, step: &Step) {
    let expiry = |ttl: &Option<u64>| ttl.map(|ttl| Expiry(version.ms() + ttl));
    match step {
        Step::Put(key, value, ttl) => {
            write::record(batch, next.table(), key, version, &Record::Put { value, expiry: expiry(ttl) });
            next.model.write(key, version, Cell::Put(value.clone(), expiry(ttl)));
        }
        Step::Delete(key) => {
            write::record(batch, next.table(), key, version, &Record::Delete);
            next.model.write(key, version, Cell::Delete);
        }
        Step::Merge(key, operator, operand, ttl) => {
            let (store, mut stats) = (subject.store(), ReadStats::default());
            let at = next.read_at(version);
            let head = at.head(store, key, &mut stats).expect("the store works");
            let merge = write::Merge { key, operator: *operator, operand, expiry: expiry(ttl) };
            let merged = write::merge(batch, store, &at, &head, &merge, &mut stats).expect("the store works");
            let value = next.model.get(key, version).map(|(_, value, _)| value);
            let folded = operator.fold(value.as_deref(), [operand.as_slice()]);
            assert_eq!(merged.is_ok(), folded.is_ok(), "{key:?} {operator:?} {operand:?} onto {value:?}");
            if merged.is_ok() {
                next.model.write(key, version, Cell::Merge(*operator, operand.clone(), expiry(ttl)));
            }
        }
        _ => {}
    }
}

fn compare_at(store: &impl Store, now: &Replicated, version: Version) {
    let at = now.read_at(version);
    let mut stats = ReadStats::default();
    let keys: Vec<_> = now.model.keys().collect();
    let expected: Vec<_> = keys.iter().map(|key| now.model.get(key, version)).collect();
    let many = at.multi_get(store, &keys, &mut stats).expect("the store works");
    assert_eq!(
        many.iter().map(|found| found.as_ref().map(plain)).collect::<Vec<_>>(),
        expected,
        "multi-get at {version}"
    );
    for (key, value) in keys.iter().zip(&expected) {
        let found = at.get(store, key, &mut stats).expect("the store works");
        assert_eq!(&found.as_ref().map(plain), value, "get of {} at {version}", key.escape_ascii());
    }
    let range = KeyRange::new(&b"a\0"[..], version.ms().is_multiple_of(2).then_some(&b"b\xff"[..])).expect("in order");
    let mut expected = now.model.scan(&range, version);
    let rows_max = usize::try_from(version.ms() % 3).expect("small") + 1;
    let limits = ScanLimits { rows_max, bytes_max: 150, steps_max: 4 };
    assert_eq!(scan_all(store, &at, &range, Direction::Forward, &limits), expected, "scan at {version}");
    expected.reverse();
    assert_eq!(scan_all(store, &at, &range, Direction::Reverse, &limits), expected, "reverse scan at {version}");
}

fn compare_two(store: &impl Store, now: &Replicated, from: Version, to: Version) {
    let content = |value: &Option<Value>| value.clone().map(|(_, value, expiry)| (value, expiry));
    let mut keys: Vec<_> = now.model.keys().collect();
    keys.sort_unstable();
    let row = |key: &[u8]| (key.to_vec(), now.model.get(key, from), now.model.get(key, to));
    let rows = keys.iter().map(|key| row(key));
    let expected: Vec<_> = rows.filter(|(_, from, to)| content(from) != content(to)).collect();
    let diff = Diff { table: now.table(), from, to, masks: &now.masks, layers: &now.layers };
    let limits = ScanLimits { rows_max: 2, bytes_max: 150, steps_max: 5 };
    let (mut rows, mut rest) = (Vec::new(), Some(KeyRange::all()));
    while let Some(range) = rest {
        let page = diff.page(store, &range, &limits, &mut ReadStats::default()).expect("the store works");
        assert_ne!(page.rest.as_ref(), Some(&range), "a page moves");
        let plain = |found: Option<Found>| found.as_ref().map(plain);
        rows.extend(page.rows.into_iter().map(|row| (row.key.to_vec(), plain(row.from), plain(row.to))));
        rest = page.rest;
    }
    assert_eq!(rows, expected, "what differs from {from} to {to}");
}

fn scan_all(
    store: &impl Store,
    at: &ReadAt<'_>,
    range: &KeyRange,
    direction: Direction,
    limits: &ScanLimits,
) -> Vec<(Vec<u8>, Value)> {
    let (mut rows, mut rest) = (Vec::new(), Some(range.clone()));
    while let Some(range) = rest {
        let page = at.scan(store, &range, direction, limits, &mut ReadStats::default()).expect("the store works");
        assert!(page.rows.len() <= limits.rows_max);
        assert_ne!(page.rest.as_ref(), Some(&range), "a page moves");
        rows.extend(page.rows.into_iter().map(|row| (row.key.to_vec(), plain(&row.found))));
        rest = page.rest;
    }
    rows
}

fn plain(found: &Found) -> Value {
    (found.version, found.value.to_vec(), found.expiry)
}
