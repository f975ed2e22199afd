//! A split changes nothing that a client sees: a history with a split in it is told the same, request by request, and leaves
//! the same to read at every version, as one without.

use bytes::Bytes;
use lentic_engine::{Batch, MemStore, MergeOperator, ReadStats, Store as _};
use lentic_machine::shard::{
    Action, Anchor, Back, Condition, Decide, Decision, Descriptor, Expected, HeadsOptions, Operation, Participant,
    Prepare, RangeRead, RequestKey, Resolve, Split, Take, TxnRef, Write,
};
use lentic_machine::{Command, Outcome, Request, Shard, invariants};
use lentic_types::{ClientId, Epoch, GroupId, KeyRange, NodeId, ShardId, TableId, TxnId, Version};
use proptest::prelude::*;

const TABLE: TableId = TableId(7);
const ELSEWHERE: TableId = TableId(9);
const PARENT: GroupId = GroupId(3);
const CHILD: GroupId = GroupId(9);
const KEYS: u8 = 8;
/// The first key of the child.
const CUT: u8 = 4;

/// What a client does, by numbers of keys and of what came before.
#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, absent: bool },
    Delete { key: u8 },
    Append { key: u8 },
    DeleteRange { from: u8, keys: u8 },
    Take { from: u8, keys: u8, owner: u8, force: bool, back: Option<u8> },
    Prepare { keys: Vec<u8>, read: Option<(u8, u8)>, is_anchored: bool },
    PrepareTake { from: u8, keys: u8, back: Option<u8> },
    End { which: usize, commits: bool },
    Retry { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    prop_oneof![
        4 => (key(), any::<bool>()).prop_map(|(key, absent)| Step::Put { key, absent }),
        1 => key().prop_map(|key| Step::Delete { key }),
        2 => key().prop_map(|key| Step::Append { key }),
        1 => (key(), key()).prop_map(|(from, keys)| Step::DeleteRange { from, keys }),
        2 => (key(), key(), 0u8..2, any::<bool>(), proptest::option::of(1u8..9))
            .prop_map(|(from, keys, owner, force, back)| Step::Take { from, keys, owner, force, back }),
        3 => (proptest::collection::vec(key(), 1..4), proptest::option::of((key(), key())), any::<bool>())
            .prop_map(|(keys, read, is_anchored)| Step::Prepare { keys, read, is_anchored }),
        1 => (key(), key(), proptest::option::of(1u8..9))
            .prop_map(|(from, keys, back)| Step::PrepareTake { from, keys, back }),
        4 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, commits)| Step::End { which: which.index(1 << 16), commits }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Retry { which: which.index(1 << 16) }),
    ]
}

/// A store with some shards of one table.
struct Side {
    store: MemStore,
    shards: Vec<Shard>,
}

/// A transaction that is prepared.
struct Open {
    txn: TxnRef,
    version: Version,
    is_anchored: bool,
    /// The part that was asked to prepare it; `None` if that was the shard before it was split.
    part: Option<usize>,
}

/// The same history twice.
struct World {
    whole: Side,
    parts: Side,
    is_split: bool,
    stamp: u64,
    sequence: u64,
    open: Vec<Open>,
    /// Requests whose answers are kept, each with its first key.
    kept: Vec<(u8, RequestKey, Action)>,
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'a' + number])
}

impl Side {
    fn new() -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        let range = KeyRange::new(key(0), Some(key(KEYS))).expect("no fault");
        let descriptor = Descriptor { table: TABLE, range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 };
        Shard::create(&mut batch, PARENT, &descriptor);
        store.write(&batch).expect("no fault");
        let shards = vec![Shard::load(&store, PARENT, &HeadsOptions::default()).expect("no fault").expect("no fault")];
        Self { store, shards }
    }

    fn place_of(&self, number: u8) -> usize {
        self.shards.iter().position(|shard| shard.descriptor().range.contains(&key(number))).expect("no fault")
    }

    fn apply(&mut self, place: usize, version: Version, key: Option<RequestKey>, action: &Action) -> Outcome {
        let shard = &mut self.shards[place];
        let request = Request { version, key, action: action.clone() };
        let command = Command { epoch: shard.descriptor().epoch, requests: vec![request] };
        let mut applied = shard.apply(shard.applied().next(), &command, &self.store).expect("no fault");
        self.store.write(&applied.batch).expect("no fault");
        self.shards.iter().for_each(|shard| invariants::check(shard, &self.store).expect("no fault"));
        applied.replies.pop().expect("no fault")
    }

    fn split(&mut self, version: Version) {
        let voters = vec![NodeId(1), NodeId(2), NodeId(3)];
        let split = Action::Split(Split { at: key(CUT), child: ShardId::from(CHILD), voters });
        assert_eq!(self.apply(0, version, None, &split), Outcome::Committed { version });
        let child = Shard::load(&self.store, CHILD, &HeadsOptions::default()).expect("no fault").expect("no fault");
        invariants::check(&child, &self.store).expect("no fault");
        assert_eq!(child.applied(), self.shards[0].applied());
        self.shards.push(child);
    }
}

