//! The next step of a move.
//!
//! ```text
//!   catalog 2 3 4, leaving 1        members 1 2 3           add the learner 4
//!                                   1 2 3, learner 4        wait until it has caught up
//!                                   1 2 3 4                 hand over from 1 to one that has applied all
//!                                   2 3 4                   settle: 1 may clear what it has
//! ```

use std::collections::BTreeSet;

use lentic_machine::meta::ShardPlace;
use lentic_raft::Status;
use lentic_types::{Index, NodeId};

/// A learner that lacks no more entries than this becomes a voter: the rest it gets while the voters change.
const LAG_MAX: u64 = 1_000;

/// What the leader of a group should do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is as it shall be.
    Rest,
    /// Something is on its way: look again.
    Wait,
    /// Give a node the entries, without a vote.
    AddLearner(NodeId),
    /// Take the entries away from nodes that do not vote.
    DropLearners(BTreeSet<NodeId>),
    /// Make these the voters, or finish it.
    ChangeVoters(BTreeSet<NodeId>),
    /// Hand over to one of these that has applied everything: the furthest first.
    HandOver(Vec<NodeId>),
    /// Say that the members are those of the catalog.
    Settle,
}

/// Whether a group is not as the catalog says, as far as one of its replicas can see.
pub(super) fn is_unsettled(status: &Status, place: &ShardPlace) -> bool {
    let members_differ = || {
        status.is_changing
            || !status.learners.is_empty()
            || status.voters.len() != place.replicas.len()
            || !place.replicas.iter().all(|node| status.voters.contains(node))
    };
    // A group whose members were never others has no mark, and begins by itself.
    place.shape.born > Index(0) && (!place.shape.leaving.is_empty() || members_differ())
}

