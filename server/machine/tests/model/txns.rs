//! What a shard knows of transactions, as lists that are searched from end to end.

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_machine::shard::{
    Decide, Decision, Operation, Participant, Prepare, Prepared, Resolve, Take, TxnRef, TxnStatus, Write,
};
use lentic_machine::{Outcome, Refusal};
use lentic_types::{Expiry, KeyRange, TxnId, Version};

use super::table::{Done, What, key_of};

/// What somebody does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Put,
    Merge(MergeOperator),
    /// Something that comes out otherwise in another order.
    Other,
}

impl Use {
    /// The use of an operation that is part of a transaction.
    pub(crate) fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Put { .. } | Operation::Delete { .. } => Self::Put,
            Operation::Merge { operator, expiry: None, .. } if !operator.grows() => Self::Merge(*operator),
            _ => Self::Other,
        }
    }
}

/// A transaction that was prepared here.
#[derive(Clone, Debug)]
pub(crate) struct Txn {
    pub(crate) name: TxnRef,
    pub(crate) prepared: Prepared,
    pub(crate) participants: Vec<Participant>,
    /// The sequence number of its request, at its anchor.
    pub(crate) sequence: Option<u64>,
    pub(crate) uses: Vec<(Bytes, Use)>,
    pub(crate) ranges: Vec<KeyRange>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) take: Option<Take>,
    pub(crate) decision: Option<Decision>,
    pub(crate) is_resolved: bool,
}

impl Txn {
    fn uses_of(&self, key: &Bytes) -> Vec<Use> {
        self.uses.iter().filter(|(used, _)| used == key).map(|(_, how)| *how).collect()
    }

    fn takes(&self, is_met: impl Fn(&KeyRange) -> bool) -> bool {
        self.take.as_ref().is_some_and(|take| is_met(&take.range))
    }

    fn changes(&self, key: &Bytes) -> bool {
        self.operations.iter().any(|operation| key_of(operation) == key)
    }

    fn status(&self) -> TxnStatus {
        let participants = self.participants.clone();
        match self.decision {
            None => TxnStatus::Prepared { prepared: self.prepared, participants },
            Some(decision) => TxnStatus::Decided { decision, participants },
        }
    }
}

/// All transactions that the shard knows of, and what the committed ones have done.
#[derive(Debug, Default)]
pub(crate) struct Txns {
    pub(crate) open: Vec<Txn>,
    pub(crate) ended: Vec<(TxnRef, Decision)>,
    /// How long values live whose writers do not say.
    pub(crate) ttl_ms: u64,
    /// What committed transactions take, to be done.
    pub(crate) taken: Vec<(Version, Take)>,
}

impl Txns {
    pub(crate) fn open(&self, id: TxnId) -> Option<&Txn> {
        self.open.iter().find(|txn| txn.name.id == id)
    }

    pub(crate) fn ended(&self, id: TxnId) -> Option<Decision> {
        self.ended.iter().find(|(name, _)| name.id == id).map(|(_, decision)| *decision)
    }

    fn undecided(&self) -> impl Iterator<Item = &Txn> {
        self.open.iter().filter(|txn| txn.decision.is_none())
    }

    /// The undecided transaction of the request of this sequence number.
    pub(crate) fn attempt_at(&self, sequence: Option<u64>) -> Option<TxnId> {
        self.undecided().find(|txn| sequence.is_some() && txn.sequence == sequence).map(|txn| txn.name.id)
    }

    /// Whether what a committed transaction did cannot be seen yet: another may come before it.
    pub(crate) fn is_hidden(&self, done: &Done) -> bool {
        let What::Change(operation) = &done.what else { return false };
        let key = key_of(operation);
        done.txn.is_some() && self.undecided().any(|txn| txn.changes(key) && txn.prepared.version <= done.version)
    }

    /// The oldest undecided transaction that keeps a key from being used so.
    pub(crate) fn blocks(&self, key: &Bytes, how: Use) -> Option<TxnId> {
        let in_the_way = |txn: &&Txn| {
            let uses = txn.uses_of(key);
            let is_shared = how != Use::Other && uses.iter().all(|other| *other == how);
            let reads_around = how != Use::Read && txn.ranges.iter().any(|range| range.contains(key));
            !uses.is_empty() && !is_shared || reads_around || txn.takes(|range| range.contains(key))
        };
        self.undecided().filter(in_the_way).map(|txn| txn.name.id).min()
    }

