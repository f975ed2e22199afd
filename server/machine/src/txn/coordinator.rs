//! The coordinator of one attempt to commit.
//!
//! It answers its client as soon as every participant is prepared: from then on nobody can come to another decision. It
//! gives up for good only by way of the anchor, for somebody else may find everything prepared meanwhile.
//!
//! A request with a key may have had an attempt before this one, which its client has not heard of, and which may be the
//! very reason why a participant refuses this one. So a refusal is the anchor's to give: it keeps it as the answer to the
//! key, unless that was answered before, or an earlier attempt may yet commit.

use lentic_types::Version;

use super::ending::{Ask, Ending};
use crate::shard::{Decision, Prepared, Refusal, decision_of};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A participant is prepared.
    Prepared {
        /// Which one; the anchor is 0.
        participant: usize,
        /// How.
        prepared: Prepared,
    },
    /// A participant refuses, for good or for now.
    Refused {
        /// Which one.
        participant: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The anchor knows that the client's request has committed before.
    CommittedBefore(Version),
    /// The anchor keeps a refusal as the answer to the client's request: this one, or that of an earlier attempt.
    RefusalKept(Refusal),
    /// The anchor does not, for an earlier attempt may yet commit.
    RefusalNotKept,
    /// There is no time, or no use, to wait for those that have not answered.
    GaveUp,
    /// The anchor has recorded a decision, this one or an earlier one.
    Decided(Decision),
    /// A participant has done as was decided.
    Resolved {
        /// Which one.
        participant: usize,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a participant its prepare.
    Prepare {
        /// Which one.
        participant: usize,
    },
    /// Have the anchor keep a refusal as the answer to the client's request.
    Decline {
        /// Who refused.
        participant: usize,
        /// Why.
        refusal: Refusal,
    },
    /// Tell the client.
    Answer(Verdict),
    /// Ask for what ends the transaction.
    End(Ask),
}

/// What the client is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// All of it took effect, at this version.
    Committed(Version),
    /// None of it did, and this attempt cannot: why a participant refused it.
    Refused {
        /// Which one.
        participant: usize,
        /// Why.
        refusal: Refusal,
    },
    /// None of it did, and no copy of the request ever will.
    Declined(Refusal),
    /// None of it did; another attempt may.
    Again,
    /// Nobody knows any more what became of the request.
    Forgotten,
}

/// One attempt to commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    /// Whether the client may send the request again, under its key.
    has_key: bool,
    prepared: Vec<Option<Prepared>>,
    /// Whether a refusal is on its way to the anchor.
    is_declining: bool,
    /// What was asked of the anchor, once it was.
    asked: Option<Decision>,
    decided: Option<Decision>,
    answer: Option<Verdict>,
    ending: Ending,
}

impl Coordinator {
    /// Begins an attempt on so many participants; the first is the anchor. `has_key` tells that the request has a key.
    #[must_use]
    pub fn new(participants: usize, has_key: bool) -> (Self, Vec<Action>) {
        let coordinator = Self {
            has_key,
            is_declining: false,
            prepared: vec![None; participants],
            asked: None,
            decided: None,
            answer: None,
            ending: Ending::new(participants, 0),
        };
        (coordinator, (0..participants).map(|participant| Action::Prepare { participant }).collect())
    }

    /// Takes a step.
    ///
    /// # Panics
    /// If the anchor has recorded an abort of what the client was told is committed: then the protocol is broken, and
    /// nothing that follows can be trusted.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Prepared { participant, prepared } => {
                self.prepared[participant] = Some(prepared);
                self.commit_if_prepared(&mut actions);
            }
            Event::Refused { participant, refusal } => {
                self.refused(participant, refusal, &mut actions);
            }
            Event::RefusalKept(Refusal::AnswerForgotten) => self.answer(Verdict::Forgotten, &mut actions),
            Event::RefusalKept(refusal) => self.answer(Verdict::Declined(refusal), &mut actions),
            Event::RefusalNotKept => self.answer(Verdict::Again, &mut actions),
            Event::CommittedBefore(version) => {
                self.answer(Verdict::Committed(version), &mut actions);
                self.ask(Decision::Abort, &mut actions);
            }
            Event::GaveUp => self.ask(Decision::Abort, &mut actions),
            Event::Decided(decision) => self.decided(decision, &mut actions),
            Event::Resolved { participant } => {
                if let Some(decision) = self.decided {
                    actions.extend(self.ending.resolved(participant, decision).into_iter().map(Action::End));
                }
            }
        }
        actions
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ending.is_over() && self.answer.is_some()
    }

    /// Whether the anchor has been asked to record a decision: prepares need not be sent any more.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        self.asked.is_some()
    }

    fn refused(&mut self, participant: usize, refusal: Refusal, actions: &mut Vec<Action>) {
        // A participant that refuses for now may yet be found prepared: that is for the anchor to settle.
        if refusal == Refusal::AnswerForgotten {
            self.answer(Verdict::Forgotten, actions);
        } else if refusal.is_final() && self.asked.is_none() {
            if self.has_key {
                self.is_declining = true;
                actions.push(Action::Decline { participant, refusal });
            } else {
                self.answer(Verdict::Refused { participant, refusal }, actions);
            }
        }
        self.ask(Decision::Abort, actions);
    }

    fn commit_if_prepared(&mut self, actions: &mut Vec<Action>) {
        if self.asked.is_some() || self.prepared.iter().any(Option::is_none) {
            return;
        }
        let decision = decision_of(self.prepared.iter().copied().flatten());
        if let Decision::Commit(version) = decision {
            self.answer(Verdict::Committed(version), actions);
        }
        self.ask(decision, actions);
    }

    fn ask(&mut self, decision: Decision, actions: &mut Vec<Action>) {
        if self.asked.is_none() {
            self.asked = Some(decision);
            actions.push(Action::End(Ask::Decide(decision)));
        }
    }

    fn decided(&mut self, decision: Decision, actions: &mut Vec<Action>) {
        let told_of_commit = matches!(self.answer, Some(Verdict::Committed(_)));
        let broken = told_of_commit && self.asked != Some(Decision::Abort) && decision == Decision::Abort;
        assert!(!broken, "a transaction that every participant was prepared for was aborted; report this");
        self.decided = Some(decision);
        match decision {
            Decision::Commit(version) => self.answer(Verdict::Committed(version), actions),
            Decision::Abort if self.is_declining => {}
            Decision::Abort => self.answer(Verdict::Again, actions),
        }
        actions.extend(self.ending.decided(decision).into_iter().map(Action::End));
    }

    /// Tells the client, once.
    fn answer(&mut self, verdict: Verdict, actions: &mut Vec<Action>) {
        if self.answer.is_none() {
            self.answer = Some(verdict.clone());
            actions.push(Action::Answer(verdict));
        }
    }
}
