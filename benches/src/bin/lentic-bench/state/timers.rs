//! Timers: many are set, and all are taken in their order.

use std::time::Instant;

use super::place::Place;
use crate::load::scramble;

/// Timers a second that are set, and that are taken. At the end all is on disk, each time.
pub(crate) async fn of_task(place: &Place, name: &str, count: u64) -> (f64, f64) {
    let table = place.table(name).await;
    let mut task = place.task(&table, 64 << 20).await;
    let timers = task.timers::<i64>("timers").expect("a new state");
    let began = Instant::now();
    for number in 0..count {
        let time = (scramble(number) % 1_000_000_000).cast_signed();
        timers.add(&mut task, time, &number.cast_signed()).await.expect("the table takes it");
    }
    task.flush().await.expect("the table takes it");
    let set = count as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let (mut taken, mut last) = (0, i64::MIN);
    while let Some(timer) = timers.pop_up_to(&mut task, i64::MAX).await.expect("the table answers") {
        assert!(timer.time >= last, "in their order");
        (taken, last) = (taken + 1, timer.time);
    }
    task.flush().await.expect("the table takes it");
    assert_eq!(taken, count, "each once");
    let popped = count as f64 / began.elapsed().as_secs_f64();
    task.stop().await.expect("the task ends");
    (set, popped)
}
