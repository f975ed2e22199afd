//! What workloads share: clients, keys, choices, an order of time.

mod begin;
mod judge;
mod step;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, Error, Snapshot, Table, Transaction, Version, WriteBatch};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::pace::Pace;
use crate::recorder::Recorder;
use crate::tally::Tally;
pub(crate) use judge::Done;
pub(crate) use step::{Runs, Step};

/// Stands between the start of a shard and a name, so that the key is in the shard: of the first one it is the first
/// byte, and shards are cut above it.
const BELOW_ALL_CUTS: u8 = 1;

/// How often a wait looks.
const LOOKS_EVERY: Duration = Duration::from_millis(2);

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Clients, which share nothing but the cluster.
    pub clients: Vec<Client>,
    /// The table of all workloads, which is there. Each workload has names of its own in it, so each runs once.
    pub table: String,
    /// The first key of each shard, in order. None of them begins with a byte below 2, but the first, which is empty.
    pub starts: Vec<Bytes>,
    /// Whether shards are split meanwhile.
    pub splits: bool,
    /// The source of all choices.
    pub dice: Dice,
    /// What is told of operations.
    pub recorder: Recorder,
    /// Which errors a client may see.
    pub policy: Policy,
    /// How fast all of it is.
    pub pace: Pace,
}

/// Which errors a client may see, but for refusals that a caller must expect: conditions that do not hold, and reads
/// that others have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// None. Once all is healed, an operation or what is left of it takes this long at most. It needs deadlines longer
    /// than the faults.
    Strict {
        /// How long an operation may take with no fault left.
        serves_within: Duration,
    },
    /// Errors that say that nothing was done, and those that say that nobody knows. For operations that begin when all
    /// is healed: none, as above.
    Tolerant {
        /// How long an operation may take with no fault left.
        serves_within: Duration,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phase {
    healed: Option<Duration>,
    is_over: bool,
}

/// What workloads share. Clones are the same world, with the same choices; [`fork`](Self::fork) has choices of its own.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
    dice: Dice,
}

struct Shared {
    clients: Vec<Client>,
    table: String,
    starts: Vec<Bytes>,
    splits: bool,
    recorder: Recorder,
    policy: Policy,
    pace: Pace,
    order: AtomicU64,
    tally: Mutex<Tally>,
    phase: watch::Sender<Phase>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("phase", &*self.shared.phase.borrow()).finish_non_exhaustive()
    }
}

