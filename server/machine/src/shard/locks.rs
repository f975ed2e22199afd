//! What prepared transactions hold in a shard: locks on keys and ranges, until each transaction is decided.
//!
//! ```text
//!             key a        key b          range c..f
//!   x1        put = 7                                       prepared at v50
//!   x2        put = 8      read                             prepared at v60
//!   x3                     read           read              prepared at v65, decided: commit at v70
//! ```
//!
//! Modes that give the same result in every order share a key: reads with reads, blind puts and deletes with each other,
//! merges of one operator that commutes with each other. All else waits for the holder to be decided.
//!
//! **What is shared is written in the order of commit versions.** A decided transaction's operations on a key wait until
//! no undecided one holds it that may still commit at or below their version: so versions of a key rise, and equal ones
//! are written in the order of ids, on every shard.
//!
//! In the store each lock is a row of the family `lock`, each transaction one of the group's own state. This image is all
//! of them, decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_types::limits::ENDED_MAX;
use lentic_types::{Expiry, KeyRange, TxnId, Version, mutant};

use super::answers::RequestKey;
use super::command::{Back, Operation, Participant, Take, TxnRef};
use super::outcome::Decision;

/// What a transaction does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It has read it.
    Read,
    /// It puts or deletes without having read.
    Put,
    /// It merges, by an operator that commutes and cannot fail, without having read.
    Merge(MergeOperator),
    /// It changes it in a way that depends on what is there.
    Write,
}

impl Mode {
    /// Whether both may hold a key at once.
    #[must_use]
    pub fn is_shared_with(self, other: Self) -> bool {
        self == other && self != Self::Write
    }

    /// Whether it changes the key.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::Read
    }

    /// The mode of an operation by itself.
    pub(super) fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Put { .. } | Operation::Delete { .. } => Self::Put,
            Operation::Merge { operator, expiry: None, .. } if !operator.grows() => Self::Merge(*operator),
            Operation::Merge { .. } | Operation::DeleteRange { .. } => Self::Write,
        }
    }

    /// The mode of both, by the same transaction.
    pub(super) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Write }
    }
}

/// A transaction's hold on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it does with the key.
    pub mode: Mode,
    /// The version of its prepare: it does not commit below it.
    pub version: Version,
    /// What it does when it commits, in order.
    pub operations: Vec<Operation>,
}

impl Lock {
    fn bytes(&self) -> usize {
        self.operations.iter().map(Operation::bytes).sum()
    }
}

/// A transaction that is prepared here, or decided and not resolved everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTxn {
    /// Which one, and where to ask about it.
    pub txn: TxnRef,
    /// The version of its prepare.
    pub version: Version,
    /// From when on it must not commit, for something that it has read ends.
    pub valid_until: Option<Expiry>,
    /// At its anchor, the client's key.
    pub key: Option<RequestKey>,
    /// At its anchor, all shards that take part.
    pub participants: Vec<Participant>,
    /// Ranges whose reads were validated: nothing in them may change.
    pub ranges: Vec<KeyRange>,
    /// What it takes: nobody may read or change anything in it before that is decided.
    pub take: Option<Take>,
    /// What was decided, if it is known here.
    pub decision: Option<Decision>,
    /// At its anchor: all participants know the decision.
    pub is_resolved: bool,
}

impl OpenTxn {
    /// The same in a shard that has the keys of `range` alone.
    fn part(&self, range: &KeyRange, is_anchor: bool) -> Self {
        let back = |back: &Back| Some(Back { range: back.range.intersection(range)?, to: back.to });
        let take = self.take.as_ref().and_then(|take| {
            let back = take.back.iter().filter_map(back).collect();
            Some(Take { range: take.range.intersection(range)?, back, ..take.clone() })
        });
        Self {
            key: self.key.filter(|_| is_anchor),
            participants: if is_anchor { self.participants.clone() } else { Vec::new() },
            ranges: self.ranges.iter().filter_map(|held| held.intersection(range)).collect(),
            take,
            is_resolved: self.is_resolved && is_anchor,
            ..self.clone()
        }
    }
}

