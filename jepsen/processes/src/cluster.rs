//! A cluster of processes, and whether it is well.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lentic_client::{Client, ClusterStatus, NodeId, NodeState, Options, ShardDescription, ShardId, TableOptions};

use lentic_faults::disk;
use lentic_faults::net::{self, Network};

use crate::ground::{self, Ground};
use crate::nemesis::Fault;
use crate::node::Node;
use crate::wait::until;

/// How long nodes may take to start and to find each other.
const WELL_WITHIN: Duration = Duration::from_secs(60);
/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A follower that lacks no more than this has caught up, under load as far as one can.
const LAG_ENTRIES_MAX: f64 = 64.0;

/// Voters of the meta group, if there are so many nodes.
const META_VOTERS: usize = 3;
/// Replicas of a shard whose table does not say.
const REPLICAS: usize = 3;
/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary `lentic`.
    pub program: PathBuf,
    /// Where nodes keep data and logs: a directory of the cluster's own.
    pub home: PathBuf,
    /// How many nodes there is a place for.
    pub nodes: usize,
    /// Knobs of all nodes, each as `KEY=VALUE`.
    pub knobs: Vec<String>,
    /// What nodes stand on.
    pub ground: Ground,
}

/// Who leads what, as the cluster says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaders {
    /// The place, from 0, of the node that leads the meta group.
    pub meta: usize,
    /// The place of each shard's leader.
    pub shards: BTreeMap<ShardId, usize>,
}

impl Leaders {
    /// The shards that the node at `place` leads.
    #[must_use]
    pub fn of(&self, place: usize) -> Vec<ShardId> {
        self.shards.iter().filter(|(_, leader)| **leader == place).map(|(shard, _)| *shard).collect()
    }

    /// Whom to hurt in a round: every second time the leader of the meta group, and in between whoever leads the most
    /// shards besides. One that leads no shard shows nothing.
    #[must_use]
    pub fn victim(&self, round: usize) -> usize {
        let leads = |place: &usize| self.of(*place).len();
        if round.is_multiple_of(2) && leads(&self.meta) > 0 {
            return self.meta;
        }
        let others = self.shards.values().copied().filter(|place| *place != self.meta);
        others.max_by_key(leads).unwrap_or(self.meta)
    }
}

/// A cluster of processes. They end with it; when that is by a panic, their logs are shown.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order of their first start.
    pub nodes: Vec<Node>,
    /// What the cluster calls those that were started, in the same order.
    ids: Vec<NodeId>,
    network: Option<Arc<Network>>,
    /// What was tried of the ground before the first node was started.
    probed: Vec<String>,
}

impl Cluster {
    /// Starts a cluster with all its nodes, and waits until it is well.
    ///
    /// # Panics
    /// If it is not in time.
    pub async fn start(settings: &Settings) -> Self {
        Self::start_first(settings, settings.nodes).await
    }

    /// Starts a cluster with the first `count` of its nodes, and waits until it is well. [`grow`](Self::grow) starts more.
    ///
    /// # Panics
    /// If it is not in time.
    pub async fn start_first(settings: &Settings, count: usize) -> Self {
        let Settings { home, nodes, ground, .. } = settings;
        fs::create_dir_all(home).expect("the home can be made");
        let mut probed = Vec::new();
        let network = match ground.needs.network {
            true => Some(Arc::new(ground::network(*nodes, ground.seed, &mut probed).await)),
            false => None,
        };
        let places = ground::places(settings, network.as_ref(), &mut probed).await;
        let mut cluster = Self { nodes: places.into_iter().map(Node::new).collect(), ids: Vec::new(), network, probed };
        // One after the other, so that they are numbered as they are named.
        for _ in 0..count {
            cluster.grow().await;
        }
        cluster
    }

    /// Starts the next node, waits until the cluster with it is well, and returns its place.
    ///
    /// # Panics
    /// If it is not in time, or all were started.
    pub async fn grow(&mut self) -> usize {
        let place = self.ids.len();
        self.nodes[place].start();
        self.until_well(&format!("the start of {}", self.nodes[place].name()), place + 1).await;
        let status = self.status().await.expect("a cluster that is well answers");
        let address = self.nodes[place].address();
        let found = status.nodes.iter().find(|known| *known.address.0 == *address);
        self.ids.push(found.expect("a cluster that is well knows its nodes").node);
        place
    }

