//! A seed from its shape to its verdict.
//!
//! ```text
//!   a shape ─► workloads ───────────────────────────────────► stop ─► their checks ─► replicas agree
//!              faults ───────────────► all healed ─► serves within 10 s
//! ```

use std::time::Duration;

use lentic_client::{Client, ClusterStatus, NodeState, NodeStatus, Options, ShardDescription, TableOptions};
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Family, MemStore, Span};
use lentic_machine::shard::{Descriptor, spans};
use lentic_node::Node;
use lentic_raft::Status;
use lentic_runtime::spawn;
use lentic_types::{GroupId, NodeId, Version};
use lentic_workloads::{Dice, Pace, Policy, Recorder, Setting, WORKLOADS, Workload, World};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, Shape};
use crate::counts::FaultCounts;
use crate::faults::break_things;
use crate::host::SimStore;
use crate::run::{Outcome, run};
use crate::trace::Trace;

/// What a seed came to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Faults and their effects.
    pub faults: FaultCounts,
    /// Operations of clients that succeeded.
    pub operations: u64,
    /// The longest part of one with no fault left.
    pub longest_healed: Duration,
    /// Virtual time.
    pub took: Duration,
    /// How many shards of all tables have let go of history.
    pub raised: usize,
}

/// The name of the table.
pub(crate) const TABLE: &str = "sim";
/// Once all is healed, an operation may take so long.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// How long things break.
const FAULTS_MS: std::ops::RangeInclusive<u64> = 2_000..=5_000;
/// How long replicas may be on their way when all is healed.
const MOVES_WITHIN: Duration = Duration::from_secs(60);
/// How long workloads go on when all is healed.
const HEALED: Duration = Duration::from_secs(1);
/// No operation ends at its deadline before the run does.
const DEADLINE: Duration = Duration::from_secs(120);
/// Fewer operations show nothing.
const OPERATIONS_MIN: u64 = 100;

/// From this seed on shards are split while things break. Those before mean what they did.
pub const SPLITS_FROM: u64 = 1_000_000;

fn operations(world: &World) -> u64 {
    world.tally().sum().ok()
}

/// Runs a seed.
pub fn seed(seed: u64, keeps_lines: bool) -> Outcome<Report> {
    seed_on::<MemStore>(seed, keeps_lines)
}

/// Runs a seed with stores of another kind.
pub fn seed_on<S: SimStore>(seed: u64, keeps_lines: bool) -> Outcome<Report> {
    run(seed, keeps_lines, move |dice, trace| scenario::<S>(dice, trace, None, seed >= SPLITS_FROM))
}

/// Runs a seed with one workload in place of those that it would choose.
pub fn seed_with(seed: u64, workload: &'static Workload) -> Outcome<Report> {
    run(seed, false, move |dice, trace| scenario::<MemStore>(dice, trace, Some(workload), seed >= SPLITS_FROM))
}

