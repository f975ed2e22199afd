//! How fast a disk is: the log's writer in a simulation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_log::Writer;
use lentic_runtime::random;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long an fdatasync takes. Clones are the same disk's.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    state: Arc<Mutex<State>>,
    /// Told when a log is closed.
    closed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    sync_us_min: u64,
    sync_us_max: u64,
    stalls_until: Option<Instant>,
    slow_syncs: u64,
    /// The log is to be closed.
    closes: bool,
}

impl Pace {
    /// A healthy disk.
    pub(crate) fn new() -> Self {
        let state = State { sync_us_min: 100, sync_us_max: 2_000, stalls_until: None, slow_syncs: 0, closes: false };
        Self { state: Arc::new(Mutex::new(state)), closed: Arc::default() }
    }

    /// From now on each sync takes up to `us_max`.
    pub(crate) fn set(&self, us_max: u64) {
        let mut state = self.lock();
        state.sync_us_max = us_max;
        state.stalls_until = None;
    }

    /// No sync ends for so long.
    pub(crate) fn stall(&self, for_: Duration) {
        self.lock().stalls_until = Some(Instant::now() + for_);
    }

    /// Syncs that wrote something and took longer than on a healthy disk.
    pub(crate) fn slow_syncs(&self) -> u64 {
        self.lock().slow_syncs
    }

    fn stall_left(&self) -> Option<Instant> {
        self.lock().stalls_until.filter(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the log: what is queued is written first.
    pub(crate) async fn close(&self) {
        let closed = self.closed.notified();
        self.lock().closes = true;
        closed.await;
    }

    /// Runs the log's writer until the log is closed: one gather, one sync.
    pub(crate) async fn write(self, mut writer: Writer) {
        const SLOW: Duration = Duration::from_millis(10);
        self.lock().closes = false;
        loop {
            let began = Instant::now();
            let state = *self.lock();
            let span = state.sync_us_max.saturating_sub(state.sync_us_min) + 1;
            sleep(Duration::from_micros(state.sync_us_min + random() % span)).await;
            // A stall may be ended before its time.
            while let Some(until) = self.stall_left() {
                sleep_until(until.min(Instant::now() + SLOW)).await;
            }
            if self.lock().closes {
                // A log that has failed cannot be closed: then it is as after a crash.
                let _ = writer.close();
                self.closed.notify_waiters();
                return;
            }
            if writer.step() && began.elapsed() >= SLOW {
                self.lock().slow_syncs += 1;
            }
        }
    }
}
