//! A group on one node.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_log::Holder;
use lentic_types::{GroupId, Index, NodeId};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::{ChangeError, ProposeError, ReadError};
use crate::machine::{Fault, Machine};
use crate::options::Options;
use crate::propose::{self, Pending, Room};
use crate::reads::{ReadIndex, Reads};
use crate::snapshot::Holds;
use crate::status::Status;
use crate::types::{Raft, Types};
use crate::vouch::{self, Vouch};

/// What a group consists of on this node.
pub(crate) struct Core {
    pub(crate) id: GroupId,
    pub(crate) raft: Raft,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) room: Room,
    pub(crate) reads: Reads,
    pub(crate) options: Arc<Options>,
    /// What must stay in the log for those who get a snapshot.
    pub(crate) holds: Arc<Holds>,
    pub(crate) tasks: Mutex<Vec<AbortHandle>>,
    /// Resolves when nobody works on the machine any more.
    pub(crate) machine_gone: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl Core {
    /// Stops the group. When it returns, its machine is dropped.
    pub(crate) async fn stop(&self) {
        let _ = self.raft.shutdown().await;
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(AbortHandle::abort);
        let mut gone = self.machine_gone.lock().await;
        if let Some(gone) = gone.take() {
            // An error is the sign: what would send it is dropped with the machine.
            let _ = gone.await;
        }
    }
}

/// The replication of one group on this node. Clones are the same group.
///
/// Dropping it stops nothing: see [`Self::stop`] and [`Host::remove`](crate::Host::remove).
pub struct Group<M> {
    core: Arc<Core>,
    machine: PhantomData<fn() -> M>,
}

impl<M> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), machine: PhantomData }
    }
}

impl<M: Machine> Group<M> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, machine: PhantomData }
    }

    /// Which group it is.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.core.id
    }

    /// Begins the group with these voters. Every one of them calls it with the same set, as often as it likes: on a
    /// group that has begun it does nothing. When it returns, the first entry is durable here.
    ///
    /// **Never call it on a node that has lost its log**: it would vote again in terms in which it has voted.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] if this node is not among the voters.
    pub async fn initialize(&self, voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        match self.core.raft.initialize(ids(&voters)).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotInMembers(error))) => {
                Err(ChangeError::Refused(error.to_string()))
            }
            Err(RaftError::Fatal(fatal)) => Err(ChangeError::Stopped(fatal.to_string())),
        }
    }

    /// What the group looks like from here, and its changes; those that come together may be seen as one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.core.status.clone()
    }

    /// What the group looks like from here now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.core.status.borrow().clone()
    }

    /// Submits a command, if this node still leads in `term`: a [`Status`] with `is_leader` says in which. When it
    /// returns, the command is enqueued, after those of earlier calls of the same caller; the reply comes from
    /// [`Pending`], when the command is durable on a quorum and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]: what may be submitted again.
    pub async fn submit(&self, term: u64, command: Bytes) -> Result<Pending<M::Reply>, ProposeError> {
        propose::submit(&self.core.raft, &self.core.room, term, command).await
    }

    /// A point that a linearizable read may be served from: a quorum has confirmed, after this call began, that this
    /// node leads, and everything that was committed by then is applied here. One round of confirmation is under way at a
    /// time; calls that come meanwhile share the next.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing was changed.
    pub async fn read_index(&self) -> Result<ReadIndex, ReadError> {
        let point = self.core.reads.confirm().await?;
        let mut status = self.core.status.clone();
        let applied = status.wait_for(|status| status.applied >= point.index || status.fault.is_some()).await;
        match applied.map(|status| status.fault.clone().filter(|_| status.applied < point.index)) {
            Ok(None) => Ok(point),
            Ok(Some(fault)) => Err(ReadError::Stopped(fault)),
            Err(_) => Err(ReadError::Stopped("it is removed".to_owned())),
        }
    }

    /// The leader that this node's vote is with, for a question to that leader: with it the leader may spare the round of
    /// a read point. `None` while there is an election.
    pub async fn vouch(&self) -> Option<Vouch> {
        vouch::vouch(&self.core.raft).await
    }

    /// Whether `voter`, who vouched for this node in `term` after a question began, and this node are a quorum by
    /// themselves: then this node leads as of that question, as if [`Self::read_index`] had been called with it. It does
    /// not say what is applied here.
    pub async fn is_confirmed_by(&self, voter: NodeId, term: u64) -> bool {
        vouch::suffices(&self.core.raft, voter, term).await
    }

    /// Lets `node` have the entries without a vote. When it returns, the change is committed; the node may still be far
    /// behind: see [`Status::matched`].
    pub async fn add_learner(&self, node: NodeId) -> Result<(), ChangeError> {
        self.core.raft.add_learner(node.0, (), false).await.map(drop).map_err(refused)
    }

    /// Takes the entries away from nodes that do not vote.
    pub async fn remove_learners(&self, nodes: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        self.change(ChangeMembers::RemoveNodes(ids(&nodes))).await
    }

    /// Makes these nodes, of which each has to be a learner or voter, the voters; a voter that is not among them leaves
    /// the group. Two entries are committed, between which both sets must agree: if leadership is lost in the middle,
    /// calling it again finishes.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        self.change(ChangeMembers::ReplaceAllVoters(ids(&voters))).await
    }

    async fn change(&self, change: ChangeMembers<u64, ()>) -> Result<(), ChangeError> {
        self.core.raft.change_membership(change, false).await.map(drop).map_err(refused)
    }

    /// Hands leadership to a voter. It takes no more commands meanwhile; returns when another leads here, or after
    /// twice the longest election timeout with [`ChangeError::Lost`].
    ///
    /// # Errors
    /// [`ChangeError::Refused`] if `to` has no vote.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ChangeError> {
        let now = self.status();
        if now.leader != self.core.me() {
            return Err(ChangeError::NotLeader { leader: now.leader });
        }
        if now.leader == Some(to) {
            return Ok(());
        }
        if !now.voters.contains(&to) {
            return Err(ChangeError::Refused(format!("{to} has no vote, expected a voter of {}", self.core.id)));
        }
        let stopped = |fatal: crate::types::Fatal| ChangeError::Stopped(fatal.to_string());
        self.core.raft.trigger().transfer_leader(to.0).await.map_err(stopped)?;
        let mut status = self.core.status.clone();
        let other = status.wait_for(|status| status.leader.is_some() && status.leader != now.leader);
        match timeout(2 * self.core.options.election_max, other).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ChangeError::Lost),
        }
    }

    /// Asks for votes now, if a quorum would give them: it does not disturb a leader that is heard.
    pub async fn campaign(&self) -> Result<(), ChangeError> {
        let elected = self.core.raft.trigger().elect(true).await;
        elected.map_err(|fatal| ChangeError::Stopped(fatal.to_string()))
    }

    /// Lets entries go from the front of the log that are durably applied here. Keeps some, and what followers do not
    /// have yet if this node leads, and what belongs behind a snapshot that is under way. `pressed`, when the log is too
    /// large and names this group: it keeps only the last of these up to there, and of what is overdue nothing, and asks the
    /// machine to make it durable soon. What lies behind stays: else who lags would get one snapshot after the other.
    ///
    /// Returns when the purge is submitted. Call it again later for what was not durable yet.
    pub async fn release_log(&self, pressed: Option<Holder>) -> Result<(), ChangeError> {
        self.core.release_log(pressed).await
    }

    /// Stops the group on this node; what it has stays. When it returns, the machine is dropped. Other calls say
    /// that it has stopped.
    pub async fn stop(&self) {
        self.core.stop().await;
    }
}

