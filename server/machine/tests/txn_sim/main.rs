//! Transactions over random shards, judged by a serial model.
//!
//! A seed is a world: shards with their logs, leaders and replicas, coordinators and recoveries that perform the steps of
//! [`lentic_machine::txn`] over a network that loses, doubles, delays and reorders, clients that try again, and version
//! time that leaps. Leaders change and lose entries, coordinators and replicas crash between any two steps. In the end
//! all committed transactions, one after the other in the order of their versions, must give every value that was read
//! and that any version shows.
//!
//! A seed that fails names itself. `LENTIC_TXN_SEED=7 cargo test -p lentic-machine --test txn_sim replay -- --nocapture`
//! tells what happens in seed 7; `LENTIC_TXN_SEEDS=50000` runs so many more of them.
//!
//! Not here: fences, rollbacks, watermarks and GC, and changes of shape.

mod attempt;
mod client;
mod group;
mod history;
mod luck;
mod observe;
mod recover;
mod replica;
mod serial;
mod stamps;
mod work;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use history::Stats;
use luck::Broken;

/// Runs a seed; a panic is a failure like any other.
fn run(seed: u64, broken: Option<Broken>) -> Result<Stats, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| world::run(seed, broken, false)));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// Runs seeds; the first that fails ends the test. Much must have happened in them.
fn run_all(seeds: Range<u64>) -> Stats {
    let (count, mut stats) = (seeds.end - seeds.start, Stats::default());
    for seed in seeds {
        match run(seed, None) {
            Ok(one) => stats += one,
            Err(error) => panic!("seed {seed}: {error}\nto see what happened: {}", replay_of(seed)),
        }
    }
    stats.check(count);
    stats
}

fn replay_of(seed: u64) -> String {
    format!("LENTIC_TXN_SEED={seed} cargo test -p lentic-machine --test txn_sim replay -- --nocapture")
}

#[test]
fn transactions_are_serial_in_the_order_of_versions() {
    println!("{:#?}", run_all(0..1500));
}

#[test]
fn transactions_are_serial_in_more_worlds() {
    println!("{:#?}", run_all(1500..3000));
}

/// As many worlds as the environment asks for.
#[test]
fn transactions_are_serial_in_as_many_worlds_as_asked() {
    let Some(count) = std::env::var_os("LENTIC_TXN_SEEDS") else { return };
    let count: u64 = count.to_string_lossy().parse().expect("LENTIC_TXN_SEEDS is a number");
    println!("{:#?}", run_all(3000..3000 + count));
}

/// Worlds that have found a bug once, or that need a rule. A change of what is drawn makes other worlds of these seeds:
/// then the bugs are planted again, one at a time, and the seeds that catch them written here.
#[test]
fn what_was_found_stays_fixed() {
    for (seed, what) in REGRESSIONS {
        if let Err(error) = run(*seed, None) {
            panic!("seed {seed}, {what}: {error}\nto see what happened: {}", replay_of(*seed));
        }
    }
}

const REGRESSIONS: &[(u64, &str)] = &[
    (9, "an anchor that has forgotten a commit agrees to an abort"),
    (37, "an anchor that has forgotten an abort agrees to a commit"),
    (109, "a shard that knows of a commit stops when an anchor that has forgotten it says abort"),
    (21, "a refusal is told and not kept, and then an earlier attempt is prepared"),
    (3197, "a refusal is kept while an earlier attempt is open, which then commits"),
];

/// Rules that the surroundings of the machines keep: each is missed when it is broken.
#[test]
fn a_broken_rule_is_noticed() {
    for broken in Broken::ALL {
        let caught = (0..NOTICED_SEEDS_MAX).find_map(|seed| run(seed, Some(broken)).err().map(|error| (seed, error)));
        let (seed, error) = caught.unwrap_or_else(|| panic!("{broken:?} goes unnoticed in {NOTICED_SEEDS_MAX} seeds"));
        println!("{broken:?}: seed {seed}: {error}");
    }
}

/// In so many seeds a broken rule is noticed.
const NOTICED_SEEDS_MAX: u64 = 1_000;

/// Tells what happens in the seed that the environment names.
#[test]
fn replay() {
    let Some(seed) = std::env::var_os("LENTIC_TXN_SEED") else { return };
    let seed = seed.to_string_lossy().parse().expect("LENTIC_TXN_SEED is a number");
    world::run(seed, None, true).unwrap();
}
