//! Writes at a steady pace, whatever happens to the cluster.
//!
//! The load is open: each write begins when it is meant to, whether the ones before it are done or not, so that an
//! outage does not make it milder. Each shard has its own lane of puts of new rows, puts of rows that were not there, and
//! additions to counters. Nothing is written twice, so what is there tells what took effect and how often: a retry that
//! took effect twice shows as a row that is there already, or as a counter that is ahead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, Error, ShardId, Table, Version, WriteBatch};
use lentic_runtime::spawn;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::ledger::{Ack, Ledger, Row};
use crate::recorder::{Call, Recorder};

/// Most writes open at once, over all lanes: some ten seconds of the usual pace.
const OPEN_MAX: usize = 8_192;
/// Counters of a shard.
const COUNTERS: u64 = 4;
/// How long the last writes may take once the load ends: more than their deadline.
const END_WITHIN: Duration = Duration::from_secs(45);

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time between two writes of a lane.
    pub every: Duration,
    /// Bytes of the value of a row.
    pub value_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_millis(20), value_bytes: 64 }
    }
}

/// Writes to every shard of a table until it is told to stop.
pub struct Load {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

struct Shared {
    table: Table,
    recorder: Recorder,
    pace: Pace,
    ledger: Mutex<Ledger>,
    room: Arc<Semaphore>,
}

/// One write.
enum Write {
    Put(Bytes),
    Insert(Bytes),
    Add(Bytes, i64),
}

impl Load {
    /// Begins to write to all shards of `table`.
    ///
    /// # Panics
    /// If the table is not there.
    pub async fn start(client: &Client, table: &str, recorder: &Recorder, pace: Pace) -> Self {
        let shards = client.describe_table(table).await.expect("the table is there").shards;
        let ledger = Ledger { acks: vec![Vec::new(); shards.len()], ..Ledger::default() };
        let shared = Arc::new(Shared {
            table: client.table(table),
            recorder: recorder.clone(),
            pace,
            ledger: Mutex::new(ledger),
            room: Arc::new(Semaphore::new(OPEN_MAX)),
        });
        let (stop, stopped) = watch::channel(false);
        let lane = |(place, shard): (usize, lentic_client::ShardDescription)| {
            spawn(write(Arc::clone(&shared), place, shard.range.start().to_vec(), stopped.clone()))
        };
        let lanes = shards.into_iter().enumerate().map(lane).collect();
        Self { shared, lanes, stop }
    }

    /// What was acknowledged so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// Waits until every shard named by its place has acknowledged a write that began after `since`.
    ///
    /// # Panics
    /// If one has not within `within`.
    pub async fn until_acknowledged(&self, shards: &[usize], since: Duration, within: Duration) {
        let deadline = Instant::now() + within;
        let silent = || {
            let ledger = self.ledger();
            let has_none = |shard: &usize| !ledger.acks[*shard].iter().rev().any(|ack| ack.meant > since);
            shards.iter().copied().filter(has_none).collect::<Vec<_>>()
        };
        loop {
            let silent = silent();
            if silent.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "shards {silent:?} have acknowledged nothing for {within:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends the load, and waits for the writes that are open.
    ///
    /// # Panics
    /// If they do not end.
    pub async fn stop(self) -> Ledger {
        self.stop.send_replace(true);
        for lane in self.lanes {
            timeout(END_WITHIN, lane).await.expect("a lane ends when it is told to").expect("a lane does not panic");
        }
        let all = self.shared.room.acquire_many(u32::try_from(OPEN_MAX).unwrap_or(u32::MAX));
        let all = timeout(END_WITHIN, all).await.expect("every write ends at its deadline");
        drop(all.expect("the room is never closed"));
        std::mem::take(&mut *self.shared.ledger())
    }
}

/// The place of each shard in its table, by id.
pub(crate) fn places_of(all: &[ShardId], some: &[ShardId]) -> Vec<usize> {
    some.iter().filter_map(|shard| all.iter().position(|known| known == shard)).collect()
}

/// The value of a row.
pub(crate) fn value_of(key: &[u8], bytes: usize) -> Vec<u8> {
    key.iter().copied().cycle().take(bytes.max(1)).collect()
}

async fn write(shared: Arc<Shared>, lane: usize, prefix: Vec<u8>, mut stopped: watch::Receiver<bool>) {
    let mut beats = interval(shared.pace.every);
    // A machine that was busy for a moment does not make writes begin later than they were meant to.
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = shared.recorder.now();
    for number in 0_u64.. {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = beats.tick() => {}
        }
        let meant = began + shared.pace.every * u32::try_from(number).unwrap_or(u32::MAX);
        let key = |name: &str| Bytes::from([&prefix[..], name.as_bytes()].concat());
        let write = match number % 3 {
            0 => {
                let round = number / 3;
                let addend = 1 + i64::try_from(round % 5).expect("below 5");
                Write::Add(key(&format!("/counter/{}", round % COUNTERS)), addend)
            }
            1 => Write::Put(key(&format!("/row/{number:09}"))),
            _ => Write::Insert(key(&format!("/row/{number:09}"))),
        };
        let Ok(place) = Arc::clone(&shared.room).try_acquire_owned() else {
            shared.ledger().skipped += 1;
            continue;
        };
        let shared = Arc::clone(&shared);
        spawn(async move {
            shared.perform(lane, meant, write).await;
            drop(place);
        });
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(&self, lane: usize, meant: Duration, write: Write) {
        let (f, key, value) = match &write {
            Write::Put(key) => ("write", key, Value::Null),
            Write::Insert(key) => ("insert", key, Value::Null),
            Write::Add(key, addend) => ("add", key, Value::from(*addend)),
        };
        let recording = self.recorder.invoke(Call { f, key: key.escape_ascii().to_string(), value });
        let result = self.send(&write).await;
        let mut ledger = self.ledger();
        match &result {
            Ok(_) => {
                let at = recording.ok(Value::Null);
                ledger.acks[lane].push(Ack { meant, at });
            }
            Err(error) => {
                let words = error.to_string();
                ledger.errors.push(format!("{f} of {}: {words}", key.escape_ascii()));
                if error.is_unknown() {
                    recording.info(&words)
                } else {
                    recording.fail(&words)
                };
            }
        }
        match write {
            Write::Put(key) | Write::Insert(key) => {
                let row = match &result {
                    Ok(_) => Row::Acknowledged,
                    Err(error) if error.is_unknown() => Row::Unknown,
                    Err(_) => Row::Refused,
                };
                ledger.rows.insert(key.to_vec(), row);
            }
            Write::Add(key, addend) => {
                let sum = ledger.counters.entry(key.to_vec()).or_default();
                match &result {
                    Ok(_) => sum.acknowledged += addend,
                    Err(error) if error.is_unknown() => sum.unknown += addend,
                    Err(_) => {}
                }
            }
        }
    }

    async fn send(&self, write: &Write) -> Result<Version, Error> {
        let value = |key: &Bytes| value_of(key, self.pace.value_bytes);
        match write {
            Write::Put(key) => self.table.put(key.clone(), value(key)).await,
            Write::Insert(key) => {
                let batch = WriteBatch::new().if_absent(key.clone()).put(key.clone(), value(key));
                self.table.write(batch).await
            }
            Write::Add(key, addend) => self.table.add_i64(key.clone(), *addend).await,
        }
    }
}
