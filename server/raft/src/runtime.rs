//! openraft's runtime: tokio, with tasks in the scope of their node and random numbers from its seed.
//!
//! Each group looks at its timers every so often. Left alone, hundreds of groups do so at different moments, and each
//! heartbeat is a frame of its own. Here all groups of a host look at the same moments, so that the heartbeats of many
//! groups to one node travel in one frame:
//!
//! ```text
//!   alone    1    2  3    4  1    2  3    4          on the grid    1234           1234
//!            |----|--|----|--|----|--|----|                         |--------------|----
//! ```

use std::future::Future;
use std::time::Duration;

use openraft::rt::{AsyncRuntime, Instant as _};
use openraft_rt_tokio::{TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime, TokioWatch};
use rand::rngs::SmallRng;
use tokio::time::Instant;

tokio::task_local! {
    static GRID: Grid;
}

/// The moments at which all groups of a host look at their timers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    origin: Instant,
    period: Duration,
}

impl Grid {
    /// A grid with some moments in each heartbeat, as many as openraft looks at.
    pub(crate) fn new(heartbeat: Duration) -> Self {
        Self { origin: Instant::now(), period: (heartbeat * 13 / 64).max(Duration::from_millis(1)) }
    }

    /// Runs a future whose tasks, and theirs, are on this grid.
    pub(crate) async fn within<F: Future>(self, future: F) -> F::Output {
        GRID.scope(self, future).await
    }

    /// Calls a function whose tasks, and theirs, are on this grid.
    pub(crate) fn enter<T>(self, call: impl FnOnce() -> T) -> T {
        GRID.sync_scope(self, call)
    }

    /// The first moment of the grid at or after `deadline`.
    fn align(self, deadline: Instant) -> Instant {
        let period = self.period.as_nanos();
        let periods = deadline.saturating_duration_since(self.origin).as_nanos().div_ceil(period);
        u64::try_from(periods * period).map_or(deadline, |nanos| self.origin + Duration::from_nanos(nanos))
    }
}

/// Runs openraft's tasks where [`lentic_runtime::spawn`] puts them.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

impl AsyncRuntime for Runtime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: Send + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + Send> = tokio::time::Timeout<T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: Send + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        match GRID.try_with(|grid| *grid) {
            Ok(grid) => lentic_runtime::spawn(grid.within(future)),
            Err(_) => lentic_runtime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    /// openraft's ticks are the only ones to sleep until a moment, and a tick may be late.
    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        let deadline = Instant::now() + deadline.saturating_duration_since(TokioInstant::now());
        let deadline = GRID.try_with(|grid| grid.align(deadline)).unwrap_or(deadline);
        tokio::time::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        lentic_runtime::rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ticks_fall_on_the_grid_and_not_before_their_time() {
        let grid = Grid::new(Duration::from_millis(100));
        let at = |ms: u64| grid.origin + Duration::from_millis(ms);
        let period = Duration::from_millis(100) * 13 / 64;
        assert_eq!(grid.align(at(0)), at(0));
        assert_eq!(grid.align(at(1)), grid.origin + period);
        assert_eq!(grid.align(grid.origin + period), grid.origin + period);
        let woken = grid.within(async {
            let inner = Runtime::spawn(async {
                Runtime::sleep_until(TokioInstant::now() + Duration::from_millis(25)).await;
                Instant::now()
            });
            inner.await.unwrap()
        });
        let woken = woken.await;
        assert!(woken >= grid.origin + 2 * period && woken < grid.origin + 2 * period + Duration::from_millis(2));
    }
}
