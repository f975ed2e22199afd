//! What an event waits for while checkpoints are made beside it.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep_until};

use super::place::Place;
use super::updates::Load;

/// Events a second that come, whether those before are done or not: a part of what a task can do.
const EVENTS_PER_SECOND: u64 = 20_000;
/// Events between two checkpoints: half a second.
const EVENTS_PER_CHECKPOINT: u64 = EVENTS_PER_SECOND / 2;

/// Microseconds from when an event came until it was done.
pub(crate) struct Waits {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) longest: f64,
}

/// How long events take, all of whose keys are in the task's cache, without checkpoints and with them. Each takes one from
/// when it was to come, so one that is held up counts against those behind it, too.
pub(crate) async fn of_task(place: &Place, name: &str, load: Load) -> (Waits, Waits) {
    let table = place.table(name).await;
    let mut task = place.task(&table, 4 * load.quarter_bytes() * 2).await;
    let counts = task.value_state::<i64, i64>("counts").expect("a new state");
    for key in 0..load.keys.cast_signed() {
        counts.update(&mut task, &key, &0).await.expect("the table takes it");
    }
    task.flush().await.expect("the table takes it");
    let mut number = 0;
    let mut waits = Vec::new();
    for with_checkpoints in [false, true] {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("a minute");
        let began = Instant::now();
        for event in 0..load.events {
            let due = began + Duration::from_secs(1).mul_f64(event as f64 / EVENTS_PER_SECOND as f64);
            if Instant::now() < due {
                sleep_until(due).await;
            }
            if with_checkpoints && event % EVENTS_PER_CHECKPOINT == 0 {
                if number > 0 {
                    task.end_checkpoint().await.expect("the table takes it");
                }
                number += 1;
                task.begin_checkpoint(number).await.expect("the table takes it");
            }
            let key = load.key(event);
            let count = counts.value(&mut task, &key).await.expect("the table answers").expect("every key has one");
            counts.update(&mut task, &key, &(count + 1)).await.expect("the table takes it");
            histogram.saturating_record(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        task.flush().await.expect("the table takes it");
        let us = |ns: u64| ns as f64 / 1_000.0;
        waits.push(Waits {
            p50: us(histogram.value_at_quantile(0.5)),
            p99: us(histogram.value_at_quantile(0.99)),
            p999: us(histogram.value_at_quantile(0.999)),
            longest: us(histogram.max()),
        });
    }
    task.end_checkpoint().await.expect("the table takes it");
    task.stop().await.expect("the task ends");
    let with = waits.pop().expect("two were made");
    (waits.pop().expect("two were made"), with)
}
