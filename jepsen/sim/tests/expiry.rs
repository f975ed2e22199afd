//! Values that end, while clocks leap and history is kept for less than a second.

#![allow(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

use lentic_sim::seed_with;

const SEEDS: u64 = 12;

#[test]
fn values_end_when_they_should() {
    let workload = lentic_workloads::find("expiry").unwrap();
    let mut raised = 0;
    for seed in 1..=SEEDS {
        match seed_with(seed, workload).value {
            Ok(report) => raised += report.raised,
            Err(reason) => panic!("seed {seed}: {reason}"),
        }
    }
    // So that what has ended was collected meanwhile.
    assert!(raised > usize::try_from(SEEDS).unwrap(), "{raised} watermarks were raised, which shows little");
}
