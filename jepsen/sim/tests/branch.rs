//! Branches, while history is kept for less than a second and things break.

#![allow(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

use lentic_sim::seed_with;

const SEEDS: u64 = 8;

#[test]
fn branches_show_what_their_parents_held() {
    let workload = lentic_workloads::find("branch").unwrap();
    let mut raised = 0;
    for seed in 1..=SEEDS {
        match seed_with(seed, workload).value {
            Ok(report) => raised += report.raised,
            Err(reason) => panic!("seed {seed}: {reason}"),
        }
    }
    assert!(raised > usize::try_from(2 * SEEDS).unwrap(), "{raised} watermarks were raised, which shows little");
}
