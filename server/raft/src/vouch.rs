//! A voter's word for the leader that it follows, in place of a round in which the leader asks for it.
//!
//! Who asks a leader for something that needs a read point, and is a voter of the group itself, can say with the question
//! that its own vote is with this leader: then it need not be asked again. Leader and voter must be a quorum, as in
//! groups of three.
//!
//! Why this is as good as a round that begins with the question (Ongaro's thesis, section 6.4): a later leader needs a
//! vote of one of the two. Neither had given one to a later term when it looked, the voter before it asked and the leader
//! after the question came. So whoever leads later was elected after the question began.

use std::collections::BTreeSet;

use lentic_types::NodeId;

use crate::types::Raft;

/// The leader that a voter has its vote with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// The leader.
    pub leader: NodeId,
    /// The term in which it leads.
    pub term: u64,
}

/// Whom this node's vote is with, if it has one and that one was elected. It is read where votes are given, for what else
/// is known of them is a moment late.
pub(crate) async fn vouch(raft: &Raft) -> Option<Vouch> {
    let me = *raft.node_id();
    let vouch = raft.with_raft_state(move |state| {
        let vote = state.vote_ref();
        let is_voter = state.membership_state.effective().membership().voter_ids().any(|voter| voter == me);
        let vouch = Vouch { leader: NodeId(vote.leader_id.voted_for), term: vote.leader_id.term };
        (is_voter && vote.committed).then_some(vouch)
    });
    vouch.await.ok().flatten()
}

/// Whether this node's own vote is still with itself in `term`, and it and `voter` are a quorum.
pub(crate) async fn suffices(raft: &Raft, voter: NodeId, term: u64) -> bool {
    let me = *raft.node_id();
    let suffices = raft.with_raft_state(move |state| {
        let vote = state.vote_ref();
        let leads = vote.committed && vote.leader_id.voted_for == me && vote.leader_id.term == term;
        let sets = state.membership_state.effective().membership().get_joint_config();
        leads && voter.0 != me && is_quorum(sets, &BTreeSet::from([me, voter.0]))
    });
    suffices.await.unwrap_or(false)
}

/// Whether `nodes` are a quorum of each of these sets of voters, of which there are two while they change.
pub(crate) fn is_quorum(sets: &[BTreeSet<u64>], nodes: &BTreeSet<u64>) -> bool {
    sets.iter().all(|voters| 2 * voters.intersection(nodes).count() > voters.len())
}
