//! Counters on 10,000 hot keys of a table of 500,000 by merge, in batches of 100, beside the same counters by read, add
//! and write through the same engine, in three ways; and what a get costs after many merges.

use std::path::Path;

use bytes::Bytes;
use lentic_engine::{Family, Found, MergeOperator, ReadStats, Span, Store};
use lentic_machine::shard::{Condition, Expected, Operation, Write};
use lentic_types::Version;

use crate::Size;
use crate::figures::{Figures, Target};
use crate::load::{self, BATCH, Subject, scramble, seconds};

const HOT_KEYS: u64 = 10_000;

pub(crate) fn run(size: Size, figures: &mut Figures) {
    counters(size, figures);
    get_after_merges(size, figures);
}

/// How a counter is raised without a merge.
#[derive(Clone, Copy)]
enum Rewrite {
    /// As a stream task does it: a get for each event, and puts in batches.
    GetEach,
    /// The counters of a batch are read at once.
    GetTogether,
    /// As before, and written with the condition that none has changed since.
    CompareAndSet,
}

fn counters(size: Size, figures: &mut Figures) {
    let batches = size.pick(5_000, 1_000) as u64;
    let adds = (batches * BATCH as u64) as f64;
    let kinds = [
        (Rewrite::GetEach, "read_modify_write", Target::AtLeast(3.0)),
        (Rewrite::GetTogether, "multi_get_and_put", Target::Stated),
        (Rewrite::CompareAndSet, "compare_and_set", Target::Stated),
    ];
    let (mut merges, mut rewrites) = (vec![], kinds.map(|_| vec![]));
    for _ in 0..size.repetitions {
        merges.push(adds / by_merge(size, batches));
        for ((kind, _, _), rates) in kinds.iter().zip(&mut rewrites) {
            rates.push(adds / by_rewrite(size, batches, *kind));
        }
    }
    for ((_, name, target), rates) in kinds.iter().zip(&rewrites) {
        let ratios: Vec<f64> = merges.iter().zip(rates).map(|(merge, rewrite)| merge / rewrite).collect();
        figures.add(&format!("engine_merge_ratio_to_{name}"), &ratios, "ratio", *target);
        figures.add(&format!("engine_{name}_rate"), rates, "adds/s", Target::Stated);
    }
    figures.add("engine_merge_rate", &merges, "merges/s", Target::Stated);
}

/// The distinct hot keys of a batch.
fn batch_keys(number: u64) -> impl Iterator<Item = Bytes> {
    let first = scramble(number) % HOT_KEYS;
    // 97 and 10,000 have no divisor in common: no key comes twice.
    (0..BATCH as u64).map(move |step| load::key((first + step * 97) % HOT_KEYS))
}

/// A table in which the hot keys are a small part: all of them written, flushed and compacted, the counters at 0.
fn loaded(directory: &Path, size: Size) -> Subject {
    let mut subject = Subject::open(directory);
    let zero = || Bytes::from(0i64.to_be_bytes().to_vec());
    for start in (0..size.pick(500_000, 50_000) as u64).step_by(BATCH) {
        let numbers = start..start + BATCH as u64;
        let rows = numbers.map(|n| (load::key(n), if n < HOT_KEYS { zero() } else { load::value(n) }));
        let entry = subject.puts(rows);
        subject.apply(&entry);
    }
    subject.store.flush().expect("the store works");
    subject.store.compact(&Span::all(Family::Data)).expect("the store works");
    subject
}

fn by_merge(size: Size, batches: u64) -> f64 {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let mut subject = loaded(directory.path(), size);
    let one = Bytes::from(1i64.to_be_bytes().to_vec());
    let merge = |key| Operation::Merge { key, operator: MergeOperator::AddI64, operand: one.clone(), expiry: None };
    seconds(|| {
        for number in 0..batches {
            let operations = batch_keys(number).map(merge).collect();
            let entry = subject.entry(Write { operations, ..Write::default() });
            subject.apply(&entry);
        }
    })
}

