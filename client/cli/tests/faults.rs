//! Faults on real processes, in their short form; `cargo xtask jepsen --long` has the long one.
//!
//! The cases are those of `lentic-jepsen`. They are run from here because here is the binary: cargo builds it for the
//! tests of its own package. Bounds on time are lax, for tests share the machine; what is promised of times is
//! measured by the long form, on a machine that does nothing else.

#![allow(clippy::unwrap_used, reason = "a test that meets an error there has failed")]
#![allow(clippy::print_stdout, reason = "the report of a run is kept with the test's output")]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lentic_jepsen::cases::{Away, Grows, Hostile, Pause, away, grows_and_shrinks, hostile, pause};
use lentic_jepsen::suite::short;
use lentic_jepsen::{Cluster, Report, Stand, Verdict};

/// One case at a time: each is a cluster under load, and its clocks are real.
static ALONE: Mutex<()> = Mutex::new(());

/// The longest that a case may take.
const CASE_MAX: Duration = Duration::from_secs(600);

/// What chance follows from: a minute of every fault is the same minute each time, as far as processes are.
const SEED: u64 = 1;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a case on a directory that stays if it fails: below `target/tmp`, for whoever looks into it.
fn on_stand<F: Future<Output = ()>>(name: &str, work: impl FnOnce(Stand) -> F) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{name}"));
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).unwrap();
    let stand = Stand { program: PathBuf::from(env!("CARGO_BIN_EXE_lentic")), home: home.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(CASE_MAX, work(stand)).await }).expect("it ends in time");
    std::fs::remove_dir_all(&home).unwrap();
}

fn case<F: Future<Output = Report>>(name: &str, work: impl FnOnce(Stand) -> F) {
    on_stand(name, async |stand| println!("{}", work(stand).await));
}

fn run(name: &str) {
    on_stand(name, async |stand| match lentic_jepsen::run(&stand, short(name, SEED)).await {
        Verdict::Kept(report) => println!("{report}"),
        Verdict::Broken(words) => panic!("{words}"),
    });
}

#[test]
fn processes_are_killed_paused_and_restarted() {
    run("processes");
}

#[test]
fn links_are_cut() {
    run("partitions");
}

#[test]
fn packets_are_lost_and_late() {
    run("packets");
}

#[test]
fn power_fails() {
    run("power");
}

#[test]
fn syncs_are_slow_and_fail() {
    run("syncs");
}

#[test]
fn clocks_files_and_room_are_wrong() {
    run("wrong");
}

#[test]
fn nodes_outlive_the_thread_that_started_them() {
    on_stand("thread", async |stand| {
        let settings = stand.settings("thread", 1, &[]);
        let start = move || tokio::runtime::Runtime::new().unwrap().block_on(Cluster::start(&settings));
        let mut cluster = std::thread::spawn(start).join().unwrap();
        cluster.well("the end of the thread that started it").await;
        assert!(!cluster.nodes[0].log().contains("stopping"), "{}", cluster.nodes[0].log_tail());
        cluster.check_well();
    });
}

#[test]
fn a_node_that_was_away_catches_up() {
    case("away", async |stand| away(&stand, Away { short: 2 * SECOND }).await);
}

#[test]
fn a_leader_that_was_paused_does_not_answer_with_what_it_knew() {
    case("pause", async |stand| pause(&stand, Pause { length: 5 * SECOND, times: 1 }).await);
}

#[test]
fn a_cluster_grows_and_shrinks_under_load() {
    case("grows", async |stand| grows_and_shrinks(&stand, Grows { seed: SEED, rest: SECOND }).await);
}

#[test]
fn hostile_callers_get_errors_and_others_service() {
    case("hostile", async |stand| {
        hostile(&stand, Hostile { connections: 10_000, scans: 100, gap_max: 15 * SECOND }).await
    });
}