    /// The oldest undecided transaction that has anything in a range; with `to_read`, that changes anything there.
    pub(crate) fn blocks_range(&self, range: &KeyRange, to_read: bool) -> Option<TxnId> {
        let in_the_way = |txn: &&Txn| {
            let uses_it = txn.uses.iter().any(|(key, how)| range.contains(key) && !(to_read && *how == Use::Read));
            let reads_it = !to_read && txn.ranges.iter().any(|held| held.overlaps(range));
            uses_it || reads_it || txn.takes(|taken| taken.overlaps(range))
        };
        self.undecided().filter(in_the_way).map(|txn| txn.name.id).min()
    }

    /// The oldest undecided transaction that takes some of a range.
    pub(crate) fn taker(&self, range: &KeyRange) -> Option<TxnId> {
        self.undecided().filter(|txn| txn.takes(|taken| taken.overlaps(range))).map(|txn| txn.name.id).min()
    }

    /// The oldest that keeps a write from being judged, alone or as part of a transaction.
    pub(crate) fn blocks_write(&self, write: &Write, is_alone: bool) -> Option<TxnId> {
        let reads = write.conditions.iter().filter_map(|condition| self.blocks(&condition.key, Use::Read));
        let ranges = write.ranges.iter().filter_map(|read| self.blocks_range(&read.range, true));
        let operations = write.operations.iter().filter_map(|operation| match operation {
            Operation::DeleteRange { range } => self.blocks_range(range, false),
            one => self.blocks(key_of(one), if is_alone { Use::Other } else { Use::of(one) }),
        });
        reads.chain(ranges).chain(operations).min()
    }

    /// The oldest that must be over before nothing can commit below `version` any more.
    pub(crate) fn blocks_watermark(&self, done: &[Done], version: Version) -> Option<TxnId> {
        let goes_below = |txn: &Txn| {
            let parts = txn.take.iter().flat_map(|take| &take.back);
            txn.decision.is_none() && parts.into_iter().any(|part| part.to < version)
        };
        let below = self.open.iter().filter(|txn| txn.prepared.version < version || goes_below(txn));
        let first = below.filter_map(|txn| {
            let hidden = done.iter().filter(|one| one.txn == Some(txn.name.id) && self.is_hidden(one));
            let keys = hidden.filter_map(|one| match &one.what {
                What::Change(operation) => Some(key_of(operation)),
                What::Rollback(..) => None,
            });
            let waits_for: Vec<_> = keys.filter_map(|key| self.blocks(key, Use::Other)).collect();
            if waits_for.is_empty() { Some(txn.name.id) } else { waits_for.into_iter().min() }
        });
        first.min()
    }

    /// Opens a transaction that has passed all checks.
    pub(crate) fn prepare(
        &mut self,
        prepare: &Prepare,
        is_anchor: bool,
        sequence: Option<u64>,
        prepared: Prepared,
        operations: Vec<Operation>,
    ) {
        let conditions = prepare.parts.iter().flat_map(|part| &part.conditions);
        let mut uses: Vec<_> = conditions.map(|condition| (condition.key.clone(), Use::Read)).collect();
        uses.extend(operations.iter().map(|operation| (key_of(operation).clone(), Use::of(operation))));
        let deleted = |part: &Write| {
            let ranges = part.operations.iter().filter_map(|operation| match operation {
                Operation::DeleteRange { range } => Some(range.clone()),
                _ => None,
            });
            ranges.collect::<Vec<_>>()
        };
        let read = prepare.parts.iter().flat_map(|part| part.ranges.iter().map(|read| read.range.clone()));
        let ranges = read.chain(prepare.parts.iter().flat_map(deleted)).collect();
        let participants = if is_anchor { prepare.participants.clone() } else { Vec::new() };
        self.open.push(Txn {
            name: prepare.txn.clone(),
            prepared,
            participants,
            sequence: sequence.filter(|_| is_anchor),
            uses,
            ranges,
            operations,
            take: prepare.take.as_deref().cloned(),
            decision: None,
            is_resolved: false,
        });
    }

    /// Closes a transaction that was not prepared here, unless it is too old to be.
    pub(crate) fn close(&mut self, version: Version, name: &TxnRef) {
        if version < name.until {
            self.ended.push((name.clone(), Decision::Abort));
        }
    }

