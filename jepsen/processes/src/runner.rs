//! Workloads beside faults on a cluster of real processes, for some time, from a seed.
//!
//! ```text
//!   ground tried ─► cluster ─► workloads ────────────────────────────────► end ─► their checks ─► every node reads the same
//!                              strike, hold, mend, go on; again …  ─► healed: all serves within 10 s
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use lentic_client::Options;
use lentic_runtime::Random;
use lentic_workloads::{Dice, Distribution, Policy, Recorder, Workload, World, longest_gap};
use tokio::time::sleep;

use crate::alike::read_alike;
use crate::cluster::Cluster;
use crate::ground::Ground;
use crate::mix::{Mix, Table, words_of};
use crate::nemesis::{Arena, Done, Fault, Needs, Schedule};
use crate::report::{Report, Stand};
use crate::timeline::{Span, Timeline};

const TABLE: &str = "jepsen";
/// Bytes of a node's disk, if it has one of its own.
const DISK_BYTES: u64 = 1 << 30;
/// Small logs and stores.
const SMALL: &[&str] = &[
    "raft.log_keep_entries=50",
    "log.segment_bytes=262144",
    "log.bytes_max=1048576",
    "store.memtable_bytes=262144",
    "store.upkeep_ms=200",
];
/// For changes of shape: a node that was emptied gets its part again, and where five nodes share a small machine a
/// checkpoint has more time to be made before its version is too old.
const SHAPED: &[&str] = &["shards.balance_ms=2000", "history.pin_grace_ms=3000"];
/// How long an operation is tried before its caller says that nobody knows.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long workloads go on when all is healed.
const HEALED: Duration = Duration::from_secs(3);
/// With no fault left an operation may take so long.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// Fewer operations of a workload that succeeded show nothing, for each second of the run.
const OK_MIN_A_SECOND: u64 = 1;

/// What is run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name, and that of its directory.
    pub name: String,
    /// The workloads, beside each other.
    pub workloads: Vec<&'static Workload>,
    /// The faults. Each is struck once at least.
    pub faults: Vec<Fault>,
    /// How long faults are struck.
    pub time: Duration,
    /// What chance follows from. It does not make a run the same twice, for processes and networks have their own.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many shards.
    pub shards: u32,
    /// Whether logs and stores are small, so that they turn over fast: segments are closed, tables written, logs let go,
    /// followers sent snapshots.
    pub is_small: bool,
    /// Whether faults that are not possible here are left out; the report says so.
    pub takes_less: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Every promise was kept, and enough was done to say so.
    Kept(Report),
    /// One was broken, or too little was done: the words say which.
    Broken(String),
}

/// Runs it, and leaves the history, what was done, the verdict, a picture and the nodes' logs in its directory.
pub async fn run(stand: &Stand, run: Run) -> Verdict {
    let home = stand.home_of(&run.name);
    let (recorder, name) = (Recorder::to_files(&home), run.name.clone());
    let again = run.again();
    // What a promise is broken by is a panic, of a workload or of what looks on: the task keeps it in.
    let work = tokio::spawn(perform(stand.clone(), run, recorder.clone()));
    match work.await {
        Ok(report) => Verdict::Kept(report.close(&home, &recorder)),
        Err(error) => {
            let words = words_of(error);
            recorder.flush();
            let verdict = serde_json::json!({ "case": name, "valid": false, "reason": words, "again": again });
            fs::write(home.join("verdict.json"), format!("{verdict:#}\n")).expect("the home can be written to");
            Verdict::Broken(format!("{name}: {words}\n  history and logs: {}\n  again: {again}", home.display()))
        }
    }
}

impl Run {
    /// The command that runs it again.
    fn again(&self) -> String {
        let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(",") };
        let workloads = names(self.workloads.iter().map(|workload| workload.name).collect());
        let faults = names(self.faults.iter().map(|fault| fault.name()).collect());
        let Self { time, seed, nodes, shards, is_small, .. } = self;
        let small = if *is_small { " --small" } else { "" };
        format!(
            "cargo xtask jepsen --workload {workloads} --faults {faults} --time {} --seed {seed} --nodes {nodes} --shards \
             {shards}{small}",
            time.as_secs()
        )
    }

    fn needs(&self) -> Needs {
        self.faults.iter().fold(Needs::default(), |needs, fault| needs.with(fault.needs()))
    }
}

