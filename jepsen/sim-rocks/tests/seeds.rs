//! One seed in twenty on RocksDB.

use lentic_sim::seed_on;
use lentic_sim_rocks::SimRocks;

#[test]
fn nothing_is_lost_on_rocksdb() {
    let failed: Vec<_> = (20..=200)
        .step_by(20)
        .filter_map(|seed| seed_on::<SimRocks>(seed, false).value.err().map(|reason| format!("seed {seed}: {reason}")))
        .collect();
    assert!(failed.is_empty(), "run it again: cargo xtask sim --rocks --seed N; {}", failed.join("; "));
}
