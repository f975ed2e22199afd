//! What follows when a transaction's fate is known: the anchor records it, the others do so, the anchor lets go of it.
//!
//! The order matters. Once a shard has done as was decided, its word that it was prepared is gone, so by then the anchor
//! must know. And while a shard may still ask, the anchor must not forget.

use std::collections::BTreeSet;

use crate::shard::Decision;

/// What is asked of the shards to end a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The anchor is to record a decision.
    Decide(Decision),
    /// A participant, by its place in the list, is to do as was decided.
    Resolve {
        /// Which one.
        participant: usize,
        /// What was decided.
        decision: Decision,
    },
}

/// The end of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    anchor: usize,
    /// Who has not done as was decided, but for the anchor.
    left: BTreeSet<usize>,
    is_decided: bool,
    is_over: bool,
}

impl Ending {
    /// The end of a transaction of so many participants, that at `anchor` among them.
    #[must_use]
    pub fn new(participants: usize, anchor: usize) -> Self {
        let left = (0..participants).filter(|participant| *participant != anchor).collect();
        Self { anchor, left, is_decided: false, is_over: false }
    }

    /// The anchor has recorded a decision.
    pub fn decided(&mut self, decision: Decision) -> Vec<Ask> {
        if std::mem::replace(&mut self.is_decided, true) {
            return Vec::new();
        }
        if self.left.is_empty() {
            return vec![Ask::Resolve { participant: self.anchor, decision }];
        }
        self.left.iter().map(|participant| Ask::Resolve { participant: *participant, decision }).collect()
    }

    /// A participant has done as was decided.
    pub fn resolved(&mut self, participant: usize, decision: Decision) -> Vec<Ask> {
        if participant == self.anchor {
            self.is_over = true;
            return Vec::new();
        }
        match self.left.remove(&participant) && self.left.is_empty() {
            true => vec![Ask::Resolve { participant: self.anchor, decision }],
            false => Vec::new(),
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }
}
