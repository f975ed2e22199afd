//! The replication of one node: all its groups, its links to other nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_log::Log;
use lentic_net::{BoxFuture, Class, Link, Network};
use lentic_proto::internal::message::Body;
use lentic_types::{ClusterId, GroupId, Index, NodeId};
use tokio::sync::{Semaphore, watch};

use crate::error::{AskError, StartError};
use crate::group::{Core, Group};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::options::Options;
use crate::peers::inbox::{self, Inbox};
use crate::peers::lane::CallError;
use crate::peers::network::Factory;
use crate::peers::peer::{Directory, Peers};
use crate::peers::serve::{self, ASK_BYTES_MAX};
use crate::propose::Room;
use crate::reads::{Reads, Rounds};
use crate::runtime::Grid;
use crate::snapshot::{Holds, Progress, Receiver, Senders};
use crate::stats::{Counters, Stats};
use crate::status::{self, Status};
use crate::store::Store;
use crate::types::Raft;

/// Answers questions that other nodes ask this one.
pub trait Answer: Send + Sync + 'static {
    /// Answers `question`; several at once. An error goes to the asker as [`AskError::Refused`].
    fn answer(&self, from: NodeId, question: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// The replication of one node. Clones are the same host.
///
/// All its tasks are in the scope of whoever calls it; aborting the scope ends them as a crash does.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

/// What the groups and links of a node share.
pub(crate) struct Shared {
    pub(crate) peers: Arc<Peers>,
    pub(crate) receiver: Receiver,
    pub(crate) answering: Arc<Semaphore>,
    log: Log,
    options: Arc<Options>,
    senders: Arc<Senders>,
    answerer: OnceLock<Arc<dyn Answer>>,
    grid: Grid,
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    running: BTreeMap<GroupId, Entry>,
    /// No group starts any more.
    shut_down: bool,
}

/// What a group begins with on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// What the log has of it, or nothing.
    WithLog,
    /// A snapshot, if the log has no more than a vote of it.
    WithSnapshot,
    /// A state as of an entry that its log never had.
    Behind(Index),
}

enum Entry {
    /// Its log and machine are being read.
    Starting,
    Running(Arc<Core>, Inbox),
}

impl Host {
    /// The replication of `node`, without groups.
    ///
    /// `log` keeps their entries and votes; its writer must be run. `network` dials other nodes, whose addresses are in
    /// `directory`.
    #[must_use]
    pub fn new(
        node: NodeId,
        cluster: ClusterId,
        log: Log,
        network: Arc<dyn Network>,
        directory: Arc<dyn Directory>,
        options: Options,
    ) -> Self {
        let peers = Arc::new(Peers::new(node, cluster, network, directory, Arc::new(Counters::default())));
        let options = Arc::new(options);
        Self(Arc::new(Shared {
            senders: Arc::new(Senders::new(&options)),
            receiver: Receiver::default(),
            answering: serve::answering(),
            grid: Grid::new(options.heartbeat),
            peers,
            log,
            options,
            answerer: OnceLock::new(),
            groups: Mutex::default(),
        }))
    }

    /// Starts a group from what its log and `machine` hold. A new group does nothing before
    /// [`Group::initialize`], or before a leader elsewhere adds this node.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was changed.
    pub async fn start<M: Machine>(&self, group: GroupId, machine: M) -> Result<Group<M>, StartError> {
        self.start_as(group, machine, Begins::WithLog).await
    }

    /// As [`Self::start`], for a group that has begun elsewhere, perhaps with this node, which may have left it and forgotten
    /// its votes. As long as it has nothing of the group, it takes a snapshot, and neither votes nor takes entries from the
    /// first on: among those are old members, of whom it could make a quorum that others have agreed to leave behind. The
    /// leader's log must not begin with the first entry, as that of a group that [begins behind](Self::begin_behind) one does not.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was changed.
    pub async fn join<M: Machine>(&self, group: GroupId, machine: M) -> Result<Group<M>, StartError> {
        self.start_as(group, machine, Begins::WithSnapshot).await
    }

    /// As [`Self::start`], for a group that begins with the state that `machine` has, as of the entry `index` of another group:
    /// its first entry is the next. The replica bytes in that state are those of [`replica_behind`](crate::replica_behind), the
    /// same on all voters.
    ///
    /// **The state must be durable before**, for from here on this node votes; and nothing of the group may ever have been here.
    ///
    /// # Errors
    /// See [`StartError`]; it may be started again.
    pub async fn begin_behind<M: Machine>(
        &self,
        group: GroupId,
        machine: M,
        index: Index,
    ) -> Result<Group<M>, StartError> {
        self.start_as(group, machine, Begins::Behind(index)).await
    }