impl Core {
    fn me(&self) -> Option<NodeId> {
        Some(NodeId(*self.raft.node_id()))
    }

    async fn release_log(&self, pressed: Option<Holder>) -> Result<(), ChangeError> {
        let durable = self.durable(pressed.is_some()).await?.0;
        let followers = self.status.borrow().matched.values().map(|matched| matched.0).min();
        let held = self.holds.lowest();
        let kept = held.min(followers.unwrap_or(u64::MAX));
        let unneeded = durable.saturating_sub(self.options.log_keep_entries).min(kept);
        let named = pressed.map_or(0, |Holder { through, overdue, .. }| through.0.min(held).max(overdue.0));
        let through = unneeded.max(named.min(durable));
        if through == 0 || through <= self.status.borrow().purged.0 {
            return Ok(());
        }
        self.purge(through).await
    }

    /// What is durably applied; `pressed` asks for more, soon.
    async fn durable(&self, pressed: bool) -> Result<Index, ChangeError> {
        let stopped = |fatal: crate::types::Fatal| ChangeError::Stopped(fatal.to_string());
        let durable = self.raft.with_state_machine(move |store| {
            let durable = match pressed {
                true => store.request_flush().and_then(|()| store.durable()),
                false => store.durable(),
            };
            Box::pin(async move { durable })
        });
        let durable: Result<Index, Fault> = durable.await.map_err(stopped)?;
        durable.map_err(|fault| ChangeError::Refused(fault.to_string()))
    }

    /// Lets go of the entries up to `through`, which are durably applied.
    async fn purge(&self, through: u64) -> Result<(), ChangeError> {
        let stopped = |fatal: crate::types::Fatal| ChangeError::Stopped(fatal.to_string());
        // openraft purges what it believes to be in a snapshot: here, what is flushed.
        let mut progress = self.raft.watch_snapshot_progress();
        self.raft.trigger().snapshot().await.map_err(stopped)?;
        let flushed = async {
            while progress.get().is_none_or(|id| id.index < through) {
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        // A trigger that meets another one is dropped: then the next call gets further.
        if timeout(RELEASE_TIMEOUT, flushed).await.is_ok() {
            self.raft.trigger().purge_log(through).await.map_err(stopped)?;
        }
        Ok(())
    }
}

/// How long the machine may take to get to the question what is durable, behind the entries that it applies.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

fn ids(nodes: &BTreeSet<NodeId>) -> BTreeSet<u64> {
    nodes.iter().map(|node| node.0).collect()
}

fn refused(error: RaftError<Types, ClientWriteError<Types>>) -> ChangeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ChangeError::NotLeader { leader: forward.leader_id.map(NodeId) }
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ChangeError::Lost,
        RaftError::APIError(error) => ChangeError::Refused(error.to_string()),
        RaftError::Fatal(fatal) => ChangeError::Stopped(fatal.to_string()),
    }
}
