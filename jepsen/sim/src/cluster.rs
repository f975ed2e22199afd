//! The simulated cluster: hosts with disks, stores and clocks, and the nodes on them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use lentic_client::{Client, Options};
use lentic_engine::MemStore;
use lentic_log::{Holder, Log, LogOptions, SimOp};
use lentic_net::sim::{Happening, NetCounts, SimKnobs, SimNetwork};
use lentic_net::{Accept, Address, Class, Network};
use lentic_node::{Identity, Membership, Node, NodeOptions, Seams, join};
use lentic_raft::Options as RaftOptions;
use lentic_runtime::{Clock, Random, Scope, SimClock};
use lentic_types::{ClusterId, NodeId};
use lentic_workloads::Dice;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::counts::FaultCounts;
use crate::host::{Host, Running, SimStore};
use crate::trace::{Trace, digest};
use crate::watch::{Watch, Watched};

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
    /// How often a store in memory collects garbage, about, in milliseconds.
    pub collects_ms: u64,
    /// By how many millionths a clock may be too fast or too slow.
    pub drift_ppm_max: u64,
}

impl Default for Shape {
    fn default() -> Self {
        let log = LogOptions { segment_bytes: 1 << 18, bytes_max: 1 << 20, ..LogOptions::default() };
        Self {
            hosts: 3,
            // Seeds that have it say so.
            node: NodeOptions { balance_every: Duration::ZERO, ..NodeOptions::default() },
            raft: RaftOptions::default(),
            log,
            hesitates_one_in: 0,
            collects_ms: 500,
            drift_ppm_max: 0,
        }
    }
}

/// The cluster.
pub struct Cluster<S: SimStore = MemStore> {
    dice: Dice,
    trace: Trace,
    watch: Watch,
    shape: Shape,
    network: SimNetwork,
    hosts: Vec<Host<S>>,
    clients: Vec<Address>,
    counts: FaultCounts,
}

const CLUSTER: ClusterId = ClusterId(*b"a simulated one.");
const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Groups whose log is to be let go of, and that wait for it; more are named again later.
const PRESSED_MAX: usize = 64;
/// How long a node that is stopped as it should be may take to hand over, and then to close its log, before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(3);

impl Cluster {
    /// Starts a cluster of the shape, with its stores in memory.
    pub async fn start(dice: &Dice, trace: Trace, shape: Shape) -> Self {
        Self::start_on(dice, trace, shape).await
    }
}

