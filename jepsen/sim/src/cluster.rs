//! The simulated cluster: hosts with disks, stores and clocks, and the nodes on them.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use lentic_client::{Client, Options};
use lentic_engine::gc::GcHandle;
use lentic_engine::{MemStore, Store as _};
use lentic_log::{Holder, Log, LogOptions, SimFs};
use lentic_net::sim::{Happening, NetCounts, SimKnobs, SimNetwork};
use lentic_net::{Accept, Address, Network};
use lentic_node::{Identity, Membership, Node, NodeOptions, Seams, join};
use lentic_raft::Options as RaftOptions;
use lentic_runtime::{Clock, Random, Scope, SimClock};
use lentic_types::{ClusterId, GroupId, NodeId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::disk::Pace;
use crate::trace::{Trace, digest};

/// How many hosts, and what they are like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Hosts.
    pub hosts: usize,
    /// Knobs of the nodes.
    pub node: NodeOptions,
    /// Knobs of replication.
    pub raft: RaftOptions,
    /// Knobs of the logs: small, or every crash copies large files.
    pub log: LogOptions,
    /// One in how many times a node's task is overtaken by others where it may be; 0: never.
    pub hesitates_one_in: u64,
}

impl Default for Shape {
    fn default() -> Self {
        let log = LogOptions { segment_bytes: 1 << 18, bytes_max: 1 << 20, ..LogOptions::default() };
        Self { hosts: 3, node: NodeOptions::default(), raft: RaftOptions::default(), log, hesitates_one_in: 0 }
    }
}

/// What was done to a cluster, and what came of it: a run that shows nothing has shown nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Nodes that ended where they stood.
    pub crashes: u64,
    /// Batches that stores lost by it.
    pub batches_lost: u64,
    /// Times a pair of hosts was cut off from each other, and times one direction was cut.
    pub cuts: u64,
    /// Jumps of clocks.
    pub clock_jumps: u64,
    /// Stores flushed, so that logs were shortened.
    pub flushes: u64,
    /// Syncs of more than 10 ms.
    pub slow_syncs: u64,
    /// Frames that a cut held back, and dials that it made fail.
    pub cut_effects: u64,
    /// Links that broke under way.
    pub links_broken: u64,
    /// Frames that took unusually long.
    pub frames_late: u64,
    /// Leaders asked to hand over.
    pub transfers: u64,
}

impl FaultCounts {
    /// Each count with its name.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 10] {
        [
            ("crashes", self.crashes),
            ("batches lost", self.batches_lost),
            ("cuts", self.cuts),
            ("clock jumps", self.clock_jumps),
            ("flushes", self.flushes),
            ("slow syncs", self.slow_syncs),
            ("frames held and dials lost by cuts", self.cut_effects),
            ("links broken", self.links_broken),
            ("late frames", self.frames_late),
            ("transfers", self.transfers),
        ]
    }
}

impl AddAssign for FaultCounts {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.batches_lost += other.batches_lost;
        self.cuts += other.cuts;
        self.clock_jumps += other.clock_jumps;
        self.flushes += other.flushes;
        self.slow_syncs += other.slow_syncs;
        self.cut_effects += other.cut_effects;
        self.links_broken += other.links_broken;
        self.frames_late += other.frames_late;
        self.transfers += other.transfers;
    }
}

/// The cluster.
pub struct Cluster {
    dice: Dice,
    trace: Trace,
    shape: Shape,
    network: SimNetwork,
    hosts: Vec<Host>,
    clients: Vec<Address>,
    counts: FaultCounts,
}

struct Host {
    address: Address,
    incarnation: [u8; 16],
    identity: Option<Identity>,
    peers: BTreeMap<NodeId, Address>,
    fs: SimFs,
    pace: Pace,
    store: Arc<MemStore>,
    clock: SimClock,
    running: Option<(Scope, Node<MemStore>)>,
}

const CLUSTER: ClusterId = ClusterId(*b"a simulated one.");
const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Groups whose log is to be let go of, and that wait for it; more are named again later.
const PRESSED_MAX: usize = 64;

