//! Counters that are raised without being read.

use std::time::Instant;

use lentic_client::state::Reduce;
use lentic_client::{MergeOperator, Table, WriteBatch};
use tokio::task::JoinSet;

use super::place::Place;
use super::updates::{Load, stored};

/// Merges of a request, and requests at once: as a task's flush sends them.
const MERGES_PER_REQUEST: u64 = 2_000;
const REQUESTS_AT_ONCE: usize = 4;

/// Events a second that a task adds to sums: it folds what falls on a key before it is sent. At the end all is on disk.
pub(crate) async fn of_task(place: &Place, name: &str, load: Load) -> f64 {
    let table = place.table(name).await;
    let mut task = place.task(&table, load.quarter_bytes()).await;
    let sums = task.reducing_state::<i64, i64>("sums", Reduce::<i64>::sum()).expect("a new state");
    let began = Instant::now();
    for event in 0..load.events {
        sums.add(&mut task, &load.key(event), 1).await.expect("the table takes it");
    }
    task.checkpoint(1).await.expect("the table takes it");
    let rate = load.events as f64 / began.elapsed().as_secs_f64();
    let mut total = 0;
    for key in 0..1_000 {
        total += sums.get(&mut task, &key).await.expect("the table answers").unwrap_or(0);
    }
    let expected = (0..load.events).filter(|event| load.key(*event) < 1_000).count();
    assert_eq!(total.cast_unsigned(), expected as u64, "no event is lost or doubled");
    task.stop().await.expect("the task ends");
    rate
}

/// Merges a second that the servers fold and acknowledge, in requests of many, most of them of different keys.
pub(crate) async fn of_servers(place: &Place, name: &str, load: Load) -> f64 {
    let table = place.table(name).await;
    let one = 1i64.to_be_bytes();
    let request = |number: u64| {
        let events = number * MERGES_PER_REQUEST..(number + 1) * MERGES_PER_REQUEST;
        events.fold(WriteBatch::new(), |batch, event| {
            batch.merge(stored(load.key(event)), MergeOperator::AddI64, one.to_vec())
        })
    };
    let requests = load.events / MERGES_PER_REQUEST;
    let mut under_way = JoinSet::new();
    let began = Instant::now();
    for number in 0..requests {
        if under_way.len() >= REQUESTS_AT_ONCE {
            under_way.join_next().await.expect("there are some").expect("it does not panic");
        }
        let (table, batch): (Table, _) = (table.clone(), request(number));
        under_way.spawn(async move {
            table.write_in_parts(batch).await.expect("the table takes it");
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended.expect("it does not panic");
    }
    (requests * MERGES_PER_REQUEST) as f64 / began.elapsed().as_secs_f64()
}
