//! What a job's task asks the cluster for, what it waits for, and what it refuses.

#![allow(clippy::unwrap_used, reason = "what a test does must succeed")]

use std::time::Duration;

use lentic_client::state::{
    Aggregate, Job, MAX_PARALLELISM_MAX, MaxParallelism, Reduce, Start, StateError, StateOptions, Task, TaskCheckpoint,
};
use lentic_client::{ErrorKind, KeyRange, MergeOperator, Table, TableOptions};
use tokio::time::Instant;

use crate::fake::Cluster;

/// An aggregate whose operator does not fold what it keeps.
#[derive(Debug)]
struct Wrong;

impl Aggregate for Wrong {
    type Input = ();
    type Accumulator = String;
    type Output = ();

    const NAME: &'static str = "wrong";
    const OPERATOR: Option<MergeOperator> = Some(MergeOperator::AddI64);

    fn create(&self) -> String {
        String::new()
    }

    fn add(&self, _accumulator: &mut String, (): &()) {}

    fn result(&self, _accumulator: &String) {}
}

async fn table(cluster: &Cluster) -> Table {
    let client = cluster.client();
    client.create_table("t", TableOptions { shards: 2, ..TableOptions::default() }).await.unwrap();
    client.table("t")
}

fn job(table: &Table, options: StateOptions) -> Job {
    Job::new(table.clone(), "job", MaxParallelism::new(4).unwrap()).with_options(options)
}