async fn scenario<S: SimStore>(dice: Dice, trace: Trace, only: Option<&'static Workload>, splits: bool) -> Report {
    let began = Instant::now();
    let (mut shape, shards) = shape(&dice);
    if splits {
        splits_by_themselves(&mut shape, &dice);
    }
    trace.add(format_args!("{shape:?}, {shards} shards"));
    let mut cluster = Cluster::<S>::start_on(&dice, trace.clone(), shape).await;
    let clients: Vec<Client> = (0..3).map(|_| cluster.client(options(&dice))).collect();
    let admin = cluster.client(Options { deadline: DEADLINE, ..Options::default() });
    let table = TableOptions { shards: u32::try_from(shards).unwrap_or(1), ..TableOptions::default() };
    admin.create_table(TABLE, table).await.expect("the table is made");
    let world = world(&dice, clients, &admin, splits).await;
    let workloads = start(&dice, &world, only);
    let splitter = splits.then(|| spawn(split_shards(dice.fork(), admin.clone())));

    break_things(&mut cluster, &dice.fork(), &admin, Duration::from_millis(dice.between(FAULTS_MS))).await;
    cluster.heal_all().await;
    let splits = match splitter {
        Some(splitter) => splitter.await.expect("a panic ends the run"),
        None => 0,
    };
    let healed = Instant::now();
    world.heal();
    // A cluster that was down for most of the time has served few by now: it goes on until it has shown something.
    while healed.elapsed() < HEALED || (operations(&world) < OPERATIONS_MIN && healed.elapsed() < SERVES_WITHIN) {
        sleep(HEALED).await;
    }
    world.end();
    for (Workload { name, .. }, workload) in workloads {
        // Its operations may take their time, one after another; each is timed by itself.
        let ended = timeout(2 * SERVES_WITHIN, workload).await;
        ended.unwrap_or_else(|_| panic!("{name} does not end; {}", standing(&cluster))).expect("a panic ends the run");
    }
    settle(&admin, healed).await;
    converge(&cluster, &admin, Instant::now()).await;
    let faults = FaultCounts { splits, ..cluster.counts() };
    let (counts, longest_healed) = {
        let tally = world.tally();
        (tally.sum(), tally.longest_healed())
    };
    let operations = counts.ok();
    let history = admin.history(None).await.expect("nodes tell how far history goes back");
    let raised = history.iter().filter(|shard| shard.watermark > Version::ZERO).count();
    assert!(operations >= OPERATIONS_MIN, "{operations} operations succeeded, which shows nothing");
    trace.add(format_args!("{faults:?} {counts}, {longest_healed:?}"));
    Report { faults, operations, longest_healed, took: began.elapsed(), raised }
}

/// What workloads share.
async fn world(dice: &Dice, clients: Vec<Client>, admin: &Client, splits: bool) -> World {
    let shards = admin.describe_table(TABLE).await.expect("the table is known").shards;
    World::new(Setting {
        clients,
        table: TABLE.to_owned(),
        starts: shards.iter().map(|shard| shard.range.start().clone()).collect(),
        splits,
        dice: dice.fork(),
        recorder: Recorder::in_memory(),
        policy: Policy::Strict { serves_within: SERVES_WITHIN },
        pace: Pace::SIMULATED,
    })
}

/// A random shape.
fn shape(dice: &Dice) -> (Shape, u64) {
    let mut shape = Shape { hosts: if dice.one_in(6) { 5 } else { 3 }, ..Shape::default() };
    // Followers that lag get a snapshot sooner or later, or none at all.
    shape.raft.log_keep_entries = [0, 5, 50, 10_000][dice.place(4)];
    shape.node.entries_in_flight_max = [1, 3, 8][dice.place(3)];
    if shape.node.entries_in_flight_max == 8 {
        shape.node.entry_beside_bytes_min = 0;
    }
    shape.hesitates_one_in = [0, 0, 4, 20][dice.place(4)];
    shape.node.upkeep_every = Duration::from_millis([100, 1_000][dice.place(2)]);
    odd_knobs(&mut shape, dice);
    (shape, [1, 2, 3, 4, 8][dice.place(9) / 2])
}

/// Knobs that nobody would choose: small rooms, which are full, and large ones, which never are.
fn odd_knobs(shape: &mut Shape, dice: &Dice) {
    let Shape { node, raft, log, .. } = shape;
    log.segment_bytes = [16 << 10, 64 << 10, 256 << 10][dice.place(3)];
    log.bytes_max = u64::from(log.segment_bytes) * [2, 4, 100][dice.place(3)];
    log.gather_bytes_max = [512, 4 << 10, 4 << 20][dice.place(3)];
    log.cache_bytes_max = [0, 8 << 10, 64 << 20][dice.place(3)];
    raft.append_bytes_max = [1, 4 << 10, 1 << 20][dice.place(3)];
    // Two writes in an entry, and one entry at a time, are fewer than the open load writes.
    let smallest = if node.entries_in_flight_max == 1 { 1 << 10 } else { 256 };
    node.entry_bytes_max = [smallest, 4 << 10, 1 << 20][dice.place(3)];
    node.heads.bytes_max = [0, 1 << 10, node.heads.bytes_max][dice.place(3)];
    node.pipe_requests_max = [2, 4_096][dice.place(2)];
    let (heartbeat, election_min, election_max) = [(100, 300, 600), (50, 150, 300), (100, 400, 900)][dice.place(3)];
    raft.heartbeat = Duration::from_millis(heartbeat);
    (raft.election_min, raft.election_max) = (Duration::from_millis(election_min), Duration::from_millis(election_max));
    // Versions run ahead of the time when clocks leap. Only a table that says so lets go of what others may read again.
    node.retention = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    node.history_every = Duration::from_millis([50, 200, 1_000][dice.place(3)]);
    node.pin_grace = Duration::from_millis([0, 50, 1_000][dice.place(3)]);
    shape.collects_ms = [20, 200, 1_000][dice.place(3)];
    shape.drift_ppm_max = [0, 500, 100_000][dice.place(3)];
}

