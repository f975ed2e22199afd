//! A node: everything put together.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_engine::gc::GcHandle;
use lentic_log::{Holder, Log};
use lentic_machine::meta::{self, ShardPlace};
use lentic_net::{Accept, Address, BoxFuture, Class, Link, Network};
use lentic_proto::v1::cluster_server::ClusterServer;
use lentic_proto::v1::kv_server::KvServer;
use lentic_proto::v1::owners_server::OwnersServer;
use lentic_proto::v1::snapshots_server::SnapshotsServer;
use lentic_proto::v1::tables_server::TablesServer;
use lentic_raft::{Group, Host, Machine, Options as RaftOptions, Status};
use lentic_runtime::{Clock, Scope, spawn};
use lentic_types::{ClusterId, GroupId, Index, NodeId};
use tokio::sync::mpsc;
use tracing::info;

use crate::addresses::Addresses;
use crate::ask::{Answer, Question};
use crate::balance::{self, Balance};
use crate::disk::{self, Disk};
use crate::failure::StoreFailure;
use crate::gateway::{Budget, Calls, Forwarder, Gateway, Guarded, Routes};
use crate::meta::machine::MetaMachine;
use crate::meta::oracle::LocalOracle;
use crate::meta::service::MetaService;
use crate::moves;
use crate::options::NodeOptions;
use crate::shard::hear;
use crate::shard::replica::Shared;
use crate::shards::Shards;
use crate::ticks::TickSource;
use crate::txn::{self, Txns};
use crate::upkeep;

/// Who a node is: fixed when its data directory is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id, issued by the meta group; the first node of a cluster is 1.
    pub node: NodeId,
    /// Random bytes, made once: asking for an id again gives the same one.
    pub incarnation: [u8; 16],
}

/// What is not deterministic, and what keeps bytes: given to a node, so that a simulation can give others.
pub struct Seams<S> {
    /// The tasks of the node.
    pub scope: Scope,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// The way to others.
    pub network: Arc<dyn Network>,
    /// The log, open, with its writer running.
    pub log: Log,
    /// The store, open.
    pub store: Arc<S>,
    /// The rules of garbage collection that the store was opened with.
    pub gc: GcHandle,
}

/// How a node comes to its cluster.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Who it is.
    pub identity: Identity,
    /// Where others speak to it.
    pub address: String,
    /// Where its HTTP pages are, or empty.
    pub http_address: String,
    /// Whether it is the first of a new cluster, and so begins the meta group by itself.
    pub founds: bool,
    /// Nodes known before the first catalog, with their addresses.
    pub peers: BTreeMap<NodeId, Address>,
}

/// A running node. Clones are the same node.
pub struct Node<S: Portable> {
    pub(crate) gateway: Gateway<S>,
    pub(crate) host: Host,
    scope: Scope,
}

impl<S: Portable> Clone for Node<S> {
    fn clone(&self) -> Self {
        Self { gateway: self.gateway.clone(), host: self.host.clone(), scope: self.scope.clone() }
    }
}

/// A node could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node cannot start: {0}")]
pub struct StartError(pub String);

impl<S: Portable> Node<S> {
    /// Starts a node on what its log and store hold.
    ///
    /// # Errors
    /// The log or the store is damaged, or is behind the other: the message names what.
    pub async fn start(
        seams: Seams<S>,
        membership: Membership,
        options: &NodeOptions,
        raft: RaftOptions,
    ) -> Result<Self, StartError> {
        let scope = seams.scope.clone();
        scope.run(Self::start_in_scope(seams, membership, options, raft)).await
    }

