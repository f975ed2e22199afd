//! A cluster in one process: hosts over a network that can be cut, logs on disks that forget what was not synced, and
//! machines that write down what they apply. Time is paused, so a run is a function of its seed.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod net;
mod tape;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lentic_log::{Holder, Log, LogOptions, SimFs, SimOp, Writer};
use lentic_raft::{Group, Host, Options, ProposeError, Status};
use lentic_runtime::{Random, Scope};
use lentic_types::{ClusterId, GroupId, Index, NodeId};
pub use net::Net;
use net::Numbers;
pub use tape::{Tape, TapeDisk};
use tokio::time::{sleep, timeout};

pub const CLUSTER: ClusterId = ClusterId([7; 16]);
pub const GROUP: GroupId = GroupId(1);
/// The group as tests have it.
pub type TapeGroup = Group<Tape>;
/// Longer than anything that a healthy cluster takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on one thread, with paused time and every choice of tokio from `seed`.
pub fn simulate<F: Future>(seed: u64, test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// As if the log had to let go of all, whoever needs it.
pub fn everything() -> Holder {
    Holder { group: GROUP, through: Index(u64::MAX), overdue: Index(u64::MAX) }
}

pub fn node(number: u64) -> NodeId {
    NodeId(number)
}

pub fn nodes(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    numbers.into_iter().map(NodeId).collect()
}

/// A node that runs.
pub struct Running {
    pub scope: Scope,
    pub host: Host,
    pub log: Log,
    pub groups: BTreeMap<GroupId, Group<Tape>>,
}

/// What of a node outlives its process.
pub struct Machine {
    pub fs: SimFs,
    pub tapes: BTreeMap<GroupId, TapeDisk>,
    pub running: Option<Running>,
    lives: u64,
}

pub struct Cluster {
    pub net: Net,
    pub machines: BTreeMap<NodeId, Machine>,
    pub options: Options,
    pub log_options: LogOptions,
    live: Live,
    random: Random,
}

/// The group on the nodes that run, as of now.
pub type Live = Arc<Mutex<BTreeMap<NodeId, Group<Tape>>>>;

impl Cluster {
    /// `count` nodes that run and have no groups.
    pub async fn new(seed: u64, count: u64) -> Self {
        Self::with(seed, count, Options { log_keep_entries: 0, ..Options::default() }).await
    }

    pub async fn with(seed: u64, count: u64, options: Options) -> Self {
        let random = Random::seeded(seed);
        let log_options = LogOptions { segment_bytes: 64 << 10, bytes_max: 1 << 20, ..LogOptions::default() };
        let net = Net::new(&random);
        let (machines, live) = (BTreeMap::new(), Live::default());
        let mut cluster = Self { net, machines, options, log_options, live, random };
        for number in 1..=count {
            cluster.add(node(number)).await;
        }
        cluster
    }

    /// Adds a node that has never run.
    pub async fn add(&mut self, node: NodeId) {
        let machine = Machine { fs: SimFs::new(), tapes: BTreeMap::new(), running: None, lives: 0 };
        self.machines.insert(node, machine);
        self.start(node).await;
    }

    /// Starts a node's process, with the groups it has had.
    pub async fn start(&mut self, node: NodeId) {
        let seed = self.random.next_seed();
        let scope = Scope::new(Random::seeded(seed));
        let machine = self.machines.get_mut(&node).unwrap();
        machine.lives += 1;
        let (log, writer) =
            Log::open(Arc::new(machine.fs.clone()), CLUSTER, self.log_options, Box::new(|_| ())).unwrap();
        scope.spawn(write(writer));
        let network = self.net.of(node);
        let host = Host::new(node, CLUSTER, log.clone(), network, Arc::new(Numbers), self.options.clone());
        self.net.start(node, scope.clone(), host.clone());
        let running = Running { scope, host, log, groups: BTreeMap::new() };
        machine.running = Some(running);
        let groups: Vec<GroupId> = self.machines[&node].tapes.keys().copied().collect();
        for group in groups {
            self.start_group(node, group).await;
        }
    }

    /// Starts a group on a node, new or from what the node has of it.
    pub async fn start_group(&mut self, node: NodeId, group: GroupId) -> Group<Tape> {
        let machine = self.machines.get_mut(&node).unwrap();
        let tape = machine.tapes.entry(group).or_default().open();
        let running = machine.running.as_mut().unwrap();
        let (host, scope) = (running.host.clone(), running.scope.clone());
        let started = scope.run(host.start(group, tape)).await.unwrap();
        running.groups.insert(group, started.clone());
        if group == GROUP {
            self.live.lock().unwrap().insert(node, started.clone());
        }
        started
    }

    /// Starts a group on nodes, and begins it with them as voters.
    pub async fn begin(&mut self, group: GroupId, voters: impl IntoIterator<Item = u64>) {
        let voters = nodes(voters);
        for node in &voters {
            let started = self.start_group(*node, group).await;
            started.initialize(voters.clone()).await.unwrap();
        }
    }

    pub fn scope(&self, node: NodeId) -> Scope {
        self.machines[&node].running.as_ref().unwrap().scope.clone()
    }

    pub fn host(&self, node: NodeId) -> Host {
        self.machines[&node].running.as_ref().unwrap().host.clone()
    }

    pub fn group(&self, node: NodeId) -> Group<Tape> {
        self.machines[&node].running.as_ref().unwrap().groups[&GROUP].clone()
    }

    pub fn tape(&self, node: NodeId) -> &TapeDisk {
        &self.machines[&node].tapes[&GROUP]
    }

    pub fn live(&self) -> BTreeMap<NodeId, Group<Tape>> {
        self.live.lock().unwrap().clone()
    }

    /// For tasks of a test, which see nodes come and go.
    pub fn share_live(&self) -> Live {
        Arc::clone(&self.live)
    }

    pub fn runs(&self, node: NodeId) -> bool {
        self.machines[&node].running.is_some()
    }

    /// The process ends in the middle, and the machine loses what was not synced.
    pub fn crash(&mut self, node: NodeId) {
        let seed = self.random.next_seed();
        let machine = self.machines.get_mut(&node).unwrap();
        let running = machine.running.take().unwrap();
        running.scope.abort();
        self.live.lock().unwrap().remove(&node);
        self.net.crash(node);
        machine.fs = machine.fs.crash(seed);
        machine.tapes.values().for_each(TapeDisk::crash);
    }

    pub fn syncs(&self, node: NodeId) -> u64 {
        self.machines[&node].fs.count(SimOp::Sync)
    }

    /// Waits until one of `among` leads the group and nobody there knows of a newer term.
    pub async fn leader_among(&self, among: impl IntoIterator<Item = u64>) -> NodeId {
        let among: Vec<NodeId> = among.into_iter().map(NodeId).collect();
        let find = async {
            loop {
                let live = self.live();
                let status = |node: &NodeId| Some((*node, live.get(node)?.status()));
                let states: Vec<(NodeId, Status)> = among.iter().filter_map(status).collect();
                let newest = states.iter().map(|(_, status)| status.term).max().unwrap_or(0);
                let leads = |(_, status): &&(NodeId, Status)| status.is_leader && status.term == newest;
                if let Some((leader, _)) = states.iter().find(leads) {
                    return *leader;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no leader: {}", self.describe()))
    }

    pub async fn leader(&self) -> NodeId {
        self.leader_among(self.machines.keys().map(|node| node.0)).await
    }

    /// Submits a command on `node`, as the leader that it says it is.
    pub async fn propose(&self, node: NodeId, command: &str) -> Result<(Index, usize), ProposeError> {
        let group = self.group(node);
        let term = group.status().term;
        let command = Bytes::copy_from_slice(command.as_bytes());
        group.submit(term, command).await?.await
    }

    /// Proposes until it is applied, wherever the leader is.
    pub async fn propose_anywhere(&self, command: &str) -> Index {
        let propose = async {
            loop {
                let leader = self.leader().await;
                if let Ok((index, _)) = self.propose(leader, command).await {
                    return index;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, propose).await.unwrap_or_else(|_| panic!("not applied: {}", self.describe()))
    }

    /// Waits until `node` has applied up to `index`.
    pub async fn applied(&self, node: NodeId, index: Index) {
        let mut status = self.group(node).watch();
        let applied = status.wait_for(|status| status.applied >= index);
        let applied = timeout(PATIENCE, applied).await.map(|applied| applied.map(drop));
        assert!(matches!(applied, Ok(Ok(()))), "{node} did not apply {index}: {}", self.describe());
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (node, machine) in &self.machines {
            match &machine.running {
                Some(running) => {
                    for (group, started) in &running.groups {
                        text += &format!("\n{node} {group} {:?}", started.status());
                    }
                }
                None => text += &format!("\n{node} is down"),
            }
        }
        text
    }
}

impl Drop for Cluster {
    /// Listeners hold their hosts, which hold the network.
    fn drop(&mut self) {
        self.machines.keys().for_each(|node| self.net.crash(*node));
    }
}

async fn write(mut writer: Writer) {
    loop {
        // An fdatasync takes a while, and what comes meanwhile is the next gather.
        sleep(Duration::from_millis(1)).await;
        writer.step();
    }
}
