//! When operations begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::interrupt::Interrupt;

/// The shortest sleep of the pacer. Shorter ones cost more processor time than the operations.
const SLEEP_MIN: Duration = Duration::from_micros(200);

/// Most operations that become due at once.
const PERMITS_AT_ONCE_MAX: u64 = 1 << 20;

/// When the operations of all callers begin, until an end.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    end: Instant,
    interrupt: Interrupt,
    open: Option<Arc<Open>>,
}

/// An operation begins when its time has come, whether earlier ones are done or not, as requests of many independent
/// users do. A latency counts from that time: what had to wait for a slow answer shows that it did. So what is due before
/// the end is begun after it if need be; left out, it would take its long latencies along.
#[derive(Debug)]
struct Open {
    start: Instant,
    per_second: f64,
    /// How many operations there are.
    total: u64,
    /// When no operation begins any more: at a rate that is never reached, the end would not come.
    late_end: Instant,
    /// How many operations were due and are not begun.
    due: Semaphore,
    next: AtomicU64,
}

impl Open {
    fn new(start: Instant, end: Instant, per_second: f64) -> Self {
        let mut open = Self {
            start,
            per_second,
            total: 0,
            late_end: end + (end - start),
            due: Semaphore::new(0),
            next: AtomicU64::new(0),
        };
        // What would be due at the end itself is not due before it.
        open.total = open.due_at(end) - u64::from(open.time_of(open.due_at(end) - 1) >= end);
        open
    }

    /// How many operations are due until `now`, the first at the start.
    fn due_at(&self, now: Instant) -> u64 {
        let after = now.saturating_duration_since(self.start).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of operations")]
        let whole = (after * self.per_second) as u64;
        whole + 1
    }

    fn time_of(&self, operation: u64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
        let after = Duration::from_secs_f64(operation as f64 / self.per_second);
        self.start + after
    }
}

impl Pace {
    /// Each caller begins an operation when its last one is done.
    pub(super) const fn closed(end: Instant, interrupt: Interrupt) -> Self {
        Self { end, interrupt, open: None }
    }

    /// Operations begin at a rate, from `start` on.
    pub(super) fn open(start: Instant, end: Instant, per_second: f64, interrupt: Interrupt) -> Self {
        let open = Arc::new(Open::new(start, end, per_second));
        let (paced, stop) = (open.clone(), interrupt.clone());
        // A timer of tokio goes by milliseconds, which would be the latency that is measured.
        tokio::task::spawn_blocking(move || pace(&paced, end, &stop));
        Self { end, interrupt, open: Some(open) }
    }

    /// Waits for the next operation's time and says when that was; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        if self.interrupt.is_asked() {
            return None;
        }
        let Some(open) = &self.open else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        open.due.acquire().await.ok()?.forget();
        let operation = open.next.fetch_add(1, Ordering::Relaxed);
        if operation >= open.total || Instant::now() >= open.late_end {
            // Nobody else has a next one either.
            open.due.close();
            return None;
        }
        Some(open.time_of(operation))
    }
}

/// Says when operations are due, until the end; then lets callers go that find no other.
fn pace(open: &Open, end: Instant, stop: &Interrupt) {
    let mut told = 0;
    loop {
        let now = Instant::now();
        if now >= end || stop.is_asked() {
            break;
        }
        // Callers that are behind need no permits beyond what a semaphore takes.
        let due = open.due_at(now).min(told + PERMITS_AT_ONCE_MAX);
        open.due.add_permits(usize::try_from(due - told).expect("a few permits"));
        told = due;
        let next = open.time_of(told).min(end);
        std::thread::sleep(next.saturating_duration_since(Instant::now()).max(SLEEP_MIN));
    }
    if stop.is_asked() {
        open.due.close();
    }
    // One more: who gets it finds that there is no operation left, and lets all go.
    let rest = open.total.saturating_sub(told).min(PERMITS_AT_ONCE_MAX) + 1;
    open.due.add_permits(usize::try_from(rest).expect("a few permits"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn operations_are_due_at_their_times() {
        let start = Instant::now();
        let after = |us| start + Duration::from_micros(us);
        let open = Open::new(start, after(10_000), 1_000.0);
        assert_eq!(open.total, 10, "what is due at the end is not due before it");
        assert_eq!([0, 999, 1_000, 10_500].map(|us| open.due_at(after(us))), [1, 1, 2, 11]);
        assert_eq!([0, 1, 10].map(|operation| open.time_of(operation)), [0, 1_000, 10_000].map(after));
    }

    #[tokio::test]
    async fn what_is_due_before_the_end_begins_after_it_if_need_be() {
        let (start, length) = (Instant::now(), Duration::from_millis(100));
        let pace = Pace::open(start, start + length, 100.0, Interrupt::listen().unwrap());
        let first = pace.next().await;
        assert_eq!(first, Some(start));
        // The only caller is busy until the end and a little longer.
        tokio::time::sleep_until(start + length + length / 10).await;
        let mut late = Vec::new();
        while let Some(time) = pace.next().await {
            late.push(time - start);
        }
        assert_eq!(late, (1..10).map(|operation| operation * length / 10).collect::<Vec<_>>());
        assert_eq!(pace.next().await, None, "the end is the end for every caller");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_wait_for_answers_begin_at_once_until_the_end() {
        let end = Instant::now() + Duration::from_millis(10);
        let pace = Pace::closed(end, Interrupt::listen().unwrap());
        assert_eq!(pace.next().await, Some(Instant::now()));
        tokio::time::advance(Duration::from_millis(9)).await;
        assert_eq!(pace.next().await, Some(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(pace.next().await, None);
    }
}
