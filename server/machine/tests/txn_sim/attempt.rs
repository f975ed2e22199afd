//! Coordinators: each performs the steps of one attempt, until it is done or gone.

use lentic_machine::shard::{Action as ShardAction, Anchor, Decide, Decision, Participant, Prepare, Resolve, TxnRef};
use lentic_machine::txn::coordinator::{Action, Event as Happened};
use lentic_machine::txn::ending::Ask as EndAsk;
use lentic_machine::txn::{Coordinator, Verdict as Told};
use lentic_machine::{Outcome, Refusal};
use lentic_types::{NodeId, TxnId, Version};

use super::history::Said;
use super::luck::Broken;
use super::work::Work;
use super::world::{Ask, Caller, Done, Event, Step, Verdict, World, nonsense};

/// One attempt at a work.
pub(crate) struct Attempt {
    pub(crate) work: usize,
    pub(crate) txn: TxnRef,
    /// The shards that take part; the first is the anchor.
    groups: Vec<usize>,
    coordinator: Coordinator,
    pub(crate) is_alive: bool,
}

impl Attempt {
    /// Whether an answer to a step is still of use.
    pub(crate) const fn wants(&self, step: Step) -> bool {
        self.is_alive && !(matches!(step, Step::Prepare(_)) && self.coordinator.is_ending())
    }
}

impl World {
    /// Begins an attempt at a work, as the first or with the age of the one before.
    pub(crate) fn attempt(&mut self, work: usize, begun: Version) {
        let until_ms = self.tick().ms() + self.faults.txn_ms;
        let Work { client, ref shares, key, .. } = self.history.works[work];
        let groups: Vec<usize> = shares.iter().map(|(group, _)| *group).collect();
        let place = &self.places[groups[0]];
        let number = self.attempts.len() as u64;
        let txn = TxnRef {
            id: TxnId { begun, node: NodeId(client as u64 + 1), number },
            anchor: Anchor { table: place.table, key: place.anchor() },
            until: Version::tick(until_ms, 0).expect("runs are short"),
        };
        let has_key = key.is_some() && self.broken != Some(Broken::HastyRefusals);
        let (coordinator, actions) = Coordinator::new(groups.len(), has_key);
        self.say(|_| format!("work {work} is attempt {number}, {}, of shards {groups:?}", txn.id));
        self.attempts.push(Attempt { work, txn, groups, coordinator, is_alive: true });
        let attempt = self.attempts.len() - 1;
        let patience_ms = self.luck.between(20, 2 * self.faults.patience_ms);
        let patience_ms = if self.luck.chance(100) { 3 * self.faults.txn_ms } else { patience_ms };
        self.after(patience_ms, Event::GiveUp(attempt));
        self.perform(attempt, actions);
    }

    pub(crate) fn give_up(&mut self, attempt: usize) {
        self.attempt_steps(attempt, Happened::GaveUp);
    }

    /// A shard has answered.
    pub(crate) fn attempt_answered(&mut self, attempt: usize, step: Step, outcome: &Outcome) -> Done {
        let event = match (step, outcome) {
            (Step::Prepare(participant), Outcome::Prepared(prepared)) => {
                Happened::Prepared { participant, prepared: *prepared }
            }
            (Step::Prepare(0), Outcome::Committed { version }) => Happened::CommittedBefore(*version),
            (Step::Prepare(participant), Outcome::Refused(refusal))
                if !matches!(refusal, Refusal::Invalid(_)) || self.broken.is_some() =>
            {
                Happened::Refused { participant, refusal: refusal.clone() }
            }
            (Step::Decline, Outcome::Committed { version }) => Happened::CommittedBefore(*version),
            (Step::Decline, Outcome::Refused(Refusal::Blocked { .. })) => Happened::RefusalNotKept,
            (Step::Decline, Outcome::Refused(refusal)) => Happened::RefusalKept(refusal.clone()),
            (Step::Decide, Outcome::Decided(decision)) => Happened::Decided(*decision),
            (Step::Resolve(participant), Outcome::Resolved) => Happened::Resolved { participant },
            // Long over, and the anchor does not know how. Nobody has to do anything; a client that was told nothing will
            // have to ask again.
            (Step::Decide, Outcome::Refused(Refusal::TxnEnded)) => {
                self.attempts[attempt].is_alive = false;
                return Ok(());
            }
            // Stamps that lie far back: what it leads to is to be noticed, and not this.
            (_, Outcome::Refused(Refusal::Invalid(_))) if self.broken == Some(Broken::EarlyTicks) => {
                self.attempts[attempt].is_alive = false;
                return Ok(());
            }
            _ => return nonsense(step, outcome),
        };
        self.attempt_steps(attempt, event);
        Ok(())
    }

