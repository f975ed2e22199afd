//! Small histories made by hand, with what each must be told of. The files' names say what they show.
//!
//! The second column pins what `adya` finds by itself, the third what the check of reads beside it finds: an update of
//! `adya` that sees less fails here. `good-…` files pass.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lentic_check::history::History;
use lentic_check::serializable::{Anomaly, Finder, Violation, check};

type Names = &'static [&'static str];

/// File; names that `adya` finds; names that the check of reads finds.
const BAD: &[(&str, Names, Names)] = &[
    // Two transactions append to two lists, in opposite orders.
    ("bad-g0-dirty-write", &["G0"], &[]),
    // A value is read whose transaction failed, before it did.
    ("bad-g1a-aborted-read", &["G1a"], &["G1a"]),
    // An append went on top of one that failed.
    ("bad-g1a-dirty-update", &["G1a", "dirty-update"], &["G1a"]),
    // The first of a transaction's two appends is read without the second.
    ("bad-g1b-intermediate-read", &["G-single-item", "G1b"], &[]),
    // Two transactions read what the other appended.
    ("bad-g1c-circular-information-flow", &["G1c"], &[]),
    // Two transactions read a list as empty and append to it.
    ("bad-lost-update", &["G-single-item", "lost-update"], &[]),
    // An append is acknowledged, and a later read has what is before and after it.
    ("bad-lost-append", &["G-single-item-realtime", "G0-realtime"], &["stale-read"]),
    // A transaction's append to one list is read, that to another is not.
    ("bad-g-single-read-skew", &["G-single-item"], &[]),
    // Two transactions read both lists as empty, and each appends to one.
    ("bad-g2-item-write-skew", &["G2-item"], &[]),
    // Two appends; one reader sees only the first, another only the second.
    ("bad-long-fork", &["G-nonadjacent-item"], &[]),
    // An append is acknowledged, and a later read does not have it: serializable, but not strictly.
    ("bad-stale-read", &["G-single-item-realtime"], &["stale-read"]),
    // What nobody knew of has been read, and then is not.
    ("bad-stale-read-of-info", &["G-single-item-realtime"], &["stale-read"]),
    // One append began after another was acknowledged, and is read without it.
    ("bad-causal-reverse", &["G-single-item-realtime"], &[]),
    // A value is read before its append began.
    ("bad-read-of-the-future", &["G1c-realtime"], &[]),
    // A value is read that nobody appended: `adya` passes it.
    ("bad-garbage-read", &[], &["garbage-read"]),
    // A value is read in a list to which nobody appended it: `adya` passes it.
    ("bad-garbage-read-of-another-list", &[], &["garbage-read"]),
    // Two appends of one transaction are read in the other order, below a later one: `adya` passes it.
    ("bad-reversed-appends", &[], &["reversed-appends"]),
    // A value is read twice in a list.
    ("bad-duplicate-read", &["duplicate-elements"], &["duplicate-elements"]),
    // Two values are read in both orders.
    ("bad-incompatible-order", &["G-single-item-realtime", "incompatible-order"], &["incompatible-order"]),
    // A transaction does not read what it appended itself.
    ("bad-internal-own-append-unseen", &["internal"], &[]),
    // A transaction reads a list twice, and differently.
    ("bad-internal-reads-differ", &["G-single-item", "internal"], &[]),
    // Of two appends of a transaction of which nobody knew, one took effect.
    ("bad-info-half-applied", &["G-single-item"], &[]),
];

/// What passes: order after order, answers in another order than that of the effects, transactions of which nobody
/// knows that took effect at once, late or never, reads of nothing, failures that left nothing, faults between.
const GOOD: &[&str] = &[
    "good-appends-that-nobody-read",
    "good-concurrent",
    "good-empty-reads",
    "good-failed-appends-unseen",
    "good-info-that-took-effect",
    "good-info-that-took-effect-late",
    "good-info-that-took-none",
    "good-one-after-the-other",
    "good-read-before-a-longer-read-ends",
    "good-with-faults",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.jsonl"))).expect("the file can be read")
}

fn history(name: &str) -> History {
    History::read(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(anomalies: &[Anomaly], finder: Finder) -> BTreeSet<&str> {
    anomalies.iter().filter(|anomaly| anomaly.finder == finder).map(|anomaly| &*anomaly.name).collect()
}

#[test]
fn each_bad_history_is_caught_by_name() {
    for (name, by_adya, by_reads) in BAD {
        let Err(Violation::Anomalies(anomalies)) = check(&history(name), 1) else { panic!("{name} passes") };
        for (finder, expected) in [(Finder::Adya, by_adya), (Finder::Reads, by_reads)] {
            assert_eq!(names(&anomalies, finder), expected.iter().copied().collect(), "{name}, {finder:?}");
        }
        let told = anomalies.iter().filter(|anomaly| !anomaly.operations.is_empty()).count();
        assert!(told > 0, "{name}: no operation is named");
    }
}

#[test]
fn each_good_history_passes() {
    for name in GOOD {
        check(&history(name), 1).unwrap_or_else(|violation| panic!("{name}: {violation}"));
    }
}

#[test]
fn the_tables_and_the_folder_agree() {
    let listed: BTreeSet<_> = BAD.iter().map(|(name, ..)| *name).chain(GOOD.iter().copied()).collect();
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<_> = entries.collect();
    assert_eq!(found, listed.iter().map(|name| format!("{name}.jsonl")).collect());
}

#[test]
fn each_history_is_written_as_it_was_read() {
    for name in BAD.iter().map(|(name, ..)| *name).chain(GOOD.iter().copied()) {
        let history = history(name);
        let again = History::read(&history.write()).unwrap();
        // Lines of faults are not kept, and so the lines below them move up.
        if name == "good-with-faults" {
            assert_eq!(again.operations().len(), history.operations().len());
        } else {
            assert_eq!(again, history, "{name}");
        }
    }
}

#[test]
fn the_operations_of_an_anomaly_are_called_by_their_lines() {
    let Err(Violation::Anomalies(anomalies)) = check(&history("bad-g1a-dirty-update"), 1) else { panic!("it passes") };
    let aborted = anomalies.iter().filter(|anomaly| anomaly.name == "G1a");
    assert_eq!(aborted.map(|anomaly| &*anomaly.operations).collect::<Vec<_>>(), [[6, 4], [6, 4]]);
    let Err(violation) = check(&history("bad-stale-read"), 1) else { panic!("it passes") };
    let told = violation.to_string();
    let ours = "T4 read list 1 as [], but T2 appended 1 and was answered before line 3, where this was called";
    assert!(told.contains(&format!("stale-read (answers in lines 4, 2): {ours}\n")), "{told}");
    assert!(told.contains("G-single-item-realtime (answers in lines 4, 2): "), "{told}");
    assert!(told.contains("T2 completed at index 2, 0.000 seconds before the invocation of T4, at index 3"), "{told}");
}