impl<S: SimStore> Cluster<S> {
    /// Starts a cluster of the shape.
    pub async fn start_on(dice: &Dice, trace: Trace, shape: Shape) -> Self {
        let dice = dice.fork();
        let network = SimNetwork::new(dice.random(), SimKnobs::default());
        let watch = Watch::start(shape.hosts);
        let (events, ears) = (trace.clone(), watch.clone());
        network.on_event(move |event| match &event.what {
            Happening::Delivered(frame) => {
                events.add(format_args!("{event} {:016x}", digest(frame)));
                if let Some(host) = host_of(&event.from).filter(|_| event.class != Class::Pipe) {
                    ears.hear(host, frame);
                }
            }
            _ => events.add(event),
        });
        let hosts = (1..=shape.hosts).map(|number| {
            let mut incarnation = [0; 16];
            incarnation[..8].copy_from_slice(&dice.random().next_seed().to_be_bytes());
            let drift = i64::try_from(dice.between(0..=2 * shape.drift_ppm_max)).unwrap_or(0);
            let drift = drift - i64::try_from(shape.drift_ppm_max).unwrap_or(0);
            Host::new(number, incarnation, SimClock::drifting(START_UNIX_MS, drift))
        });
        let (hosts, counts) = (hosts.collect(), FaultCounts::default());
        let mut cluster = Self { dice, trace, watch, shape, network, hosts, clients: Vec::new(), counts };
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

    /// Starts the node of a host on what its disk holds; the first time it joins the cluster, or founds it. On a disk
    /// that fails it may not start; **on a damaged log it must not**.
    ///
    /// # Panics
    /// If it does not start for another reason, or starts though the log is damaged.
    pub async fn start_host(&mut self, number: usize) {
        if self.is_up(number) {
            return;
        }
        let started = self.try_start(number).await;
        let host = &mut self.hosts[number];
        match (started, &host.damage) {
            (Ok(running), None) => {
                self.watch.node_started(number, &running.node, &running.log);
                host.running = Some(running);
                self.trace.add(format_args!("n{} started", number + 1));
            }
            (Err(reason), Some(damage)) if reason.contains(&damage.file) => {
                self.counts.damage_refused += 1;
                self.trace.add(format_args!("n{} does not start: {reason}", number + 1));
            }
            (Err(reason), None) if host.disk_fails => {
                if self.dice.one_in(2) {
                    host.fs = host.fs.crash(self.dice.random().next_seed());
                }
                self.counts.starts_failed += 1;
                self.trace.add(format_args!("n{} does not start: {reason}", number + 1));
                self.network.crash(&host.address);
            }
            (Err(reason), None) => panic!("n{} does not start: {reason}", number + 1),
            (Err(reason), Some(damage)) => panic!("{} is damaged, and the node says: {reason}", damage.file),
            (Ok(_), Some(damage)) => panic!("n{} starts though {} is damaged", number + 1, damage.file),
        }
    }

    async fn try_start(&mut self, number: usize) -> Result<Running<S>, String> {
        let random = Random::seeded(self.dice.random().next_seed());
        let scope = Scope::simulated(random, self.shape.hesitates_one_in);
        let writer_scope = Scope::simulated(Random::seeded(self.dice.random().next_seed()), 0);
        let network = self.network.for_host(&self.hosts[number].address);
        let identity = self.identity(number, &scope, &network).await;
        let host = &mut self.hosts[number];
        let (pressed, mut named) = mpsc::channel::<Holder>(PRESSED_MAX);
        let on_pressure = Box::new(move |groups: &[Holder]| {
            for holder in groups {
                // One that finds no room is named again.
                let _ = pressed.try_send(*holder);
            }
        });
        let opened = Log::open(Arc::new(host.fs.clone()), identity.cluster, self.shape.log, on_pressure);
        let (log, writer) = opened.map_err(|error| error.to_string())?;
        writer_scope.spawn(host.pace.clone().write(writer));
        let seams = Seams {
            scope: scope.clone(),
            clock: Arc::new(host.clock.clone()) as Arc<dyn Clock>,
            network,
            log: log.clone(),
            store: Arc::new(Watched::new(Arc::clone(&host.store), self.watch.clone(), number)),
            gc: host.gc.clone(),
        };
        let membership = Membership {
            identity,
            address: host.address.to_string(),
            http_address: String::new(),
            founds: number == 0,
            peers: host.peers.clone(),
        };
        let started = Node::start(seams, membership, &self.shape.node, self.shape.raft.clone()).await;
        let node = started.map_err(|error| {
            scope.abort();
            writer_scope.abort();
            error.to_string()
        })?;
        let (store, gc, dice, every) =
            (Arc::clone(&host.store), host.gc.clone(), self.dice.fork(), self.shape.collects_ms);
        scope.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(dice.between(1..=2 * every))).await;
                store.collect(&gc);
            }
        });
        let presses = node.clone();
        scope.spawn(async move {
            while let Some(holder) = named.recv().await {
                presses.release_log(holder).await;
            }
        });
        let accept: Arc<dyn Accept> = Arc::new(node.clone());
        self.network.start(&host.address, scope.clone(), accept);
        Ok(Running { scope, writer: writer_scope, log, node, stands_still: false })
    }

    /// Who the node of a host is: the first time it asks the cluster, or founds it.
    async fn identity(&mut self, number: usize, scope: &Scope, network: &Arc<dyn Network>) -> Identity {
        let seeds: Vec<_> = self.hosts.iter().map(|host| host.address.clone()).collect();
        let host = &mut self.hosts[number];
        if let Some(identity) = &host.identity {
            return identity.clone();
        }
        let founder = Identity { cluster: CLUSTER, node: NodeId(1), incarnation: host.incarnation };
        if number > 0 {
            let (within, address) = (Duration::from_secs(60), host.address.to_string());
            let joining = join(Arc::clone(network), &seeds[..number], host.incarnation, &address, "", within);
            let joined = scope.run(joining).await.expect("the cluster lets it join");
            host.peers = joined.peers;
            host.identity = Some(joined.identity);
        }
        host.identity.get_or_insert(founder).clone()
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
        let Some(running) = host.running.take() else { return };
        self.watch.node_ended(number);
        running.scope.abort();
        running.writer.abort();
        drop(running);
        self.network.crash(&host.address);
        host.fs = if power { host.fs.crash(self.dice.random().next_seed()) } else { host.fs.kill() };
        let lost = host.crash_store(&self.dice);
        self.counts.crashes += 1;
        self.counts.batches_lost += u64::try_from(lost).unwrap_or(u64::MAX);
        self.trace.add(format_args!("n{} crashed, {lost} batches lost", number + 1));
    }

    /// Stops a host's node as it should be: it hands over what it leads, and closes its log and its store. One that does
    /// not come to an end is killed.
    pub async fn stop_host(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let Some(Running { scope, writer, node, log, .. }) = host.running.take() else { return };
        self.watch.node_ended(number);
        scope.go_on();
        writer.go_on();
        let handed_over = timeout(STOPS_WITHIN, scope.run(node.shutdown())).await.is_ok();
        scope.abort();
        self.network.crash(&host.address);
        drop((node, log));
        let closed = timeout(STOPS_WITHIN, host.pace.close()).await.is_ok();
        writer.abort();
        host.store.flush().expect("a store of a simulation does not fail");
        host.fs = host.fs.kill();
        host.crash_store(&self.dice);
        self.counts.stops += u64::from(handed_over && closed);
        self.trace.add(format_args!("n{} stopped, handed over {handed_over}, closed {closed}", number + 1));
    }

    /// Lets a host's node stand still, as a stopped process does, until [`Self::go_on`]: time passes, its disk and what
    /// others send wait.
    pub fn stand_still(&mut self, number: usize) {
        if let Some(running) = &mut self.hosts[number].running {
            running.scope.stand_still();
            running.writer.stand_still();
            running.stands_still = true;
            self.trace.add(format_args!("n{} stands still", number + 1));
        }
    }

    /// Ends that a host's node stands still.
    pub fn go_on(&mut self, number: usize) {
        if let Some(running) = self.hosts[number].running.as_mut().filter(|running| running.stands_still) {
            running.stands_still = false;
            running.scope.go_on();
            running.writer.go_on();
            self.counts.pauses += 1;
            self.trace.add(format_args!("n{} goes on", number + 1));
        }
    }

    /// From now on each operation of this kind fails on a host's disk.
    pub fn fail_disk(&mut self, number: usize, op: SimOp, error: ErrorKind) {
        let host = &mut self.hosts[number];
        host.fs.fail(op, self.dice.between(0..=3), error);
        host.disk_fails = true;
        self.trace.add(format_args!("n{} {op:?} fails with {error:?}", number + 1));
    }

    /// From now on a host's disk is full.
    pub fn fill_disk(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let files = host.fs.names().into_iter().filter_map(|name| host.fs.bytes(&name));
        host.fs.set_capacity_bytes(files.map(|bytes| bytes.len() as u64).sum());
        host.disk_fails = true;
        self.trace.add(format_args!("n{} disk is full", number + 1));
    }

    /// Ends the nodes whose log has failed, as their processes do by themselves. What a failed sync has left in memory is
    /// not on disk, and still read by the next process; now and then the machine starts anew, too.
    pub fn end_failed(&mut self) {
        for number in 0..self.hosts.len() {
            let running = self.hosts[number].running.as_ref();
            if running.is_some_and(|running| !running.stands_still && running.log.stats().is_err()) {
                self.counts.disk_ends += 1;
                let power = self.dice.one_in(2);
                self.crash(number, power);
            }
        }
    }

    /// Damages the log of a host whose node does not run: see [`Self::start_host`]. It stays so until [`Self::repair`].
    pub fn damage(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let may_be = host.running.is_none() && host.damage.is_none() && !host.disk_fails;
        if may_be && host.damage(&self.dice, self.shape.log) {
            self.trace.add(format_args!("n{} log is damaged", number + 1));
        }
    }

    /// Repairs a host's disk.
    pub fn repair(&mut self, number: usize) {
        self.hosts[number].repair();
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
        if let Some(Running { scope, node, .. }) = &self.hosts[number].running {
            // A log that cannot be written now is shortened another time.
            let _ = timeout(WITHIN, scope.run(node.release_logs())).await;
        }
    }

    /// A leader was asked to hand over.
    pub fn note_transfer(&mut self) {
        self.counts.transfers += 1;
    }

    /// A replica was told to move, or a node is emptied or used again.
    pub fn note_move(&mut self) {
        self.counts.moves += 1;
    }

    /// Ends all faults, starts the nodes that are down, and waits until links hold nothing back any more.
    pub async fn heal_all(&mut self) {
        self.trace.add("all is healed");
        self.network.heal_all();
        self.network.set_knobs(SimKnobs::default());
        // One that stood still when its disk failed ends now.
        (0..self.hosts.len()).for_each(|number| self.go_on(number));
        self.end_failed();
        for number in 0..self.hosts.len() {
            self.hosts[number].repair();
            self.hosts[number].pace.set(2_000);
            self.start_host(number).await;
        }
        if let Some(until) = self.network.holds_until() {
            sleep_until(until).await;
        }
        self.watch.healed();
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
    pub fn node(&self, number: usize) -> Option<&Node<Watched<S>>> {
        self.hosts[number].running.as_ref().map(|running| &running.node)
    }

    /// The store of the host that a node is on.
    #[must_use]
    pub fn store_of(&self, node: NodeId) -> Option<&S> {
        let of = |host: &&Host<S>| host.identity.as_ref().is_some_and(|identity| identity.node == node);
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

impl<S: SimStore> Drop for Cluster<S> {
    fn drop(&mut self) {
        // Who watches the nodes is known to their stores, and nodes know the network that knows them: one of each two must
        // let go, or they stay in memory for ever.
        for number in 0..self.hosts.len() {
            self.watch.node_ended(number);
            self.network.crash(&self.hosts[number].address);
            self.hosts[number].store.discard();
        }
    }
}

/// The number of the host that has this address.
fn host_of(address: &Address) -> Option<usize> {
    let number: usize = address.0.strip_prefix('n')?.parse().ok()?;
    number.checked_sub(1)
}
