//! Recoveries: shards look for old locks, and end the transactions of coordinators that seem to be gone.

use lentic_machine::shard::{Action as ShardAction, Decide, Decision, Participant, Resolve, TxnRef};
use lentic_machine::txn::Recovery;
use lentic_machine::txn::ending::Ask as EndAsk;
use lentic_machine::txn::recovery::{Action, Event as Happened};
use lentic_machine::{Outcome, Refusal};

use super::luck::Broken;
use super::world::{Ask, Caller, Done, Event, Step, World, nonsense};

/// One recovery, begun by a shard that met a lock.
pub(crate) struct Recovering {
    txn: TxnRef,
    met_at: usize,
    recovery: Recovery,
    pub(crate) is_alive: bool,
}

impl World {
    /// A shard's leader looks for old locks, and at the anchor for decisions that were not carried out.
    pub(crate) fn sweep(&mut self, number: usize) {
        let delay_ms = self.luck.between(20, 400);
        self.after(delay_ms, Event::Sweep(number));
        if self.broken == Some(Broken::StaleLeader) {
            let tick = self.tick();
            self.groups[number].stale = Some(tick);
        }
        let group = &self.groups[number];
        if !group.is_open() {
            return;
        }
        let now_ms = self.version_ms();
        let is_old = |stamp: lentic_types::Version| stamp.ms() + self.faults.sweep_ms < now_ms;
        let open = group.leader().shard.locks().open();
        let left = open.filter(|open| {
            let is_to_end = open.decision.is_none() || !open.participants.is_empty() && !open.is_resolved;
            is_to_end && is_old(open.version)
        });
        let txns: Vec<TxnRef> = left.map(|open| open.txn.clone()).collect();
        for txn in txns {
            let is_same = |one: &Recovering| one.is_alive && one.met_at == number && one.txn.id == txn.id;
            if !self.recoveries.iter().any(is_same) && (self.is_calm || self.luck.chance(700)) {
                self.recover(number, txn);
            }
        }
    }

    fn recover(&mut self, met_at: usize, txn: TxnRef) {
        let (recovery, actions) = Recovery::new();
        let number = self.recoveries.len();
        self.say(|_| format!("shard {met_at} begins recovery {number} of {}", txn.id));
        self.recoveries.push(Recovering { txn, met_at, recovery, is_alive: true });
        let rash = vec![Action::ResolveHere(Decision::Abort)];
        self.perform_recovery(number, if self.broken == Some(Broken::RashSweeper) { rash } else { actions });
    }

    /// A shard has answered.
    pub(crate) fn recovery_answered(&mut self, number: usize, step: Step, outcome: &Outcome) -> Done {
        let event = match (step, outcome) {
            (Step::Anchor, Outcome::Status(status)) => Happened::Anchor(status.clone()),
            (Step::Status(participant), Outcome::Status(status)) => {
                Happened::Status { participant, status: status.clone() }
            }
            (Step::Decide, Outcome::Decided(decision)) => Happened::Decided(*decision),
            (Step::Resolve(participant), Outcome::Resolved) => Happened::Resolved { participant },
            (Step::ResolveHere, Outcome::Resolved) => {
                self.recoveries[number].is_alive = false;
                return Ok(());
            }
            // Somebody else has ended it long ago.
            (Step::Decide, Outcome::Refused(Refusal::TxnEnded)) => {
                self.recoveries[number].is_alive = false;
                return Ok(());
            }
            // As for attempts.
            (_, Outcome::Refused(Refusal::Invalid(_))) if self.broken == Some(Broken::EarlyTicks) => {
                self.recoveries[number].is_alive = false;
                return Ok(());
            }
            _ => return nonsense(step, outcome),
        };
        if !self.recoveries[number].is_alive || self.recovery_crashes(number) {
            return Ok(());
        }
        let Recovering { txn, recovery, .. } = &mut self.recoveries[number];
        let anchor = txn.anchor.clone();
        let is_anchor = |one: &Participant| one.table == anchor.table && one.range.contains(&anchor.key);
        let actions = recovery.step(event, is_anchor);
        let is_over = recovery.is_over();
        let resolves_here = actions.iter().any(|action| matches!(action, Action::ResolveHere(_)));
        self.perform_recovery(number, actions);
        self.recoveries[number].is_alive &= !is_over || resolves_here;
        Ok(())
    }

    fn recovery_crashes(&mut self, number: usize) -> bool {
        let crashes = !self.is_calm && self.luck.chance(self.faults.crash);
        if crashes {
            self.recoveries[number].is_alive = false;
            self.say(|_| format!("recovery {number} is gone"));
        }
        crashes
    }

    /// Performs actions; who recovers may be gone between any two.
    fn perform_recovery(&mut self, number: usize, actions: Vec<Action>) {
        for action in actions {
            if self.recovery_crashes(number) {
                return;
            }
            let Recovering { txn, met_at, recovery, .. } = &self.recoveries[number];
            let (txn, met_at) = (txn.clone(), *met_at);
            let of_participant = |place: usize| {
                recovery.participants().get(place).map_or(met_at, |participant| self.group_of(participant))
            };
            let (step, group, action) = match action {
                Action::AskAnchor => (Step::Anchor, self.anchor_of(&txn), ShardAction::Status(txn)),
                Action::AskStatus { participant } => {
                    (Step::Status(participant), of_participant(participant), ShardAction::Status(txn))
                }
                Action::End(EndAsk::Decide(decision)) => {
                    (Step::Decide, self.anchor_of(&txn), ShardAction::Decide(Decide { txn, decision }))
                }
                Action::End(EndAsk::Resolve { participant, decision }) => {
                    let resolve = ShardAction::Resolve(Resolve { txn, decision });
                    (Step::Resolve(participant), of_participant(participant), resolve)
                }
                Action::ResolveHere(decision) => {
                    (Step::ResolveHere, met_at, ShardAction::Resolve(Resolve { txn, decision }))
                }
            };
            self.call(Caller::Recovery(number, step), group, Ask::Propose(None, action));
        }
    }

    fn group_of(&self, participant: &Participant) -> usize {
        let is_it = |place: &super::work::Place| place.table == participant.table && place.range == participant.range;
        self.places.iter().position(is_it).expect("participants are shards")
    }

    fn anchor_of(&self, txn: &TxnRef) -> usize {
        let is_it =
            |place: &super::work::Place| place.table == txn.anchor.table && place.range.contains(&txn.anchor.key);
        self.places.iter().position(is_it).expect("anchors are in shards")
    }
}