/// The next step of the leader `me`.
pub(super) fn step(me: NodeId, status: &Status, place: &ShardPlace) -> Step {
    if !is_unsettled(status, place) {
        return Step::Rest;
    }
    if !status.is_leader || status.applied < status.members_at {
        return Step::Wait;
    }
    let wanted: BTreeSet<_> = place.replicas.iter().copied().collect();
    if status.is_changing {
        // An earlier leader was lost half way: until it is finished, both sets must agree.
        let goal = if wanted.is_subset(&status.voters) { &wanted } else { &*status.voters };
        return Step::ChangeVoters(goal | &BTreeSet::from([me]));
    }
    let has_nothing = |node: &NodeId| status.matched.get(node).is_none_or(|matched| *matched == Index(0));
    let wrong: BTreeSet<_> = status.learners.difference(&wanted).copied().collect();
    if !wrong.is_empty() {
        return Step::DropLearners(wrong);
    }
    let missing: Vec<_> = wanted.difference(&status.voters).copied().collect();
    if let Some(node) = missing.iter().find(|node| !status.learners.contains(*node)) {
        return Step::AddLearner(*node);
    }
    if lentic_types::mutant!("settle-early") && !missing.is_empty() && !place.shape.leaving.is_empty() {
        return Step::Settle;
    }
    let lags = |node: &NodeId| status.matched.get(node).is_none_or(|matched| matched.0 + LAG_MAX < status.last.0);
    if missing.iter().any(|node| has_nothing(node) || lags(node)) {
        return Step::Wait;
    }
    if !missing.is_empty() {
        return Step::ChangeVoters(&wanted | &BTreeSet::from([me]));
    }
    if wanted == *status.voters {
        return Step::Settle;
    }
    if wanted.contains(&me) {
        return Step::ChangeVoters(wanted);
    }
    let mut heirs: Vec<_> = wanted.into_iter().filter(|node| status.matched.contains_key(node)).collect();
    heirs.sort_by_key(|node| std::cmp::Reverse(status.matched.get(node).copied()));
    Step::HandOver(heirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_machine::meta::Shape;
    use lentic_types::{Epoch, KeyRange, ShardId, TableId};
    use std::sync::Arc;

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn place(replicas: &[u64], leaving: &[u64]) -> ShardPlace {
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect();
        ShardPlace {
            shard: ShardId(2),
            table: TableId(1),
            range: KeyRange::all(),
            epoch: Epoch(1),
            replicas: nodes(replicas),
            shape: Shape { born: Index(1), leaving: nodes(leaving), splitting: None },
        }
    }

    /// As node 1 sees it, which leads; the others have so much of 5,000 entries.
    fn status(voters: &[u64], learners: &[u64], matched: &[(u64, u64)]) -> Status {
        Status {
            is_leader: true,
            applied: Index(5_000),
            committed: Index(5_000),
            last: Index(5_000),
            voters: Arc::new(set(voters)),
            learners: Arc::new(set(learners)),
            matched: matched.iter().map(|(node, index)| (NodeId(*node), Index(*index))).collect(),
            ..Status::default()
        }
    }

    const ALL: [(u64, u64); 2] = [(2, 5_000), (3, 5_000)];

    fn next(status: &Status, place: &ShardPlace) -> Step {
        step(NodeId(1), status, place)
    }

    #[test]
    fn a_leader_moves_another_replica() {
        let to = place(&[1, 2, 4], &[3]);
        assert_eq!(next(&status(&[1, 2, 3], &[], &ALL), &to), Step::AddLearner(NodeId(4)));
        let with = |matched| status(&[1, 2, 3], &[4], &[ALL[0], ALL[1], (4, matched)]);
        assert_eq!(next(&with(0), &to), Step::Wait);
        assert_eq!(next(&with(3_999), &to), Step::Wait);
        assert_eq!(next(&with(4_000), &to), Step::ChangeVoters(set(&[1, 2, 4])));
        let caught_up = status(&[1, 2, 4], &[], &[(2, 5_000), (4, 5_000)]);
        assert_eq!(next(&caught_up, &to), Step::Settle);
        assert_eq!(next(&caught_up, &place(&[1, 2, 4], &[])), Step::Rest);
    }

    #[test]
    fn a_leader_that_leaves_hands_over_first() {
        let to = place(&[2, 3, 4], &[1]);
        let with = status(&[1, 2, 3], &[4], &[ALL[0], ALL[1], (4, 5_000)]);
        assert_eq!(next(&with, &to), Step::ChangeVoters(set(&[1, 2, 3, 4])));
        let all = status(&[1, 2, 3, 4], &[], &[(2, 4_000), (3, 5_000), (4, 4_500)]);
        assert_eq!(next(&all, &to), Step::HandOver([3, 4, 2].map(NodeId).to_vec()));
        // Whoever leads then lets it go.
        assert_eq!(step(NodeId(3), &all, &to), Step::ChangeVoters(set(&[2, 3, 4])));
    }

    #[test]
    fn what_is_half_done_is_finished_and_what_is_wrong_is_undone() {
        let to = place(&[1, 2, 4], &[3]);
        let mut joint = status(&[1, 2, 3, 4], &[], &ALL);
        joint.is_changing = true;
        assert_eq!(next(&joint, &to), Step::ChangeVoters(set(&[1, 2, 4])));
        assert_eq!(next(&joint, &place(&[1, 2, 5], &[3])), Step::ChangeVoters(set(&[1, 2, 3, 4])));
        let stranger = status(&[1, 2, 3], &[5], &ALL);
        assert_eq!(next(&stranger, &to), Step::DropLearners(set(&[5])));
    }

    #[test]
    fn nothing_is_done_by_who_does_not_lead_or_does_not_know() {
        let to = place(&[1, 2, 4], &[3]);
        let follower = Status { is_leader: false, ..status(&[1, 2, 3], &[], &ALL) };
        assert_eq!(next(&follower, &to), Step::Wait);
        // Its own change of members is not committed.
        let unsure = Status { members_at: Index(5_001), ..status(&[1, 2, 4], &[], &ALL) };
        assert_eq!(next(&unsure, &to), Step::Wait);
        // A new group whose members are not there yet begins by itself.
        let mut new = place(&[1, 2, 3], &[]);
        new.shape = Shape::default();
        assert_eq!(next(&status(&[], &[], &[]), &new), Step::Rest);
    }
}