    fn attempt_steps(&mut self, attempt: usize, event: Happened) {
        if !self.attempts[attempt].is_alive || self.crashes(attempt) {
            return;
        }
        let is_prepared = matches!(event, Happened::Prepared { .. });
        let actions = self.attempts[attempt].coordinator.step(event);
        let has_ended = is_prepared && actions.contains(&Action::End(EndAsk::Decide(Decision::Abort)));
        self.stats.ended_reads += u64::from(has_ended);
        self.perform(attempt, actions);
        let Attempt { coordinator, is_alive, .. } = &mut self.attempts[attempt];
        *is_alive &= !coordinator.is_over();
    }

    fn crashes(&mut self, attempt: usize) -> bool {
        let crashes = !self.is_calm && self.luck.chance(self.faults.crash);
        if crashes {
            self.crash(attempt);
        }
        crashes
    }

    fn crash(&mut self, attempt: usize) {
        self.attempts[attempt].is_alive = false;
        self.stats.coordinator_crashes += 1;
        self.say(|_| format!("the coordinator of attempt {attempt} is gone"));
    }

    /// Performs actions; the coordinator may be gone between any two.
    fn perform(&mut self, attempt: usize, actions: Vec<Action>) {
        for action in actions {
            if self.crashes(attempt) {
                return;
            }
            let Attempt { work, txn, groups, .. } = &self.attempts[attempt];
            let (work, txn) = (*work, txn.clone());
            match action {
                Action::Prepare { participant } => {
                    let group = groups[participant];
                    let ask = self.prepare_of(attempt, participant);
                    self.call(Caller::Attempt(attempt, Step::Prepare(participant)), group, ask);
                }
                Action::Decline { refusal, .. } => {
                    let ask = Ask::Propose(self.history.works[work].key, ShardAction::Decline(refusal));
                    self.call(Caller::Attempt(attempt, Step::Decline), self.attempts[attempt].groups[0], ask);
                }
                Action::Answer(told) => {
                    self.tell(attempt, work, txn.id, &told);
                    // What it has said must stand although nobody hears of it.
                    if matches!(told, Told::Refused { .. } | Told::Declined(_))
                        && self.faults.crash > 0
                        && self.luck.chance(300)
                    {
                        return self.crash(attempt);
                    }
                }
                Action::End(EndAsk::Decide(decision)) => {
                    let ask = Ask::Propose(None, ShardAction::Decide(Decide { txn, decision }));
                    self.call(Caller::Attempt(attempt, Step::Decide), self.attempts[attempt].groups[0], ask);
                }
                Action::End(EndAsk::Resolve { participant, decision }) => {
                    let group = groups[participant];
                    let ask = Ask::Propose(None, ShardAction::Resolve(Resolve { txn, decision }));
                    self.call(Caller::Attempt(attempt, Step::Resolve(participant)), group, ask);
                }
            }
        }
    }

    fn prepare_of(&mut self, attempt: usize, participant: usize) -> Ask {
        let Attempt { work, txn, groups, .. } = &self.attempts[attempt];
        let work = &self.history.works[*work];
        let places = groups.iter().map(|group| &self.places[*group]);
        let all = places.map(|place| Participant { table: place.table, range: place.range.clone() });
        let is_anchor = participant == 0;
        let participants = if is_anchor { all.collect() } else { Vec::new() };
        let parts = Work::parts(&mut self.luck, &work.shares[participant].1);
        let prepare = Prepare { txn: txn.clone(), participants, parts, take: None };
        Ask::Propose(work.key.filter(|_| is_anchor), ShardAction::Prepare(prepare))
    }

    fn tell(&mut self, attempt: usize, work: usize, txn: TxnId, told: &Told) {
        let (verdict, said) = match told {
            Told::Committed(version) => (Verdict::Committed(*version), Said::Committed(*version)),
            Told::Forgotten => return self.send(Event::Verdict(attempt, Verdict::Unknown)),
            Told::Refused { .. } => (Verdict::Refused, Said::NotThis),
            Told::Declined(_) => (Verdict::Declined, Said::Never),
            Told::Again => (Verdict::Again, Said::NotThis),
        };
        match told {
            Told::Refused { refusal: Refusal::Conflict { .. }, .. } | Told::Declined(Refusal::Conflict { .. }) => {
                self.stats.conflicts += 1;
            }
            Told::Refused { .. } | Told::Declined(_) => self.stats.condition_failures += 1,
            _ => {}
        }
        self.history.told.push((work, txn, said));
        self.send(Event::Verdict(attempt, verdict));
    }
}