    /// The network between the nodes, if its links can be hurt.
    ///
    /// # Panics
    /// If it is the plain one.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_deref().expect("who hurts links has asked for such a network")
    }

    /// Why a fault is not possible on this ground.
    pub(crate) fn lacks(&self, fault: Fault) -> Option<String> {
        let plain_disk = || {
            let disk = self.nodes.iter().find_map(Node::disk_kind)?;
            matches!(disk, disk::Kind::Plain { .. }).then(|| disk.to_string())
        };
        let plain_network = || {
            let network = self.network.as_deref()?.kind();
            matches!(network, net::Kind::Loopback { .. }).then(|| network.to_string())
        };
        match fault {
            Fault::DiskFull | Fault::PowerOne | Fault::PowerMajority | Fault::PowerAll => plain_disk(),
            Fault::Loss => plain_network(),
            _ if self.nodes.len() < fault.nodes_min() => {
                Some(format!("{REPLICAS} replicas on {} nodes have nowhere to go", self.nodes.len()))
            }
            _ => None,
        }
    }

    /// What the nodes stand on, and what was tried of it before the first one was started.
    #[must_use]
    pub fn ground(&self) -> &[String] {
        &self.probed
    }

    /// A client that knows all nodes that were started.
    pub async fn client(&self, options: Options) -> Client {
        let addresses: Vec<String> = self.nodes[..self.ids.len()].iter().map(Node::address).collect();
        let builder = Client::builder().options(options);
        let client = tokio::time::timeout(WELL_WITHIN, builder.connect(&addresses)).await;
        client.expect("a client connects in time").expect("some node answers")
    }

    /// A client, and a table `name` with `shards` shards, each of which has a leader.
    ///
    /// # Panics
    /// If that does not come to be.
    pub async fn table(&self, name: &str, shards: u32) -> (Client, Vec<ShardId>) {
        let client = self.client(Options::default()).await;
        let options = TableOptions { shards, ..TableOptions::default() };
        let made = client.create_table(name, options).await.expect("the table is made");
        self.well("the leaders of a new table").await;
        (client, made.shards.iter().map(|shard| shard.shard).collect())
    }

    /// Waits until every node that runs is ready and has caught up, and every shard is led.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn well(&self, why: &str) {
        self.until_well(why, self.ids.len()).await;
    }

    async fn until_well(&self, why: &str, nodes: usize) {
        until(&format!("a cluster that is well, after {why}"), WELL_WITHIN, || self.is_well(nodes)).await;
    }

    /// `nodes`: how many were ever started. Those that were removed are known for ever.
    async fn is_well(&self, nodes: usize) -> Result<(), String> {
        let up: Vec<&Node> = self.nodes.iter().filter(|node| node.is_up()).collect();
        for node in &up {
            node.ready().await?;
            let lag = node.metric("lentic_raft_lag_entries").await?;
            if lag > LAG_ENTRIES_MAX {
                return Err(format!("a follower lacks {lag} entries of a group that {} leads", node.name()));
            }
        }
        let status = self.status().await?;
        let alive = status.nodes.iter().filter(|node| node.is_alive).count();
        if alive < up.len() || status.nodes.len() != nodes {
            return Err(format!("{alive} of {} nodes are alive, {} of {nodes} are up", status.nodes.len(), up.len()));
        }
        self.has_meta_voters(&status).await?;
        self.leaders_in(&status).map(drop)
    }

    /// A meta group that has not got all its voters yet may not survive the loss of one. Who leads it knows: others may
    /// have left it, or never been in it.
    async fn has_meta_voters(&self, status: &ClusterStatus) -> Result<(), String> {
        let leader = status.nodes.iter().find(|known| Some(known.node) == status.meta_leader);
        let leads = |node: &&Node| leader.is_some_and(|leader| *leader.address.0 == *node.address());
        let leader = self.nodes.iter().find(leads).ok_or("the meta group has no leader")?;
        let active = status.nodes.iter().filter(|node| node.state == NodeState::Active).count();
        let expected = f64::from(u8::try_from(active.min(META_VOTERS)).expect("a few"));
        let voters = leader.metric("lentic_raft_meta_voters_count").await?;
        match (voters - expected).abs() < 0.5 {
            true => Ok(()),
            false => Err(format!("{} leads {voters} voters of the meta group, expected {expected}", leader.name())),
        }
    }

    /// Who leads what, once everything is led.
    ///
    /// # Panics
    /// If something is not for long.
    pub async fn leaders(&self) -> Leaders {
        until("a leader of everything", WELL_WITHIN, || self.leaders_now()).await
    }

    /// Who leads what, if everything is led.
    ///
    /// # Errors
    /// What is not, or that no node answered.
    pub async fn leaders_now(&self) -> Result<Leaders, String> {
        self.leaders_in(&self.status().await?)
    }

    /// What nodes say of the cluster, and of each shard one that holds it: others only guess who leads.
    ///
    /// # Errors
    /// No node answered.
    pub async fn status(&self) -> Result<ClusterStatus, String> {
        let (mut told, mut reason) = (None::<ClusterStatus>, "no node is up".to_owned());
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            let mut status = match status_by(node).await {
                Ok(status) => status,
                Err(error) => {
                    reason = error;
                    continue;
                }
            };
            let teller = status.node;
            let guesses = |shard: &&mut ShardDescription| !shard.replicas.contains(&teller);
            status.shards.iter_mut().map(|(_, shard)| shard).filter(guesses).for_each(|shard| shard.leader = None);
            match &mut told {
                None => told = Some(status),
                Some(told) => {
                    for (_, shard) in told.shards.iter_mut().filter(|(_, shard)| shard.leader.is_none()) {
                        let found = status.shards.iter().find(|(_, found)| found.shard == shard.shard);
                        shard.leader = found.and_then(|(_, found)| found.leader);
                    }
                }
            }
            if told.iter().all(|told| told.shards.iter().all(|(_, shard)| shard.leader.is_some())) {
                break;
            }
        }
        told.ok_or(reason)
    }

    /// The id of the node at `place`.
    #[must_use]
    pub fn id(&self, place: usize) -> NodeId {
        self.ids[place]
    }

    /// How many replicas the node at `place` holds, with those that it only has until others do.
    ///
    /// # Errors
    /// No node answered, or it is not known.
    pub async fn held(&self, place: usize) -> Result<u32, String> {
        let status = self.status().await?;
        let found = status.nodes.iter().find(|found| found.node == self.id(place));
        found.map(|found| found.replicas).ok_or_else(|| format!("{} is not known", self.nodes[place].name()))
    }

    /// Checks that every process that was started lives, and that none has panicked.
    ///
    /// # Panics
    /// If not.
    pub fn check_well(&mut self) {
        self.nodes.iter_mut().for_each(Node::check_well);
    }

    fn leaders_in(&self, status: &ClusterStatus) -> Result<Leaders, String> {
        // While the cluster starts, ids are not known yet, and nobody asks who is where.
        let place = |node: NodeId| self.ids.iter().position(|id| *id == node).unwrap_or(0);
        let meta = status.meta_leader.map(place).ok_or("the meta group has no leader")?;
        let shard = |(_, shard): &(String, ShardDescription)| {
            let leader = shard.leader.map(place).ok_or_else(|| format!("shard {} has no leader", shard.shard))?;
            Ok((shard.shard, leader))
        };
        let shards = status.shards.iter().map(shard).collect::<Result<_, String>>()?;
        Ok(Leaders { meta, shards })
    }
}

/// What one node says of the cluster.
async fn status_by(node: &Node) -> Result<ClusterStatus, String> {
    let asking = async {
        let client = Client::builder().deadline(ANSWER_WITHIN).connect([node.address()]).await?;
        client.status(true).await
    };
    match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(status) => status.map_err(|error| format!("{}: {error}", node.name())),
        Err(_) => Err(format!("{} has not answered", node.name())),
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("---- the end of the log of {}\n{}", node.name(), node.log_tail());
            }
        }
    }
}
