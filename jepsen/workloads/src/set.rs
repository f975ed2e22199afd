//! Acknowledged is there, once; refused is not; of what nobody knows, at most once.
//!
//! The load is open: each write begins when it is meant to, whether the ones before it are done or not, so that an
//! outage does not make it milder. Each shard has a lane of its own:
//!
//! ```text
//!   beat     │ add 1..5 │   put   │ insert  │  twin   │ add 1..5 │ …      insert: put if absent
//!   key      │ counter  │ new row │ new row │ old row │ counter  │        twin: insert of a row that is there
//! ```
//!
//! Nothing is written twice, so what is there tells what took effect and how often: a retry that took effect twice shows
//! as a row that found itself, or as a counter that is ahead. At the end everything is read in two ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Error, Version, WriteBatch};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "set";

/// Most writes of a lane that are open at once: some thirty seconds of the usual pace.
const OPEN_MAX: usize = 1_500;
/// Counters of a shard.
const COUNTERS: u64 = 4;
/// Keys that are read at once at the end.
const KEYS_AT_ONCE: usize = 500;

/// What is known of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// It must be there.
    Acknowledged,
    /// It may be there.
    Unknown,
    /// It must not be there.
    Refused,
}

/// What is known of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    /// Must have been added.
    acknowledged: i64,
    /// May have been added.
    unknown: i64,
}

/// What was written, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ledger {
    /// Rows by key. A row's value is a function of its key.
    rows: BTreeMap<Bytes, Row>,
    counters: BTreeMap<Bytes, Sum>,
    /// Writes that were not begun, for too many were open.
    skipped: u64,
}

type Found = BTreeMap<Bytes, Bytes>;
type Shared = Arc<Mutex<Ledger>>;

/// One write.
#[derive(Clone, Debug)]
enum Write {
    Put(Bytes),
    Insert(Bytes),
    Add(Bytes, i64),
    /// Of a row that is there, and of another that must never be.
    Twin(Bytes, Bytes),
}

/// Writes to every shard until all is over, then compares what is there with what was answered.
pub(crate) async fn set(world: World) {
    let ledger = Shared::default();
    let mut lanes = Tasks::default();
    for shard in 0..world.shards() {
        lanes.spawn(lane(world.fork(), shard, Arc::clone(&ledger)));
    }
    lanes.all().await;
    let ledger = std::mem::take(&mut *lock(&ledger));
    let ways = [("scans", scan(&world).await), ("gets at one version", get(&world, &ledger).await)];
    for (way, found) in ways {
        if let Some(words) = found.and_then(|found| ledger.contradiction(&found, world.pace().value_bytes)) {
            panic!("{NAME}, by {way}: {words}");
        }
    }
    world.tally().show(NAME, ledger.words());
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a row.
fn value_of(key: &[u8], bytes: usize) -> Vec<u8> {
    key.iter().copied().cycle().take(bytes.max(1)).collect()
}

async fn lane(world: World, shard: usize, ledger: Shared) {
    let beat = world.pace().beat;
    let mut beats = interval(beat);
    // A machine that was busy for a moment does not make writes begin later than they were meant to.
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, mut open) = (world.now(), Tasks::default());
    let newest = Arc::new(Mutex::new(None));
    for number in 0_u32.. {
        tokio::select! {
            biased;
            () = world.until_over() => break,
            _ = beats.tick() => {}
        }
        open.sweep();
        if open.count() >= OPEN_MAX {
            lock(&ledger).skipped += 1;
            continue;
        }
        let meant = began + beat * number;
        let write = some_write(&world, shard, number, &newest);
        let (world, ledger, newest) = (world.fork(), Arc::clone(&ledger), Arc::clone(&newest));
        open.spawn(async move {
            let done = perform(&world, shard, meant, &write).await;
            if let (Write::Insert(key), Done::Ok(_)) = (&write, &done) {
                *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
            }
            lock(&ledger).note(write, &done);
        });
    }
    open.all().await;
}

