//! What history costs: reads after many rollbacks, scans of an old version, writes beside readers of old versions.

use std::time::{Duration, Instant};

use lentic_client::{KeyRange, Table, Take, Version, WriteBatch};

use super::fill::{Fill, SHARDS, fill, key};
use crate::Size;
use crate::cluster::Lentic;
use crate::drive::{Load, Pace, drive, paced, scatter, value};
use crate::figures::{Figures, Target};

const VALUE_BYTES: usize = 256;
const HOT_KEYS: u64 = 1_000;
const KEYS: u64 = 100_000;
const READERS: u64 = 16;
const WRITERS: u64 = 64;
const ROLLBACKS: u64 = 100;
/// Point queries: 2,000 a second.
const QUERIES: Pace = Pace { every: Duration::from_millis(10), at_once: 20 };

pub(crate) async fn run(size: Size, figures: &mut Figures) {
    let cluster = Lentic::start().await;
    let client = cluster.client().await;
    for name in ["hot", "hotter", "onward", "history"] {
        cluster.table(&client, name, SHARDS).await;
    }
    rollbacks(size, &client.table("hot"), Job::ComesOn, figures).await;
    rollbacks(size, &client.table("hotter"), Job::StandsStill, figures).await;
    rollbacks(size, &client.table("onward"), Job::NeverGoesBack, figures).await;
    cluster.processes.settle().await;
    let history = client.table("history");
    fill(&history, Fill { from: 0, to: KEYS, value_bytes: VALUE_BYTES, fence: None }).await;
    let old = client.snapshot().await.expect("the cluster answers").version();
    let writes = size.pick(1_000_000, 50_000) as u64;
    overwrite(&history, writes).await;
    cluster.processes.settle().await;
    let (mut latest, mut before, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.repetitions {
        latest.push(scan(&history, None).await);
        before.push(scan(&history, Some(old)).await);
        ratios.push(before[before.len() - 1] / latest[latest.len() - 1]);
    }
    figures.add("scan_at_latest", &latest, "s", Target::Stated);
    figures.add("scan_at_old_version", &before, "s", Target::Stated);
    figures.add("scan_at_old_version_to_latest", &ratios, "ratio", Target::AtMost(2.0));
    beside_readers(size, &history, old, figures).await;
}

/// What the job does whose range is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    /// It writes between going back and its next checkpoint.
    ComesOn,
    /// It does not: what it took back lies above what readers want, all of it.
    StandsStill,
    /// It writes as much as one that comes on, and goes back on nothing: what its writes alone cost those who read.
    NeverGoesBack,
}

/// Reads of a range that a job goes back on, again and again.
async fn rollbacks(size: Size, table: &Table, job: Job, figures: &mut Figures) {
    let all = KeyRange::all;
    fill(table, Fill { from: 0, to: HOT_KEYS, value_bytes: VALUE_BYTES, fence: None }).await;
    let (mut gets, mut scans) = (Vec::new(), Vec::new());
    let first = (gets_rate(size, table).await, scan_rate(size, table).await);
    let mut fence = table.acquire(all(), "job").await.expect("nobody owns it");
    let mut seed = 0;
    let mut write_some = |fence| {
        seed += 1;
        let put = |batch: WriteBatch, number| batch.put(key(number), value(number ^ seed << 32, VALUE_BYTES));
        let some = (0..HOT_KEYS / 10).map(|place| scatter(place ^ seed << 32) % HOT_KEYS);
        table.write_in_parts(some.fold(WriteBatch::new().fence(fence), put))
    };
    for number in 0..ROLLBACKS {
        if job != Job::StandsStill {
            write_some(fence).await.expect("the job owns the table");
        }
        let checkpoint = table.checkpoint(&all(), fence, number).await.expect("the job owns the table");
        write_some(fence).await.expect("the job owns the table");
        if job == Job::NeverGoesBack {
            continue;
        }
        let back = Take::new(all(), "job").restore(&all(), checkpoint.token);
        fence = table.take(back).await.expect("the checkpoint is kept");
    }
    for _ in 0..size.repetitions {
        gets.push(first.0 / gets_rate(size, table).await);
        scans.push(first.1 / scan_rate(size, table).await);
    }
    let (what, gets_target, scans_target) = match job {
        Job::ComesOn => ("100_rollbacks", Target::AtMost(1.5), Target::AtMost(1.5)),
        Job::StandsStill => ("100_rollbacks_and_nothing_else", Target::Stated, Target::Stated),
        Job::NeverGoesBack => ("the_same_writes_without_rollbacks", Target::Stated, Target::Stated),
    };
    figures.add(&format!("gets_after_{what}_time"), &gets, "ratio", gets_target);
    figures.add(&format!("scans_after_{what}_time"), &scans, "ratio", scans_target);
}