impl Cluster {
    /// Starts a cluster of the shape.
    pub async fn start(dice: &Dice, trace: Trace, shape: Shape) -> Self {
        let dice = dice.fork();
        let network = SimNetwork::new(dice.random(), SimKnobs::default());
        let events = trace.clone();
        network.on_event(move |event| match &event.what {
            Happening::Delivered(frame) => events.add(format_args!("{event} {:016x}", digest(frame))),
            _ => events.add(event),
        });
        let hosts = (1..=shape.hosts).map(|number| {
            let mut incarnation = [0; 16];
            incarnation[..8].copy_from_slice(&dice.random().next_seed().to_be_bytes());
            Host {
                address: Address::from(&*format!("n{number}")),
                incarnation,
                identity: None,
                peers: BTreeMap::new(),
                fs: SimFs::new(),
                pace: Pace::new(),
                store: Arc::new(MemStore::new()),
                clock: SimClock::new(START_UNIX_MS),
                running: None,
            }
        });
        let (hosts, counts) = (hosts.collect(), FaultCounts::default());
        let mut cluster = Self { dice, trace, shape, network, hosts, clients: Vec::new(), counts };
        for host in 0..cluster.hosts.len() {
            cluster.start_host(host).await;
        }
        cluster
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Starts the node of a host on what its disk holds; the first time it joins the cluster, or founds it.
    pub async fn start_host(&mut self, number: usize) {
        if self.is_up(number) {
            return;
        }
        let seeds: Vec<_> = self.hosts.iter().map(|host| host.address.clone()).collect();
        let host = &mut self.hosts[number];
        let random = Random::seeded(self.dice.random().next_seed());
        let scope = Scope::hesitating(random, self.shape.hesitates_one_in);
        let network = self.network.for_host(&host.address);
        let founds = number == 0;
        if founds {
            host.identity = Some(Identity { cluster: CLUSTER, node: NodeId(1), incarnation: host.incarnation });
        }
        let address = host.address.to_string();
        if host.identity.is_none() {
            let within = Duration::from_secs(60);
            let joining = join(Arc::clone(&network), &seeds[..number], host.incarnation, &address, "", within);
            let joined = scope.run(joining).await.expect("the cluster lets it join");
            host.identity = Some(joined.identity);
            host.peers = joined.peers;
        }
        let identity = host.identity.clone().expect("it has joined");
        let (pressed, mut named) = mpsc::channel::<GroupId>(PRESSED_MAX);
        let on_pressure = Box::new(move |groups: &[Holder]| {
            for Holder { group, .. } in groups {
                // One that finds no room is named again.
                let _ = pressed.try_send(*group);
            }
        });
        let opened = Log::open(Arc::new(host.fs.clone()), identity.cluster, self.shape.log, on_pressure);
        let (log, writer) = opened.expect("the log opens");
        scope.spawn(host.pace.clone().write(writer));
        let seams = Seams {
            scope: scope.clone(),
            clock: Arc::new(host.clock.clone()) as Arc<dyn Clock>,
            network,
            log,
            store: Arc::clone(&host.store),
            gc: GcHandle::new(),
        };
        let membership =
            Membership { identity, address, http_address: String::new(), founds, peers: host.peers.clone() };
        let node =
            Node::start(seams, membership, self.shape.node, self.shape.raft.clone()).await.expect("the node starts");
        let presses = node.clone();
        scope.spawn(async move {
            while let Some(group) = named.recv().await {
                presses.release_log(group).await;
            }
        });
        let accept: Arc<dyn Accept> = Arc::new(node.clone());
        self.network.start(&host.address, scope.clone(), accept);
        host.running = Some((scope, node));
        self.trace.add(format_args!("n{} started", number + 1));
    }

    /// A client of the cluster, on a host of its own.
    #[must_use]
    pub fn client(&mut self, options: Options) -> Client {
        let seeds = self.hosts.iter().map(|host| host.address.clone()).collect();
        Client::with_network(self.caller(), seeds, options).expect("a client of known addresses")
    }

    /// The network, as a caller on a host of its own has it.
    #[must_use]
    pub fn caller(&mut self) -> Arc<dyn Network> {
        let address = Address::from(&*format!("c{}", self.clients.len() + 1));
        self.clients.push(address.clone());
        self.network.for_host(&address)
    }

    /// Where a host is spoken to.
    #[must_use]
    pub fn address_of(&self, number: usize) -> Address {
        self.hosts[number].address.clone()
    }

    /// Ends a host's node where it stands. Its store goes back to some point since its last flush. With `power`, as a
    /// power failure does, what its disk had not synced may be gone too.
    pub fn crash(&mut self, number: usize, power: bool) {
        let host = &mut self.hosts[number];
        let Some((scope, _)) = host.running.take() else { return };
        scope.abort();
        self.network.crash(&host.address);
        host.fs = if power { host.fs.crash(self.dice.random().next_seed()) } else { host.fs.kill() };
        let unflushed = host.store.unflushed();
        let kept = self.dice.place(unflushed + 1);
        host.store = Arc::new(host.store.crash(kept));
        self.counts.crashes += 1;
        self.counts.batches_lost += u64::try_from(unflushed - kept).unwrap_or(u64::MAX);
        self.trace.add(format_args!("n{} crashed, {} of {unflushed} batches lost", number + 1, unflushed - kept));
    }

    /// Cuts two hosts off from each other, or only the way there; a place behind the hosts names a client.
    pub fn cut(&mut self, from: usize, to: usize, one_way: bool) {
        let (from, to) = (self.address(from), self.address(to));
        match one_way {
            true => self.network.cut_one_way(&from, &to),
            false => self.network.cut(&from, &to),
        }
        self.counts.cuts += 1;
        self.trace.add(format_args!("cut {from} {} {to}", if one_way { ">" } else { "-" }));
    }

    /// Heals what is between two hosts.
    pub fn heal(&mut self, a: usize, b: usize) {
        self.network.heal(&self.address(a), &self.address(b));
    }

    /// Breaks the links between two hosts.
    pub fn break_links(&mut self, a: usize, b: usize) {
        self.network.break_links(&self.address(a), &self.address(b));
    }

    /// How the network behaves from now on.
    pub fn set_network(&mut self, knobs: SimKnobs) {
        self.network.set_knobs(knobs);
    }

    /// Sets a host's clock forward or back.
    pub fn jump(&mut self, number: usize, ms: i64) {
        self.hosts[number].clock.jump(ms);
        self.counts.clock_jumps += 1;
        self.trace.add(format_args!("n{} clock jumps by {ms} ms", number + 1));
    }

    /// From now on each sync of a host's disk takes up to so long.
    pub fn slow_disk(&mut self, number: usize, us_max: u64) {
        self.hosts[number].pace.set(us_max);
        self.trace.add(format_args!("n{} syncs take up to {us_max} us", number + 1));
    }

    /// No sync of a host's disk ends for so long.
    pub fn stall_disk(&mut self, number: usize, for_: Duration) {
        self.hosts[number].pace.stall(for_);
        self.trace.add(format_args!("n{} disk stalls for {} ms", number + 1, for_.as_millis()));
    }

    /// Flushes a host's store: its log may be shortened then.
    pub fn flush(&mut self, number: usize) {
        self.hosts[number].store.flush().expect("a store in memory does not fail");
        self.counts.flushes += 1;
    }

    /// Lets a host's node go of all of its log that can go: who lags behind it then gets a snapshot.
    pub async fn release_logs(&mut self, number: usize) {
        const WITHIN: Duration = Duration::from_millis(500);
        if let Some((scope, node)) = &self.hosts[number].running {
            // A log that cannot be written now is shortened another time.
            let _ = timeout(WITHIN, scope.run(node.release_logs())).await;
        }
    }

    /// A leader was asked to hand over.
    pub fn note_transfer(&mut self) {
        self.counts.transfers += 1;
    }

    /// Ends all faults, and starts the nodes that are down.
    pub async fn heal_all(&mut self) {
        self.trace.add("all is healed");
        self.network.heal_all();
        self.network.set_knobs(SimKnobs::default());
        for number in 0..self.hosts.len() {
            self.hosts[number].pace.set(2_000);
            self.start_host(number).await;
        }
    }

    /// What was done so far, and what came of it.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        let NetCounts { frames_held, dials_cut, links_cut, links_reset, links_broken, frames_late, .. } =
            self.network.counts();
        FaultCounts {
            slow_syncs: self.hosts.iter().map(|host| host.pace.slow_syncs()).sum(),
            cut_effects: frames_held + dials_cut + links_cut,
            links_broken: links_reset + links_broken,
            frames_late,
            ..self.counts
        }
    }

    /// Whether a host's node runs.
    #[must_use]
    pub fn is_up(&self, number: usize) -> bool {
        self.hosts[number].running.is_some()
    }

    /// The node of a host, if it runs.
    #[must_use]
    pub fn node(&self, number: usize) -> Option<&Node<MemStore>> {
        self.hosts[number].running.as_ref().map(|(_, node)| node)
    }

    /// The store of the host that a node is on.
    #[must_use]
    pub fn store_of(&self, node: NodeId) -> Option<&MemStore> {
        let of = |host: &&Host| host.identity.as_ref().is_some_and(|identity| identity.node == node);
        self.hosts.iter().find(of).map(|host| &*host.store)
    }

    /// How many hosts and clients have an address.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.hosts.len() + self.clients.len()
    }

    fn address(&self, place: usize) -> Address {
        match place.checked_sub(self.hosts.len()) {
            None => self.hosts[place].address.clone(),
            Some(client) => self.clients[client].clone(),
        }
    }
}