    async fn start_in_scope(
        seams: Seams<S>,
        membership: Membership,
        options: &NodeOptions,
        raft: RaftOptions,
    ) -> Result<Self, StartError> {
        let Seams { scope, clock, network, log, store, gc } = seams;
        let Membership { identity, address, http_address, founds, peers } = membership;
        let (node, cluster) = (identity.node, identity.cluster);
        let disk = Arc::new(Disk::new(log.clone(), options));
        let known: Vec<NodeId> = peers.keys().copied().collect();
        let addresses = Arc::new(Addresses::new(node, &address, peers));
        let host = Host::new(node, cluster, log, Arc::clone(&network), Arc::clone(&addresses) as _, raft);

        let failure = StoreFailure::default();
        let machine = MetaMachine::open(Arc::clone(&store), failure.clone(), cluster)
            .map_err(|fault| StartError(fault.to_string()))?;
        let shown = machine.watch();
        let group: Group<MetaMachine<S>> =
            host.start(meta::GROUP, machine).await.map_err(|error| StartError(error.to_string()))?;
        if founds {
            group.initialize([node].into()).await.map_err(|error| StartError(error.to_string()))?;
        }
        let oracle = LocalOracle::start(group.clone(), shown.clone(), clock);
        let meta = Arc::new(MetaService::new(node, group, host.clone(), oracle, shown, known, options.pin_grace));
        addresses.follow(meta.catalog.subscribe());

        let ticks = TickSource::new(Arc::new(Arc::clone(&meta)));
        let (wanted, wants) = mpsc::channel(txn::WANTED_MAX);
        let windows = Arc::default();
        let shared = Shared { node, host: host.clone(), store, failure, gc, ticks, wanted, windows, options: *options };
        let shards = Arc::new(Shards::new(shared));
        let routes = Arc::new(Routes { shards: Arc::clone(&shards), meta: Arc::clone(&meta) });
        let forwarder = Arc::new(Forwarder::new(network, node, cluster));
        let budget = Budget::new(options.answer_bytes_max);
        // Whatever callers of unary calls do not read, half of the room is left for pipes.
        let calls = Calls::new(budget.part(options.answer_bytes_max / 2), options.caller_answer_bytes_max);
        let txns = Arc::new(Txns::default());
        let balance = Arc::new(Balance::default());
        let gateway = Gateway {
            shards,
            meta,
            routes,
            forwarder,
            budget,
            calls,
            txns,
            disk,
            balance,
            divided: Arc::default(),
            options: *options,
        };
        let (meta, shards) = (Arc::downgrade(&gateway.meta), Arc::downgrade(&gateway.shards));
        let (disk, balance) = (Arc::clone(&gateway.disk), Arc::clone(&gateway.balance));
        host.on_ask(Arc::new(Answers { meta, shards, disk, balance }));
        let hurries = gateway.clone();
        spawn(async move { txn::hurry(&hurries, wants).await });
        upkeep::start(&gateway, upkeep::Registration { identity, address, http_address });
        info!(node = node.0, %cluster, "node started");
        Ok(Self { gateway, host, scope })
    }