impl World {
    fn new() -> Self {
        let (whole, parts) = (Side::new(), Side::new());
        Self { whole, parts, is_split: false, stamp: 10, sequence: 0, open: Vec::new(), kept: Vec::new() }
    }

    fn stamp(&mut self) -> Version {
        self.stamp += 1;
        Version(self.stamp)
    }

    /// So many keys from one on; after the split, within one of the parts.
    fn range(&self, from: u8, keys: u8) -> KeyRange {
        let most = if self.is_split && from < CUT { CUT } else { KEYS };
        KeyRange::new(key(from), Some(key((from + keys + 1).min(most)))).expect("no fault")
    }

    /// The token of whoever owns a key.
    fn owner(&self, number: u8) -> Option<lentic_machine::shard::Token> {
        self.whole.shards[0].fences().of_key(&key(number)).map(|fence| fence.token)
    }

    /// Has both do the same, where the first key is.
    fn ask(&mut self, first: u8, request_key: Option<RequestKey>, action: &Action) -> Outcome {
        let version = self.stamp();
        let told = self.whole.apply(0, version, request_key, action);
        let place = self.parts.place_of(first);
        assert_eq!(self.parts.apply(place, version, request_key, action), told, "{action:?}");
        told
    }

    fn ask_once(&mut self, first: u8, action: Action) -> Outcome {
        self.sequence += 1;
        let issued = Version(self.stamp);
        let request_key = RequestKey { client: ClientId(1), sequence: self.sequence, acked_below: 0, issued };
        let told = self.ask(first, Some(request_key), &action);
        let is_kept = !matches!(&told, Outcome::Refused(refusal) if !refusal.is_final());
        if is_kept {
            self.kept.push((first, request_key, action));
        }
        told
    }

    fn write(&mut self, first: u8, condition: Option<Expected>, operation: Operation) {
        let conditions = condition.map(|expected| Condition { key: key(first), expected }).into_iter().collect();
        let operations = vec![operation];
        let write = Write { fence: self.owner(first), conditions, ranges: Vec::new(), operations };
        self.ask_once(first, Action::Write(write));
    }

    fn take(&self, (from, keys): (u8, u8), owner: u8, force: bool, back: Option<u8>) -> Take {
        let range = self.range(from, keys);
        let to = back.map(|back| Version(self.stamp.saturating_sub(u64::from(back))));
        let back = to.map(|to| Back { range: range.clone(), to }).into_iter().collect();
        Take { range, owner: Bytes::from(vec![b'o', owner]), force, back }
    }

    fn prepare(&mut self, first: u8, is_anchored: bool, parts: Vec<Write>, take: Option<Take>) {
        let id = TxnId { begun: Version(self.stamp), node: NodeId(1), number: self.stamp };
        let anchor = match is_anchored {
            true => Anchor { table: TABLE, key: key(first) },
            false => Anchor { table: ELSEWHERE, key: key(0) },
        };
        let txn = TxnRef { id, anchor, until: Version::tick(5_000, 0).expect("no fault") };
        let of = |table| Participant { table, range: KeyRange::all() };
        let participants = if is_anchored { vec![of(TABLE), of(ELSEWHERE)] } else { Vec::new() };
        let prepare = Prepare { txn: txn.clone(), participants, parts, take: take.map(Box::new) };
        if let Outcome::Prepared(prepared) = self.ask(first, None, &Action::Prepare(prepare)) {
            let part = self.is_split.then(|| self.parts.place_of(first));
            self.open.push(Open { txn, version: prepared.version, is_anchored, part });
        }
    }