/// Shards are cut for what is nothing elsewhere, and what they lead is evened out.
fn splits_by_themselves(shape: &mut Shape, dice: &Dice) {
    shape.node.split_bytes = [0, 4 << 10, 64 << 10][dice.place(3)];
    shape.node.split_operations = [0, 20, 200][dice.place(3)];
    shape.node.balance_every = Duration::from_millis([0, 500, 5_000][dice.place(3)]);
}

fn options(dice: &Dice) -> Options {
    let linger = if dice.one_in(3) { Duration::from_millis(3) } else { Duration::ZERO };
    let options = Options { deadline: DEADLINE, linger, ..Options::default() };
    // Who gives connections up soon sends much twice.
    let silence_max = if dice.one_in(3) { Duration::from_millis(150) } else { options.silence_max };
    Options { silence_max, ..options }
}

/// Starts the workloads that the dice choose: three of all; or the one that was asked for.
fn start(dice: &Dice, world: &World, only: Option<&'static Workload>) -> Vec<(&'static Workload, JoinHandle<()>)> {
    let mut all: Vec<&Workload> = WORKLOADS.iter().collect();
    while all.len() > 3 {
        all.remove(dice.place(all.len()));
    }
    all = only.map_or(all, |only| vec![only]);
    all.into_iter().map(|workload| (workload, spawn((workload.run)(world.fork())))).collect()
}

/// Where the groups of all nodes are: the first thing to look at when nothing goes on.
fn standing<S: SimStore>(cluster: &Cluster<S>) -> String {
    let mut text = String::new();
    for host in 0..cluster.hosts() {
        for (name, status) in cluster.node(host).map(Node::groups).unwrap_or_default() {
            let Status { term, leader, is_leader, applied, committed, last, purged, fault, .. } = status;
            let leader = leader.map_or(0, |leader| leader.0);
            text += &format!(
                "n{} {name}: term {term} by {leader}, leads {is_leader}, {purged} purged, {applied} applied, {committed} \
                 committed, {last} last, fault {fault:?}; ",
                host + 1
            );
        }
    }
    text
}

/// Splits shards among the keys of workloads for as long as things break, and a little longer. How many splits began.
async fn split_shards(dice: Dice, admin: Client) -> u64 {
    let (began, mut splits) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(*FAULTS_MS.end()) {
        sleep(Duration::from_millis(dice.between(100..=1_500))).await;
        let asked = async {
            let shards = admin.describe_table(TABLE).await?.shards;
            let mut at = shards[dice.place(shards.len())].range.start().to_vec();
            let name = WORKLOADS[dice.place(WORKLOADS.len())].name;
            at.extend(format!("\u{1}{name}/{}", dice.place(10)).bytes());
            admin.split_shard(TABLE, at).await
        };
        // What is refused, or not answered in time, may be done all the same.
        splits += u64::from(matches!(timeout(Duration::from_millis(500), asked).await, Ok(Ok(_))));
    }
    splits
}

