//! Ticks for this node: one fetch serves all that wait.
//!
//! ```text
//!   proposers, readers ──► queue ──► one fetch at a time ──► oracle (here or on another node)
//! ```
//!
//! Rule W: what is stamped with a tick had reached its leader before the tick was fetched. A fetch takes those who wait
//! when it begins; who comes later waits for the next one. All of a fetch may share its ticks: they waited together, so
//! none of them was acknowledged before another began.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lentic_machine::oracle::Ticks;
use lentic_net::BoxFuture;
use lentic_runtime::spawn;
use lentic_types::Version;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Most callers that wait for a fetch: one proposer a shard, and readers who come one by one behind it.
const WAITING_MAX: usize = 4_096;
/// Most ticks of one fetch: with 256 stamps each, more than a batch of a proposer needs.
pub(crate) const TICKS_MAX: u32 = 4_096;
/// The pause before a failed fetch is tried again, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Asks the oracle, wherever it is.
pub(crate) trait Oracle: Send + Sync + 'static {
    /// `count` ticks in a row, fetched after this call; `None` if the oracle was not reached.
    fn fetch(&self, count: u32) -> BoxFuture<'_, Option<Ticks>>;
}

/// The node's source of ticks. Clones are the same source.
#[derive(Clone)]
pub(crate) struct TickSource {
    waiting: mpsc::Sender<Waiter>,
    newest: Arc<AtomicU64>,
    /// When it was seen.
    seen: Arc<Mutex<Instant>>,
}

struct Waiter {
    count: u32,
    reply: oneshot::Sender<Ticks>,
}

/// The last of some ticks; there is at least one.
pub(crate) fn last_of(ticks: Ticks) -> Version {
    ticks.iter().last().unwrap_or(ticks.first)
}

/// The node is stopping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

impl TickSource {
    pub(crate) fn new(oracle: Arc<dyn Oracle>) -> Self {
        let (waiting, waiters) = mpsc::channel(WAITING_MAX);
        let (newest, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Instant::now())));
        spawn(serve(oracle, waiters, Arc::clone(&newest), Arc::clone(&seen)));
        Self { waiting, newest, seen }
    }

    /// At least `count` ticks in a row, from a fetch begun after this call. It waits until the oracle is reached.
    pub(crate) async fn fetch(&self, count: u32) -> Result<Ticks, Stopped> {
        let (reply, ticks) = oneshot::channel();
        self.waiting.send(Waiter { count: count.min(TICKS_MAX), reply }).await.map_err(|_| Stopped)?;
        ticks.await.map_err(|_| Stopped)
    }

    /// The newest tick this node has seen; [`Version::ZERO`] before the first.
    pub(crate) fn newest(&self) -> Version {
        Version(self.newest.load(Ordering::Acquire))
    }

    /// A tick that was fetched at most `age` ago.
    pub(crate) async fn recent(&self, age: Duration) -> Result<Version, Stopped> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.newest();
        if newest == Version::ZERO || seen.elapsed() > age {
            return self.fetch(1).await.map(last_of);
        }
        Ok(newest)
    }
}

async fn serve(
    oracle: Arc<dyn Oracle>,
    mut waiters: mpsc::Receiver<Waiter>,
    newest: Arc<AtomicU64>,
    seen: Arc<Mutex<Instant>>,
) {
    let mut together = Vec::new();
    while waiters.recv_many(&mut together, WAITING_MAX).await > 0 {
        let count = together.iter().map(|waiter| waiter.count).max().unwrap_or(1);
        let mut pause = PAUSE_MIN;
        let ticks = loop {
            if let Some(ticks) = oracle.fetch(count.max(1)).await {
                break ticks;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        };
        newest.fetch_max(last_of(ticks).0, Ordering::AcqRel);
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        for waiter in together.drain(..) {
            // Who no longer waits needs no ticks.
            let _ = waiter.reply.send(ticks);
        }
    }
}
