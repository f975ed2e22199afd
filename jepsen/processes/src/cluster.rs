//! A cluster of processes, and whether it is well.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lentic_client::{Client, ClusterStatus, NodeId, Options, ShardId, TableOptions};

use lentic_faults::disk::{self, Disk};
use lentic_faults::net::{self, Network, Ports};
use lentic_faults::process::Preload;

use crate::nemesis::{Fault, Needs};
use crate::node::{Node, Place};
use crate::place::{HTTP_PORT, PORT, Places};
use crate::wait::until;

/// How long nodes may take to start and to find each other.
const WELL_WITHIN: Duration = Duration::from_secs(60);
/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A follower that lacks no more than this has caught up, under load as far as one can.
const LAG_ENTRIES_MAX: f64 = 64.0;

/// Voters of the meta group, if there are so many nodes.
const META_VOTERS: usize = 3;
/// Knobs that every node gets first: what consensus says to itself would hide what the node says, and versions run ahead
/// of the time when clocks jump, so that only a table that says so lets go of what others may read again.
const KNOBS: &[&str] = &[
    "logging.level=info,openraft=error",
    "history.retention_ms=3000000000000",
    "history.look_ms=200",
    "history.pin_grace_ms=500",
];

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary `lentic`.
    pub program: PathBuf,
    /// Where nodes keep data and logs: a directory of the cluster's own.
    pub home: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// Knobs of all nodes, each as `KEY=VALUE`.
    pub knobs: Vec<String>,
    /// What nodes stand on.
    pub ground: Ground,
}

/// What nodes stand on: plain loopback and plain directories, but for what faults need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground {
    /// What faults need.
    pub needs: Needs,
    /// What chance follows from.
    pub seed: u64,
    /// Bytes of each disk, if disks are needed.
    pub disk_bytes: u64,
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
    ids: Vec<NodeId>,
    network: Option<Arc<Network>>,
    /// What was tried of the ground before the first node was started.
    probed: Vec<String>,
}