/// Replicas that move come to where they shall be.
async fn settle(admin: &Client, healed: Instant) {
    loop {
        let ClusterStatus { moves, nodes, .. } = admin.status(true).await.expect("a node answers");
        let is_full = |node: &NodeStatus| node.state == NodeState::Draining && node.replicas > 0;
        if moves.is_empty() && !nodes.iter().any(is_full) {
            return;
        }
        assert!(healed.elapsed() < MOVES_WITHIN, "replicas do not come to where they shall be: {moves:?} {nodes:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// All replicas of each shard come to the same state, and no node needs a person.
async fn converge<S: SimStore>(cluster: &Cluster<S>, admin: &Client, healed: Instant) {
    let described = loop {
        // Who answers may not have heard yet where they have moved.
        let described = admin.describe_table(TABLE).await.expect("the table is known");
        let differs = described.shards.iter().find_map(|shard| difference(cluster, shard));
        let Some(differs) = differs else { break described };
        let left = (healed + 2 * SERVES_WITHIN).saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "replicas do not come to the same state: {differs}");
        sleep(Duration::from_millis(100)).await;
    };
    // What callers left behind is ended by those who lead its shards.
    while let Some(held) = described.shards.iter().find_map(|shard| held(cluster, shard)) {
        let left = (healed + 2 * SERVES_WITHIN).saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "a transaction does not end: {held}");
        sleep(Duration::from_millis(100)).await;
    }
    for host in 0..cluster.hosts() {
        let faults = cluster.node(host).expect("all are up").faults();
        assert!(faults.is_empty(), "n{} needs a person: {faults:?}", host + 1);
    }
}

/// What two replicas of a shard have different.
fn difference<S: SimStore>(cluster: &Cluster<S>, shard: &ShardDescription) -> Option<String> {
    let state = |node: &NodeId| entries(cluster.store_of(*node).expect("a replica is on some host"), shard);
    let (first, others) = shard.replicas.split_first().expect("a shard has replicas");
    let expected = state(first);
    others.iter().find_map(|node| {
        let found = state(node);
        let place = expected.iter().zip(&found).position(|(one, other)| one != other);
        let place = place.or((expected.len() != found.len()).then_some(expected.len().min(found.len())))?;
        let show = |entries: &Entries| {
            entries.get(place).map(|(key, value)| format!("{} = {}", key.escape_ascii(), value.escape_ascii()))
        };
        let (one, other) = (show(&expected), show(&found));
        Some(format!("shard {} has {one:?} on node {first} and {other:?} on node {node}", shard.shard))
    })
}

/// A transaction that some replica of a shard has open, or a lock.
fn held<S: SimStore>(cluster: &Cluster<S>, shard: &ShardDescription) -> Option<String> {
    let open = sys::key(GroupId::from(shard.shard), SysKind::Txn, &[]);
    let locks = spans_of(shard).into_iter().find(|span| span.family == Family::Lock).expect("a shard has locks");
    shard.replicas.iter().find_map(|node| {
        let store = cluster.store_of(*node).expect("a replica is on some host");
        let open = store.entries(Family::Sys).into_iter().find(|(key, _)| key.starts_with(&open));
        let lock = || store.entries(Family::Lock).into_iter().find(|(key, _)| locks.contains(key));
        open.or_else(lock).map(|(key, _)| format!("shard {} on node {node} has {}", shard.shard, key.escape_ascii()))
    })
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Where a store keeps what it has of a shard.
fn spans_of(shard: &ShardDescription) -> Vec<Span> {
    let ShardDescription { table, epoch, range, .. } = shard.clone();
    let descriptor = Descriptor { table, range, epoch, watermark: Version::ZERO, ttl_ms: 0 };
    spans(GroupId::from(shard.shard), &descriptor)
}

/// All that a store has of a shard, but for where replication stands.
fn entries<S: SimStore>(store: &S, shard: &ShardDescription) -> Entries {
    let replica = sys::key(GroupId::from(shard.shard), SysKind::Replica, &[]);
    let mut entries = Vec::new();
    for span in spans_of(shard) {
        let of_family = store.entries(span.family).into_iter().filter(|(key, _)| span.contains(key));
        entries.extend(of_family.filter(|(key, _)| span.family != Family::Sys || *key != replica));
    }
    entries
}
