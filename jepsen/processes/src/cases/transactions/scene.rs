//! What the workloads share: clients, keys, choices, and how an operation is told and counted.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, Error, Snapshot, Table, Version};
use lentic_runtime::Random;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::tally::{Style, Tally};
use crate::recorder::{Call, Recorder};

/// The table of all workloads: each has names of its own in it.
pub(super) const TABLE: &str = "transactions";

/// Stands between the start of a shard and a name, so that the key is in the shard: of the first one it is the first
/// byte, and shards are cut above it.
const BELOW_ALL_CUTS: u8 = 1;

/// What the workloads share. Clones are the same.
#[derive(Clone)]
pub(super) struct Scene(Arc<Shared>);

struct Shared {
    clients: Vec<Client>,
    /// The first key of each shard, in order.
    starts: Vec<Bytes>,
    recorder: Recorder,
    random: Random,
    order: AtomicU64,
    tally: Mutex<Tally>,
    is_over: AtomicBool,
}

/// What a caller asks for.
pub(super) struct Step {
    /// Of which workload.
    pub(super) workload: &'static str,
    /// In which way.
    pub(super) style: Style,
    /// What it does, and to what, as the history has it.
    pub(super) does: (&'static str, String),
    /// The places of the shards that it writes to; none if it only reads.
    pub(super) shards: Vec<usize>,
    /// When the caller is gone, if it does not wait for the answer.
    pub(super) gives_up: Option<Duration>,
    /// How often its body ran, if it has one.
    pub(super) runs: Runs,
}

/// Counts the runs of a body. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(Arc<AtomicU64>);

impl Runs {
    /// One more.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Scene {
    /// A scene of several clients, which share nothing but the cluster.
    ///
    /// # Panics
    /// If the table is not there, or a key is not where it is meant to be.
    pub(super) async fn new(clients: Vec<Client>, recorder: &Recorder) -> Self {
        let shards = clients[0].describe_table(TABLE).await.expect("the table is there").shards;
        let starts: Vec<Bytes> = shards.iter().map(|shard| shard.range.start().clone()).collect();
        let scene = Self(Arc::new(Shared {
            clients,
            tally: Mutex::new(Tally::new(starts.len())),
            starts,
            recorder: recorder.clone(),
            random: Random::from_system(),
            order: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }));
        for (place, shard) in shards.iter().enumerate() {
            assert!(shard.range.contains(&scene.key(place, "name")), "expected keys in {}", shard.range);
        }
        scene
    }

    /// Some client.
    pub(super) fn client(&self) -> Client {
        self.0.clients[self.below(self.0.clients.len())].clone()
    }

    /// The table, by some client.
    pub(super) fn table(&self) -> Table {
        self.client().table(TABLE)
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.0.starts.len()
    }

    /// A key in the shard at a place, counted on from the last to the first.
    pub(super) fn key(&self, place: usize, name: &str) -> Bytes {
        let start = &self.0.starts[place % self.shards()];
        Bytes::from([&start[..], &[BELOW_ALL_CUTS], name.as_bytes()].concat())
    }

    /// A number of the range.
    pub(super) fn between(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.0.random.next_seed() % (range.end() - range.start() + 1)
    }

    /// A number below `len`.
    pub(super) fn below(&self, len: usize) -> usize {
        let len = u64::try_from(len.max(1)).expect("a length");
        usize::try_from(self.0.random.next_seed() % len).expect("below a length")
    }

    /// True once in `n` times.
    pub(super) fn one_in(&self, n: u64) -> bool {
        self.0.random.next_seed().is_multiple_of(n)
    }

    /// A time up to `ms_max`, once in `n` times: how long a caller waits who is gone before the answer.
    pub(super) fn gives_up(&self, n: u64, ms_max: u64) -> Option<Duration> {
        self.one_in(n).then(|| Duration::from_millis(self.between(0..=ms_max)))
    }

    /// Pauses as a caller does that does something else.
    pub(super) async fn pause(&self, ms_max: u64) {
        sleep(Duration::from_millis(self.between(0..=ms_max))).await;
    }

