//! What many groups cost: three nodes in one process over real connections and real disks, 200 groups that only have a
//! leader and 50 that are written to.
//!
//! ```text
//! cargo run --release -p lentic-raft --example gate -- [directory] [idle groups] [busy groups] [callers per group]
//! ```
//!
//! Figures of three nodes and their clients together on one machine: CPU is of the whole process.

#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lentic_log::{DiskFs, Log, LogOptions, WriterThread};
use lentic_net::grpc::{GrpcNetwork, GrpcServer};
use lentic_net::{Accept, Address, BoxFuture, Class, Link};
use lentic_raft::{Committed, Directory, Fault, Group, Host, Machine, Options, Transfer};
use lentic_types::{ClusterId, GroupId, Index, NodeId};
use tokio::net::TcpListener;
use tokio::time::sleep;

const NODES: u64 = 3;
const CLUSTER: ClusterId = ClusterId([3; 16]);
const COMMAND_BYTES: usize = 256;
const PHASE: Duration = Duration::from_secs(10);

/// Counts, and keeps nothing else.
#[derive(Default)]
struct Counter {
    applied: u64,
    commands: u64,
    replica: Option<Bytes>,
}

impl Machine for Counter {
    type Reply = u64;

    fn replica(&self) -> Result<Option<Bytes>, Fault> {
        Ok(self.replica.clone())
    }

    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<u64>, Fault> {
        self.applied = entries.last().map_or(self.applied, |entry| entry.index.0);
        self.replica = Some(replica);
        let commands = entries.iter().filter(|entry| entry.command.is_some());
        Ok(commands
            .map(|_| {
                self.commands += 1;
                self.commands
            })
            .collect())
    }

    fn durable(&self) -> Result<Index, Fault> {
        Ok(Index(self.applied))
    }

