//! Whether the replica of the meta group on this node is right about who leads.
//!
//! A voter that is let go need not hear of it: it keeps its last leader, and no election tells it of another, for nobody
//! asks for its vote. What the replica says is believed until who it names says that it does not lead, or does not answer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lentic_types::NodeId;

/// A leader that does not answer so often, one time after the other, is none. One that is gone has a successor by then, of
/// whom a voter hears.
const SILENT_MAX: u32 = 3;

/// What was found out about the leader that the replica names.
#[derive(Debug, Default)]
pub(super) struct Doubt(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// Who does not lead, and the term in which the replica says so.
    not: Option<(NodeId, u64)>,
    /// How often it has not answered.
    silent: u32,
}

impl Doubt {
    /// Whether it was found out that `leader` does not lead in the term.
    pub(super) fn is_of(&self, leader: NodeId, term: u64) -> bool {
        self.found().not == Some((leader, term))
    }

    /// The leader that is named for the term has answered as one.
    pub(super) fn leads(&self) {
        *self.found() = Found::default();
    }

    /// It has said that it does not lead.
    pub(super) fn does_not_lead(&self, leader: NodeId, term: u64) {
        *self.found() = Found { not: Some((leader, term)), silent: 0 };
    }

    /// It has not answered.
    pub(super) fn is_silent(&self, leader: NodeId, term: u64) {
        let mut found = self.found();
        found.silent += 1;
        if found.silent >= SILENT_MAX {
            *found = Found { not: Some((leader, term)), silent: 0 };
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_no_or_is_silent_is_not_believed_in_until_it_answers_or_there_is_another_term() {
        let (doubt, leader) = (Doubt::default(), NodeId(2));
        assert!(!doubt.is_of(leader, 5));
        doubt.does_not_lead(leader, 5);
        assert!(doubt.is_of(leader, 5) && !doubt.is_of(leader, 6) && !doubt.is_of(NodeId(3), 5));
        doubt.leads();
        assert!(!doubt.is_of(leader, 5));
        for _ in 1..SILENT_MAX {
            doubt.is_silent(leader, 5);
            assert!(!doubt.is_of(leader, 5), "once is nothing");
        }
        doubt.is_silent(leader, 5);
        assert!(doubt.is_of(leader, 5));
    }
}