    /// The next number in the order of calls and answers.
    pub(super) fn moment(&self) -> u64 {
        self.0.order.fetch_add(1, Ordering::SeqCst)
    }

    /// The time of the history.
    pub(super) fn now(&self) -> Duration {
        self.0.recorder.now()
    }

    /// Whether to stop.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Has all workloads stop.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    /// What was done so far.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a transaction that writes, tells it to the history and counts it. `None`: it was refused, for others have
    /// changed what it had read, or nobody knows, for its caller was gone.
    ///
    /// # Panics
    /// If it fails in any other way.
    pub(super) async fn commit<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<(T, Version), Error>>,
    ) -> Option<(T, Version)> {
        let (f, key) = step.does.clone();
        let recording = self.0.recorder.invoke(Call { f, key, value: Value::Null });
        let began = self.now();
        let result = match step.gives_up {
            Some(after) => timeout(after, work).await.ok(),
            None => Some(work.await),
        };
        match &result {
            Some(Ok((_, version))) => recording.ok(json!({"version": version.0, "runs": step.runs.count()})),
            Some(Err(error)) if error.is_unknown() => recording.info(&error.to_string()),
            Some(Err(error)) => recording.fail(&error.to_string()),
            None => recording.info("the caller was gone"),
        };
        self.settle(&step, began, result)
    }

    /// Counts what became of a transaction that was called at `began`: `None` if its caller was gone.
    ///
    /// # Panics
    /// If it failed, but for a conflict with what it had read.
    pub(super) fn settle<T>(&self, step: &Step, began: Duration, result: Option<Result<T, Error>>) -> Option<T> {
        let at = self.now();
        let mut tally = self.tally();
        match result {
            Some(Ok(done)) => {
                tally.committed(step, began, at);
                Some(done)
            }
            Some(Err(error)) if error.is_conflict() && step.style != Style::OneShot => {
                tally.conflicted(step);
                None
            }
            Some(Err(error)) => {
                drop(tally);
                let (f, key) = &step.does;
                let took = at.saturating_sub(began);
                panic!("{}: {f} of {key} failed after {} ms, at {at:?}: {error}", step.workload, took.as_millis())
            }
            None => {
                tally.unknown(step);
                None
            }
        }
    }

    /// Reads, which nothing may let fail, tells what was read to the history and counts it.
    ///
    /// # Panics
    /// If it fails.
    pub(super) async fn read<T: Clone + Into<Value>>(
        &self,
        workload: &'static str,
        what: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> T {
        let call = Call { f: "read", key: format!("{workload}/{what}"), value: Value::Null };
        let recording = self.0.recorder.invoke(call);
        let began = self.now();
        match work.await {
            Ok(found) => {
                let at = recording.ok(found.clone().into());
                self.tally().read(workload, at.saturating_sub(began));
                found
            }
            Err(error) => {
                let at = recording.fail(&error.to_string());
                let took = at.saturating_sub(began);
                panic!("{workload}: a read of {what} failed after {} ms, at {at:?}: {error}", took.as_millis())
            }
        }
    }

    /// A snapshot by some client, and some time after it: what is written meanwhile must not be seen in it.
    pub(super) async fn snapshot(&self, pause_ms_max: u64) -> Result<Snapshot, Error> {
        let snapshot = self.client().snapshot().await?;
        if self.one_in(2) {
            self.pause(pause_ms_max).await;
        }
        Ok(snapshot)
    }

    /// Waits until every shard and every one of `workloads` has committed something that began after `since`.
    ///
    /// # Panics
    /// If one has not within `within`.
    pub(super) async fn until_committed(&self, workloads: &[&'static str], since: Duration, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let silent = self.tally().silent(workloads, since);
            if silent.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "nothing was committed for {within:?} by {}", silent.join(", "));
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Waits for tasks that end when they are told to. One that panics ends all of them at once.
///
/// # Panics
/// If one of them has.
pub(super) async fn all(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task of a workload does not panic");
    }
}