fn some_write(world: &World, shard: usize, number: u32, newest: &Mutex<Option<Bytes>>) -> Write {
    let row = |name: &str| world.key(shard, &format!("{NAME}/row/{number:09}{name}"));
    let newest = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match (number % 4, newest) {
        (0, _) => {
            let (counter, addend) = (world.between(0..=COUNTERS - 1), world.between(1..=5));
            let key = world.key(shard, &format!("{NAME}/counter/{counter}"));
            Write::Add(key, i64::try_from(addend).expect("small"))
        }
        (1, _) => Write::Put(row("")),
        (3, Some(there)) => Write::Twin(there, row("/twin")),
        (_, _) => Write::Insert(row("")),
    }
}

async fn perform(world: &World, shard: usize, meant: Duration, write: &Write) -> Done<Version> {
    let (style, f, key, value) = match write {
        Write::Put(key) => (Style::OneShot, "write", key, Value::Null),
        Write::Insert(key) => (Style::OneShot, "insert", key, Value::Null),
        Write::Add(key, addend) => (Style::OneShot, "add", key, Value::from(*addend)),
        Write::Twin(key, _) => (Style::Conditional, "insert", key, "twin".into()),
    };
    let step = Step::new(NAME, style, f, key.escape_ascii().to_string()).value(value);
    let done = world.write(step.in_shards(vec![shard]).meant_at(meant), send(world, write)).await;
    if let (Write::Twin(there, _), Done::Ok(version)) = (write, &done) {
        panic!("{NAME}: row {} was there, and was inserted again at {version}", there.escape_ascii());
    }
    done
}

async fn send(world: &World, write: &Write) -> Result<Version, Error> {
    let (client, value) = (world.client(), |key: &Bytes| value_of(key, world.pace().value_bytes));
    let table = client.table(world.table_name());
    match write.clone() {
        Write::Put(key) => table.put(key.clone(), value(&key)).await,
        Write::Insert(key) => table.write(WriteBatch::new().if_absent(key.clone()).put(key.clone(), value(&key))).await,
        Write::Add(key, addend) => table.add_i64(key, addend).await,
        Write::Twin(there, twin) => {
            let batch = WriteBatch::new().if_absent(there.clone()).put(there, "never").put(twin, "never");
            world.write_together(&client, batch).await
        }
    }
}

/// Reads everything, shard by shard.
async fn scan(world: &World) -> Option<Found> {
    let work = async {
        let mut found = Found::new();
        for shard in 0..world.shards() {
            let mut rows = world.table().scan_prefix(world.key(shard, &format!("{NAME}/"))).start();
            while let Some(row) = rows.next().await.transpose()? {
                found.insert(row.key, row.value);
            }
        }
        Ok(found)
    };
    let step = Step::read(NAME, "everything by scans");
    world.run(step, work, |found| found.len().into()).await.ok()
}

/// Reads all that the ledger knows, by keys at one version.
async fn get(world: &World, ledger: &Ledger) -> Option<Found> {
    let keys: Vec<Bytes> = ledger.rows.keys().chain(ledger.counters.keys()).cloned().collect();
    let work = async {
        let (mut found, snapshot) = (Found::new(), world.snapshot().await?);
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let values = snapshot.table(world.table_name()).multi_get(keys.iter().cloned()).await?;
            found.extend(keys.iter().cloned().zip(values).filter_map(|(key, found)| Some((key, found?.value))));
        }
        Ok(found)
    };
    let step = Step::read(NAME, "everything at one version");
    world.run(step, work, |found| found.len().into()).await.ok()
}

impl Ledger {
    fn note<T>(&mut self, write: Write, done: &Done<T>) {
        let row = match done {
            Done::Ok(_) => Row::Acknowledged,
            Done::Unknown => Row::Unknown,
            Done::Refused(_) => Row::Refused,
        };
        match write {
            Write::Put(key) | Write::Insert(key) => drop(self.rows.insert(key, row)),
            // Whatever was answered: its condition never held.
            Write::Twin(_, twin) => drop(self.rows.insert(twin, Row::Refused)),
            Write::Add(key, addend) => {
                let sum = self.counters.entry(key).or_default();
                match row {
                    Row::Acknowledged => sum.acknowledged += addend,
                    Row::Unknown => sum.unknown += addend,
                    Row::Refused => {}
                }
            }
        }
    }