async fn perform(stand: Stand, run: Run, recorder: Recorder) -> Report {
    let random = Random::seeded(run.seed);
    let dice = Dice::new(&random);
    let ground = Ground { needs: run.needs(), seed: random.next_seed(), disk_bytes: DISK_BYTES };
    let mut knobs = if run.is_small { SMALL.to_vec() } else { Vec::new() };
    if run.faults.iter().any(|fault| fault.is_shape()) {
        knobs.extend(SHAPED);
    }
    let settings = crate::cluster::Settings { ground, ..stand.settings(&run.name, run.nodes, &knobs) };
    let mut cluster = Cluster::start(&settings).await;
    let (faults, lacking) = possible(&run, &cluster);
    let table = Table {
        name: TABLE,
        shards: run.shards,
        splits: faults.contains(&Fault::Split),
        deadline: DEADLINE,
        policy: Policy::Tolerant { serves_within: SERVES_WITHIN },
    };
    let mut mix = Mix::start(&cluster, &table, &run.workloads, &recorder, Dice::new(&random)).await;
    let admin = cluster.client(Options { deadline: DEADLINE, ..Options::default() }).await;

    let (schedule, world) = (Schedule { faults, time: run.time }, mix.world.clone());
    let mut arena = Arena { cluster: &mut cluster, table: TABLE, admin: &admin, recorder: &recorder, dice: &dice };
    let names = mix.names.clone();
    let done = mix.beside(schedule.run(&mut arena, &world, &names)).await;
    recorder.nemesis("healed", "all");
    world.heal();
    sleep(HEALED).await;
    let length = recorder.now();
    mix.end().await;
    let alike = read_alike(&cluster, &admin, TABLE).await;
    cluster.check_well();

    let mut report = report(&run, &cluster, &world, &done, &alike);
    lacking.iter().for_each(|words| report.add("NOT DONE", words));
    let timeline = timeline(&run, &cluster, &world, &done, length);
    write(&settings.home.join("timeline.svg"), &timeline.svg());
    mix.demand(run.time.as_secs() * OK_MIN_A_SECOND);
    report
}

/// The faults that can be struck on this ground, and those that cannot, with the reason.
///
/// # Panics
/// If there are such and the run takes nothing less than what it names.
fn possible(run: &Run, cluster: &Cluster) -> (Vec<Fault>, Vec<String>) {
    let lacks = |fault: &Fault| cluster.lacks(*fault).map(|reason| format!("{fault}: {reason}"));
    let lacking: Vec<String> = run.faults.iter().filter_map(lacks).collect();
    assert!(lacking.is_empty() || run.takes_less, "faults that are not possible here: {}", lacking.join("; "));
    (run.faults.iter().copied().filter(|fault| lacks(fault).is_none()).collect(), lacking)
}

fn report(run: &Run, cluster: &Cluster, world: &World, done: &[Done], alike: &str) -> Report {
    let mut report = Report::new(&run.name);
    report.add("again", run.again());
    cluster.ground().iter().for_each(|words| report.add("ground", words));
    let mut by_fault: BTreeMap<Fault, Vec<&Done>> = BTreeMap::new();
    done.iter().for_each(|done| by_fault.entry(done.fault).or_default().push(done));
    let tally = world.tally();
    for (fault, all) in &by_fault {
        let held: Duration = all.iter().map(|done| done.to.saturating_sub(done.from)).sum();
        let resumed: Distribution = all.iter().map(|done| done.resumed.saturating_sub(done.to)).collect();
        let mut gaps = Distribution::default();
        for done in all {
            for shard in 0..world.shards() {
                gaps.add(longest_gap(&tally.ack_times(shard), done.from, done.resumed));
            }
        }
        let count = all.len();
        report.add(format!("{fault}, {count} times"), format!("{:.1} s in all", held.as_secs_f64()));
        report.add(format!("{fault}: longest outages of shards"), &gaps);
        report.add(format!("{fault}: from its end until all had gone on"), &resumed);
        all.iter().for_each(|done| report.add(format!("{fault} at {:.1} s", done.from.as_secs_f64()), &done.effect));
    }
    for workload in &run.workloads {
        let shown = tally.shown(workload.name).unwrap_or(workload.promise);
        report.add(workload.name, format!("{shown}; {}", tally.of(workload.name)));
    }
    report.add("all of them", tally.sum());
    report.add("after it, on every node", alike);
    report
}

fn timeline(run: &Run, cluster: &Cluster, world: &World, done: &[Done], length: Duration) -> Timeline {
    let tally = world.tally();
    let names = run.workloads.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    Timeline {
        title: format!("{}: {names}; writes acknowledged by each shard, and what was done to the nodes", run.name),
        length,
        nodes: cluster.nodes.iter().map(|node| node.name().to_owned()).collect(),
        spans: done
            .iter()
            .map(|Done { fault, nodes, from, to, .. }| Span {
                what: fault.name().to_owned(),
                nodes: nodes.clone(),
                from: *from,
                to: *to,
            })
            .collect(),
        acks: (0..world.shards()).map(|shard| tally.ack_times(shard)).collect(),
        errors: tally.error_times(),
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
