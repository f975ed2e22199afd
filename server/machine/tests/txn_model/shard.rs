//! A shard in small: one key, and what of a shard's replicated state the protocol depends on.
//!
//! It answers as [`Shard::apply`](lentic_machine::Shard::apply) does; `conform.rs` compares the two over all short logs.

use std::collections::BTreeMap;

use lentic_machine::shard::{Decision, Participant, Prepared, TxnStatus};
use lentic_machine::{Outcome, Refusal};
use lentic_types::{KeyRange, NodeId, TableId, TxnId, Version};

use super::setup::{Off, UNTIL};

/// A transaction, by its place in the setup.
pub(crate) type Txn = usize;

/// Who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Writer {
    /// A write of one shard.
    Alone(usize),
    /// A transaction.
    Txn(Txn),
}

/// What a shard is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    /// Write the key.
    Write(usize),
    /// Prepare to write the key.
    Prepare(Txn),
    /// Record a decision.
    Decide(Txn, Decision),
    /// Do as was decided.
    Resolve(Txn, Decision),
    /// Say how the transaction stands, and keep out a prepare that has not come.
    Status(Txn),
}

/// A transaction that is open here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub(crate) prepared: Version,
    pub(crate) decision: Option<Decision>,
    /// At its anchor, all who take part.
    pub(crate) participants: Vec<usize>,
    /// At its anchor: all others have done as was decided.
    pub(crate) is_resolved: bool,
    /// Whether it holds the key.
    pub(crate) holds: bool,
}

/// The replicated state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shard {
    pub(crate) open: BTreeMap<Txn, Open>,
    pub(crate) ended: BTreeMap<Txn, Decision>,
    /// Whether it has let go of what has ended before it had to: then it takes no prepare of that time any more.
    pub(crate) is_beyond: bool,
    /// The key's versions, in the order in which they were written.
    pub(crate) written: Vec<(Version, Writer)>,
}

/// Why a shard cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fatal;

/// What the model's shards do not keep of a message: the same for all of one transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// All who take part, if the shard is the anchor.
    pub(crate) participants: Option<&'a [usize]>,
    /// Whether transactions change the key in a way that depends on what is there: then they do not share it.
    pub(crate) exclusive: bool,
    pub(crate) off: Off,
}

pub(crate) fn id_of(txn: Txn) -> TxnId {
    TxnId { begun: Version::ZERO, node: NodeId(1), number: txn as u64 }
}

/// A shard as a participant: the place in the setup is the table.
pub(crate) fn participant_of(shard: usize) -> Participant {
    Participant { table: TableId(u32::try_from(shard).expect("few shards")), range: KeyRange::all() }
}

pub(crate) fn shard_of(participant: &Participant) -> usize {
    participant.table.0 as usize
}

impl Shard {
    /// Applies a message that was stamped.
    pub(crate) fn apply(&mut self, stamp: Version, message: Message, terms: &Terms<'_>) -> Result<Outcome, Fatal> {
        match message {
            Message::Write(write) => Ok(self.write(stamp, write)),
            Message::Prepare(txn) => Ok(self.prepare(stamp, txn, terms)),
            Message::Decide(txn, decision) => Ok(self.decide(stamp, txn, decision, terms)),
            Message::Resolve(txn, decision) => self.resolve(stamp, txn, decision, terms),
            Message::Status(txn) => Ok(Outcome::Status(self.status(stamp, txn, terms))),
        }
    }

    /// Lets go of what has ended: the shard has seen a stamp from which on prepares are refused for their age; or there is
    /// too much to keep.
    pub(crate) fn forget(&mut self, is_early: bool) {
        self.ended.clear();
        self.is_beyond |= is_early;
    }

    /// Whether a prepare that is stamped so comes too late.
    fn is_late(&self, stamp: Version) -> bool {
        stamp >= UNTIL || self.is_beyond
    }

    /// What a reader at `at` sees.
    pub(crate) fn seen_at(&self, at: Version) -> Vec<(Version, Writer)> {
        self.written.iter().filter(|(version, _)| *version <= at).copied().collect()
    }

    /// Whether something that holds the key may yet be written at or below `at`.
    pub(crate) fn may_write_at(&self, at: Version) -> bool {
        self.open.values().filter(|open| open.holds).any(|open| match open.decision {
            None => open.prepared <= at,
            Some(Decision::Commit(version)) => version <= at,
            Some(Decision::Abort) => false,
        })
    }

    /// Whether a transaction holds the key.
    pub(crate) fn is_held(&self) -> bool {
        self.blocked().is_some()
    }

    fn write(&mut self, stamp: Version, write: usize) -> Outcome {
        if let Some(refusal) = self.blocked() {
            return refusal;
        }
        self.written.push((stamp, Writer::Alone(write)));
        Outcome::Committed { version: stamp }
    }

    fn blocked(&self) -> Option<Outcome> {
        let holder = self.open.iter().find(|(_, open)| open.holds && open.decision.is_none())?;
        Some(Refusal::Blocked { holder: id_of(*holder.0) }.into())
    }

    fn prepare(&mut self, stamp: Version, txn: Txn, terms: &Terms<'_>) -> Outcome {
        if let Some(open) = self.open.get(&txn) {
            return Outcome::Prepared(Prepared { version: open.prepared, valid_until: None });
        }
        let is_late = self.is_late(stamp) && terms.off != Off::Age;
        if is_late || (self.ended.contains_key(&txn) && terms.off != Off::EndedSet) {
            return Refusal::TxnEnded.into();
        }
        if let Some(refusal) = self.blocked().filter(|_| terms.exclusive) {
            return refusal;
        }
        let participants = terms.participants.unwrap_or_default().to_vec();
        let open = Open { prepared: stamp, decision: None, participants, is_resolved: false, holds: true };
        self.open.insert(txn, open);
        Outcome::Prepared(Prepared { version: stamp, valid_until: None })
    }