    /// What was found that was not answered so.
    fn contradiction(&self, found: &Found, value_bytes: usize) -> Option<String> {
        for (key, row) in &self.rows {
            let name = key.escape_ascii();
            match (row, found.get(key)) {
                (Row::Acknowledged, None) => return Some(format!("row {name} was acknowledged and is lost")),
                (Row::Refused, Some(_)) => return Some(format!("row {name} was refused and is there")),
                (_, Some(value)) if *value != value_of(key, value_bytes) => {
                    return Some(format!("row {name} has another value, {}", value.escape_ascii()));
                }
                (_, _) => {}
            }
        }
        for (key, Sum { acknowledged, unknown }) in &self.counters {
            let name = key.escape_ascii();
            let there = match found.get(key).map(|value| <[u8; 8]>::try_from(&value[..])) {
                None => 0,
                Some(Ok(bytes)) => i64::from_be_bytes(bytes),
                Some(Err(_)) => return Some(format!("counter {name} has not 8 bytes")),
            };
            let expected = *acknowledged..=acknowledged + unknown;
            let what = if there < *acknowledged { "additions are lost" } else { "additions took effect twice" };
            if !expected.contains(&there) {
                return Some(format!("{what}: counter {name} is {there}, expected {expected:?}"));
            }
        }
        let foreign = found.keys().find(|key| !self.rows.contains_key(*key) && !self.counters.contains_key(*key));
        foreign.map(|key| format!("nobody wrote {}", key.escape_ascii()))
    }

    fn words(&self) -> String {
        let count = |row: Row| self.rows.values().filter(|known| **known == row).count();
        let (there, unknown, refused) = (count(Row::Acknowledged), count(Row::Unknown), count(Row::Refused));
        format!(
            "{there} rows are there, {refused} are not, of {unknown} nobody knows; {} counters have their sums; {} writes \
             were not begun",
            self.counters.len(),
            self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let (ok, unknown): (Done<()>, Done<()>) = (Done::Ok(()), Done::Unknown);
        ledger.note(Write::Put("a".into()), &ok);
        ledger.note(Write::Insert("b".into()), &unknown);
        ledger.note(Write::Twin("a".into(), "c".into()), &unknown);
        ledger.note(Write::Add("n".into(), 5), &ok);
        ledger.note(Write::Add("n".into(), 2), &unknown);
        ledger
    }

    fn words(rows: &[(&'static str, &[u8])]) -> String {
        let found = rows.iter().map(|(key, value)| ((*key).into(), Bytes::copy_from_slice(value))).collect();
        ledger().contradiction(&found, 3).unwrap_or_default()
    }

    #[test]
    fn what_was_answered_is_compared_with_what_is_there() {
        let (five, seven, eight) = (&5_i64.to_be_bytes()[..], &7_i64.to_be_bytes()[..], &8_i64.to_be_bytes()[..]);
        assert_eq!(words(&[("a", b"aaa"), ("n", five)]), "");
        assert_eq!(words(&[("a", b"aaa"), ("b", b"bbb"), ("n", seven)]), "");
        assert_eq!(words(&[("n", five)]), "row a was acknowledged and is lost");
        assert_eq!(words(&[("a", b"aaa"), ("c", b"ccc"), ("n", five)]), "row c was refused and is there");
        assert_eq!(words(&[("a", b"never"), ("n", five)]), "row a has another value, never");
        assert!(words(&[("a", b"aaa")]).starts_with("additions are lost: counter n is 0"));
        assert!(words(&[("a", b"aaa"), ("n", eight)]).starts_with("additions took effect twice: counter n is 8"));
        assert_eq!(words(&[("a", b"aaa"), ("n", b"x")]), "counter n has not 8 bytes");
        assert_eq!(words(&[("a", b"aaa"), ("n", five), ("z", b"z")]), "nobody wrote z");
    }
}