    fn end_at(&mut self, done: &mut Vec<Done>, id: TxnId, decision: Decision) {
        let ttl_ms = self.ttl_ms;
        let txn = self.open.iter_mut().find(|txn| txn.name.id == id).expect("it is open");
        txn.decision = Some(decision);
        if let Decision::Commit(version) = decision {
            let change = |one: &Operation| Done::change(version, Some(id), one.clone(), ttl_ms);
            done.extend(txn.operations.iter().map(change));
            self.taken.extend(txn.take.iter().map(|take| (version, take.clone())));
        }
    }

    /// Closes all that are done with.
    pub(crate) fn sweep(&mut self, done: &[Done]) {
        let is_over = |txn: &Txn| {
            let is_hidden = done.iter().any(|one| one.txn == Some(txn.name.id) && self.is_hidden(one));
            txn.decision.is_some() && !is_hidden && (txn.participants.is_empty() || txn.is_resolved)
        };
        let over: Vec<_> = self.open.iter().map(is_over).collect();
        for (txn, is_over) in std::mem::take(&mut self.open).into_iter().zip(over) {
            match txn.decision {
                Some(decision) if is_over => self.ended.push((txn.name, decision)),
                _ => self.open.push(txn),
            }
        }
    }

    /// After an entry of so many requests, lets go of as many that are too old to be prepared as a shard does.
    pub(crate) fn forget(&mut self, newest: Version, requests: usize) {
        self.ended.sort_by_key(|(name, _)| (name.until, name.id));
        let old = self.ended.iter().filter(|(name, _)| name.until <= newest).count();
        self.ended.drain(..old.min(2 * requests + 2));
    }

    /// Records a decision at the anchor. Returns the sequence number of a request that is answered by it.
    pub(crate) fn decide(
        &mut self,
        done: &mut Vec<Done>,
        version: Version,
        Decide { txn, decision }: &Decide,
    ) -> (Result<Outcome, Refusal>, Option<u64>) {
        let told = |decision| Ok(Outcome::Decided(decision));
        if let Some(decided) = self.ended(txn.id).or_else(|| self.open(txn.id)?.decision) {
            return (told(decided), None);
        }
        let Some(open) = self.open(txn.id) else {
            if version >= txn.until {
                return (Err(Refusal::TxnEnded), None);
            }
            assert_eq!(*decision, Decision::Abort, "histories keep to the protocol");
            self.close(version, txn);
            return (told(*decision), None);
        };
        if let Err(refusal) = check(open, version, *decision) {
            return (Err(refusal), None);
        }
        let sequence = open.sequence.filter(|_| *decision != Decision::Abort);
        self.end_at(done, txn.id, *decision);
        (told(*decision), sequence)
    }

    pub(crate) fn resolve(
        &mut self,
        done: &mut Vec<Done>,
        version: Version,
        Resolve { txn, decision }: &Resolve,
    ) -> Result<Outcome, Refusal> {
        let known = self.ended(txn.id).or_else(|| self.open(txn.id)?.decision);
        let is_hearsay = known.is_some_and(|known| known != *decision);
        assert!(!is_hearsay || *decision == Decision::Abort, "histories keep to the protocol");
        match self.open(txn.id) {
            None if known.is_none() && *decision == Decision::Abort => self.close(version, txn),
            None => {}
            Some(open) if known.is_none() => {
                if !open.participants.is_empty() {
                    return Err(Refusal::Invalid("a transaction is decided at its anchor before it is resolved there"));
                }
                check(open, version, *decision)?;
                self.end_at(done, txn.id, *decision);
            }
            Some(_) if !is_hearsay => {
                let open = self.open.iter_mut().find(|open| open.name.id == txn.id);
                open.expect("it is open").is_resolved = true;
            }
            Some(_) => {}
        }
        Ok(Outcome::Resolved)
    }

    pub(crate) fn status(&mut self, version: Version, name: &TxnRef) -> Outcome {
        let known = self.open(name.id).map(Txn::status).or_else(|| self.ended(name.id).map(TxnStatus::Ended));
        Outcome::Status(known.unwrap_or_else(|| {
            self.close(version, name);
            TxnStatus::Ended(Decision::Abort)
        }))
    }
}

fn check(open: &Txn, version: Version, decision: Decision) -> Result<(), Refusal> {
    match decision {
        Decision::Commit(commit) if commit < open.prepared.version || commit >= version => {
            Err(Refusal::Invalid("a commit lies at or above its prepares, and below what is stamped after it"))
        }
        _ => Ok(()),
    }
}

/// The earlier of two ends.
pub(crate) fn earlier(one: Option<Expiry>, other: Option<Expiry>) -> Option<Expiry> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if one.0 < other.0 { one } else { other }),
        (one, other) => one.or(other),
    }
}