    /// Ends a transaction: at its anchor, if that is here, and then in all parts of what was asked to prepare it, the anchor's
    /// last.
    fn end(&mut self, Open { txn, version, is_anchored, part }: Open, commits: bool) {
        let decision = if commits { Decision::Commit(version) } else { Decision::Abort };
        let first = if is_anchored { txn.anchor.key[0] - b'a' } else { 0 };
        if is_anchored {
            let decide = Action::Decide(Decide { txn: txn.clone(), decision });
            assert_eq!(self.ask(first, None, &decide), Outcome::Decided(decision));
        }
        let (version, resolve) = (self.stamp(), Action::Resolve(Resolve { txn, decision }));
        assert_eq!(self.whole.apply(0, version, None, &resolve), Outcome::Resolved);
        let last = part.unwrap_or_else(|| self.parts.place_of(first));
        let others: Vec<_> = (0..self.parts.shards.len()).filter(|place| *place != last && part.is_none()).collect();
        for place in others.into_iter().chain([last]) {
            assert_eq!(self.parts.apply(place, version, None, &resolve), Outcome::Resolved);
        }
    }

    fn step(&mut self, step: Step) {
        let value = Bytes::from(self.stamp.to_string());
        match step {
            Step::Put { key: first, absent } => {
                let put = Operation::Put { key: key(first), value, expiry: None };
                self.write(first, absent.then_some(Expected::Absent), put);
            }
            Step::Delete { key: first } => self.write(first, None, Operation::Delete { key: key(first) }),
            Step::Append { key: first } => {
                let (operator, operand) = (MergeOperator::Append, value);
                self.write(first, None, Operation::Merge { key: key(first), operator, operand, expiry: None });
            }
            Step::DeleteRange { from, keys } => {
                let range = self.range(from, keys);
                self.write(from, None, Operation::DeleteRange { range });
            }
            Step::Take { from, keys, owner, force, back } => {
                let take = self.take((from, keys), owner, force, back);
                self.ask_once(from, Action::Take(take));
            }
            Step::PrepareTake { from, keys, back } => {
                let take = self.take((from, keys), 0, true, back);
                self.prepare(from, false, Vec::new(), Some(take));
            }
            Step::Prepare { keys, read, is_anchored } => {
                let first = keys[0];
                let is_near = |number: &u8| !self.is_split || (*number < CUT) == (first < CUT);
                let keys: Vec<u8> = keys.into_iter().filter(is_near).collect();
                let read = read.filter(|(from, _)| is_near(from)).map(|(from, keys)| self.range(from, keys));
                let ranges: Vec<_> =
                    read.map(|range| RangeRead { range, since: Version(self.stamp) }).into_iter().collect();
                let part = |(place, number): (usize, u8)| Write {
                    fence: self.owner(number),
                    conditions: Vec::new(),
                    ranges: if place == 0 { ranges.clone() } else { Vec::new() },
                    operations: vec![Operation::Put { key: key(number), value: value.clone(), expiry: None }],
                };
                let parts = keys.into_iter().enumerate().map(part).collect();
                self.prepare(first, is_anchored, parts, None);
            }
            Step::End { which, commits } if !self.open.is_empty() => {
                let open = self.open.remove(which % self.open.len());
                self.end(open, commits);
            }
            Step::Retry { which } if !self.kept.is_empty() => {
                let (first, request_key, action) = self.kept[which % self.kept.len()].clone();
                self.ask(first, Some(request_key), &action);
            }
            Step::End { .. } | Step::Retry { .. } => {}
        }
    }

    fn split(&mut self) {
        let version = self.stamp();
        // A write of nothing has a stamp, too.
        self.whole.apply(0, version, None, &Action::Write(Write::default()));
        self.parts.split(version);
        self.is_split = true;
    }

    fn compare(&self) {
        for (number, version) in (0..KEYS).flat_map(|number| (0..=self.stamp + 1).map(move |at| (number, Version(at))))
        {
            let read = |side: &Side| {
                let shard = &side.shards[side.place_of(number)];
                shard.read_at(version).get(&side.store, &key(number), &mut ReadStats::default()).expect("no fault")
            };
            assert_eq!(read(&self.parts), read(&self.whole), "key {number} at {version}");
        }
    }
}

proptest! {
    #[test]
    fn a_split_changes_nothing_that_is_told_or_read(
        before in proptest::collection::vec(step(), 0..30),
        after in proptest::collection::vec(step(), 0..30),
    ) {
        let mut world = World::new();
        before.into_iter().for_each(|step| world.step(step));
        world.split();
        after.into_iter().for_each(|step| world.step(step));
        for open in std::mem::take(&mut world.open) {
            world.end(open, true);
        }
        world.compare();
    }
}
