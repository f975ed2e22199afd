//! Seeds: each a cluster of random shape, with clients and faults of all kinds.

use lentic_sim::{Failure, Plan, seed, sweep};

/// So many seeds run with every test run, from seed 1 on. Many more run outside of the tests: `cargo xtask sim --seeds N`.
const SEEDS: u64 = 200;

/// Seeds beyond those that once failed, and what they found.
const ONCE_FAILED: [(u64, &str); 0] = [];

fn tell(failure: &Failure) {
    eprintln!("seed {}: {}\nrun it again: {}", failure.seed, failure.reason, failure.again());
}

fn assert_passes(from: u64, count: u64) {
    let swept = sweep(Plan { from, count, twice: false, stops_at_first: false }, tell);
    let failed: Vec<_> =
        swept.failures.iter().map(|failure| format!("{} ({})", failure.seed, failure.again())).collect();
    assert!(failed.is_empty(), "of {count} seeds from {from} on these failed: {}", failed.join(", "));
    assert_eq!(swept.passed, count);
}

#[test]
fn nothing_is_lost_and_all_comes_back() {
    assert_passes(1, SEEDS);
}

#[test]
fn what_once_failed_does_not() {
    ONCE_FAILED.iter().for_each(|(number, _)| assert_passes(*number, 1));
}

#[test]
fn a_seed_is_the_same_twice() {
    let (one, other) = (seed(5, true), seed(5, true));
    let differs = one.lines.iter().zip(&other.lines).position(|(one, other)| one != other);
    if let Some(place) = differs {
        panic!("line {place} differs:\n{}\n{}", one.lines[place], other.lines[place]);
    }
    assert_eq!(one.digest, other.digest);
}
