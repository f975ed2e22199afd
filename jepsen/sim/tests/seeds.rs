//! Seeds: each a cluster of random shape, with clients and faults of all kinds.

#![allow(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

use lentic_sim::{Failure, Plan, SPLITS_FROM, seed, sweep};

/// So many seeds run with every test run, from seed 1 on. Many more run outside of the tests: `cargo xtask sim --seeds N`.
const SEEDS: u64 = 200;
/// So many more from those on that split shards.
const SEEDS_WITH_SPLITS: u64 = 40;

fn tell(failure: &Failure) {
    eprintln!("seed {}: {}\nrun it again: {}", failure.seed, failure.reason, failure.again());
}

fn assert_passes(from: u64, count: u64) {
    let swept = sweep(Plan { from, count, twice: false, stops_at_first: false }, tell);
    let again: Vec<_> = swept.failures.iter().map(Failure::again).collect();
    assert!(again.is_empty(), "of {count} seeds from {from} on these failed: {}", again.join(", "));
    assert_eq!(swept.passed, count);
}

#[test]
fn nothing_is_lost_and_all_comes_back() {
    assert_passes(1, SEEDS);
}

#[test]
fn shards_split_while_things_break() {
    assert_passes(SPLITS_FROM, SEEDS_WITH_SPLITS);
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
