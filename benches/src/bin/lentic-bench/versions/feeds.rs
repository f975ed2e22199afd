//! From a commit to who follows, and how fast one that was away catches up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lentic_client::{FeedEvent, KeyRange, Table};

use super::fill::{Fill, SHARDS, fill, key};
use crate::Size;
use crate::cluster::Lentic;
use crate::drive::{Pace, paced, value};
use crate::figures::{Figures, Target};

const VALUE_BYTES: usize = 256;
/// Changes: 5,000 a second.
const CHANGES: Pace = Pace { every: Duration::from_millis(10), at_once: 50 };
/// Changes before any is timed.
const WARM_UP: u64 = 5_000;

pub(crate) async fn run(size: Size, figures: &mut Figures) {
    let cluster = Lentic::start().await;
    let client = cluster.client().await;
    cluster.table(&client, "live", SHARDS).await;
    let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
    for _ in 0..size.repetitions {
        let seen = follow(&client.table("live"), size.pick(50_000, 10_000) as u64).await;
        p50s.push(seen.value_at_quantile(0.5) as f64 / 1e3);
        p99s.push(seen.value_at_quantile(0.99) as f64 / 1e3);
    }
    figures.add("feed_p50_at_5000_changes_a_second", &p50s, "ms", Target::Stated);
    figures.add("feed_p99_at_5000_changes_a_second", &p99s, "ms", Target::AtMost(50.0));
    cluster.table(&client, "past", SHARDS).await;
    let past = client.table("past");
    let before = client.snapshot().await.expect("the cluster answers").version();
    let changes = size.pick(200_000, 50_000) as u64;
    fill(&past, Fill { from: 0, to: changes, value_bytes: VALUE_BYTES, fence: None }).await;
    cluster.processes.settle().await;
    let mut rates = Vec::new();
    for _ in 0..size.repetitions {
        let began = Instant::now();
        let mut feed = past.subscribe(KeyRange::all()).from(before).start();
        let (mut count, mut bytes) = (0, 0);
        while count < changes {
            if let FeedEvent::Change(change) = feed.next().await.expect("a feed goes on").expect("the cluster answers")
            {
                count += 1;
                bytes += change.key.len() + change.value.map_or(0, |value| value.len());
            }
        }
        rates.push(bytes as f64 / 1e6 / began.elapsed().as_secs_f64());
    }
    figures.add("feed_catch_up", &rates, "MB/s", Target::Stated);
}

/// Microseconds from the answer to a write to its change in a feed; 0 if the feed was first.
async fn follow(table: &Table, changes: u64) -> Histogram<u64> {
    let began = Instant::now();
    let micros = move || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    // By number: when its write was answered. Those that are told before that wait in `early`, and count as 0.
    let answered: Arc<Vec<AtomicU64>> = Arc::new((0..WARM_UP + changes).map(|_| AtomicU64::new(u64::MAX)).collect());
    let mut feed = table.subscribe(KeyRange::all()).start();
    // The feed begins with its first question.
    let first = feed.next().await.expect("a feed goes on").expect("the cluster answers");
    assert!(matches!(first, FeedEvent::Resolved(_)), "nothing is written yet");
    let (target, noted) = (table.clone(), Arc::clone(&answered));
    let writes = paced(CHANGES, move |number| {
        let (table, answered) = (target.clone(), Arc::clone(&noted));
        async move {
            let mut bytes = number.to_be_bytes().to_vec();
            bytes.extend_from_slice(&value(number, VALUE_BYTES - 8));
            table.put(key(number % 10_000), bytes).await.expect("the cluster takes writes");
            if let Some(answered) = answered.get(usize::try_from(number).expect("few")) {
                answered.store(micros(), Ordering::Relaxed);
            }
        }
    });
    let mut seen = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order");
    while seen.len() < changes {
        let event = feed.next().await.expect("a feed goes on").expect("the cluster answers");
        let FeedEvent::Change(change) = event else { continue };
        let value = change.value.expect("nothing is deleted");
        let number = u64::from_be_bytes(value[..8].try_into().expect("eight bytes"));
        let Some(answered) = answered.get(usize::try_from(number).expect("few")) else { continue };
        if number >= WARM_UP {
            seen.saturating_record(micros().saturating_sub(answered.load(Ordering::Relaxed)));
        }
    }
    writes.stop().await;
    seen
}
