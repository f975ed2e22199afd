//! Transactions over lists are strictly serializable, as a checker of whole histories finds.
//!
//! A transaction reads lists in several shards and appends to them values that no other appends. So every read tells all
//! that took effect before it, in order, and a circle in "must be before" shows:
//!
//! ```text
//!   T1   reads a: [1]        appends 2 to b        so T1 was before T2, which appended to a
//!   T2   appends 2 to a      reads b: []           so T2 was before T1, which appended to b: no order explains both
//! ```
//!
//! Histories are judged in parts, each with lists of its own, so that a run may be as long as it likes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_check::history::{Builder, Micro};
use lentic_check::serializable::{Checked, Violation, check};
use lentic_client::{Error, MergeOperator, Transaction, Txn, Value, WriteBatch};
use lentic_runtime::blocking;
use serde_json::Value as Json;
use tokio::time::timeout;

use crate::recorder::{Recording, nanos};
use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Step, World};

pub(crate) const NAME: &str = "lists";

const CALLERS: usize = 8;
/// Lists that are alive at a time.
const LISTS: usize = 8;
/// A list has so many appends, then another takes its place.
const APPENDS: i64 = 24;
/// Most steps of a transaction.
const STEPS_MAX: u64 = 4;
/// One in so many callers is gone before the answer.
const GIVES_UP_ONE_IN: u64 = 10;
/// Transactions of a part.
const PART: usize = 3_000;

/// The history of a part, and which lists there are.
struct Record {
    history: Builder,
    /// Of each list, how many have had its place, and what was appended last.
    lists: Vec<(i64, i64)>,
    /// The lists of this part.
    touched: BTreeSet<i64>,
    begun: usize,
}

type Shared = Arc<Mutex<Record>>;

/// Reads and appends to several lists at a time, until all is over; judges each part of the history when it ends.
pub(crate) async fn lists(world: World) {
    let mut sum = Checked { ok: 0, fail: 0, info: 0 };
    let (mut parts, mut lists) = (0, vec![(0, 0); LISTS]);
    while !world.is_over() {
        let record = Record { history: Builder::new(), lists, touched: BTreeSet::new(), begun: 0 };
        let record = Arc::new(Mutex::new(record));
        let mut callers = Tasks::default();
        for _ in 0..CALLERS {
            callers.spawn(call(world.fork(), Arc::clone(&record)));
        }
        callers.all().await;
        // What was appended last is seen too.
        let all = lock(&record).touched.iter().map(|key| Micro::Read { key: *key, list: None }).collect();
        transact(&world, &record, all, None).await;
        let record = Arc::into_inner(record).expect("callers are gone").into_inner();
        let Record { history, lists: last, .. } = record.unwrap_or_else(PoisonError::into_inner);
        let checked = blocking(|| judge(history));
        sum = Checked { ok: sum.ok + checked.ok, fail: sum.fail + checked.fail, info: sum.info + checked.info };
        parts += 1;
        lists = last.into_iter().map(|(generation, _)| (generation + 1, 0)).collect();
    }
    let Checked { ok, fail, info } = sum;
    let words = format!("{ok} ok, {fail} failed, {info} unknown in {parts} parts are strictly serializable");
    world.tally().show(NAME, words);
}