async fn alone(table: &Table, options: StateOptions) -> Task {
    job(table, options).start(0, 1, Start::Fresh).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_name_has_one_type_over_restores() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let mut task = alone(&table, StateOptions::default()).await;
    task.value_state::<String, i64>("count").unwrap();
    task.value_state::<String, i64>("count").unwrap();
    let refused = |result: Result<(), StateError>, found: &str| match result.unwrap_err() {
        StateError::Registered { name, found: is, .. } => assert_eq!((&*name, &*is), ("count", found)),
        other => panic!("{other}"),
    };
    refused(task.value_state::<String, String>("count").map(drop), "value(string,i64)");
    refused(task.list_state::<String, i64>("count").map(drop), "value(string,i64)");
    refused(task.timers::<String>("count").map(drop), "value(string,i64)");
    task.reducing_state::<i64, i64>("sum", Reduce::<i64>::sum()).unwrap();
    assert!(task.reducing_state::<i64, i64>("sum", Reduce::<i64>::max()).is_err(), "another function");
    let checkpoint = task.checkpoint(1).await.unwrap();
    // Both of the two know it, though one of them alone has the list.
    for index in 0..2 {
        let start = Start::Restored(std::slice::from_ref(&checkpoint));
        let mut task = job(&table, StateOptions::default()).start(index, 2, start).await.unwrap();
        refused(task.value_state::<i64, i64>("count").map(drop), "value(string,i64)");
        task.value_state::<String, i64>("count").unwrap();
    }
    assert!(matches!(task.aggregating_state::<i64, Wrong>("wrong", Wrong), Err(StateError::Invalid(_))));
    assert!(matches!(task.value_state::<i64, i64>(""), Err(StateError::Invalid(_))));
    // Both have the CRC-32 4ddb0c25.
    task.value_state::<i64, i64>("plumless").unwrap();
    assert!(matches!(task.value_state::<i64, i64>("buckeroo"), Err(StateError::Collides { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_task_begins_with_nothing_or_with_all() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let job = job(&table, StateOptions::default());
    let mut two = Vec::new();
    for index in 0..2 {
        let mut task = job.start(index, 2, Start::Fresh).await.unwrap();
        task.value_state::<i64, i64>("v").unwrap();
        two.push(task.checkpoint(5).await.unwrap());
    }
    let not_empty = job.start(1, 4, Start::Fresh).await.map(drop);
    assert!(not_empty.is_ok(), "the list of states is in the first key group of the task before");
    assert!(matches!(job.start(0, 1, Start::Fresh).await, Err(StateError::NotEmpty { .. })));
    let refused = async |checkpoints: &[TaskCheckpoint]| {
        let result = job.start(0, 1, Start::Restored(checkpoints)).await;
        assert!(matches!(result, Err(StateError::Invalid(_))), "{checkpoints:?}");
    };
    let other = TaskCheckpoint { number: 6, ..two[1].clone() };
    refused(&[]).await;
    refused(&two[..1]).await;
    refused(&two[1..]).await;
    refused(&[two[0].clone(), two[0].clone(), two[1].clone()]).await;
    refused(&[two[0].clone(), other]).await;
    let damaged = TaskCheckpoint { token: "x".into(), ..two[1].clone() };
    let error = job.start(0, 1, Start::Restored(&[two[0].clone(), damaged])).await.unwrap_err();
    assert!(matches!(error, StateError::Table(error) if error.kind() == ErrorKind::Invalid));
    job.start(0, 1, Start::Restored(&two)).await.unwrap().stop().await.unwrap();
    let cleared = job.start(0, 1, Start::Cleared).await.unwrap();
    assert!(table.scan(KeyRange::all()).start().next().await.is_none());
    let others = Job::new(table.clone(), "another", job.max_parallelism());
    let owned = others.start(0, 1, Start::Fresh).await.unwrap_err();
    assert!(matches!(owned, StateError::Table(error) if error.kind() == ErrorKind::Owned));
    cleared.stop().await.unwrap();
    others.start(0, 1, Start::Fresh).await.unwrap();
    assert!(job.start(0, 5, Start::Fresh).await.is_err() && MaxParallelism::new(MAX_PARALLELISM_MAX + 1).is_err());
    let client = cluster.client();
    client
        .create_table("ends", TableOptions { ttl: Some(Duration::from_secs(9)), ..TableOptions::default() })
        .await
        .unwrap();
    let ends = Job::new(client.table("ends"), "job", job.max_parallelism());
    assert!(matches!(ends.start(0, 1, Start::Fresh).await, Err(StateError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn keys_of_others_and_large_ones_are_refused() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let mut task = job(&table, StateOptions::default()).start(0, 2, Start::Fresh).await.unwrap();
    let value = task.value_state::<String, Vec<u8>>("v").unwrap();
    let keys = || (0..10).map(|key| key.to_string());
    let (own, others) = (keys().find(|key| task.has(key)).unwrap(), keys().find(|key| !task.has(key)).unwrap());
    let elsewhere = value.update(&mut task, &others, &vec![]).await;
    assert!(matches!(elsewhere, Err(StateError::Elsewhere { .. })), "{elsewhere:?}");
    assert!(matches!(value.values(&mut task, [&own, &others]).await, Err(StateError::Elsewhere { .. })));
    let large = value.update(&mut task, &own, &vec![0; (8 << 20) + 1]).await;
    assert!(matches!(large, Err(StateError::TooLarge { what: "value", .. })), "{large:?}");
    let long = (0..100).map(|number| "x".repeat(16 << 10) + &number.to_string()).find(|key| task.has(key)).unwrap();
    assert!(matches!(value.update(&mut task, &long, &vec![]).await, Err(StateError::TooLarge { what: "key", .. })));
    task.checkpoint(1).await.unwrap();
    assert_eq!(value.value(&mut task, &own).await.unwrap(), None, "nothing was done");
    let options = StateOptions { flush_bytes: 9, dirty_bytes_max: 8, ..StateOptions::default() };
    assert!(matches!(job(&table, options).start(0, 1, Start::Cleared).await, Err(StateError::Invalid(_))));
    assert!(matches!(task.end_checkpoint().await, Err(StateError::Invalid(_))), "none was begun");
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_not_asked_for() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let mut task = alone(&table, StateOptions::default()).await;
    let value = task.value_state::<i64, i64>("v").unwrap();
    let sum = task.reducing_state::<i64, i64>("s", Reduce::<i64>::sum()).unwrap();
    let list = task.list_state::<i64, i64>("l").unwrap();
    for round in 0..3 {
        for key in 0..20 {
            sum.add(&mut task, &key, round).await.unwrap();
            list.add(&mut task, &key, &round).await.unwrap();
            value.update(&mut task, &key, &round).await.unwrap();
        }
        task.flush().await.unwrap();
    }
    assert_eq!(value.value(&mut task, &7).await.unwrap(), Some(2), "what was flushed is in the cache");
    assert_eq!(cluster.asked("get") + cluster.asked("multi-get"), 0, "merges read nothing");
    assert_eq!(list.get(&mut task, &7).await.unwrap(), [0, 1, 2]);
    assert_eq!(sum.get(&mut task, &7).await.unwrap(), Some(3));
    assert_eq!(cluster.asked("get"), 2);
    sum.add(&mut task, &7, 1).await.unwrap();
    assert_eq!(sum.get(&mut task, &7).await.unwrap(), Some(4));
    assert_eq!(cluster.asked("get"), 2, "what was read is known");
    assert_eq!(value.value(&mut task, &99).await.unwrap(), None);
    assert_eq!(value.value(&mut task, &99).await.unwrap(), None);
    assert_eq!(cluster.asked("get"), 3, "that there is none is known, too");
    let checkpoint = task.checkpoint(1).await.unwrap();
    let mut task = job(&table, StateOptions::default()).start(0, 1, Start::Restored(&[checkpoint])).await.unwrap();
    let keys: Vec<i64> = (0..20).collect();
    value.prefetch(&mut task, &keys).await.unwrap();
    for key in &keys {
        assert_eq!(value.value(&mut task, key).await.unwrap(), Some(2));
    }
    assert_eq!(cluster.asked("get"), 3);
    assert!((1..=2).contains(&cluster.asked("multi-get")), "one for each shard");
}

/// A cache has room for few of them, or is not there; and what is written meanwhile, and flushed, is what is read.
#[tokio::test(start_paused = true)]
async fn what_was_read_ahead_is_there_when_its_events_come() {
    for cache_bytes in [0, 2_000] {
        let cluster = Cluster::new(1);
        let table = table(&cluster).await;
        let options = StateOptions { cache_bytes, flush_bytes: 5_000, ..StateOptions::default() };
        let mut task = alone(&table, options).await;
        let value = task.value_state::<i64, i64>("v").unwrap();
        let keys: Vec<i64> = (0..200).collect();
        for key in &keys {
            value.update(&mut task, key, &0).await.unwrap();
        }
        task.flush().await.unwrap();
        for round in 0..3 {
            value.prefetch(&mut task, &keys).await.unwrap();
            let before = cluster.asked("get");
            for events in 0..2 {
                for key in &keys {
                    let found = value.value(&mut task, key).await.unwrap();
                    assert_eq!(found, Some(2 * round + events), "key {key}");
                    value.update(&mut task, key, &(2 * round + events + 1)).await.unwrap();
                }
                if events == 0 {
                    assert_eq!(cluster.asked("get"), before, "each event of the first round has its value");
                }
            }
            task.flush().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_a_flush_that_falls_behind() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let options = StateOptions { flush_bytes: 2_000, dirty_bytes_max: 10_000, ..StateOptions::default() };
    let mut task = alone(&table, options).await;
    let value = task.value_state::<i64, i64>("v").unwrap();
    cluster.fault(|faults| faults.held.insert(1));
    let mut most = 0;
    let events = async {
        for key in 0..2_000 {
            value.update(&mut task, &key, &key).await.unwrap();
            most = most.max(task.dirty_bytes());
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), events).await.is_err(), "it waits, and nothing fails");
    assert!((9_000..10_300).contains(&most), "{most} bytes wait");
    cluster.fault(|faults| faults.held.clear());
    for key in 0..2_000 {
        value.update(&mut task, &key, &-key).await.unwrap();
    }
    task.checkpoint(1).await.unwrap();
    assert_eq!(value.value(&mut task, &1_234).await.unwrap(), Some(-1_234));
}

/// The cluster is gone for 10 s in mid-run: the job waits, and adds once.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_back_loses_nothing() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let options = StateOptions { flush_bytes: 500, dirty_bytes_max: 1_000, ..StateOptions::default() };
    let mut task = alone(&table, options).await;
    let sum = task.reducing_state::<i64, i64>("s", Reduce::<i64>::sum()).unwrap();
    let began = Instant::now();
    let away = async {
        cluster.fault(|faults| faults.held.insert(1));
        tokio::time::sleep(Duration::from_secs(10)).await;
        cluster.fault(|faults| faults.held.clear());
    };
    let events = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for event in 0..500 {
            sum.add(&mut task, &(event % 7), 1).await.unwrap();
            task.flush().await.unwrap();
        }
    };
    tokio::join!(away, events);
    assert!(began.elapsed() >= Duration::from_secs(10));
    let mut all = 0;
    for key in 0..7 {
        all += sum.get(&mut task, &key).await.unwrap().unwrap();
    }
    assert_eq!(all, 500);
}

/// Longer than an operation may take: what was not flushed is lost, the task says so, and the checkpoint leads back.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_stays_away_ends_the_task() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let mut task = alone(&table, StateOptions::default()).await;
    let sum = task.reducing_state::<i64, i64>("s", Reduce::<i64>::sum()).unwrap();
    sum.add(&mut task, &1, 5).await.unwrap();
    let checkpoint = task.checkpoint(1).await.unwrap();
    sum.add(&mut task, &1, 7).await.unwrap();
    cluster.fault(|faults| faults.held.insert(1));
    let lost = task.checkpoint(2).await.unwrap_err();
    assert!(matches!(lost, StateError::Lost(_)) && !lost.is_fenced(), "{lost}");
    cluster.fault(|faults| faults.held.clear());
    assert_eq!(sum.get(&mut task, &1).await, Err(lost));
    let mut task = job(&table, StateOptions::default()).start(0, 1, Start::Restored(&[checkpoint])).await.unwrap();
    assert_eq!(sum.get(&mut task, &1).await.unwrap(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn many_timers_come_in_order() {
    let cluster = Cluster::new(1);
    let table = table(&cluster).await;
    let mut task = alone(&table, StateOptions { flush_bytes: 20_000, ..StateOptions::default() }).await;
    let timers = task.timers::<i64>("t").unwrap();
    let time = |number: i64| (number * 7_919) % 10_007 - 5_000;
    for number in 0..10_000 {
        timers.add(&mut task, time(number), &(number % 5)).await.unwrap();
        timers.add(&mut task, time(number), &(number % 5)).await.unwrap();
    }
    let mut expected: Vec<(i64, i64)> = (0..10_000).map(|number| (time(number), number % 5)).collect();
    expected.sort_unstable();
    let mut popped = Vec::new();
    while popped.len() < 6_000 {
        let timer = timers.pop_up_to(&mut task, i64::MAX).await.unwrap().unwrap();
        popped.push((timer.time, timer.key));
    }
    let checkpoint = task.checkpoint(1).await.unwrap();
    let mut task = job(&table, StateOptions::default()).start(0, 1, Start::Restored(&[checkpoint])).await.unwrap();
    let timers = task.timers::<i64>("t").unwrap();
    // One that is set where the table has not been read yet, and one that is due before all.
    timers.add(&mut task, 9_999, &1).await.unwrap();
    timers.add(&mut task, -9_999, &2).await.unwrap();
    assert_eq!(timers.pop_up_to(&mut task, -10_000).await.unwrap(), None);
    assert_eq!(timers.pop_up_to(&mut task, -9_999).await.unwrap().map(|timer| timer.key), Some(2));
    while let Some(timer) = timers.pop_up_to(&mut task, 5_006).await.unwrap() {
        popped.push((timer.time, timer.key));
    }
    assert_eq!(popped, expected);
    assert_eq!(timers.peek(&mut task).await.unwrap().map(|timer| timer.time), Some(9_999));
    timers.remove(&mut task, 9_999, &1).await.unwrap();
    assert_eq!(timers.peek(&mut task).await.unwrap(), None);
}