/// The open transactions of a shard and their locks, and those that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    by_key: BTreeMap<Bytes, BTreeMap<TxnId, Lock>>,
    open: BTreeMap<TxnId, Held>,
    /// Ranges of open transactions, those of each in its own order.
    ranges: BTreeMap<TxnId, Vec<KeyRange>>,
    /// What undecided transactions take.
    takes: BTreeMap<TxnId, Take>,
    /// By the client's key, those that are undecided and whose anchor is here.
    by_request: BTreeMap<(u64, u64), TxnId>,
    ended: BTreeMap<TxnId, (Version, Decision)>,
    /// The same, by the version after which they need not be kept in mind.
    ended_by_until: BTreeSet<(Version, TxnId)>,
    /// A prepare that may come up to this version only is refused: whether it has ended before is not known.
    horizon: Version,
    locks: usize,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    open: OpenTxn,
    keys: BTreeSet<Bytes>,
}

impl Locks {
    /// Whether no transaction is open here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many keys and ranges are locked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locks + self.ranges() + self.takes.len()
    }

    /// How many ranges undecided transactions take, and how many ranges go back with them.
    pub(super) fn takes_to_come(&self) -> (usize, usize) {
        (self.takes.len(), self.takes.values().map(|take| take.back.len()).sum())
    }

    /// How many ranges are held.
    pub(super) fn ranges(&self) -> usize {
        self.ranges.values().map(Vec::len).sum()
    }

    /// Bytes of the keys and values that wait in locks.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The open transactions, the oldest first.
    pub fn open(&self) -> impl Iterator<Item = &OpenTxn> {
        self.open.values().map(|held| &held.open)
    }

    /// An open transaction.
    #[must_use]
    pub fn get(&self, txn: TxnId) -> Option<&OpenTxn> {
        self.open.get(&txn).map(|held| &held.open)
    }

    /// Every key that is locked, with who holds it and how.
    pub fn by_key(&self) -> impl Iterator<Item = (&Bytes, &BTreeMap<TxnId, Lock>)> {
        self.by_key.iter()
    }

    /// The keys that an open transaction holds still, and how.
    pub fn locks_of(&self, txn: TxnId) -> impl Iterator<Item = (&Bytes, &Lock)> {
        let keys = self.open.get(&txn).into_iter().flat_map(|held| &held.keys);
        keys.map(move |key| (key, &self.by_key[key][&txn]))
    }

    /// The transaction of a client's key that may yet commit.
    pub(super) fn of_request(&self, key: &RequestKey) -> Option<TxnId> {
        self.by_request.get(&(key.client.0, key.sequence)).copied()
    }

    /// How a transaction has ended here, as long as that is kept in mind.
    #[must_use]
    pub fn ended(&self, txn: TxnId) -> Option<Decision> {
        self.ended.get(&txn).map(|(_, decision)| *decision)
    }

    /// Those that have ended, each with the version after which it need not be kept in mind.
    pub fn all_ended(&self) -> impl Iterator<Item = (TxnId, Version, Decision)> {
        self.ended.iter().map(|(txn, (until, decision))| (*txn, *until, *decision))
    }

    /// Up to which version of their last prepare transactions may have been let go of.
    #[must_use]
    pub const fn horizon(&self) -> Version {
        self.horizon
    }

    /// Takes a horizon over, as the store has it.
    pub(super) fn set_horizon(&mut self, horizon: Version) {
        self.horizon = horizon;
    }

    /// The oldest undecided transaction other than `own` that keeps a key from being used in `mode`. (What a decided one
    /// still holds waits for an undecided one that holds it in the same way.)
    pub(super) fn blocks_key(&self, key: &Bytes, mode: Mode, own: Option<TxnId>) -> Option<TxnId> {
        let holders = self.by_key.get(key).into_iter().flatten();
        let by_key = holders.filter(|(txn, lock)| self.blocks(**txn, lock.mode, mode, own));
        let takers = self.takers_where(own, |range| range.contains(key));
        let readers = self.readers_where(mode, own, |range| range.contains(key));
        by_key.map(|(txn, _)| *txn).chain(takers).chain(readers).min()
    }

    /// The oldest undecided transaction other than `own` that keeps a range from being used in `mode`: read or written.
    pub(super) fn blocks_range(&self, range: &KeyRange, mode: Mode, own: Option<TxnId>) -> Option<TxnId> {
        let end = range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
        let holders = self.by_key.range((Bound::Included(range.start().clone()), end)).flat_map(|(_, holders)| holders);
        let by_key = holders.filter(|(txn, lock)| self.blocks(**txn, lock.mode, mode, own));
        let takers = self.takers_where(own, |held| held.overlaps(range));
        let readers = self.readers_where(mode, own, |held| held.overlaps(range));
        by_key.map(|(txn, _)| *txn).chain(takers).chain(readers).min()
    }

    /// How a transaction holds a key.
    pub(super) fn mode_of(&self, txn: TxnId, key: &Bytes) -> Mode {
        self.by_key[key][&txn].mode
    }

    fn blocks(&self, holder: TxnId, held: Mode, wanted: Mode, own: Option<TxnId>) -> bool {
        Some(holder) != own && !held.is_shared_with(wanted) && self.open[&holder].open.decision.is_none()
    }

    /// The undecided transactions but `own` that have read a range for which `is_met` holds, if `mode` changes anything.
    fn readers_where(
        &self,
        mode: Mode,
        own: Option<TxnId>,
        is_met: impl Fn(&KeyRange) -> bool,
    ) -> impl Iterator<Item = TxnId> {
        let others = self.ranges.iter().filter(move |(txn, _)| mode.writes() && Some(**txn) != own);
        others.filter_map(move |(txn, ranges)| ranges.iter().any(&is_met).then_some(*txn))
    }

    /// The oldest undecided transaction that takes a range for which `is_met` holds.
    pub(super) fn taker_of(&self, is_met: impl Fn(&KeyRange) -> bool) -> Option<TxnId> {
        self.takers_where(None, is_met).min()
    }

    /// The undecided transactions but `own` that take a range for which `is_met` holds.
    fn takers_where(&self, own: Option<TxnId>, is_met: impl Fn(&KeyRange) -> bool) -> impl Iterator<Item = TxnId> {
        let others = self.takes.iter().filter(move |(txn, _)| Some(**txn) != own);
        others.filter_map(move |(txn, take)| is_met(&take.range).then_some(*txn))
    }

    /// Whether an open transaction may yet change a key, at a version below the newest stamp.
    pub(super) fn may_change(&self, key: &Bytes) -> bool {
        self.by_key.get(key).is_some_and(|holders| holders.values().any(|lock| lock.mode.writes()))
    }

    /// The oldest transaction that has to be ended before none that is prepared below `version` is open, or goes back below
    /// it: one of those, or one that its operations wait for.
    pub(super) fn oldest_below(&self, version: Version) -> Option<TxnId> {
        let goes_below = |txn: &TxnId| self.takes.get(txn).and_then(Take::oldest).is_some_and(|to| to < version);
        let is_below = |held: &&Held| held.open.version < version || goes_below(&held.open.txn.id);
        let below = self.open.values().filter(is_below);
        let first = below.filter_map(|Held { open, keys }| match open.decision {
            Some(_) if !keys.is_empty() => keys.iter().filter_map(|key| self.blocks_key(key, Mode::Write, None)).min(),
            _ => Some(open.txn.id),
        });
        first.min()
    }

    /// What is held of the keys of `range`, for a shard that has these keys alone. A transaction stays open in each part,
    /// also where it holds nothing, for whoever ends it asks all parts; unless it is decided and done with there. Only the
    /// part with its anchor is its anchor.
    pub(super) fn part(&self, range: &KeyRange, is_anchor: impl Fn(&TxnRef) -> bool) -> Self {
        let mut part = Self {
            horizon: self.horizon,
            ended: self.ended.clone(),
            ended_by_until: self.ended_by_until.clone(),
            ..Self::default()
        };
        for Held { open, keys } in self.open.values() {
            let id = open.txn.id;
            part.insert(open.part(range, is_anchor(&open.txn)));
            for key in keys.iter().filter(|key| range.contains(key) && !mutant!("lock-lost-at-split")) {
                part.lock(id, key.clone(), self.by_key[key][&id].clone());
            }
            if part.is_done(id) {
                part.end(id);
            }
        }
        part
    }

    /// Opens a transaction, without locks yet.
    pub(super) fn insert(&mut self, open: OpenTxn) {
        let id = open.txn.id;
        if let Some(key) = open.key.as_ref().filter(|_| open.decision.is_none()) {
            self.by_request.insert((key.client.0, key.sequence), id);
        }
        if open.decision.is_none() && !open.ranges.is_empty() {
            self.ranges.insert(id, open.ranges.clone());
        }
        if let Some(take) = open.take.as_ref().filter(|_| open.decision.is_none()) {
            self.takes.insert(id, take.clone());
        }
        let before = self.open.insert(id, Held { open, keys: BTreeSet::new() });
        assert!(before.is_none(), "a transaction is prepared once in a shard");
    }

    /// Adds a lock of an open transaction.
    pub(super) fn lock(&mut self, txn: TxnId, key: Bytes, lock: Lock) {
        self.locks += 1;
        self.bytes += key.len() + lock.bytes();
        let held = self.open.get_mut(&txn).expect("locks are of open transactions");
        held.keys.insert(key.clone());
        self.by_key.entry(key).or_default().insert(txn, lock);
    }

    /// Removes a lock.
    pub(super) fn unlock(&mut self, txn: TxnId, key: &Bytes) -> Lock {
        let holders = self.by_key.get_mut(key).expect("the key is locked");
        let lock = holders.remove(&txn).expect("the transaction holds the key");
        if holders.is_empty() {
            self.by_key.remove(key);
        }
        self.open.get_mut(&txn).expect("locks are of open transactions").keys.remove(key);
        self.locks -= 1;
        self.bytes -= key.len() + lock.bytes();
        lock
    }

    /// Notes what was decided of an open transaction; its ranges are free then, and what it takes. Returns the keys that it
    /// holds.
    pub(super) fn decide(&mut self, txn: TxnId, decision: Decision) -> Vec<Bytes> {
        let held = self.open.get_mut(&txn).expect("the transaction is open");
        held.open.decision = Some(decision);
        if let Some(key) = &held.open.key {
            self.by_request.remove(&(key.client.0, key.sequence));
        }
        self.ranges.remove(&txn);
        self.takes.remove(&txn);
        held.keys.iter().cloned().collect()
    }

    /// Notes that all participants know what was decided.
    pub(super) fn resolve(&mut self, txn: TxnId) {
        self.open.get_mut(&txn).expect("the transaction is open").open.is_resolved = true;
    }

    /// The committed transaction whose operations on `key` are to be written next: no other can come before it.
    #[must_use]
    pub fn next_commit(&self, key: &Bytes) -> Option<(TxnId, Version)> {
        let holders = self.by_key.get(key)?;
        let commit = |txn: &TxnId| match self.open[txn].open.decision {
            Some(Decision::Commit(version)) => Some(version),
            _ => None,
        };
        let (version, first) = holders.keys().filter_map(|txn| Some((commit(txn)?, *txn))).min()?;
        let undecided =
            |(txn, lock): (&TxnId, &Lock)| self.open[txn].open.decision.is_none() && lock.version <= version;
        (!holders.iter().any(undecided)).then_some((first, version))
    }

    /// Whether an open transaction is done with here: it is decided, nothing of it is locked, and nobody need ask.
    pub(super) fn is_done(&self, txn: TxnId) -> bool {
        self.open.get(&txn).is_some_and(|Held { open, keys }| {
            open.decision.is_some() && keys.is_empty() && (open.participants.is_empty() || open.is_resolved)
        })
    }

    /// Closes a transaction that is done with, and keeps in mind how it has ended.
    pub(super) fn end(&mut self, txn: TxnId) -> OpenTxn {
        let Held { open, keys } = self.open.remove(&txn).expect("the transaction is open");
        assert!(keys.is_empty(), "a transaction that ends holds nothing");
        self.note_end(txn, open.txn.until, open.decision.expect("a transaction that ends is decided"));
        open
    }

    /// Keeps in mind that a transaction has ended, until stamps are above `until`.
    pub(super) fn note_end(&mut self, txn: TxnId, until: Version, decision: Decision) {
        self.ended.insert(txn, (until, decision));
        self.ended_by_until.insert((until, txn));
    }

    /// Lets go of one that has ended, if there is one of which no prepare can come any more, or there are too many: then the
    /// horizon rises.
    pub(super) fn forget_one(&mut self, newest: Version) -> Option<(Version, TxnId)> {
        let first = *self.ended_by_until.first()?;
        if first.0 > newest {
            if self.ended.len() <= ENDED_MAX {
                return None;
            }
            self.horizon = self.horizon.max(first.0);
        }
        self.ended_by_until.remove(&first);
        self.ended.remove(&first.1);
        Some(first)
    }

    /// The oldest transaction but `own` that holds any key of a range for writing, or the range or a key of it for reading,
    /// or takes some of it.
    pub(super) fn holds_in(&self, range: &KeyRange, own: Option<TxnId>) -> Option<TxnId> {
        self.blocks_range(range, Mode::Write, own)
    }
}