impl World {
    /// A world in which nothing is healed and nothing was done yet.
    ///
    /// # Panics
    /// If there are no clients or shards, or a key would not be where it is meant to be.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let Setting { clients, table, starts, splits, dice, recorder, policy, pace } = setting;
        assert!(!clients.is_empty() && !starts.is_empty(), "expected clients and shards, found none");
        let phase = watch::Sender::new(Phase { healed: None, is_over: false });
        let tally = Mutex::new(Tally::new(starts.len()));
        let order = AtomicU64::new(0);
        let shared = Shared { clients, table, starts, splits, recorder, policy, pace, order, tally, phase };
        let world = Self { shared: Arc::new(shared), dice };
        for (place, next) in world.shared.starts.iter().skip(1).enumerate() {
            assert!(world.key(place, "") < *next, "expected keys of shard {} below {next:?}", place + 1);
        }
        world
    }

    /// The same world for another task: what it draws does not depend on what others draw.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), dice: self.dice.fork() }
    }

    /// Some client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.shared.clients[self.below(self.shared.clients.len())].clone()
    }

    /// The table, by some client.
    #[must_use]
    pub fn table(&self) -> Table {
        self.client().table(&self.shared.table)
    }

    /// The name of the table.
    #[must_use]
    pub fn table_name(&self) -> &str {
        &self.shared.table
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shared.starts.len()
    }

    /// A key in the shard at a place, counted on from the last to the first.
    #[must_use]
    pub fn key(&self, place: usize, name: &str) -> Bytes {
        let start = &self.shared.starts[place % self.shards()];
        Bytes::from([&start[..], &[BELOW_ALL_CUTS], name.as_bytes()].concat())
    }

    /// The first key of each shard, in order.
    #[must_use]
    pub fn starts(&self) -> &[Bytes] {
        &self.shared.starts
    }

    /// The place of the shard that holds a key.
    #[must_use]
    pub fn shard_of(&self, key: &[u8]) -> usize {
        self.shared.starts.partition_point(|start| **start <= *key).saturating_sub(1)
    }

    /// What a key's changes are told in order with: those of its shard, or, where shards are split, at least its own.
    #[must_use]
    pub fn order_of(&self, key: &Bytes) -> Bytes {
        if self.shared.splits { key.clone() } else { self.shared.starts[self.shard_of(key)].clone() }
    }

    /// Writes keys that lie in one shard, or did before it was split.
    pub(crate) async fn write_together(&self, client: &Client, batch: WriteBatch) -> Result<Version, Error> {
        match self.shared.splits {
            true => client.commit(Transaction::new().with(self.table_name(), batch)).await,
            false => client.table(self.table_name()).write(batch).await,
        }
    }

    /// A number of the range.
    #[must_use]
    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        self.dice.between(range)
    }

    /// A number below `len`.
    #[must_use]
    pub fn below(&self, len: usize) -> usize {
        self.dice.place(len)
    }

    /// True once in `n` times.
    #[must_use]
    pub fn one_in(&self, n: u64) -> bool {
        self.dice.one_in(n)
    }

    /// How long a caller waits who is gone before the answer, once in `n` times.
    #[must_use]
    pub fn gives_up(&self, n: u64) -> Option<Duration> {
        self.one_in(n).then(|| Duration::from_millis(self.between(0..=self.pace().gives_up_ms_max)))
    }

    /// Pauses as a caller does between two operations.
    pub async fn pause(&self) {
        sleep(Duration::from_millis(self.between(0..=self.pace().pause_ms_max))).await;
    }

    /// Pauses as a caller does within an operation.
    pub async fn think(&self) {
        sleep(Duration::from_millis(self.between(0..=self.pace().think_ms_max))).await;
    }

    /// How fast all of it is.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.shared.pace
    }

    /// The next number in the order of calls and answers.
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.shared.order.fetch_add(1, Ordering::SeqCst)
    }

    /// The time of the history.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.recorder.now()
    }

    /// What is told of operations.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Nothing breaks from now on.
    pub fn heal(&self) {
        let now = self.now();
        self.shared.phase.send_modify(|phase| {
            phase.healed.get_or_insert(now);
        });
    }

    /// When all was healed.
    #[must_use]
    pub fn healed(&self) -> Option<Duration> {
        self.shared.phase.borrow().healed
    }

    /// Has all workloads stop. What they do after it they do in a healed world.
    pub fn end(&self) {
        self.heal();
        self.shared.phase.send_modify(|phase| phase.is_over = true);
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.phase.borrow().is_over
    }

    /// Waits until it is time to stop.
    pub async fn until_over(&self) {
        // The sender is kept by the world itself.
        let _ = self.shared.phase.subscribe().wait_for(|phase| phase.is_over).await;
    }

    /// What was done so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Demands that each of `workloads` has succeeded so often.
    ///
    /// # Panics
    /// If one has not: it has shown nothing.
    pub fn demand(&self, workloads: &[&'static str], ok_min: u64) {
        for workload in workloads {
            let counts = self.tally().of(workload);
            assert!(counts.ok() >= ok_min, "{workload} shows nothing: expected {ok_min} ok operations, found {counts}");
        }
    }

    /// Waits until every shard and every one of `workloads` has committed something that was meant to begin after
    /// `since`.
    ///
    /// # Panics
    /// If one has not within `within`.
    pub async fn until_committed(&self, workloads: &[&'static str], since: Duration, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let silent = self.tally().silent(workloads, since);
            if silent.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "nothing was committed for {within:?} by {}", silent.join(", "));
            sleep(LOOKS_EVERY).await;
        }
    }

    /// A snapshot by some client, and some time after it: what is written meanwhile must not be seen in it.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let snapshot = self.client().snapshot().await?;
        if self.one_in(2) {
            self.think().await;
        }
        Ok(snapshot)
    }
}
