//! Read, add one, write: the shape of Flink's own state benchmarks (a Long for each of 500,000 keys).

use std::collections::HashMap;
use std::time::Instant;

use lentic_client::state::{Task, ValueState};
use rocksdb::{DB, WriteBatch};

use super::place::{KEY_GROUPS, Place};
use crate::load::scramble;
use crate::peer;

/// Events that are read at a time, as a task takes them from its input.
const EVENTS_AT_ONCE: usize = 1_000;
/// What a task's cache counts for a key here: bookkeeping, key and value.
const CACHED_KEY_BYTES: usize = 128 + 14 + 8;

/// Keys and events of a run.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) keys: u64,
    pub(crate) events: u64,
}

impl Load {
    /// The key of an event.
    pub(crate) const fn key(self, event: u64) -> i64 {
        (scramble(event) % self.keys).cast_signed()
    }

    /// The keys of the events, some at a time.
    fn batches(self) -> impl Iterator<Item = Vec<i64>> {
        let first = (0..self.events).step_by(EVENTS_AT_ONCE);
        first.map(move |first| {
            (first..self.events.min(first + EVENTS_AT_ONCE as u64)).map(|event| self.key(event)).collect()
        })
    }

    /// A cache for a quarter of the keys.
    pub(crate) fn quarter_bytes(self) -> usize {
        usize::try_from(self.keys).expect("they are in memory") / 4 * CACHED_KEY_BYTES
    }
}

/// How a task reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The keys of some events at once before them, into a cache for a quarter of all.
    Cached,
    /// The keys of some events at once; nothing is kept.
    Uncached,
    /// Each event's key when it comes, with the cache: what a task pays that does not look ahead.
    OneByOne,
}

/// Events a second through a task's state. All keys have a value before, and at the end all is on disk.
pub(crate) async fn of_task(place: &Place, name: &str, load: Load, reads: Reads) -> f64 {
    let table = place.table(name).await;
    let cache_bytes = if reads == Reads::Uncached { 0 } else { load.quarter_bytes() };
    let mut task = place.task(&table, cache_bytes).await;
    let counts = task.value_state::<i64, i64>("counts").expect("a new state");
    for key in 0..load.keys.cast_signed() {
        counts.update(&mut task, &key, &0).await.expect("the table takes it");
    }
    task.flush().await.expect("the table takes it");
    let began = Instant::now();
    for keys in load.batches() {
        match reads {
            Reads::Cached => {
                counts.prefetch(&mut task, &keys).await.expect("the table answers");
                one_by_one(&mut task, &counts, &keys).await;
            }
            Reads::Uncached => together(&mut task, &counts, &keys).await,
            Reads::OneByOne => one_by_one(&mut task, &counts, &keys).await,
        }
    }
    task.checkpoint(1).await.expect("the table takes it");
    let rate = load.events as f64 / began.elapsed().as_secs_f64();
    let mut total = 0;
    for keys in (0..load.keys.cast_signed()).collect::<Vec<_>>().chunks(10_000) {
        let found = counts.values(&mut task, keys).await.expect("the table answers");
        total += found.into_iter().map(|count| count.expect("every key has one")).sum::<i64>();
    }
    assert_eq!(total.cast_unsigned(), load.events, "no event is lost or doubled");
    task.stop().await.expect("the task ends");
    rate
}

async fn one_by_one(task: &mut Task, counts: &ValueState<i64, i64>, keys: &[i64]) {
    for key in keys {
        let count = counts.value(task, key).await.expect("the table answers").expect("every key has one");
        counts.update(task, key, &(count + 1)).await.expect("the table takes it");
    }
}

/// Reads all keys of some events at once, and adds up in the task what falls on each.
async fn together(task: &mut Task, counts: &ValueState<i64, i64>, keys: &[i64]) {
    let mut events: HashMap<i64, i64> = HashMap::new();
    keys.iter().for_each(|key| *events.entry(*key).or_default() += 1);
    let keys: Vec<i64> = events.keys().copied().collect();
    let found = counts.values(task, &keys).await.expect("the table answers");
    for (key, count) in keys.iter().zip(found) {
        let count = count.expect("every key has one") + events[key];
        counts.update(task, key, &count).await.expect("the table takes it");
    }
}

/// The same through a plain RocksDB in this process: a get and a put for each event.
pub(crate) fn of_rocksdb(load: Load) -> f64 {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let database = peer::open(directory.path(), false);
    let put = |key: i64, count: i64| {
        let mut batch = WriteBatch::default();
        batch.put(stored(key), count.to_be_bytes());
        peer::write(&database, batch);
    };
    (0..load.keys.cast_signed()).for_each(|key| put(key, 0));
    database.flush().expect("the store works");
    let began = Instant::now();
    for event in 0..load.events {
        let key = load.key(event);
        put(key, count_of(&database, &stored(key)) + 1);
    }
    database.flush().expect("the store works");
    let rate = load.events as f64 / began.elapsed().as_secs_f64();
    let total: i64 = (0..load.keys.cast_signed()).map(|key| count_of(&database, &stored(key))).sum();
    assert_eq!(total.cast_unsigned(), load.events);
    rate
}

/// A key behind its key group, as stream processors have it.
pub(crate) fn stored(key: i64) -> Vec<u8> {
    let group = u16::try_from(key.rem_euclid(KEY_GROUPS.into())).expect("there are so many");
    [&group.to_be_bytes()[..], &key.to_be_bytes()].concat()
}

fn count_of(database: &DB, key: &[u8]) -> i64 {
    let found = database.get_pinned(key).expect("the store works").expect("every key has one");
    i64::from_be_bytes(found[..].try_into().expect("eight bytes"))
}
