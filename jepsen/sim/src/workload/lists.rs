//! Transactions over lists are strictly serializable, as a checker of whole histories finds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_check::history::{Builder, Micro};
use lentic_check::serializable;
use lentic_client::{Error, MergeOperator, Txn, Value};
use lentic_runtime::spawn;
use tokio::time::{Instant, timeout};

use super::world::{TABLE, World};

const CALLERS: u32 = 5;
const KEYS: u64 = 5;
/// A list has so many appends, then another takes its place.
const APPENDS: i64 = 24;
/// How long a caller waits who then forgets what it was about.
const FORGETS_MS_MAX: u64 = 60;
/// A history of fewer transactions shows nothing.
const OK_MIN: usize = 5;

/// What callers share.
struct Record {
    history: Builder,
    began: Instant,
    /// Of each list, its generation and the next value.
    lists: Vec<(i64, i64)>,
    processes: u32,
}

/// Reads and appends to several lists at a time, until all is over; then judges the history.
pub async fn lists(world: World) {
    let lists = vec![(0, 0); usize::try_from(KEYS).expect("few")];
    let record = Record { history: Builder::new(), began: Instant::now(), lists, processes: CALLERS };
    let record = Arc::new(Mutex::new(record));
    let callers: Vec<_> = (0..CALLERS).map(|id| spawn(call(world.fork(), id, Arc::clone(&record)))).collect();
    for caller in callers {
        caller.await.expect("a panic ends the run");
    }
    let record = Arc::into_inner(record).expect("callers are gone").into_inner();
    let history = record.unwrap_or_else(PoisonError::into_inner).history.finish().expect("the recorder is right");
    match serializable::check(&history, OK_MIN) {
        Ok(_) | Err(serializable::Violation::TooFew { .. } | serializable::Violation::Unrelated { .. }) => {}
        Err(violation) => panic!("transactions are not strictly serializable: {violation}\n{}", history.write()),
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(world: World, mut process: u32, record: Arc<Mutex<Record>>) {
    while !world.is_over() {
        world.pause(80).await;
        let micros: Vec<Micro> = (0..world.dice.between(1..=3)).map(|_| lock(&record).micro(&world)).collect();
        let now = |record: &Record| u64::try_from(record.began.elapsed().as_nanos()).expect("a short run");
        {
            let mut record = lock(&record);
            let at = now(&record);
            record.history.invoke(process, at, micros.clone()).expect("the recorder is right");
        }
        let forgets = world.dice.one_in(6).then(|| Duration::from_millis(world.dice.between(0..=FORGETS_MS_MAX)));
        let work = run(&world, micros);
        let result = match forgets {
            Some(after) => timeout(after, work).await.ok(),
            None => Some(world.timed("a transaction of lists", work).await),
        };
        let mut record = lock(&record);
        let at = now(&record);
        let noted = match result {
            Some(Ok(micros)) => record.history.ok(process, at, micros),
            Some(Err(error)) if error.is_conflict() => record.history.fail(process, at),
            Some(Err(error)) => panic!("a transaction of lists failed: {error}"),
            None => {
                let noted = record.history.info(process, at);
                process = record.processes;
                record.processes += 1;
                noted
            }
        };
        noted.expect("the recorder is right");
    }
}

impl Record {
    /// A read of a list, or an append of a value that no other has.
    fn micro(&mut self, world: &World) -> Micro {
        let list = world.dice.place(self.lists.len());
        let (generation, next) = &mut self.lists[list];
        if *next >= APPENDS {
            (*generation, *next) = (*generation + 1, 0);
        }
        let key = *generation * i64::try_from(KEYS).expect("few") + i64::try_from(list).expect("few");
        if world.dice.one_in(2) {
            return Micro::Read { key, list: None };
        }
        *next += 1;
        Micro::Append { key, value: *next }
    }
}

fn place(world: &World, key: i64) -> Vec<u8> {
    world.key(key.unsigned_abs() % KEYS, &format!("list/{key:06}"))
}

/// Runs a transaction once, and returns what it has read.
async fn run(world: &World, micros: Vec<Micro>) -> Result<Vec<Micro>, Error> {
    let txn = world.client().begin();
    let done = step_all(world, &txn, micros).await?;
    txn.commit().await?;
    Ok(done)
}

async fn step_all(world: &World, txn: &Txn, micros: Vec<Micro>) -> Result<Vec<Micro>, Error> {
    let lists = txn.table(TABLE);
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
        if world.dice.one_in(3) {
            world.pause(20).await;
        }
    }
    Ok(done)
}

fn values(found: Option<&Value>) -> Vec<i64> {
    let bytes = found.map_or(&[][..], |found| &found.value[..]);
    bytes.chunks_exact(8).map(|chunk| i64::from_be_bytes(chunk.try_into().expect("eight bytes"))).collect()
}
