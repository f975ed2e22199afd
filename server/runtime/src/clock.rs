//! Wall time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall time, which may jump either way. Only the oracle's leader asks it, and no promise rests on it.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970; 0 for a clock set before that.
    fn unix_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that goes with tokio's time, faster or slower, and jumps when told. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct SimClock {
    started: Instant,
    unix_ms_at_start: i64,
    drift_ppm: i64,
    offset_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that shows `unix_ms` now.
    #[must_use]
    pub fn new(unix_ms: u64) -> Self {
        Self::drifting(unix_ms, 0)
    }

    /// A clock that shows `unix_ms` now, and gains so many millionths, or loses them if `ppm` is negative.
    #[must_use]
    pub fn drifting(unix_ms: u64, ppm: i64) -> Self {
        let unix_ms_at_start = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        Self { started: Instant::now(), unix_ms_at_start, drift_ppm: ppm, offset_ms: Arc::default() }
    }

    /// Sets the clock forward, or back if `ms` is negative.
    pub fn jump(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let drifted = elapsed.saturating_add(elapsed.saturating_mul(self.drift_ppm) / 1_000_000);
        let ms = self.unix_ms_at_start.saturating_add(drifted).saturating_add(self.offset_ms.load(Ordering::Relaxed));
        u64::try_from(ms).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_goes_with_tokio_and_jumps() {
        let clock = SimClock::new(1_000);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(clock.unix_ms(), 1_020);
        clock.clone().jump(-2_000);
        assert_eq!(clock.unix_ms(), 0, "a clock does not show a time before 1970");
        clock.jump(3_000);
        assert_eq!(clock.unix_ms(), 2_020);
        let slow = SimClock::drifting(1_000, -100_000);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(slow.unix_ms(), 1_018);
    }
}