    fn decide(&mut self, stamp: Version, txn: Txn, decision: Decision, terms: &Terms<'_>) -> Outcome {
        let Some(open) = self.open.get(&txn) else {
            if let Some(ended) = self.ended.get(&txn) {
                return Outcome::Decided(*ended);
            }
            if self.is_late(stamp) && terms.off != Off::Forgotten {
                return Refusal::TxnEnded.into();
            }
            if decision == Decision::Abort && !self.is_late(stamp) {
                self.ended.insert(txn, Decision::Abort);
            }
            return Outcome::Decided(decision);
        };
        if let Some(decided) = open.decision.filter(|_| terms.off != Off::FirstWins) {
            return Outcome::Decided(decided);
        }
        if let Some(refusal) = check(open, decision, stamp, terms) {
            return refusal.into();
        }
        self.carry_out(txn, decision, terms);
        Outcome::Decided(decision)
    }

    fn resolve(&mut self, stamp: Version, txn: Txn, decision: Decision, terms: &Terms<'_>) -> Result<Outcome, Fatal> {
        let is_hearsay = decision == Decision::Abort && terms.off != Off::Hearsay;
        let is_late = self.is_late(stamp);
        let Some(open) = self.open.get_mut(&txn) else {
            match (self.ended.get(&txn), decision) {
                (Some(ended), _) if *ended != decision && !is_hearsay => return Err(Fatal),
                (None, Decision::Abort) if !is_late => {
                    self.ended.insert(txn, Decision::Abort);
                }
                (None, Decision::Commit(_)) if !is_late => return Err(Fatal),
                _ => {}
            }
            return Ok(Outcome::Resolved);
        };
        match open.decision {
            Some(known) if known != decision && !is_hearsay => return Err(Fatal),
            Some(known) if known != decision => return Ok(Outcome::Resolved),
            Some(_) => {}
            None if !open.participants.is_empty() => {
                return Ok(
                    Refusal::Invalid("a transaction is decided at its anchor before it is resolved there").into()
                );
            }
            None => {
                if let Some(refusal) = check(open, decision, stamp, terms) {
                    return Ok(refusal.into());
                }
                self.carry_out(txn, decision, terms);
            }
        }
        if let Some(open) = self.open.get_mut(&txn).filter(|open| !open.participants.is_empty()) {
            open.is_resolved = true;
        }
        self.end_if_done(txn);
        Ok(Outcome::Resolved)
    }

    fn status(&mut self, stamp: Version, txn: Txn, terms: &Terms<'_>) -> TxnStatus {
        if let Some(open) = self.open.get(&txn) {
            let participants = open.participants.iter().map(|shard| participant_of(*shard)).collect();
            return match open.decision {
                Some(decision) => TxnStatus::Decided { decision, participants },
                None => {
                    let prepared = Prepared { version: open.prepared, valid_until: None };
                    TxnStatus::Prepared { prepared, participants }
                }
            };
        }
        if let Some(decision) = self.ended.get(&txn) {
            return TxnStatus::Ended(*decision);
        }
        if !self.is_late(stamp) && terms.off != Off::AbortFence {
            self.ended.insert(txn, Decision::Abort);
        }
        TxnStatus::Ended(Decision::Abort)
    }

    fn carry_out(&mut self, txn: Txn, decision: Decision, terms: &Terms<'_>) {
        let open = self.open.get_mut(&txn).expect("the transaction is open");
        open.decision = Some(decision);
        if decision == Decision::Abort {
            open.holds = false;
        }
        self.end_if_done(txn);
        while let Some((next, version)) = self.next_commit(terms) {
            self.written.push((version, Writer::Txn(next)));
            self.open.get_mut(&next).expect("the transaction is open").holds = false;
            self.end_if_done(next);
        }
    }

    fn next_commit(&self, terms: &Terms<'_>) -> Option<(Txn, Version)> {
        let commits = self.open.iter().filter(|(_, open)| open.holds).filter_map(|(txn, open)| match open.decision {
            Some(Decision::Commit(version)) => Some((version, *txn)),
            _ => None,
        });
        let (version, first) = commits.min()?;
        let waits = |open: &Open| open.holds && open.decision.is_none() && open.prepared <= version;
        (terms.off == Off::KeyOrder || !self.open.values().any(waits)).then_some((first, version))
    }

    fn end_if_done(&mut self, txn: Txn) {
        let is_done = |open: &Open| !open.holds && (open.participants.is_empty() || open.is_resolved);
        if let Some(decision) = self.open.get(&txn).filter(|open| is_done(open)).and_then(|open| open.decision) {
            self.open.remove(&txn);
            self.ended.insert(txn, decision);
        }
    }
}

fn check(open: &Open, decision: Decision, stamp: Version, terms: &Terms<'_>) -> Option<Refusal> {
    match decision {
        Decision::Commit(version) if terms.off != Off::MaxVersion && (version < open.prepared || version >= stamp) => {
            Some(Refusal::Invalid("a commit lies at or above its prepares, and below what is stamped after it"))
        }
        _ => None,
    }
}