    /// Whether the log has anything of a group.
    ///
    /// # Errors
    /// [`StartError::Failed`] if the log has stopped.
    pub fn has_log(&self, group: GroupId) -> Result<bool, StartError> {
        let state = self.0.log.state(group);
        state.map(|state| state.is_some()).map_err(|error| StartError::Failed { group, reason: error.to_string() })
    }

    /// Whether the log has, or has had, an entry of a group: more than a vote.
    ///
    /// # Errors
    /// [`StartError::Failed`] if the log has stopped.
    pub fn has_entries(&self, group: GroupId) -> Result<bool, StartError> {
        let state = self.0.log.state(group);
        let state = state.map_err(|error| StartError::Failed { group, reason: error.to_string() })?;
        Ok(state.is_some_and(|state| state.range.is_some() || state.purged.is_some()))
    }

    async fn start_as<M: Machine>(&self, group: GroupId, machine: M, begins: Begins) -> Result<Group<M>, StartError> {
        let config = Arc::new(self.0.options.config()?);
        self.0.reserve(group)?;
        let built = self.0.grid.within(self.0.build(group, machine, config, begins)).await;
        let (core, inbox) = built.inspect_err(|_| drop(self.0.groups().running.remove(&group)))?;
        let started = {
            let mut groups = self.0.groups();
            let started = !groups.shut_down;
            if started {
                groups.running.insert(group, Entry::Running(Arc::clone(&core), inbox));
                self.0.grid.enter(|| core.raft.run());
            }
            started
        };
        match started {
            true => Ok(Group::new(core)),
            false => {
                core.stop().await;
                Err(StartError::ShutDown)
            }
        }
    }

    /// Stops a group, if it runs, and forgets its log. When it returns, the machine is dropped and nothing of the
    /// group's entries and votes comes back.
    ///
    /// **Only for a replica that has left its group**: one that comes back has forgotten its votes.
    ///
    /// # Errors
    /// [`StartError::Running`] while it is being started; [`StartError::Failed`] if the log has stopped: stop this
    /// process.
    pub async fn remove(&self, group: GroupId) -> Result<(), StartError> {
        self.stop(group).await?;
        let log = LogStore::new(self.0.log.clone(), group, self.0.options.append_bytes_max);
        log.remove().await.map_err(|error| StartError::Failed { group, reason: error.to_string() })
    }

    /// Stops a group on this node, if it runs; what it has stays, and it may be started again. When it returns, this node
    /// answers nothing more for the group, and the machine is dropped.
    ///
    /// # Errors
    /// [`StartError::Running`] if it is just being started.
    pub async fn stop(&self, group: GroupId) -> Result<(), StartError> {
        let running = {
            let mut groups = self.0.groups();
            match groups.running.remove(&group) {
                Some(Entry::Running(core, _inbox)) => Some(core),
                Some(Entry::Starting) => {
                    groups.running.insert(group, Entry::Starting);
                    return Err(StartError::Running(group));
                }
                None => None,
            }
        };
        if let Some(core) = running {
            core.stop().await;
        }
        self.0.receiver.forget(group);
        Ok(())
    }

