//! How fast a disk is: the log's writer in a simulation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_log::Writer;
use lentic_runtime::random;
use tokio::time::{Instant, sleep, sleep_until};

/// How long an fdatasync takes. Clones are the same disk's.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    sync_us_min: u64,
    sync_us_max: u64,
    stalls_until: Option<Instant>,
    slow_syncs: u64,
}

impl Pace {
    /// A healthy disk.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { sync_us_min: 100, sync_us_max: 2_000, stalls_until: None, slow_syncs: 0 })))
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the log's writer: one gather, one sync.
    pub(crate) async fn write(self, mut writer: Writer) {
        const SLOW: Duration = Duration::from_millis(10);
        loop {
            let began = Instant::now();
            let state = *self.lock();
            let span = state.sync_us_max.saturating_sub(state.sync_us_min) + 1;
            sleep(Duration::from_micros(state.sync_us_min + random() % span)).await;
            // A stall may be ended before its time.
            while let Some(until) = self.stall_left() {
                sleep_until(until.min(Instant::now() + SLOW)).await;
            }
            if writer.step() && began.elapsed() >= SLOW {
                self.lock().slow_syncs += 1;
            }
        }
    }
}
