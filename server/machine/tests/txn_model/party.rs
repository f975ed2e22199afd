//! Those who act on transactions, and their messages.

use std::collections::{BTreeMap, BTreeSet};

use lentic_machine::shard::Decision;
use lentic_machine::txn::ending::Ask;
use lentic_machine::txn::{Coordinator, Recovery, Verdict, coordinator, recovery};
use lentic_machine::{Outcome, Refusal};
use lentic_types::Version;

use super::setup::Off;
use super::shard::{Message, Txn, shard_of};

/// Messages of one party: sent and not performed, and answers on their way back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Talk {
    pub(crate) sent: BTreeSet<(usize, Message)>,
    pub(crate) back: BTreeMap<(usize, Message), Outcome>,
}

/// A transaction: its coordinator, as long as it lives, and what its client was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) told: Option<Verdict>,
    pub(crate) talk: Talk,
    /// The smallest version of a prepare that was heard of, if it matters.
    lowest: Option<Version>,
}

/// A recovery that was begun at the shard `met`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rescue {
    pub(crate) txn: Txn,
    met: usize,
    pub(crate) recovery: Recovery,
    pub(crate) talk: Talk,
}

/// A participant refuses what an honest party asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misunderstood;

/// Whether an anchor does not know any more what was decided.
fn is_forgotten(message: Message, outcome: &Outcome) -> bool {
    matches!(message, Message::Decide(..)) && *outcome == Refusal::TxnEnded.into()
}

impl Attempt {
    pub(crate) fn new(shards: &[usize]) -> Self {
        let (coordinator, _) = Coordinator::new(shards.len(), false);
        Self { coordinator: Some(coordinator), told: None, talk: Talk::default(), lowest: None }
    }

    /// The coordinator hears of an answer of `shard`.
    pub(crate) fn hear(
        &mut self,
        txn: Txn,
        shards: &[usize],
        (shard, message): (usize, Message),
        outcome: Outcome,
        off: Off,
    ) -> Result<(), Misunderstood> {
        if is_forgotten(message, &outcome) {
            // Its client is told that nobody knows.
            self.crash();
            return Ok(());
        }
        let participant = shards.iter().position(|one| *one == shard).expect("it takes part");
        let event = match outcome {
            Outcome::Prepared(prepared) => {
                self.notice(prepared.version, off);
                coordinator::Event::Prepared { participant, prepared }
            }
            Outcome::Decided(decision) => {
                if off == Off::AnchorLast {
                    self.talk.sent.insert((shards[0], Message::Resolve(txn, decision)));
                }
                coordinator::Event::Decided(decision)
            }
            Outcome::Resolved => coordinator::Event::Resolved { participant },
            Outcome::Refused(refusal) if !matches!(refusal, Refusal::Invalid(_)) => {
                coordinator::Event::Refused { participant, refusal }
            }
            _ => return Err(Misunderstood),
        };
        self.step(txn, shards, event, off);
        Ok(())
    }

    /// The coordinator takes a step, and sends what follows from it.
    pub(crate) fn step(&mut self, txn: Txn, shards: &[usize], event: coordinator::Event, off: Off) {
        let Some(coordinator) = &mut self.coordinator else { return };
        for action in coordinator.step(event) {
            match action {
                coordinator::Action::Prepare { .. } => {}
                coordinator::Action::Decline { .. } => unreachable!("requests have no keys here"),
                coordinator::Action::Answer(verdict) => {
                    let verdict = match verdict {
                        Verdict::Committed(version) => Verdict::Committed(self.lowest.unwrap_or(version)),
                        other => other,
                    };
                    self.told.get_or_insert(verdict);
                }
                coordinator::Action::End(Ask::Decide(decision)) => {
                    let decision = match (decision, self.lowest) {
                        (Decision::Commit(_), Some(lowest)) => Decision::Commit(lowest),
                        (decision, _) => decision,
                    };
                    self.talk.sent.insert((shards[0], Message::Decide(txn, decision)));
                    if off == Off::DecideFirst {
                        self.step(txn, shards, coordinator::Event::Decided(decision), off);
                        return;
                    }
                }
                coordinator::Action::End(Ask::Resolve { participant, decision }) => {
                    self.talk.sent.insert((shards[participant], Message::Resolve(txn, decision)));
                }
            }
        }
    }

    /// The coordinator is gone; what it has sent is not.
    pub(crate) fn crash(&mut self) {
        self.coordinator = None;
        self.talk.back.clear();
    }

    fn notice(&mut self, version: Version, off: Off) {
        match off {
            Off::MaxVersion => self.lowest = Some(self.lowest.map_or(version, |lowest| lowest.min(version))),
            Off::AllPrepared => {
                self.told.get_or_insert(Verdict::Committed(version));
            }
            _ => {}
        }
    }
}

impl Rescue {
    pub(crate) fn new(txn: Txn, met: usize, anchor: usize) -> Self {
        let (recovery, actions) = Recovery::new();
        let mut rescue = Self { txn, met, recovery, talk: Talk::default() };
        rescue.send(actions, anchor);
        rescue
    }

    /// The recovery hears the answer of `shard` to `message`.
    pub(crate) fn hear(
        &mut self,
        anchor: usize,
        shard: usize,
        message: Message,
        outcome: Outcome,
    ) -> Result<(), Misunderstood> {
        if is_forgotten(message, &outcome) {
            // It is begun anew, if anything is left of the transaction.
            return Ok(());
        }
        let place = || self.recovery.participants().iter().position(|one| shard_of(one) == shard);
        let event = match (message, outcome) {
            (Message::Status(_), Outcome::Status(status)) if shard == anchor => recovery::Event::Anchor(status),
            (Message::Status(_), Outcome::Status(status)) => {
                recovery::Event::Status { participant: place().expect("it was told of"), status }
            }
            (Message::Decide(..), Outcome::Decided(decision)) => recovery::Event::Decided(decision),
            (Message::Resolve(..), Outcome::Resolved) => match place() {
                Some(participant) => recovery::Event::Resolved { participant },
                // It has done as the anchor said, which told of nobody.
                None => return Ok(()),
            },
            _ => return Err(Misunderstood),
        };
        let actions = self.recovery.step(event, |participant| shard_of(participant) == anchor);
        self.send(actions, anchor);
        Ok(())
    }

    fn send(&mut self, actions: Vec<recovery::Action>, anchor: usize) {
        for action in actions {
            let shard_at = |participant: usize| shard_of(&self.recovery.participants()[participant]);
            let message = match action {
                recovery::Action::AskAnchor => (anchor, Message::Status(self.txn)),
                recovery::Action::AskStatus { participant } => (shard_at(participant), Message::Status(self.txn)),
                recovery::Action::End(Ask::Decide(decision)) => (anchor, Message::Decide(self.txn, decision)),
                recovery::Action::End(Ask::Resolve { participant, decision }) => {
                    (shard_at(participant), Message::Resolve(self.txn, decision))
                }
                recovery::Action::ResolveHere(decision) => (self.met, Message::Resolve(self.txn, decision)),
            };
            self.talk.sent.insert(message);
        }
    }
}