impl Cluster {
    /// Starts a cluster, and waits until it is well.
    ///
    /// # Panics
    /// If it is not in time.
    pub async fn start(settings: &Settings) -> Self {
        let Settings { home, nodes, ground, .. } = settings;
        fs::create_dir_all(home).expect("the home can be made");
        let mut probed = Vec::new();
        let network = match ground.needs.network {
            true => Some(Arc::new(network(*nodes, ground.seed, &mut probed).await)),
            false => None,
        };
        let places = places(settings, network.as_ref(), &mut probed).await;
        let mut cluster = Self { nodes: places.into_iter().map(Node::new).collect(), ids: Vec::new(), network, probed };
        // One after the other, so that they are numbered as they are named.
        for place in 0..*nodes {
            cluster.nodes[place].start();
            cluster.until_well(&format!("the start of {}", cluster.nodes[place].name()), place + 1).await;
        }
        let status = cluster.status().await.expect("a cluster that is well answers");
        let id_of = |node: &Node| {
            let address = node.address();
            let found = status.nodes.iter().find(|known| *known.address.0 == *address);
            found.expect("a cluster that is well knows its nodes").node
        };
        cluster.ids = cluster.nodes.iter().map(id_of).collect();
        cluster
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
            _ => None,
        }
    }

    /// What the nodes stand on, and what was tried of it before the first one was started.
    #[must_use]
    pub fn ground(&self) -> &[String] {
        &self.probed
    }

    /// A client that knows all nodes.
    pub async fn client(&self, options: Options) -> Client {
        let addresses: Vec<String> = self.nodes.iter().map(Node::address).collect();
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
        self.until_well(why, self.nodes.len()).await;
    }

    async fn until_well(&self, why: &str, nodes: usize) {
        until(&format!("a cluster that is well, after {why}"), WELL_WITHIN, || self.is_well(nodes)).await;
    }

    async fn is_well(&self, nodes: usize) -> Result<(), String> {
        let up: Vec<&Node> = self.nodes.iter().filter(|node| node.is_up()).collect();
        for node in &up {
            node.ready().await?;
            // A meta group that has not got all its voters yet may not survive the loss of one.
            let voters = node.metric("lentic_raft_meta_voters_count").await?;
            if (voters - f64::from(u8::try_from(nodes.min(META_VOTERS)).expect("a few"))).abs() > 0.5 {
                return Err(format!("{} knows of {voters} voters of the meta group", node.name()));
            }
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
        self.leaders_in(&status).map(drop)
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

    /// What some node says of the cluster.
    ///
    /// # Errors
    /// No node answered.
    pub async fn status(&self) -> Result<ClusterStatus, String> {
        let mut reason = "no node is up".to_owned();
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            match status_by(node).await {
                Ok(status) => return Ok(status),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// The id of the node at `place`.
    #[must_use]
    pub fn id(&self, place: usize) -> NodeId {
        self.ids[place]
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
        let shard = |(_, shard): &(String, lentic_client::ShardDescription)| {
            let leader = shard.leader.map(place).ok_or_else(|| format!("shard {} has no leader", shard.shard))?;
            Ok((shard.shard, leader))
        };
        let shards = status.shards.iter().map(shard).collect::<Result<_, String>>()?;
        Ok(Leaders { meta, shards })
    }
}

/// A network whose links can be hurt.
///
/// # Panics
/// If this machine has none, or it does not do what it says.
async fn network(nodes: usize, seed: u64, probed: &mut Vec<String>) -> Network {
    let network = Network::new(nodes, Ports { data: PORT, control: HTTP_PORT }, seed)
        .unwrap_or_else(|reason| panic!("no network: {reason}"));
    match network.probe().await {
        Ok(found) => probed.extend(found),
        Err(reason) => panic!("faults of the network have no effect: {reason}"),
    }
    network
}

/// The places of all nodes, each on what it needs.
///
/// # Panics
/// If something cannot be had, or does not do what it says.
async fn places(settings: &Settings, network: Option<&Arc<Network>>, probed: &mut Vec<String>) -> Vec<Place> {
    let Settings { program, home, nodes, knobs, ground } = settings;
    let loopback = network.is_none().then(|| Places::free(*nodes));
    let socket = |place: usize, port: u16| match (network, loopback) {
        (Some(network), _) => SocketAddrV4::new(network.address(place), port),
        (None, Some(places)) => places.socket(place, port),
        (None, None) => unreachable!("one of them was made"),
    };
    let mut places = Vec::new();
    for place in 0..*nodes {
        let name = format!("n{}", place + 1);
        let disk = ground.needs.disks.then(|| Disk::best(home, &name, ground.disk_bytes));
        let disk = disk.transpose().unwrap_or_else(|error| panic!("no disk for {name}: {error}"));
        let data = disk.as_ref().map_or_else(|| home.join(&name), |disk| disk.path().join("data"));
        let links = network.map(|network| network.links_of(place)).unwrap_or_default();
        let calls = (ground.needs.calls || !links.is_empty()).then(|| {
            let calls = Preload::new(home, &format!("{name}.calls"), &data);
            let calls = calls.unwrap_or_else(|error| panic!("system calls of {name} cannot be hurt: {error}"));
            calls.redirect(links).unwrap_or_else(|error| panic!("links of {name} cannot be redirected: {error}"));
            calls
        });
        let knobs = KNOBS.iter().copied().chain(knobs.iter().map(String::as_str));
        let knobs = knobs.flat_map(|knob| ["--set".to_owned(), knob.to_owned()]);
        let first = format!("http://{}", socket(0, PORT));
        let join = if place == 0 { Vec::new() } else { vec!["--join".to_owned(), first] };
        places.push(Place {
            program: program.clone(),
            network: network.map(|network| (Arc::clone(network), place)),
            listen: socket(place, PORT),
            http: socket(place, HTTP_PORT),
            log: home.join(format!("{name}.log")),
            data,
            disk,
            calls,
            arguments: knobs.chain(join).collect(),
            name,
        });
    }
    let first = places.first_mut().expect("a cluster has a node");
    if first.calls.is_some() {
        Preload::probe().unwrap_or_else(|reason| panic!("faults of system calls have no effect: {reason}"));
        probed.push("a library between the processes and the kernel; each of its faults was tried".to_owned());
    }
    if let Some(disk) = &mut first.disk {
        let kind = disk.kind();
        probed.push(kind.to_string());
        if matches!(kind, disk::Kind::Plain { .. }) {
            return places;
        }
        probed.extend(disk.probe().unwrap_or_else(|error| panic!("faults of disks have no effect: {error}")));
    }
    places
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