fn load(size: Size, callers: u64) -> Load {
    let measured = Duration::from_secs(if size.quick { 1 } else { 3 });
    Load { callers, warm_up: Duration::from_secs(1), measured }
}

async fn gets_rate(size: Size, table: &Table) -> f64 {
    let table = table.clone();
    let seen = drive(load(size, READERS), move |caller, number| {
        let table = table.clone();
        async move {
            let key = key(scatter(caller << 40 | number) % HOT_KEYS);
            assert!(table.get(key).await.expect("the cluster answers").is_some(), "the key is there");
        }
    });
    seen.await.rate
}

async fn scan_rate(size: Size, table: &Table) -> f64 {
    let table = table.clone();
    let seen = drive(load(size, 2), move |_, _| {
        let table = table.clone();
        async move {
            assert_eq!(rows(&table, None).await, HOT_KEYS, "all keys are there");
        }
    });
    seen.await.rate
}

async fn overwrite(table: &Table, writes: u64) {
    // In turns: each key is overwritten as often as the others.
    for turn in 0..writes / KEYS {
        let mut from = 0;
        while from < KEYS {
            let put = |batch: WriteBatch, number| batch.put(key(number), value(number ^ turn << 32, VALUE_BYTES));
            let batch = (from..(from + 1_000).min(KEYS)).fold(WriteBatch::new(), put);
            table.write_in_parts(batch).await.expect("the cluster takes writes");
            from += 1_000;
        }
    }
}

/// How long it takes to read all rows.
async fn scan(table: &Table, at: Option<Version>) -> f64 {
    let began = Instant::now();
    assert_eq!(rows(table, at).await, KEYS, "all keys are there");
    began.elapsed().as_secs_f64()
}

async fn rows(table: &Table, at: Option<Version>) -> u64 {
    let scan = table.scan(KeyRange::all());
    let mut rows = match at {
        Some(version) => scan.at(version).start(),
        None => scan.start(),
    };
    let mut count = 0;
    while let Some(row) = rows.next().await {
        row.expect("the cluster answers");
        count += 1;
    }
    count
}

/// Puts, and the same beside an analyst who asks for single keys at an old version.
async fn beside_readers(size: Size, table: &Table, old: Version, figures: &mut Figures) {
    let (mut alone, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..size.repetitions {
        let without = puts(size, table).await;
        let asked = table.clone();
        let queries = paced(QUERIES, move |number| {
            let table = asked.clone();
            async move {
                let found = table.get_at(key(scatter(number) % KEYS), old).await.expect("the cluster answers");
                assert!(found.is_some(), "the key was there");
            }
        });
        let beside = puts(size, table).await;
        queries.stop().await;
        alone.push(without);
        ratios.push(beside / without);
    }
    figures.add("put_rate", &alone, "puts/s", Target::Stated);
    figures.add("put_rate_beside_2000_old_reads", &ratios, "ratio", Target::AtLeast(0.95));
}

async fn puts(size: Size, table: &Table) -> f64 {
    let table = table.clone();
    let seen = drive(load(size, WRITERS), move |caller, number| {
        let table = table.clone();
        async move {
            let key = key(scatter(caller << 40 | number) % KEYS);
            table.put(key, value(number, VALUE_BYTES)).await.expect("the cluster takes writes");
        }
    });
    seen.await.rate
}