/// Reads counters, adds, and writes them back.
fn by_rewrite(size: Size, batches: u64, kind: Rewrite) -> f64 {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let mut subject = loaded(directory.path(), size);
    seconds(|| {
        for number in 0..batches {
            let keys: Vec<Bytes> = batch_keys(number).collect();
            let mut write = Write::default();
            for (key, found) in keys.iter().zip(read(&subject, &keys, kind)) {
                let found = found.expect("every counter was written");
                let count = i64::from_be_bytes(found.value[..].try_into().expect("eight bytes")) + 1;
                let value = count.to_be_bytes().to_vec().into();
                if matches!(kind, Rewrite::CompareAndSet) {
                    write.conditions.push(Condition { key: key.clone(), expected: Expected::VersionIs(found.version) });
                }
                write.operations.push(Operation::Put { key: key.clone(), value, expiry: None });
            }
            let entry = subject.entry(write);
            subject.apply(&entry);
        }
    })
}

fn read(subject: &Subject, keys: &[Bytes], kind: Rewrite) -> Vec<Option<Found>> {
    let (at, mut stats) = (subject.shard.read_at(Version::MAX), ReadStats::default());
    match kind {
        Rewrite::GetEach => {
            keys.iter().map(|key| at.get(&subject.store, key, &mut stats).expect("the store works")).collect()
        }
        Rewrite::GetTogether | Rewrite::CompareAndSet => {
            at.multi_get(&subject.store, keys, &mut stats).expect("the store works")
        }
    }
}

fn get_after_merges(size: Size, figures: &mut Figures) {
    let many = size.pick(1_000_000, 100_000) as u64;
    let add = (MergeOperator::AddI64, Bytes::from(1i64.to_be_bytes().to_vec()));
    // An append makes the value larger, so its peer is one put of the same size.
    let append = (MergeOperator::Append, Bytes::from_static(b"sixteen bytes..."));
    let large = (MergeOperator::Append, Bytes::from(vec![b'x'; 32_000]));
    let (mut settled, mut fresh, mut chains) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.repetitions {
        let (after_ten, after_many) = (get_seconds(&add, 10), get_seconds(&add, many));
        fresh.push(after_many.fresh / after_ten.fresh);
        settled.push(after_many.settled / after_ten.settled);
        chains.push(get_seconds(&append, 2_000).settled / get_seconds(&large, 1).settled);
    }
    figures.add("engine_get_after_many_merges_to_after_ten", &settled, "ratio", Target::AtMost(2.0));
    figures.add("engine_get_after_many_merges_to_after_ten_before_compaction", &fresh, "ratio", Target::Stated);
    figures.add("engine_get_after_2000_appends_to_after_one", &chains, "ratio", Target::Stated);
}

/// Seconds of 20,000 gets of one key after so many merges into it.
struct GetSeconds {
    /// As the flushes left the store.
    fresh: f64,
    /// After a compaction, which keeps every version.
    settled: f64,
}

fn get_seconds((operator, operand): &(MergeOperator, Bytes), merges: u64) -> GetSeconds {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let mut subject = Subject::open(directory.path());
    let key = load::key(1);
    let merge = Operation::Merge { key: key.clone(), operator: *operator, operand: operand.clone(), expiry: None };
    for _ in 0..merges {
        let entry = subject.entry(Write { operations: vec![merge.clone()], ..Write::default() });
        subject.apply(&entry);
    }
    subject.store.flush().expect("the store works");
    let gets = || {
        let (at, mut stats) = (subject.shard.read_at(Version::MAX), ReadStats::default());
        seconds(|| {
            for _ in 0..20_000 {
                let found = at.get(&subject.store, &key, &mut stats).expect("the store works");
                assert!(found.is_some());
            }
        })
    };
    let fresh = gets();
    subject.store.compact(&Span::all(Family::Data)).expect("the store works");
    GetSeconds { fresh, settled: gets() }
}
