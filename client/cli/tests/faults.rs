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

use lentic_jepsen::cases::{
    Away, Blackout, Hostile, Kills, Pause, Rolling, Transactions, away, blackout, hostile, kills, pause, rolling,
    transactions,
};
use lentic_jepsen::{Pace, Report, Stand};

/// One case at a time: each is a cluster under load, and its clocks are real.
static ALONE: Mutex<()> = Mutex::new(());

/// The longest that a case may take.
const CASE_MAX: Duration = Duration::from_secs(180);

const SECOND: Duration = Duration::from_secs(1);

fn run<F: Future<Output = Report>>(case: impl FnOnce(Stand, Pace) -> F) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = tempfile::tempdir().unwrap();
    let stand = Stand { program: PathBuf::from(env!("CARGO_BIN_EXE_lentic")), home: home.path().to_owned() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(async { tokio::time::timeout(CASE_MAX, case(stand, Pace::default())).await });
    println!("{}", report.unwrap());
}

#[test]
fn a_leader_that_is_killed_loses_nothing_and_is_replaced_soon() {
    run(async |stand, pace| {
        kills(&stand, Kills { kills: 3, gap_half_max: 5 * SECOND, gap_max: 15 * SECOND, pace }).await
    });
}

#[test]
fn transactions_are_strictly_serializable_while_leaders_are_killed() {
    run(async |stand, _| {
        let plan = Transactions {
            kills: 3,
            calm: 3 * SECOND,
            commits_min: 20,
            gap_half_max: 8 * SECOND,
            gap_max: 20 * SECOND,
            resume_max: 25 * SECOND,
            read_max: 20 * SECOND,
        };
        transactions(&stand, plan).await
    });
}

#[test]
fn what_was_acknowledged_outlives_all_processes() {
    run(async |stand, pace| blackout(&stand, Blackout { times: 1, pace }).await);
}

#[test]
fn a_node_that_was_away_catches_up() {
    run(async |stand, pace| away(&stand, Away { short: 2 * SECOND, pace }).await);
}

#[test]
fn a_leader_that_was_paused_does_not_answer_with_what_it_knew() {
    run(async |stand, pace| pause(&stand, Pause { length: 5 * SECOND, times: 1, pace }).await);
}

#[test]
fn a_rolling_restart_fails_no_operation() {
    run(async |stand, pace| {
        rolling(&stand, Rolling { rounds: 1, gap_half_max: 5 * SECOND, gap_max: 15 * SECOND, pace }).await
    });
}

#[test]
fn hostile_callers_get_errors_and_others_service() {
    run(async |stand, pace| {
        hostile(&stand, Hostile { connections: 10_000, scans: 100, gap_max: 15 * SECOND, pace }).await
    });
}
