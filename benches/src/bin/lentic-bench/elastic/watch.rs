//! The load: puts that begin at a pace, and what became of each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lentic_client::Table;

use super::steps::Done;
use crate::drive::{Pace, Paced, paced, scatter, value};

/// Puts: 1,000 a second.
const PUTS: Pace = Pace { every: Duration::from_millis(10), at_once: 10 };
const KEYS: u64 = 1_000_000;
const VALUE_BYTES: usize = 256;
/// Between two steps: as long as clients may still look for a new leader, and more.
const REST: Duration = Duration::from_millis(1_500);

/// A load that goes on.
pub(super) struct Watch {
    began: Instant,
    puts: Arc<Puts>,
    load: Paced,
}

#[derive(Default)]
struct Puts {
    /// When each should have begun, and how long it took from then on, in microseconds.
    ended: Mutex<Vec<(u64, u64)>>,
    failed: AtomicU64,
}

/// What became of all.
pub(super) struct Seen {
    /// When puts were answered, in seconds.
    pub(super) answered: Vec<f64>,
    pub(super) failed: u64,
}

impl Watch {
    pub(super) fn start(table: &Table) -> Self {
        let (began, puts) = (Instant::now(), Arc::new(Puts::default()));
        let (table, noted) = (table.clone(), Arc::clone(&puts));
        let load = paced(PUTS, move |number| {
            let (table, noted) = (table.clone(), Arc::clone(&noted));
            let every = u64::try_from(PUTS.every.as_micros()).expect("short");
            let should_begin = number / PUTS.at_once * every;
            async move {
                let key = Bytes::copy_from_slice(&scatter(number % KEYS).to_be_bytes());
                let ended = table.put(key, value(number, VALUE_BYTES)).await;
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                if ended.is_err() {
                    noted.failed.fetch_add(1, Ordering::Relaxed);
                }
                let mut all = noted.ended.lock().unwrap_or_else(PoisonError::into_inner);
                all.push((should_begin, micros.saturating_sub(should_begin)));
            }
        });
        Self { began, puts, load }
    }

    /// Now, as puts are timed.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) async fn rest(&self) {
        tokio::time::sleep(REST).await;
    }

    /// Milliseconds of the puts that should have begun in this time, rising.
    pub(super) fn latencies(&self, part: &Done) -> Vec<f64> {
        let within = part.micros();
        let ended = self.puts.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let of_part = ended.iter().filter(|(should_begin, _)| within.contains(should_begin));
        let mut latencies: Vec<f64> = of_part.map(|(_, micros)| *micros as f64 / 1e3).collect();
        latencies.sort_by(f64::total_cmp);
        latencies
    }

    /// Puts answered in a second of this time.
    pub(super) fn rate(&self, part: &Done) -> f64 {
        let within = part.micros();
        let ended = self.puts.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = ended.iter().filter(|(should_begin, micros)| within.contains(&(should_begin + micros)));
        answered.count() as f64 / part.seconds()
    }

    pub(super) async fn stop(self) -> Seen {
        self.load.stop().await;
        let ended = self.puts.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = ended.iter().map(|(should_begin, micros)| (should_begin + micros) as f64 / 1e6);
        Seen { answered: answered.collect(), failed: self.puts.failed.load(Ordering::Relaxed) }
    }
}