    /// Who the node is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.gateway.meta.node
    }

    /// The services of the wire contract that are not streams of frames, for the server beside the pipes.
    #[must_use]
    pub fn services(&self) -> tonic::service::Routes {
        let bytes_max = self.gateway.options.limits.request_bytes_max;
        let kv = KvServer::new(self.gateway.clone()).max_decoding_message_size(bytes_max);
        tonic::service::Routes::new(Guarded(kv))
            .add_service(Guarded(TablesServer::new(self.gateway.clone())))
            .add_service(Guarded(OwnersServer::new(self.gateway.clone())))
            .add_service(Guarded(SnapshotsServer::new(self.gateway.clone())))
            .add_service(Guarded(ClusterServer::new(self.gateway.clone())))
    }

    /// Why the node is not ready to serve; empty if it is.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.gateway.meta.leader().is_none() {
            reasons.push("the meta group has no leader that this node knows of".to_owned());
        }
        if self.gateway.meta.lacks_members(self.gateway.options.meta_replicas) {
            reasons.push("the meta group gets another member; until then the cluster may need every node".to_owned());
        }
        let catalog = self.gateway.meta.catalog();
        if !catalog.nodes.contains_key(&self.id()) {
            reasons.push("the node is not registered with the cluster yet".to_owned());
        }
        // What rides in a group is served as the group is: branches come and go many times a second.
        let has_group = |place: &&ShardPlace| catalog.home_of(place) == Some(place.shard);
        let here = catalog.shards_on(self.id()).filter(|place| place.replicas.contains(&self.id()));
        for place in here.filter(has_group) {
            match self.gateway.shards.get(place.shard).map(|replica| replica.status()) {
                None => reasons.push(format!("the replica of shard {} is not started", place.shard)),
                Some(status) if status.leader.is_none() => {
                    reasons.push(format!("shard {} has no leader that this node knows of", place.shard));
                }
                Some(_) => {}
            }
        }
        reasons
    }

    /// What has stopped on this node and needs a person; empty if all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let fault = |(name, status): (String, Status)| status.fault.map(|fault| format!("{name}: {fault}"));
        self.groups().into_iter().filter_map(fault).collect()
    }

    /// Why the store can be written no more, if that is so. Groups that have met it have stopped, and none starts again:
    /// whoever runs the node should end it at once, and start it again when the disk is well.
    #[must_use]
    pub fn store_failure(&self) -> Option<String> {
        self.gateway.shards.shared.failure.get()
    }

    /// The groups of this node by name, as they look from here.
    #[must_use]
    pub fn groups(&self) -> Vec<(String, Status)> {
        let meta = ("meta group".to_owned(), self.gateway.meta.group.status());
        let shards = self.gateway.shards.groups();
        let shards = shards.iter().map(|replica| (format!("shard {}", replica.shard), replica.status()));
        [meta].into_iter().chain(shards).collect()
    }

    /// Looks at the groups of this node, as they look from here.
    pub fn each_group(&self, mut look: impl FnMut(GroupId, &Status)) {
        look(meta::GROUP, &self.gateway.meta.group.watch().borrow());
        for replica in self.gateway.shards.groups() {
            look(GroupId::from(replica.shard), &replica.group.watch().borrow());
        }
    }

    /// The log names a group that holds it, and its entries that do: flush the store, then let go of those that are durable.
    pub async fn release_log(&self, holder: Holder) {
        upkeep::release(&self.gateway, holder.group, Some(holder)).await;
    }

    /// Lets go of all that is durable, in all groups at once.
    pub async fn release_logs(&self) {
        let shards = self.gateway.shards.groups().into_iter().map(|replica| GroupId::from(replica.shard));
        for group in std::iter::once(meta::GROUP).chain(shards) {
            self.release_log(Holder { group, through: Index(u64::MAX), overdue: Index(u64::MAX) }).await;
        }
    }

    /// Hands over what this node leads, then stops. Nothing that was acknowledged depends on it.
    pub async fn shutdown(&self) {
        for replica in self.gateway.shards.groups() {
            hand_over(self.id(), &replica.group).await;
        }
        hand_over(self.id(), &self.gateway.meta.group).await;
        self.host.shutdown().await;
        self.scope.abort();
    }
}

/// Hands over a group, if this node leads it and another voter is there.
async fn hand_over<M: Machine>(node: NodeId, group: &Group<M>) {
    let status = group.status();
    // The one that has most of the log is the first to be ready.
    let others = status.voters.iter().copied().filter(|voter| *voter != node);
    let to = others.filter(|_| status.is_leader).max_by_key(|voter| status.matched.get(voter).copied());
    if let Some(to) = to {
        disk::hand_over(group, to).await;
    }
}

impl<S: Portable> Accept for Node<S> {
    fn accept(&self, class: Class, link: Link) -> BoxFuture<'static, ()> {
        let (scope, gateway, host) = (self.scope.clone(), self.gateway.clone(), self.host.clone());
        Box::pin(async move {
            match class {
                Class::Pipe => scope.run(gateway.serve_pipe(link)).await,
                Class::Control | Class::Append | Class::Snapshot => scope.run(host.accept(class, link)).await,
            }
        })
    }
}

