//! Recovery: whoever meets a lock whose coordinator seems to be gone ends its transaction.
//!
//! The anchor is asked first, then every participant; each answer keeps true, for a shard that is not prepared will never
//! be. So all who ask come to the same decision, the coordinator among them, and the anchor's record settles the rest.

use super::ending::{Ask, Ending};
use crate::shard::{Decision, Participant, Prepared, TxnStatus, decision_of};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// How the transaction stands at its anchor.
    Anchor(TxnStatus),
    /// How it stands at a participant.
    Status {
        /// Which one, by its place in the anchor's list.
        participant: usize,
        /// How.
        status: TxnStatus,
    },
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
    /// Ask the anchor how it stands.
    AskAnchor,
    /// Ask a participant how it stands.
    AskStatus {
        /// Which one, by its place in the anchor's list.
        participant: usize,
    },
    /// Ask for what ends the transaction.
    End(Ask),
    /// The anchor knows nothing that others wait for: the shard where the lock was met does as was decided.
    ResolveHere(Decision),
}

/// One recovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovery {
    participants: Vec<Participant>,
    statuses: Vec<Option<Prepared>>,
    asked: bool,
    decided: Option<Decision>,
    ending: Ending,
    is_over: bool,
}

impl Recovery {
    /// Begins a recovery.
    #[must_use]
    pub fn new() -> (Self, Vec<Action>) {
        let recovery = Self {
            participants: Vec::new(),
            statuses: Vec::new(),
            asked: false,
            decided: None,
            ending: Ending::new(0, 0),
            is_over: false,
        };
        (recovery, vec![Action::AskAnchor])
    }

    /// The participants, once the anchor has told them.
    #[must_use]
    pub fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// Takes a step. `is_anchor` tells the anchor among the participants.
    pub fn step(&mut self, event: Event, is_anchor: impl Fn(&Participant) -> bool) -> Vec<Action> {
        match event {
            // An anchor that is asked again answers again. What it said first is being acted on.
            Event::Anchor(_) if self.is_over || !self.statuses.is_empty() => Vec::new(),
            Event::Anchor(TxnStatus::Ended(decision)) => {
                self.is_over = true;
                vec![Action::ResolveHere(decision)]
            }
            Event::Anchor(TxnStatus::Decided { decision, participants }) => {
                self.learn(participants, is_anchor);
                self.decided(decision)
            }
            Event::Anchor(TxnStatus::Prepared { prepared, participants }) => {
                let anchor = self.learn(participants, is_anchor);
                self.statuses[anchor] = Some(prepared);
                let others = (0..self.participants.len()).filter(|participant| *participant != anchor);
                let asks: Vec<Action> = others.map(|participant| Action::AskStatus { participant }).collect();
                if asks.is_empty() { self.decide_if_known() } else { asks }
            }
            Event::Status { participant, status } => match status {
                TxnStatus::Prepared { prepared, .. } => {
                    self.statuses[participant] = Some(prepared);
                    self.decide_if_known()
                }
                // What it knows, it knows from the anchor; or it will never be prepared.
                TxnStatus::Decided { decision, .. } | TxnStatus::Ended(decision) => self.ask(decision),
            },
            Event::Decided(decision) => self.decided(decision),
            Event::Resolved { participant } => {
                let Some(decision) = self.decided else { return Vec::new() };
                let asks = self.ending.resolved(participant, decision);
                self.is_over |= self.ending.is_over();
                asks.into_iter().map(Action::End).collect()
            }
        }
    }

    /// Whether nothing is left to do, but what was asked last.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    fn learn(&mut self, participants: Vec<Participant>, is_anchor: impl Fn(&Participant) -> bool) -> usize {
        let anchor = participants.iter().position(is_anchor).unwrap_or(0);
        self.statuses = vec![None; participants.len().max(1)];
        self.ending = Ending::new(participants.len(), anchor);
        self.participants = participants;
        anchor
    }

    fn decide_if_known(&mut self) -> Vec<Action> {
        if self.statuses.iter().any(Option::is_none) {
            return Vec::new();
        }
        self.ask(decision_of(self.statuses.iter().copied().flatten()))
    }

    fn ask(&mut self, decision: Decision) -> Vec<Action> {
        match std::mem::replace(&mut self.asked, true) {
            true => Vec::new(),
            false => vec![Action::End(Ask::Decide(decision))],
        }
    }

    fn decided(&mut self, decision: Decision) -> Vec<Action> {
        self.decided = Some(decision);
        self.ending.decided(decision).into_iter().map(Action::End).collect()
    }
}
