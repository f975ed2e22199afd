//! What a group looks like from this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lentic_types::{Index, NodeId};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{RaftMetrics, ServerState};
use tokio::sync::watch;

use crate::types::{LogId, Raft, Types, term_of};

/// A group as this node sees it, a moment late: the reply to a command may come before its index is seen here. Indexes
/// are of the last such entry, 0 if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The newest term this node knows of.
    pub term: u64,
    /// Who leads in it, as far as this node knows. It may be gone. `None` if the group has stopped here.
    pub leader: Option<NodeId>,
    /// This node leads in `term`, and the first entry of the term is committed and applied here: so is everything that
    /// was committed before. Another node may lead in a newer term by now; [`Group::read_index`](crate::Group::read_index)
    /// finds out.
    pub is_leader: bool,
    /// Applied here.
    pub applied: Index,
    /// Known to be on a quorum.
    pub committed: Index,
    /// In the log here.
    pub last: Index,
    /// Gone from the front of the log here.
    pub purged: Index,
    /// Who votes; while the voters change, of both sets.
    pub voters: Arc<BTreeSet<NodeId>>,
    /// The voters change: of both sets a quorum must agree.
    pub is_changing: bool,
    /// Who gets entries and does not vote.
    pub learners: Arc<BTreeSet<NodeId>>,
    /// Where the log says who the members are. They are so for good when it is committed.
    pub members_at: Index,
    /// How far each other node is known to have the log, if this node leads.
    pub matched: BTreeMap<NodeId, Index>,
    /// Why the group has stopped on this node. It does not go on before the node is started again.
    pub fault: Option<String>,
}

/// Keeps a status up to date until the group stops.
pub(crate) async fn follow(raft: Raft, status: watch::Sender<Status>) {
    let mut metrics = raft.metrics();
    let mut members_at = None;
    loop {
        {
            let metrics = metrics.borrow_and_update();
            let members = (members_at != Some(*metrics.membership_config.log_id())).then(|| {
                members_at = Some(*metrics.membership_config.log_id());
                let membership = metrics.membership_config.membership();
                let voters = membership.voter_ids().map(NodeId).collect();
                let learners = membership.learner_ids().map(NodeId).collect();
                let is_changing = membership.get_joint_config().len() > 1;
                let at = index(members_at.flatten().as_ref());
                Members { voters: Arc::new(voters), is_changing, learners: Arc::new(learners), at }
            });
            status.send_if_modified(|status| update(status, &metrics, members));
        }
        // Many changes that come together are looked at once.
        tokio::task::yield_now().await;
        if metrics.changed().await.is_err() {
            let fault = "it ended without saying why; see its first error".to_owned();
            status.send_if_modified(|status| {
                let ended = status.fault.is_none();
                status.fault.get_or_insert(fault);
                (status.leader, status.is_leader) = (None, false);
                ended
            });
            return;
        }
    }
}

struct Members {
    voters: Arc<BTreeSet<NodeId>>,
    is_changing: bool,
    learners: Arc<BTreeSet<NodeId>>,
    at: Index,
}

fn update(status: &mut Status, metrics: &RaftMetrics<Types>, members: Option<Members>) -> bool {
    let leads = metrics.state == ServerState::Leader;
    let Members { voters, is_changing, learners, at } = members.unwrap_or_else(|| Members {
        voters: Arc::clone(&status.voters),
        is_changing: status.is_changing,
        learners: Arc::clone(&status.learners),
        at: status.members_at,
    });
    let applied_in = metrics.last_applied.as_ref().map(term_of);
    let fault = metrics.running_state.as_ref().err().map(ToString::to_string);
    let matched = metrics.replication.as_ref().filter(|_| leads).map(|replication| {
        let others = replication.iter().filter(|(node, _)| **node != metrics.id);
        others.map(|(node, matched)| (NodeId(*node), index(matched.as_ref()))).collect()
    });
    let new = Status {
        term: metrics.current_term,
        // A node that has started again finds its own old vote, and does not lead. One that has stopped hears of nobody.
        leader: metrics.current_leader.filter(|leader| fault.is_none() && (*leader != metrics.id || leads)).map(NodeId),
        is_leader: leads && fault.is_none() && applied_in == Some(metrics.current_term),
        applied: index(metrics.last_applied.as_ref()),
        committed: index(metrics.local_committed.as_ref()),
        last: Index(metrics.last_log_index.unwrap_or(0)),
        purged: index(metrics.purged.as_ref()),
        voters,
        is_changing,
        learners,
        members_at: at,
        matched: matched.unwrap_or_default(),
        fault,
    };
    let modified = *status != new;
    *status = new;
    modified
}

fn index(id: Option<&LogId>) -> Index {
    Index(id.map_or(0, |id| id.index))
}