/// Answers other nodes. The host keeps it and is kept by what answers, so one of the two must let go: else a node that
/// was stopped would hold its store for ever.
struct Answers<S: Portable> {
    meta: Weak<MetaService<S>>,
    shards: Weak<Shards<S>>,
    disk: Arc<Disk>,
    balance: Arc<Balance>,
}

impl<S: Portable> lentic_raft::Answer for Answers<S> {
    fn answer(&self, from: NodeId, question: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let (meta, shards) = (self.meta.upgrade(), self.shards.upgrade());
        let (disk, balance) = (Arc::clone(&self.disk), Arc::clone(&self.balance));
        Box::pin(async move {
            let (meta, shards) = meta.zip(shards).ok_or_else(|| "this node is stopping; ask another".to_owned())?;
            let question = Question::decode(&question).map_err(|error| error.to_string())?;
            let answer = match question {
                Question::Ticks { count, vouched } => match meta.ticks(count, vouched.map(|term| (from, term))).await {
                    Ok(ticks) => Answer::Ticks(ticks),
                    Err(not_here) => Answer::NotLeader(not_here.0),
                },
                Question::Member { shard } => match shards.get(shard).map(|replica| replica.status()) {
                    Some(status) => Answer::Member { leads: status.is_leader, applied: status.applied },
                    None => return Err(format!("there is no replica of shard {shard} here")),
                },
                Question::Pace => Answer::Pace(disk.pace()),
                Question::Knows { revision } => match meta.knows(revision).await {
                    true => Answer::Done,
                    false => return Err("the news has not come here yet; ask again".to_owned()),
                },
                Question::HandOver { shard, to } => balance::hand_over(&shards, &balance, shard, to).await,
                Question::Settled { shards: asked } => Answer::Settled(hear::settled(&shards, &asked).await),
                // Only the leader answers, and only a replica of the group says who that is: what nodes have from each
                // other goes round in circles.
                Question::Alive { .. }
                | Question::Nodes
                | Question::Sends
                | Question::Revision
                | Question::Catalog { .. }
                | Question::Pins { .. }
                | Question::Led(_)
                | Question::SettleReplicas { .. }
                | Question::BeginSplit { .. }
                | Question::EndSplit { .. }
                    if !meta.leads() =>
                {
                    Answer::NotLeader(meta.leader_by_replica())
                }
                Question::Alive { leaders } => {
                    meta.heard_from(from, leaders);
                    Answer::Done
                }
                Question::Pins { table, range, wanted } => Answer::Pins(meta.own_pins_of(table, &range, wanted).await),
                Question::Led(report) => {
                    balance.hear(meta.group.watch().borrow().term, from, report);
                    Answer::Done
                }
                Question::SettleReplicas { shard, epoch, revision } => {
                    match meta.settle(shard, epoch, revision).await {
                        true => Answer::Done,
                        false => return Err("the catalog has changed; look at it and decide again".to_owned()),
                    }
                }
                Question::BeginSplit { shard, epoch, at } => match moves::begin(&meta, shard, epoch, at).await {
                    true => Answer::Done,
                    false => return Err("the shard is not cut now; look at the catalog".to_owned()),
                },
                Question::EndSplit { parent, child, epoch, born } => {
                    match meta.end_split((parent, child), epoch, born).await {
                        true => Answer::Done,
                        false => return Err("the shard is not being split so; look at the catalog".to_owned()),
                    }
                }
                Question::Sends => Answer::Sends(balance.sends(meta.group.watch().borrow().term)),
                Question::Revision => match meta.confirm().await {
                    Ok(()) => Answer::Revision(meta.catalog().revision),
                    Err(_) => Answer::NotLeader(None),
                },
                Question::Nodes => Answer::Nodes(meta.alive().into_iter().collect()),
                Question::Catalog { newer_than } => match meta.knows(newer_than.saturating_add(1)).await {
                    true => Answer::Catalog(meta.catalog().encode()),
                    false => Answer::Catalog(Bytes::new()),
                },
            };
            Ok(answer.encode())
        })
    }
}