fn judge(history: Builder) -> Checked {
    let history = history.finish().expect("who records a history keeps to its contract");
    match check(&history, 0) {
        Ok(checked) => checked,
        // With nothing demanded there is no other.
        Err(violation @ (Violation::Anomalies(_) | Violation::TooFew { .. } | Violation::Unrelated { .. })) => {
            panic!("{NAME}: {violation}\n{}", history.write())
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(world: World, record: Shared) {
    while !world.is_over() && lock(&record).begun < PART {
        world.pause().await;
        let micros = (0..world.between(1..=STEPS_MAX)).map(|_| lock(&record).micro(&world)).collect();
        transact(&world, &record, micros, world.gives_up(GIVES_UP_ONE_IN)).await;
    }
}

async fn transact(world: &World, record: &Mutex<Record>, micros: Vec<Micro>, gives_up: Option<Duration>) {
    let step = step(world, &micros).gives_up(gives_up);
    let recording = lock(record).invoke(world, &step, &micros);
    let called = recording.called();
    let work = run(world, step.style, micros.clone());
    let result = match step.gives_up {
        Some(after) => timeout(after, work).await.ok(),
        None => Some(work.await),
    };
    let at = lock(record).answer(recording, result.as_ref());
    world.judge(&step, called, at, result);
}

fn step(world: &World, micros: &[Micro]) -> Step {
    let is_append = |micro: &Micro| matches!(micro, Micro::Append { .. });
    let style = match (micros.iter().any(is_append), micros.iter().all(is_append)) {
        (false, _) => Style::ReadOnly,
        // What only appends can be sent at once, or like the others.
        (true, true) if world.one_in(2) => Style::OneShot,
        (true, _) => Style::Reading,
    };
    let shards = micros.iter().filter_map(|micro| match micro {
        Micro::Append { key, .. } => Some(shard(*key)),
        Micro::Read { .. } => None,
    });
    let value: Vec<Json> = micros.iter().map(Micro::to_json).collect();
    Step::new(NAME, style, "txn", "").value(value).in_shards(shards.collect())
}

impl Record {
    /// A read of a list, or an append of a value that no other has.
    fn micro(&mut self, world: &World) -> Micro {
        let place = world.below(LISTS);
        let (generation, last) = &mut self.lists[place];
        if *last >= APPENDS {
            (*generation, *last) = (*generation + 1, 0);
        }
        let count = |number: usize| i64::try_from(number).expect("few");
        let key = *generation * count(LISTS) + count(place);
        self.touched.insert(key);
        if world.one_in(2) {
            return Micro::Read { key, list: None };
        }
        *last += 1;
        Micro::Append { key, value: *last }
    }

    fn invoke(&mut self, world: &World, step: &Step, micros: &[Micro]) -> Recording {
        self.begun += 1;
        let recording = world.recorder().invoke(step.call.clone());
        let invoked = self.history.invoke(recording.process(), nanos(recording.called()), micros.to_vec());
        invoked.expect("who records a history keeps to its contract");
        recording
    }

    /// A transaction has its answer, or none. Returns the time.
    fn answer(&mut self, recording: Recording, result: Option<&Result<Vec<Micro>, Error>>) -> Duration {
        let process = recording.process();
        let (at, noted) = match result {
            Some(Ok(micros)) => {
                let at = recording.ok(micros.iter().map(Micro::to_json).collect::<Vec<Json>>().into());
                (at, self.history.ok(process, nanos(at), micros.clone()))
            }
            Some(Err(error)) if !error.is_unknown() => {
                let at = recording.fail(&error.to_string());
                (at, self.history.fail(process, nanos(at)))
            }
            Some(Err(_)) | None => {
                let at = recording.info("no answer says what became of it");
                (at, self.history.info(process, nanos(at)))
            }
        };
        noted.expect("who records a history keeps to its contract");
        at
    }
}

/// The place of the shard of a list.
fn shard(key: i64) -> usize {
    usize::try_from(key).expect("lists are counted from 0") % LISTS
}

fn place(world: &World, key: i64) -> Bytes {
    world.key(shard(key), &format!("{NAME}/{key:08}"))
}

/// Runs a transaction once, and returns what it has read.
async fn run(world: &World, style: Style, micros: Vec<Micro>) -> Result<Vec<Micro>, Error> {
    let client = world.client();
    if style == Style::OneShot {
        let batch = micros.iter().fold(WriteBatch::new(), |batch, micro| match micro {
            Micro::Append { key, value } => {
                batch.merge(place(world, *key), MergeOperator::Append, value.to_be_bytes().to_vec())
            }
            Micro::Read { .. } => batch,
        });
        client.commit(Transaction::new().with(world.table_name(), batch)).await?;
        return Ok(micros);
    }
    if micros.len() > usize::try_from(STEPS_MAX).expect("few") {
        return read_all(world, &micros).await;
    }
    let txn = client.begin();
    let done = step_all(world, &txn, micros).await?;
    txn.commit().await?;
    Ok(done)
}

/// What only reads, at once.
async fn read_all(world: &World, micros: &[Micro]) -> Result<Vec<Micro>, Error> {
    let keys: Vec<i64> = micros.iter().map(|(Micro::Read { key, .. } | Micro::Append { key, .. })| *key).collect();
    let places = keys.iter().map(|key| place(world, *key));
    let found = world.snapshot().await?.table(world.table_name()).multi_get(places).await?;
    let read = |(key, found): (i64, Option<Value>)| Micro::Read { key, list: Some(values(found.as_ref())) };
    Ok(keys.into_iter().zip(found).map(read).collect())
}

async fn step_all(world: &World, txn: &Txn, micros: Vec<Micro>) -> Result<Vec<Micro>, Error> {
    let lists = txn.table(world.table_name());
    let mut done = Vec::with_capacity(micros.len());
    for micro in micros {
        done.push(match micro {
            Micro::Read { key, .. } => {
                let found = lists.get(place(world, key)).await?;
                Micro::Read { key, list: Some(values(found.as_ref())) }
            }
            Micro::Append { key, value } => {
                lists.merge(place(world, key), MergeOperator::Append, value.to_be_bytes().to_vec())?;
                Micro::Append { key, value }
            }
        });
        if world.one_in(3) {
            world.think().await;
        }
    }
    Ok(done)
}

fn values(found: Option<&Value>) -> Vec<i64> {
    let bytes = found.map_or(&[][..], |found| &found.value[..]);
    assert!(bytes.len().is_multiple_of(8), "{NAME}: expected values of 8 bytes, found a list of {}", bytes.len());
    bytes.chunks_exact(8).map(|chunk| i64::from_be_bytes(chunk.try_into().expect("eight bytes"))).collect()
}