    fn request_flush(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn transfer(&self) -> Arc<dyn Transfer> {
        panic!("nobody is away, so nobody gets a snapshot")
    }

    fn reload(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

#[derive(Default)]
struct Addresses(Mutex<BTreeMap<NodeId, Address>>);

impl Directory for Addresses {
    fn address(&self, node: NodeId) -> Option<Address> {
        self.0.lock().unwrap().get(&node).cloned()
    }
}

struct Serve(Host);

impl Accept for Serve {
    fn accept(&self, class: Class, link: Link) -> BoxFuture<'static, ()> {
        self.0.accept(class, link)
    }
}

struct Node {
    host: Host,
    log: Log,
    groups: Vec<Group<Counter>>,
    _writer: WriterThread,
}

/// What the process and its nodes have used so far.
#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    cpu_ticks: u64,
    gathers: u64,
    frames: u64,
    heartbeats: u64,
    appends: u64,
}

fn used(nodes: &[Node]) -> Used {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let cpu_ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let stats = nodes.iter().map(|node| node.host.stats());
    let (mut frames, mut heartbeats, mut appends) = (0, 0, 0);
    for stats in stats {
        frames += stats.frames_sent;
        heartbeats += stats.heartbeats_sent;
        appends += stats.appends_sent;
    }
    let gathers = nodes.iter().map(|node| node.log.stats().unwrap().gathers).sum();
    Used { at: Instant::now(), cpu_ticks, gathers, frames, heartbeats, appends }
}

fn print_rates(before: Used, after: Used) {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
    println!("  CPU                    {:8.1} % of one core", rate(before.cpu_ticks, after.cpu_ticks));
    println!("  fdatasyncs             {:8.0} /s and node", rate(before.gathers, after.gathers) / NODES as f64);
    println!("  frames                 {:8.0} /s", rate(before.frames, after.frames));
    println!("  heartbeats             {:8.0} /s", rate(before.heartbeats, after.heartbeats));
    println!("  appends                {:8.0} /s", rate(before.appends, after.appends));
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn start_node(node: NodeId, directory: &Path, addresses: &Arc<Addresses>) -> Node {
    let fs = Arc::new(DiskFs::new(directory.join(node.to_string())));
    let (log, writer) = Log::open(fs, CLUSTER, LogOptions::default(), Box::new(|_| ())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    addresses.0.lock().unwrap().insert(node, Address::from(&*address));
    let directory = Arc::clone(addresses) as Arc<dyn Directory>;
    let network = Arc::new(GrpcNetwork::new());
    let host = Host::new(node, CLUSTER, log.clone(), network, directory, Options::default());
    let server = GrpcServer::new(Arc::new(Serve(host.clone())));
    tokio::spawn(server.serve(listener, std::future::pending()));
    Node { host, log, groups: Vec::new(), _writer: writer.spawn() }
}

/// The leader's handle of each group, when every group has one.
async fn leaders(nodes: &[Node], groups: usize) -> Vec<Group<Counter>> {
    loop {
        let leader = |number: usize| nodes.iter().map(|node| &node.groups[number]).find(|g| g.status().is_leader);
        let found: Vec<_> = (0..groups).filter_map(|number| leader(number).cloned()).collect();
        if found.len() == groups {
            return found;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Proposes one command after the other; how long each took.
async fn call(group: Group<Counter>, until: Instant) -> (Vec<Duration>, u64) {
    let (mut took, mut failed) = (Vec::new(), 0);
    let command = Bytes::from(vec![7; COMMAND_BYTES]);
    while Instant::now() < until {
        let started = Instant::now();
        let term = group.status().term;
        let outcome = match group.submit(term, command.clone()).await {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_) => took.push(started.elapsed()),
            Err(_) => {
                failed += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    (took, failed)
}

async fn read(group: Group<Counter>, until: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let started = Instant::now();
        if group.read_index().await.is_ok() {
            took.push(started.elapsed());
        }
    }
    took
}

fn print_latencies(what: &str, mut took: Vec<Duration>, seconds: f64) {
    took.sort();
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1_000].as_secs_f64() * 1_000.0;
    println!("  {what:22} {:8.0} /s", took.len() as f64 / seconds);
    println!("    p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms", at(500), at(990), at(999), at(1_000));
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "target/gate".to_owned());
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (idle, busy, callers) = (number(200), number(50), number(4));
    let _ = std::fs::remove_dir_all(&directory);
    println!(
        "{NODES} nodes, {idle} idle and {busy} busy groups, {callers} callers a group, {COMMAND_BYTES}-byte commands"
    );

    let addresses = Arc::new(Addresses::default());
    let mut nodes = Vec::new();
    for node in 1..=NODES {
        nodes.push(start_node(NodeId(node), Path::new(&directory), &addresses).await);
    }
    let started = Instant::now();
    let voters: BTreeSet<NodeId> = (1..=NODES).map(NodeId).collect();
    for number in 0..idle + busy {
        for node in &mut nodes {
            let group = node.host.start(GroupId(number as u64 + 1), Counter::default()).await.unwrap();
            node.groups.push(group);
        }
    }
    let begin = nodes.iter().flat_map(|node| &node.groups).map(|group| {
        let (group, voters) = (group.clone(), voters.clone());
        tokio::spawn(async move { group.initialize(voters).await.unwrap() })
    });
    for begun in begin.collect::<Vec<_>>() {
        begun.await.unwrap();
    }
    let found = leaders(&nodes, idle + busy).await;
    println!("all groups have a leader after {:.1} s, {} MiB", started.elapsed().as_secs_f64(), rss_mib());
    sleep(Duration::from_secs(2)).await;

    println!("all idle");
    let before = used(&nodes);
    sleep(PHASE).await;
    print_rates(before, used(&nodes));

    println!("{busy} busy");
    let before = used(&nodes);
    let until = Instant::now() + PHASE;
    let calls = found[..busy].iter().flat_map(|group| (0..callers).map(|_| tokio::spawn(call(group.clone(), until))));
    let (mut took, mut failed) = (Vec::new(), 0);
    for call in calls.collect::<Vec<_>>() {
        let (one, failures) = call.await.unwrap();
        took.extend(one);
        failed += failures;
    }
    let after = used(&nodes);
    print_latencies("proposals", took, PHASE.as_secs_f64());
    println!("    {failed} failed");
    print_rates(before, after);
    println!("  memory                 {:8} MiB", rss_mib());
    let terms: u64 = nodes[0].groups.iter().map(|group| group.status().term).sum();
    println!("  {terms} terms in {} groups", idle + busy);

    println!("{busy} read, {callers} readers a group");
    let before = used(&nodes);
    let until = Instant::now() + PHASE;
    let found = leaders(&nodes, idle + busy).await;
    let reads = found[..busy].iter().flat_map(|group| (0..callers).map(|_| tokio::spawn(read(group.clone(), until))));
    let mut took = Vec::new();
    for read in reads.collect::<Vec<_>>() {
        took.extend(read.await.unwrap());
    }
    print_latencies("read points", took, PHASE.as_secs_f64());
    print_rates(before, used(&nodes));

    println!("one caller, one group");
    let took = call(found[0].clone(), Instant::now() + PHASE / 2).await.0;
    print_latencies("proposals", took, PHASE.as_secs_f64() / 2.0);
    let took = read(found[0].clone(), Instant::now() + PHASE / 2).await;
    print_latencies("read points", took, PHASE.as_secs_f64() / 2.0);
    let _ = std::fs::remove_dir_all(&directory);
}
