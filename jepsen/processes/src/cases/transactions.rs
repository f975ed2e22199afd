//! Transactions over several shards while kill -9 takes one leader after the other.
//!
//! All workloads run at the same time, each in keys of its own. A node that is killed leads shards, and coordinates what
//! its clients have sent it: it leaves locks and transactions by halves, which others must end.
//!
//! | file | what it shows |
//! |---|---|
//! | `transactions/bank.rs` | money is moved between shards, and never made or lost |
//! | `transactions/lists.rs`, `record.rs` | transactions are strictly serializable, by a checker of histories |
//! | `transactions/fork.rs` | no two readers see writes in opposite orders |
//! | `transactions/skew.rs` | what was read holds at the commit: keys |
//! | `transactions/predicate.rs` | the same: ranges, and what is not there |
//! | `transactions/monotonic.rs` | the order of versions is that of effects |
//! | `transactions/causal.rs` | an effect is never seen without its cause |
//! | `transactions/scene.rs`, `tally.rs` | what workloads share, and what is counted |
//!
//! A caller sees no error but conflicts, for a safe retry could have hidden all others.

mod bank;
mod causal;
mod fork;
mod lists;
mod monotonic;
mod predicate;
mod record;
mod scene;
mod skew;
mod tally;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lentic_check::serializable;
use lentic_client::{Client, Options, ShardId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::load::places_of;
use crate::node::Node;
use crate::outage::{Distribution, longest_gap};
use crate::recorder::Recorder;
use crate::report::{Report, Stand};
use crate::wait::until;
use record::Record;
use scene::{Scene, TABLE};

const NODES: usize = 3;
const SHARDS: u32 = 6;
/// Clients, which share nothing but the cluster.
const CLIENTS: usize = 3;
/// How long commits are looked at after all shards have gone on.
const AFTER: Duration = Duration::from_millis(500);
/// How long a shard may take to go on at all: the figures say how long it did.
const RESUMES_WITHIN: Duration = Duration::from_secs(40);
/// How long workloads may take to end: more than the deadline of an operation.
const END_WITHIN: Duration = Duration::from_secs(60);
/// How long transactions may be open once nobody begins any: more than it takes to find and end them.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// How long a node that is up may take to show its metrics.
const PAGE_WITHIN: Duration = Duration::from_secs(10);

const WORKLOADS: [&str; 7] =
    [bank::NAME, lists::NAME, fork::NAME, skew::NAME, predicate::NAME, monotonic::NAME, causal::NAME];

/// How often, and what is demanded.
#[derive(Clone, Copy, Debug)]
pub struct Transactions {
    /// How many kills.
    pub kills: usize,
    /// How long workloads run undisturbed before each kill.
    pub calm: Duration,
    /// Commits of each workload; of reads a quarter of it. Fewer show nothing.
    pub commits_min: u64,
    /// The longest gap between two commits in any shard that half of the kills may cause.
    pub gap_half_max: Duration,
    /// The longest that any may.
    pub gap_max: Duration,
    /// How long after a kill every shard and every workload must have begun and committed something new; and after the
    /// last one, when all nodes are back, every call have ended.
    pub resume_max: Duration,
    /// How long a read may take: the time for which locks of a dead coordinator stand, one second, and an election.
    pub read_max: Duration,
}

/// What kills did.
#[derive(Default)]
struct Harm {
    /// How many kills were of the meta group's leader.
    meta: usize,
    /// How many came when several nodes led shards.
    spread: usize,
    /// The longest gap between two commits of all workloads, for each kill.
    any: Distribution,
    /// The longest in each shard that the killed node led.
    led: Distribution,
    /// The longest in each of the other shards.
    others: Distribution,
    /// How long it took until every shard and every workload went on.
    resumed: Distribution,
    /// Transactions whose coordinators were gone and that others ended.
    recovered: f64,
    /// How long it took at the end until all that was open had ended, and all was read once more.
    ended: Duration,
}

/// Kills leaders, every second time that of the meta group, under workloads of transactions.
///
/// # Panics
/// If what clients were told breaks a promise of transactions, a client saw an error, something went on too late, or
/// too little was done.
pub async fn transactions(stand: &Stand, plan: Transactions) -> Report {
    let home = stand.home_of("transactions");
    let recorder = Recorder::new(&home);
    let mut cluster = Cluster::start(&stand.settings("transactions", NODES, &[])).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let mut clients: Vec<Client> = vec![client];
    while clients.len() < CLIENTS {
        clients.push(cluster.client(Options::default()).await);
    }
    let scene = Scene::new(clients, &recorder).await;
    let record = Arc::new(Record::new(&home, &recorder));
    let mut workloads = start(&scene, &record);
    let mut harm = tokio::select! {
        harm = kills(&mut cluster, &scene, &recorder, &record, &shards, plan) => harm,
        ended = workloads.join_next() => panic!("a workload has ended by itself: {ended:?}"),
    };
    let over = recorder.now();
    scene.end();
    timeout(END_WITHIN, scene::all(workloads)).await.expect("workloads end when they are told to");
    harm.ended = recorder.now().saturating_sub(over);
    for node in &cluster.nodes {
        harm.recovered += recovered(node).await;
    }
    until_closed(&cluster).await;
    let checked = check(&record, plan, &home);
    cluster.check_well();
    let report = report(&scene, &harm, &checked, plan);
    judge(&scene, &harm, &report, plan);
    report.close(&home, &recorder)
}

/// Starts all workloads.
fn start(scene: &Scene, record: &Arc<Record>) -> JoinSet<()> {
    let mut workloads = JoinSet::new();
    workloads.spawn(bank::bank(scene.clone()));
    workloads.spawn(lists::lists(scene.clone(), Arc::clone(record)));
    workloads.spawn(fork::fork(scene.clone()));
    workloads.spawn(skew::skew(scene.clone()));
    workloads.spawn(predicate::predicate(scene.clone()));
    workloads.spawn(monotonic::monotonic(scene.clone()));
    workloads.spawn(causal::causal(scene.clone()));
    workloads
}

async fn kills(
    cluster: &mut Cluster,
    scene: &Scene,
    recorder: &Recorder,
    record: &Record,
    shards: &[ShardId],
    plan: Transactions,
) -> Harm {
    let mut harm = Harm::default();
    for round in 0..plan.kills {
        cluster.well("a kill").await;
        tokio::time::sleep(plan.calm).await;
        let leaders = cluster.leaders().await;
        let victim = leaders.victim(round);
        let led = places_of(shards, &leaders.of(victim));
        harm.meta += usize::from(leaders.meta == victim);
        harm.spread += usize::from(leaders.shards.values().collect::<BTreeSet<_>>().len() > 1);
        // What it has counted goes with it.
        harm.recovered += recovered(&cluster.nodes[victim]).await;
        let from = recorder.nemesis("kill", cluster.nodes[victim].name());
        record.nemesis("kill", cluster.nodes[victim].name());
        cluster.nodes[victim].kill();
        scene.until_committed(&WORKLOADS, from, RESUMES_WITHIN).await;
        harm.resumed.add(recorder.now().saturating_sub(from));
        tokio::time::sleep(AFTER).await;
        harm.measure(scene, shards.len(), &led, (from, recorder.now()));
        recorder.nemesis("start", cluster.nodes[victim].name());
        record.nemesis("start", cluster.nodes[victim].name());
        cluster.nodes[victim].start();
    }
    cluster.well("the last kill").await;
    harm
}

impl Harm {
    fn measure(&mut self, scene: &Scene, shards: usize, led: &[usize], (from, to): (Duration, Duration)) {
        let tally = scene.tally();
        self.any.add(longest_gap(&tally.all_ack_times(), from, to));
        for shard in 0..shards {
            let gap = longest_gap(&tally.ack_times(shard), from, to);
            if led.contains(&shard) { self.led.add(gap) } else { self.others.add(gap) }
        }
    }
}

/// How many transactions whose coordinators were gone a node has ended since it was started.
async fn recovered(node: &Node) -> f64 {
    until("a page of metrics", PAGE_WITHIN, || node.metric("lentic_node_txn_recoveries_count")).await
}

/// Waits until no replica has a transaction open.
async fn until_closed(cluster: &Cluster) {
    until("an end of all transactions", CLOSED_WITHIN, || async {
        for node in &cluster.nodes {
            let open = node.metric("lentic_node_txn_open_count").await?;
            if open > 0.5 {
                return Err(format!("{} has {open} open in its replicas", node.name()));
            }
        }
        Ok(())
    })
    .await;
}

/// Has the history of lists judged.
fn check(record: &Record, plan: Transactions, home: &Path) -> serializable::Checked {
    let ok_min = usize::try_from(plan.commits_min).expect("some thousands") * 2;
    match serializable::check(&record.finish(), ok_min) {
        Ok(checked) => checked,
        Err(violation) => panic!("{}/transactions.jsonl: {violation}", home.display()),
    }
}

fn report(scene: &Scene, harm: &Harm, checked: &serializable::Checked, plan: Transactions) -> Report {
    let tally = scene.tally();
    let mut report = Report::new("transactions");
    let Harm { meta, spread, .. } = harm;
    report.add(
        "kills",
        format!("{}, {meta} of them of the meta group's leader, {spread} with leaders on several nodes", plan.kills),
    );
    report.add("all workloads", tally.sum());
    for workload in WORKLOADS {
        report.add(workload, tally.of(workload));
    }
    let serializable::Checked { ok, fail, info } = checked;
    report.add("strictly serializable", format!("lists, of {ok} ok, {fail} failed, {info} unknown"));
    report.add("transactions of dead coordinators that others ended", harm.recovered);
    report.add("commits of what is sent at once", tally.one_shot());
    report.add("commits of what reads first, with all its runs", tally.reading());
    report.add("longest commit", tally.longest());
    report.add("reads", tally.reads());
    report.add("from a kill until every shard and workload went on", &harm.resumed);
    report.add("until all calls had ended, with all nodes back", format!("{} ms", harm.ended.as_millis()));
    report.add("longest gap between two commits", &harm.any);
    report.add("longest gap, shards that the killed node led", &harm.led);
    report.add("longest gap, other shards", &harm.others);
    report
}

/// Demands what the plan does.
///
/// # Panics
/// If it was not so.
fn judge(scene: &Scene, harm: &Harm, report: &Report, plan: Transactions) {
    let tally = scene.tally();
    for workload in WORKLOADS {
        let counts = tally.of(workload);
        let is_enough = counts.commits >= plan.commits_min && counts.reads >= plan.commits_min / 4;
        assert!(is_enough, "{workload} shows nothing, expected {} commits at least: {report}", plan.commits_min);
    }
    for workload in [skew::NAME, predicate::NAME, monotonic::NAME] {
        assert!(tally.of(workload).again > 0, "{workload} shows nothing, for no two of it met: {report}");
    }
    assert!(harm.led.count() >= plan.kills, "a kill of a node that leads no shard shows nothing: {report}");
    assert!(harm.spread > 0, "transactions whose shards are all led by one node show nothing: {report}");
    assert!(harm.recovered > 0.0, "kills that left no transaction by halves show nothing: {report}");
    let (half, worst) = (harm.led.percentile(50), harm.led.worst().max(harm.others.worst()));
    assert!(half <= plan.gap_half_max && worst <= plan.gap_max, "commits went on too late: {report}");
    assert!(harm.resumed.worst().max(harm.ended) <= plan.resume_max, "something went on too late: {report}");
    assert!(tally.reads().worst() <= plan.read_max, "a read waited for too long: {report}");
}
