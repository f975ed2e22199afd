//! Callers in a closed loop, each of which begins its next operation when the last one is answered; and operations that
//! begin at a pace, whatever the answers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::{JoinHandle, JoinSet};

/// Longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// How many callers, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) callers: u64,
    /// Before this has passed, nothing is counted.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What callers saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Operations a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Runs `operation(caller, number)` from every caller. An operation that fails ends the benchmark: a rate with errors
/// in it is none.
pub(crate) async fn drive<O, F>(load: Load, operation: O) -> Seen
where
    O: Fn(u64, u64) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (counts, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for caller in 0..load.callers {
        let (operation, counts, over) = (operation.clone(), Arc::clone(&counts), Arc::clone(&over));
        callers.spawn(async move {
            let mut seen = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds are in order");
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                operation(caller, number).await;
                if counts.load(Ordering::Relaxed) {
                    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
                    seen.saturating_record(micros);
                }
            }
            seen
        });
    }
    tokio::time::sleep(load.warm_up).await;
    let began = Instant::now();
    counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(load.measured).await;
    counts.store(false, Ordering::Relaxed);
    let took = began.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut all = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds are in order");
    while let Some(seen) = callers.join_next().await {
        all.add(seen.expect("an operation failed")).expect("the bounds are the same");
    }
    let ms = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    Seen { rate: all.len() as f64 / took, p50_ms: ms(0.5), p99_ms: ms(0.99) }
}

/// How many operations begin, and how often: whether or not those before them have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) every: Duration,
    pub(crate) at_once: u64,
}

/// Operations that begin at a pace, until they are stopped.
pub(crate) struct Paced(JoinHandle<()>, Arc<AtomicBool>);

impl Paced {
    /// Returns when the last of them has ended.
    pub(crate) async fn stop(self) {
        self.1.store(true, Ordering::Relaxed);
        self.0.await.expect("an operation failed");
    }
}

/// Runs `operation(number)` at a pace, numbers from 0 on.
pub(crate) fn paced<O, F>(pace: Pace, operation: O) -> Paced
where
    O: Fn(u64) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let running = tokio::spawn(async move {
        let (mut turns, mut under_way, mut number) = (tokio::time::interval(pace.every), JoinSet::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            turns.tick().await;
            for _ in 0..pace.at_once {
                under_way.spawn(operation(number));
                number += 1;
            }
            while let Some(ended) = under_way.try_join_next() {
                ended.expect("an operation failed");
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended.expect("an operation failed");
        }
    });
    Paced(running, over)
}

/// A value that compresses to about a half, as state does: the first half of it is noise.
pub(crate) fn value(number: u64, bytes: usize) -> Bytes {
    let words = (0_u64..).map(|word| scatter(number << 8 | word).to_le_bytes());
    let noise = words.flatten().take(bytes / 2);
    noise.chain(std::iter::repeat(b'v')).take(bytes).collect()
}

/// A number that looks random, the same for the same input: the finalizer of `SplitMix64`.
pub(crate) fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
