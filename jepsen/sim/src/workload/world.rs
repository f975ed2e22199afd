//! What workloads share.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_client::{Client, Error, Table};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;

/// Once all is healed, an operation may take so long.
pub const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// The name of the table.
pub const TABLE: &str = "sim";

/// What workloads share. Clones are the same world, with dice of their own if forked.
#[derive(Clone)]
pub struct World {
    pub(crate) dice: Dice,
    clients: Arc<[Client]>,
    shards: u64,
    order: Arc<AtomicU64>,
    phase: watch::Receiver<Phase>,
    tally: Arc<Mutex<Tally>>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Things break.
    Faults,
    /// All is healed, since then.
    Healed(Instant),
    /// Workloads end.
    Over(Instant),
}

/// What was done by all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations that succeeded.
    pub operations: u64,
    /// The longest of them.
    pub longest: Duration,
    /// The longest part of one after all was healed.
    pub longest_healed: Duration,
}

impl World {
    /// A world of clients.
    #[must_use]
    pub fn new(dice: &Dice, clients: Vec<Client>, shards: u64, phase: watch::Receiver<Phase>) -> Self {
        Self { dice: dice.fork(), clients: clients.into(), shards, order: Arc::default(), phase, tally: Arc::default() }
    }

    /// The same world for another task.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { dice: self.dice.fork(), ..self.clone() }
    }

    /// Some client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.clients[self.dice.place(self.clients.len())].clone()
    }

    /// The table, by some client.
    #[must_use]
    pub fn table(&self) -> Table {
        self.client().table(TABLE)
    }

    /// A key of some shard.
    #[must_use]
    pub fn key(&self, shard: u64, name: &str) -> Vec<u8> {
        let first = ((shard % self.shards) * 256 + 128) / self.shards;
        let mut key = vec![u8::try_from(first).expect("below 256")];
        key.extend_from_slice(name.as_bytes());
        key
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(&self) -> u64 {
        self.shards
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Over(_))
    }

    /// The next number in the order of calls and answers.
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    /// Pauses as a caller does that does something else.
    pub async fn pause(&self, ms_max: u64) {
        sleep(Duration::from_millis(self.dice.between(0..=ms_max))).await;
    }

    /// Runs an operation and takes note of how long it took.
    ///
    /// # Panics
    /// If it took too long after all was healed.
    pub async fn timed<T>(&self, what: &str, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let began = Instant::now();
        let result = operation.await;
        let healed = match *self.phase.borrow() {
            Phase::Faults => Duration::ZERO,
            Phase::Healed(at) | Phase::Over(at) => at.max(began).elapsed(),
        };
        assert!(healed <= SERVES_WITHIN, "{what} took {healed:?} with no fault left: {:?}", result.as_ref().err());
        let mut tally = self.tally();
        tally.operations += u64::from(result.is_ok());
        tally.longest = tally.longest.max(began.elapsed());
        tally.longest_healed = tally.longest_healed.max(healed);
        result
    }

    /// As [`Self::timed`], for an operation that no fault may let fail.
    ///
    /// # Panics
    /// If it fails.
    pub async fn must<T>(&self, what: &str, operation: impl Future<Output = Result<T, Error>>) -> T {
        match self.timed(what, operation).await {
            Ok(value) => value,
            Err(error) => panic!("{what} failed: {error}"),
        }
    }

    /// What was done so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
