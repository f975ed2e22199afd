//! The meta group on this node: proposing to it, following it, asking its leader.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, MetaCommand, MetaOutcome, NodeState, Pins};
use lentic_machine::oracle::Ticks;
use lentic_net::BoxFuture;
use lentic_proto::v1::Failure;
use lentic_raft::{Group, Host, ProposeError, Vouch};
use lentic_types::{Epoch, Index, NodeId, ShardId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::doubt::Doubt;
use super::machine::{MetaMachine, Shown};
use super::oracle::{LocalOracle, NotHere};
use crate::ask::{Answer, Question};
use crate::failure;
use crate::ticks::Oracle;

/// How long one question to another node may take. A paused leader is left for its successor after this.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// A node is taken for dead after it was not heard from for this long.
pub(crate) const ALIVE_FOR: Duration = Duration::from_secs(5);

/// The meta group, as the rest of the node sees it.
pub(crate) struct MetaService<S: Portable> {
    pub(crate) node: NodeId,
    pub(crate) group: Group<MetaMachine<S>>,
    pub(crate) host: Host,
    oracle: LocalOracle<S>,
    shown: watch::Receiver<Shown>,
    /// The newest catalog this node knows, from its own replica or from another node.
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    /// A catalog of this revision is as new as any that this node knew before it was started; the highest number: not known yet.
    current_from: AtomicU64,
    /// Nodes known before the first catalog.
    peers: Vec<NodeId>,
    /// Who was last known to lead; 0 if nobody.
    leader: AtomicU64,
    doubt: Doubt,
    heard: Mutex<Heard>,
    /// By how much the floor of pins stays behind the ticks: a snapshot has so long from its tick to its commit.
    pub(super) pin_grace: Duration,
    /// Whoever raises the floor holds it: one sweep is on its way at a time.
    pub(super) sweeping: tokio::sync::Mutex<()>,
}

/// Who was heard from, while this node leads.
#[derive(Debug, Default)]
struct Heard {
    term: u64,
    since: Option<Instant>,
    nodes: BTreeMap<NodeId, (Instant, u32)>,
}

impl<S: Portable> MetaService<S> {
    pub(crate) fn new(
        node: NodeId,
        group: Group<MetaMachine<S>>,
        host: Host,
        oracle: LocalOracle<S>,
        shown: watch::Receiver<Shown>,
        peers: Vec<NodeId>,
        pin_grace: Duration,
    ) -> Self {
        let (catalog, _) = watch::channel(Arc::clone(&shown.borrow().catalog));
        let (leader, doubt) = (AtomicU64::new(0), Doubt::default());
        let (heard, sweeping) = (Mutex::default(), tokio::sync::Mutex::default());
        let current_from = AtomicU64::new(u64::MAX);
        Self {
            node,
            group,
            host,
            oracle,
            shown,
            catalog,
            current_from,
            peers,
            leader,
            doubt,
            heard,
            pin_grace,
            sweeping,
        }
    }

    /// The newest catalog this node knows.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.borrow())
    }

    /// The catalog of this node's own replica, which holds what was just proposed here.
    pub(crate) fn catalog_after_apply(&self) -> Arc<Catalog> {
        Arc::clone(&self.shown.borrow().catalog)
    }

    /// The pins in this node's own replica.
    pub(crate) fn pins_after_apply(&self) -> Arc<Pins> {
        Arc::clone(&self.shown.borrow().pins)
    }

    /// Whether leaders are balanced, as this node's own replica has it.
    pub(crate) fn is_balanced(&self) -> bool {
        self.shown.borrow().is_balanced
    }

    /// Who leads the meta group, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader_by_replica()
            .or_else(|| Some(NodeId(self.leader.load(Ordering::Relaxed))).filter(|node| node.0 != 0))
    }

    /// Who leads it, as far as the group's replica on this node knows. Only a voter's counts: it looks for another leader
    /// when it hears from none, while a learner whose addition was never committed waits for ever.
    pub(crate) fn leader_by_replica(&self) -> Option<NodeId> {
        let status = self.group.watch();
        let status = status.borrow();
        // A voter that is let go may never hear of it, and would believe in its last leader for ever.
        let catalog = self.catalog();
        let is_used = catalog.nodes.get(&self.node).is_none_or(|node| node.state.is_active());
        let is_member = is_used && status.voters.contains(&self.node);
        let counts = |leader: &NodeId| *leader == self.node || is_member && !self.doubt.is_of(*leader, status.term);
        status.leader.filter(counts)
    }

    /// Whether this node leads it.
    pub(crate) fn leads(&self) -> bool {
        self.group.watch().borrow().is_leader
    }

    /// This node leads the meta group, and knows the catalog as of some moment after this call.
    pub(crate) async fn confirm(&self) -> Result<(), Failure> {
        self.group.read_index().await.map_err(|_| failure::not_leader())?;
        self.learn(self.catalog_after_apply());
        Ok(())
    }

    /// Asks which catalog is [current](Self::is_current); whether it was answered. Once after a start is enough.
    pub(crate) async fn ask_revision(&self) -> bool {
        let revision = if self.leads() {
            self.confirm().await.ok().map(|()| self.catalog().revision)
        } else {
            match self.ask_leader(&Question::Revision).await {
                Some(Answer::Revision(revision)) => Some(revision),
                _ => None,
            }
        };
        revision.inspect(|revision| self.current_from.store(*revision, Ordering::Relaxed)).is_some()
    }

    /// Whether a catalog that this node has is as new as any that it knew before it was started. Its replica of the meta group
    /// may have forgotten the last ones, and have to hear of them again.
    pub(crate) fn is_current(&self, catalog: &Catalog) -> bool {
        catalog.revision >= self.current_from.load(Ordering::Relaxed)
    }

    /// Proposes to the meta group, which this node must lead.
    pub(crate) async fn propose(&self, command: &MetaCommand) -> Result<MetaOutcome, Failure> {
        let status = self.group.watch().borrow().clone();
        if !status.is_leader {
            return Err(failure::not_leader());
        }
        let pending = self.group.submit(status.term, command.encode().into()).await;
        let result = match pending {
            Ok(pending) => pending.await.map(|(_, outcome)| outcome),
            Err(error) => Err(error),
        };
        match result {
            Ok(MetaOutcome::Refused(refusal)) => Err(Failure::new(refusal.kind(), refusal.to_string())),
            Ok(outcome) => Ok(outcome),
            Err(ProposeError::NotLeader { .. }) => Err(failure::not_leader()),
            Err(ProposeError::Full { .. }) => Err(failure::throttled("the log's queue is full; nothing was done", 20)),
            Err(ProposeError::Lost) => Err(failure::unknown("the meta group's leader changed; ask again")),
            Err(ProposeError::Stopped(reason)) => {
                Err(failure::internal(format!("the meta group has stopped on this node: {reason}")))
            }
        }
    }

    /// Follows this node's own replica of the catalog. It ends with the group.
    pub(crate) async fn follow_replica(&self) {
        let mut shown = self.shown.clone();
        loop {
            let catalog = Arc::clone(&shown.borrow_and_update().catalog);
            self.learn(catalog);
            if shown.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes a catalog if it is newer.
    pub(crate) fn learn(&self, catalog: Arc<Catalog>) {
        self.catalog.send_if_modified(|known| {
            let is_newer = catalog.revision > known.revision;
            if is_newer {
                *known = catalog;
            }
            is_newer
        });
    }

    /// Ticks of the oracle on this node, for a question that began before this call; of a voter that vouched for this
    /// node in a term, perhaps.
    pub(crate) async fn ticks(&self, count: u32, vouched: Option<(NodeId, u64)>) -> Result<Ticks, NotHere> {
        self.oracle.ticks(count, vouched).await
    }

    /// Asks whoever leads the meta group.
    pub(crate) async fn ask_leader(&self, question: &Question) -> Option<Answer> {
        let leader = self.leader().filter(|leader| *leader != self.node).or_else(|| self.anyone())?;
        self.ask_for_leader(leader, question).await
    }

    /// Ticks from whoever leads the meta group, if it is found and answers.
    async fn ask_for_ticks(&self, count: u32) -> Option<Ticks> {
        // A voter's word spares the leader a round: it is given after the fetch began.
        let answer = match self.group.vouch().await.filter(|vouch| vouch.leader != self.node) {
            Some(Vouch { leader, term }) => {
                self.ask_for_leader(leader, &Question::Ticks { count, vouched: Some(term) }).await
            }
            None => self.ask_leader(&Question::Ticks { count, vouched: None }).await,
        };
        match answer {
            Some(Answer::Ticks(ticks)) => Some(ticks),
            _ => None,
        }
    }

    /// Asks the node that is taken for the meta group's leader.
    async fn ask_for_leader(&self, leader: NodeId, question: &Question) -> Option<Answer> {
        let answer = self.host.ask(leader, question.encode(), ASK_TIMEOUT).await.ok();
        let answer = answer.and_then(|bytes| Answer::decode(&bytes).ok());
        let known = match &answer {
            Some(Answer::NotLeader(leader)) => leader.map_or(0, |NodeId(node)| node),
            Some(_) => leader.0,
            None => 0,
        };
        self.leader.store(known, Ordering::Relaxed);
        let status = self.group.watch().borrow().clone();
        if status.leader == Some(leader) {
            match &answer {
                Some(Answer::NotLeader(_)) => self.doubt.does_not_lead(leader, status.term),
                Some(_) => self.doubt.leads(),
                None => self.doubt.is_silent(leader, status.term),
            }
        }
        answer.filter(|answer| !matches!(answer, Answer::NotLeader(_)))
    }

    /// Some other node, for who knows nobody in particular.
    fn anyone(&self) -> Option<NodeId> {
        let catalog = self.catalog();
        // A node that has no replica of the group hears of no catalog by itself: it begins with whom it joined.
        let known: Vec<_> =
            if catalog.nodes.is_empty() { self.peers.clone() } else { catalog.nodes.keys().copied().collect() };
        let others: Vec<_> = known.into_iter().filter(|node| *node != self.node).collect();
        let chosen = usize::try_from(lentic_runtime::random()).ok()?;
        others.get(chosen.checked_rem(others.len())?).copied()
    }

    /// A node said that it is alive.
    pub(crate) fn heard_from(&self, node: NodeId, leaders: u32) {
        self.heard().nodes.insert(node, (Instant::now(), leaders));
    }

    /// As [`Self::alive`], asked of the leader; empty if it is not reached.
    pub(crate) async fn ask_alive(&self) -> BTreeMap<NodeId, (bool, u32)> {
        match self.ask_leader(&Question::Nodes).await {
            Some(Answer::Nodes(nodes)) => nodes.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Whether each node was heard from lately, and how many shards it leads. Only the leader knows.
    pub(crate) fn alive(&self) -> BTreeMap<NodeId, (bool, u32)> {
        let catalog = self.catalog();
        let heard = self.heard();
        let is_new = heard.since.is_none_or(|since| since.elapsed() < ALIVE_FOR);
        let alive = |node: &NodeId| match heard.nodes.get(node) {
            Some((at, leaders)) => (is_new || at.elapsed() < ALIVE_FOR, *leaders),
            None => (is_new || *node == self.node, 0),
        };
        catalog.nodes.keys().map(|node| (*node, alive(node))).collect()
    }

    /// The members of a shard's group are those of the catalog of this revision; whether the meta group took it.
    pub(crate) async fn settle(&self, shard: ShardId, epoch: Epoch, revision: u64) -> bool {
        self.propose(&MetaCommand::SettleReplicas { shard, epoch, revision }).await.is_ok()
    }

    /// A shard has been cut in two; whether the meta group took it.
    pub(crate) async fn end_split(&self, (parent, child): (ShardId, ShardId), epoch: Epoch, born: Index) -> bool {
        self.propose(&MetaCommand::EndSplit { parent, child, epoch, born }).await.is_ok()
    }

    /// The nodes that were not heard from for so long, while this node leads; zero: none ever.
    pub(crate) fn dead(&self, unheard_for: Duration) -> Vec<NodeId> {
        let catalog = self.catalog();
        let heard = self.heard();
        let Some(since) = heard.since.filter(|since| !unheard_for.is_zero() && since.elapsed() >= unheard_for) else {
            return Vec::new();
        };
        let last = |node: &NodeId| heard.nodes.get(node).map_or(since, |(at, _)| *at);
        let is_dead = |node: &&NodeId| **node != self.node && last(node).elapsed() >= unheard_for;
        let in_use = catalog.nodes.values().filter(|node| node.state != NodeState::Removed);
        in_use.map(|node| &node.node).filter(is_dead).copied().collect()
    }

    /// A member of the meta group that should be none any more, if this node leads the group: one that is emptied, removed
    /// or dead, and perhaps this node.
    pub(crate) fn member_to_leave(&self, dead: &[NodeId]) -> Option<NodeId> {
        let (status, catalog) = (self.group.status(), self.catalog());
        let is_active = |node: &NodeId| catalog.nodes.get(node).is_none_or(|node| node.state.is_active());
        let is_replaced = |node: &NodeId| dead.contains(node) && self.next_member(usize::MAX).is_some();
        let leaves = |node: &&NodeId| !is_active(node) || is_replaced(node);
        status.voters.iter().filter(|_| status.is_leader && status.voters.len() > 1).find(leaves).copied()
    }

    /// A node that should be a member of the meta group and is none, if this node leads the group and it has fewer than
    /// `replicas` members.
    pub(crate) fn next_member(&self, replicas: usize) -> Option<NodeId> {
        let status = self.group.watch().borrow().clone();
        if !status.is_leader || status.voters.is_empty() || status.voters.len() >= replicas {
            return None;
        }
        let (alive, catalog) = (self.alive(), self.catalog());
        let is_active = |node: &NodeId| catalog.nodes.get(node).is_some_and(|node| node.state.is_active());
        let can =
            |(node, (alive, _)): &(&NodeId, &(bool, u32))| *alive && is_active(node) && !status.voters.contains(*node);
        alive.iter().find(can).map(|(node, _)| *node)
    }

    /// Whether this node leads the meta group and is about to give it another member, without which the loss of one of
    /// the others may stop the cluster.
    pub(crate) fn lacks_members(&self, replicas: usize) -> bool {
        let status = self.group.watch().borrow().clone();
        status.is_leader && (status.is_changing || self.next_member(replicas).is_some())
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let term = self.group.watch().borrow().term;
        if heard.term != term {
            *heard = Heard { term, since: Some(Instant::now()), nodes: BTreeMap::new() };
        }
        heard
    }
}

impl<S: Portable> Oracle for Arc<MetaService<S>> {
    fn fetch(&self, count: u32) -> BoxFuture<'_, Option<Ticks>> {
        Box::pin(async move {
            if self.leads() {
                match self.ticks(count, None).await {
                    Ok(ticks) => return Some(ticks),
                    Err(NotHere(Some(leader))) => self.leader.store(leader.0, Ordering::Relaxed),
                    Err(NotHere(None)) => {}
                }
            }
            let mut status = self.group.watch();
            let term = status.borrow().term;
            // All writes of the node wait for this answer: it is not waited for once another leads.
            tokio::select! {
                biased;
                answer = self.ask_for_ticks(count) => answer,
                Ok(newer) = status.wait_for(|status| status.term > term && status.leader.is_some()) => {
                    self.leader.store(newer.leader.map_or(0, |NodeId(node)| node), Ordering::Relaxed);
                    None
                }
            }
        })
    }
}