    /// Serves a link that another node has dialled, until it is gone. The other end has to introduce itself as a node
    /// of this cluster that means this node; or it is told why it is not served.
    pub fn accept(&self, class: Class, link: Link) -> BoxFuture<'static, ()> {
        Box::pin(serve::serve(Arc::clone(&self.0), class, link))
    }

    /// Asks another node, over the link that also carries votes and heartbeats: for small things. Asking this node
    /// itself takes no link.
    ///
    /// # Errors
    /// See [`AskError`]. The question may have arrived.
    pub async fn ask(&self, node: NodeId, question: Bytes, timeout: Duration) -> Result<Bytes, AskError> {
        if question.len() > ASK_BYTES_MAX {
            let found = question.len();
            return Err(AskError::Refused(format!("the question has {found} bytes, expected at most {ASK_BYTES_MAX}")));
        }
        let asked = async {
            if node == self.0.peers.node {
                let Some(answerer) = self.0.answerer() else {
                    return Err(AskError::Refused(format!("{node} does not answer questions yet")));
                };
                return answerer.answer(node, question).await.map_err(AskError::Refused);
            }
            match self.0.peers.call(node, Class::Control, 0, Body::Ask(question)).await {
                Ok(Body::Answer(answer)) => Ok(answer),
                Ok(_) => Err(AskError::Refused(format!("{node} gave no answer; all nodes run the same release"))),
                Err(CallError::Refused(reason)) => Err(AskError::Refused(reason)),
                Err(error) => Err(AskError::Unreachable(error.to_string())),
            }
        };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Err(AskError::Timeout(node)))
    }

    /// Sets who answers questions. Only the first call counts.
    pub fn on_ask(&self, answerer: Arc<dyn Answer>) {
        let _ = self.0.answerer.set(answerer);
    }

    /// Stops all groups and links. When it returns, all machines are dropped.
    pub async fn shutdown(&self) {
        let running = {
            let mut groups = self.0.groups();
            groups.shut_down = true;
            std::mem::take(&mut groups.running)
        };
        let stops = running.into_values().filter_map(|entry| match entry {
            Entry::Running(core, _inbox) => Some(async move { core.stop().await }),
            Entry::Starting => None,
        });
        futures_util::future::join_all(stops).await;
        self.0.peers.shutdown();
    }

    /// The snapshots that this node is sending, by group and receiver, and how far each is. One that waits for its turn is
    /// none of them.
    #[must_use]
    pub fn sends(&self) -> Vec<(GroupId, NodeId, Progress)> {
        self.0.senders.under_way()
    }

    /// What replication has done since it began.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.peers.counters.stats()
    }
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inbox(&self, group: GroupId) -> Option<Inbox> {
        match self.groups().running.get(&group) {
            Some(Entry::Running(_, inbox)) => Some(inbox.clone()),
            Some(Entry::Starting) | None => None,
        }
    }

    pub(crate) fn core(&self, group: GroupId) -> Option<Arc<Core>> {
        match self.groups().running.get(&group) {
            Some(Entry::Running(core, _)) => Some(Arc::clone(core)),
            Some(Entry::Starting) | None => None,
        }
    }

    pub(crate) fn answerer(&self) -> Option<Arc<dyn Answer>> {
        self.answerer.get().cloned()
    }

    fn reserve(&self, group: GroupId) -> Result<(), StartError> {
        let mut groups = self.groups();
        if groups.shut_down {
            return Err(StartError::ShutDown);
        }
        if groups.running.contains_key(&group) {
            return Err(StartError::Running(group));
        }
        groups.running.insert(group, Entry::Starting);
        Ok(())
    }

    async fn build<M: Machine>(
        self: &Arc<Self>,
        group: GroupId,
        machine: M,
        config: Arc<openraft::Config>,
        begins: Begins,
    ) -> Result<(Arc<Core>, Inbox), StartError> {
        let failed = |reason: String| StartError::Failed { group, reason };
        let log = LogStore::new(self.log.clone(), group, self.options.append_bytes_max);
        if let Begins::Behind(index) = begins {
            log.begin_behind(index).await.map_err(|error| failed(error.to_string()))?;
        }
        let opened = Store::open(Box::new(machine), log.clone());
        let (store, gone) = opened.map_err(|fault| StartError::Machine { group, fault })?;
        let durable = store.durable().map_err(|fault| StartError::Machine { group, fault })?;
        let purged = log.purged().map_err(|error| failed(error.to_string()))?;
        if let Some(purged) = purged.filter(|purged| purged.index > durable.0) {
            let purged = Index(purged.index);
            return Err(StartError::StoreBehindLog { group, durable, purged });
        }
        let network = Factory {
            peers: Arc::clone(&self.peers),
            group,
            senders: Arc::clone(&self.senders),
            append_timeout: self.options.append_timeout,
            holds: Arc::new(Holds::default()),
        };
        let holds = Arc::clone(&network.holds);
        let raft = Raft::build(self.peers.node.0, config, network, log.clone(), store).await;
        let raft = raft.map_err(|fatal| failed(fatal.to_string()))?;
        let (status_sender, status) = watch::channel(Status::default());
        let (reads, asks) = Reads::new();
        let (peers, within) = (Arc::clone(&self.peers), self.options.election_max);
        let rounds = Rounds { raft: raft.clone(), peers, group, within };
        let (inbox, waiting) = Inbox::new();
        let tasks = vec![
            lentic_runtime::spawn(status::follow(raft.clone(), status_sender)).abort_handle(),
            lentic_runtime::spawn(rounds.run(asks, Arc::clone(&self.peers.counters))).abort_handle(),
            lentic_runtime::spawn(inbox::answer(raft.clone(), waiting, begins == Begins::WithSnapshot)).abort_handle(),
        ];
        let core = Core {
            id: group,
            raft,
            status,
            room: Room::new(self.options.submit_bytes_max),
            reads,
            options: Arc::clone(&self.options),
            holds,
            tasks: Mutex::new(tasks),
            machine_gone: tokio::sync::Mutex::new(Some(gone)),
        };
        Ok((Arc::new(core), inbox))
    }
}
