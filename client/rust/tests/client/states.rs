//! A job's state against a plain model in memory: over flushes, caches, checkpoints, crashes and rescales.

#![allow(clippy::unwrap_used, reason = "what a test does must succeed")]

use std::collections::{BTreeMap, BTreeSet};

use lentic_client::state::{
    Aggregate, AggregatingState, BroadcastState, Count, Job, ListState, MapState, MaxParallelism, Mean, Reduce,
    ReducingState, Start, StateError, StateOptions, Task, TaskCheckpoint, Timer, Timers, ValueState,
};
use lentic_client::{Client, KeyRange, MergeOperator, Row, TableOptions};
use lentic_runtime::Random;

use crate::fake::Cluster;

const GROUPS: u32 = 16;

/// What an undisturbed job that keeps all in memory would have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    values: BTreeMap<String, i64>,
    lists: BTreeMap<String, Vec<i64>>,
    maps: BTreeMap<String, BTreeMap<i64, String>>,
    sums: BTreeMap<String, i64>,
    highs: BTreeMap<String, f64>,
    longest: BTreeMap<String, String>,
    sets: BTreeMap<String, BTreeSet<Vec<u8>>>,
    counts: BTreeMap<String, i64>,
    means: BTreeMap<String, (f64, i64)>,
    rules: BTreeMap<i64, String>,
    timers: BTreeSet<(i64, String)>,
}

/// A set of what a key was given: an aggregate that the server knows.
#[derive(Debug)]
struct Members;

impl Aggregate for Members {
    type Input = [u8];
    type Accumulator = BTreeSet<Vec<u8>>;
    type Output = usize;

    const NAME: &'static str = "members";
    const OPERATOR: Option<MergeOperator> = Some(MergeOperator::SetUnion);

    fn create(&self) -> BTreeSet<Vec<u8>> {
        BTreeSet::new()
    }

    fn add(&self, members: &mut BTreeSet<Vec<u8>>, input: &[u8]) {
        members.insert(input.to_vec());
    }

    fn result(&self, members: &BTreeSet<Vec<u8>>) -> usize {
        members.len()
    }
}

/// A task with a state of each kind.
struct Running {
    task: Task,
    value: ValueState<String, i64>,
    list: ListState<String, i64>,
    map: MapState<String, i64, String>,
    sum: ReducingState<String, i64>,
    high: ReducingState<String, f64>,
    longest: ReducingState<String, String>,
    set: AggregatingState<String, Members>,
    count: AggregatingState<String, Count>,
    mean: AggregatingState<String, Mean>,
    rules: BroadcastState<i64, String>,
    timers: Timers<String>,
}

fn longer(known: String, new: String) -> String {
    if new.len() > known.len() { new } else { known }
}

impl Running {
    async fn start(job: &Job, index: u32, parallelism: u32, start: Start<'_>) -> Self {
        let mut task = job.start(index, parallelism, start).await.unwrap();
        Self {
            value: task.value_state("value").unwrap(),
            list: task.list_state("list").unwrap(),
            map: task.map_state("map").unwrap(),
            sum: task.reducing_state("sum", Reduce::<i64>::sum()).unwrap(),
            high: task.reducing_state("high", Reduce::<f64>::max()).unwrap(),
            longest: task.reducing_state("longest", Reduce::with("longer", longer)).unwrap(),
            set: task.aggregating_state("set", Members).unwrap(),
            count: task.aggregating_state("count", Count).unwrap(),
            mean: task.aggregating_state("mean", Mean).unwrap(),
            rules: task.broadcast_state("rules").unwrap(),
            timers: task.timers("timers").unwrap(),
            task,
        }
    }
}

async fn start_all(job: &Job, parallelism: u32, start: Start<'_>) -> Vec<Running> {
    let mut tasks = Vec::new();
    for index in 0..parallelism {
        tasks.push(Running::start(job, index, parallelism, start).await);
    }
    tasks
}

struct Dice(Random);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.0.next_seed() % bound
    }

    fn number(&self) -> i64 {
        i64::try_from(self.below(7)).unwrap() - 3
    }
}

/// Does one thing to a key, in the model and in its task, and compares what is read.
async fn operate(running: &mut Running, model: &mut Model, key: &str, dice: &Dice) -> Result<(), StateError> {
    match dice.below(30) {
        what @ ..14 => operate_plainly(running, model, key, dice, what).await,
        what => operate_otherwise(running, model, key, dice, what).await,
    }
}

async fn operate_plainly(
    running: &mut Running,
    model: &mut Model,
    key: &str,
    dice: &Dice,
    what: u64,
) -> Result<(), StateError> {
    let task = &mut running.task;
    let (owned, number) = (key.to_owned(), dice.number());
    match what {
        0 => {
            running.value.update(task, key, &number).await?;
            model.values.insert(owned, number);
        }
        1 => {
            running.value.clear(task, key).await?;
            model.values.remove(key);
        }
        2..=4 => {
            let known = running.value.value(task, key).await?;
            assert_eq!(known, model.values.get(key).copied());
            running.value.update(task, key, &(known.unwrap_or(0) + 1)).await?;
            *model.values.entry(owned).or_insert(0) += 1;
        }
        5 | 6 => {
            running.list.add(task, key, &number).await?;
            model.lists.entry(owned).or_default().push(number);
        }
        7 => assert_eq!(running.list.get(task, key).await?, model.lists.get(key).cloned().unwrap_or_default()),
        8 => {
            let list = vec![number; usize::try_from(dice.below(3)).unwrap()];
            running.list.update(task, key, &list).await?;
            model.lists.insert(owned, list);
        }
        9 | 10 => {
            running.map.put(task, key, &number, &owned).await?;
            model.maps.entry(owned.clone()).or_default().insert(number, owned);
        }
        11 => {
            running.map.remove(task, key, &number).await?;
            model.maps.entry(owned).or_default().remove(&number);
        }
        12 => {
            let expected = model.maps.get(key).cloned().unwrap_or_default();
            assert_eq!(running.map.get(task, key, &number).await?, expected.get(&number).cloned());
            assert_eq!(running.map.is_empty(task, key).await?, expected.is_empty());
            assert_eq!(running.map.entries(task, key).await?, expected.into_iter().collect::<Vec<_>>());
        }
        _ => {
            running.map.clear(task, key).await?;
            model.maps.remove(key);
        }
    }
    Ok(())
}

/// What is folded, timers, and reads of many.
async fn operate_otherwise(
    running: &mut Running,
    model: &mut Model,
    key: &str,
    dice: &Dice,
    what: u64,
) -> Result<(), StateError> {
    let task = &mut running.task;
    let (owned, number) = (key.to_owned(), dice.number());
    match what {
        14..=16 => {
            running.sum.add(task, key, number).await?;
            *model.sums.entry(owned).or_insert(0) += number;
        }
        17 => assert_eq!(running.sum.get(task, key).await?, model.sums.get(key).copied()),
        18 => {
            running.sum.clear(task, key).await?;
            model.sums.remove(key);
        }
        19 => {
            let high = f64::from(i32::try_from(number).unwrap());
            running.high.add(task, key, high).await?;
            let known = model.highs.entry(owned).or_insert(high);
            *known = known.max(high);
        }
        20 => {
            let word = "x".repeat(usize::try_from(dice.below(5)).unwrap());
            running.longest.add(task, key, word.clone()).await?;
            let known = model.longest.remove(key).map_or(word.clone(), |known| longer(known, word));
            model.longest.insert(owned, known);
        }
        21 => {
            let member = [u8::try_from(number + 3).unwrap()];
            running.set.add(task, key, &member).await?;
            model.sets.entry(owned).or_default().insert(member.to_vec());
        }
        22 => {
            running.count.add(task, key, &()).await?;
            *model.counts.entry(owned).or_insert(0) += 1;
        }
        23 => {
            let input = f64::from(i32::try_from(number).unwrap());
            running.mean.add(task, key, &input).await?;
            let (sum, count) = model.means.entry(owned).or_insert((0.0, 0));
            (*sum, *count) = (*sum + input, *count + 1);
        }
        24..=26 => {
            running.timers.add(task, number, key).await?;
            model.timers.insert((number, owned));
        }
        27 => {
            running.timers.remove(task, number, key).await?;
            model.timers.remove(&(number, owned));
        }
        28 => {
            let due = |task: &Task| model.timers.iter().find(|(_, key)| task.has(key)).cloned();
            let expected = due(task).map(|(time, key)| Timer { time, key });
            assert_eq!(running.timers.peek(task).await?, expected);
            let expected = expected.filter(|timer| timer.time <= number);
            assert_eq!(running.timers.pop_up_to(task, number).await?, expected);
            if let Some(Timer { time, key }) = expected {
                model.timers.remove(&(time, key));
            }
        }
        _ => {
            let keys = ["b", key, "a", key].map(str::to_owned);
            let own: Vec<&String> = keys.iter().filter(|key| task.has(*key)).collect();
            running.value.prefetch(task, own.iter().copied()).await?;
            let found = running.value.values(task, own.iter().copied()).await?;
            assert_eq!(found, own.iter().map(|key| model.values.get(*key).copied()).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// All that the tasks have, as they read it.
async fn compare(tasks: &mut [Running], model: &Model, keys: &[String]) {
    for key in keys {
        let running = tasks.iter_mut().find(|running| running.task.has(key)).expect("every key has a task");
        let task = &mut running.task;
        assert_eq!(running.value.value(task, key).await.unwrap(), model.values.get(key).copied(), "{key}");
        let list = model.lists.get(key).cloned().unwrap_or_default();
        assert_eq!(running.list.get(task, key).await.unwrap(), list, "{key}");
        let map = model.maps.get(key).cloned().unwrap_or_default();
        assert_eq!(running.map.entries(task, key).await.unwrap(), map.into_iter().collect::<Vec<_>>(), "{key}");
        assert_eq!(running.sum.get(task, key).await.unwrap(), model.sums.get(key).copied(), "{key}");
        assert_eq!(running.high.get(task, key).await.unwrap(), model.highs.get(key).copied(), "{key}");
        assert_eq!(running.longest.get(task, key).await.unwrap(), model.longest.get(key).cloned(), "{key}");
        assert_eq!(running.set.get(task, key).await.unwrap(), model.sets.get(key).map(BTreeSet::len), "{key}");
        assert_eq!(running.count.get(task, key).await.unwrap(), model.counts.get(key).copied(), "{key}");
        let mean = model.means.get(key).map(|(sum, count)| sum / f64::from(i32::try_from(*count).unwrap()));
        assert_eq!(running.mean.get(task, key).await.unwrap(), mean, "{key}");
    }
    for running in tasks {
        let rules = running.rules.entries(&running.task).unwrap();
        assert_eq!(rules, model.rules.clone().into_iter().collect::<Vec<_>>());
        let first = model.timers.iter().find(|(_, key)| running.task.has(key));
        let first = first.cloned().map(|(time, key)| Timer { time, key });
        assert_eq!(running.timers.peek(&mut running.task).await.unwrap(), first);
    }
}

/// A random life of a job. What it has at its end is in the table.
async fn live(seed: u64, options: &StateOptions) -> Vec<Row> {
    let cluster = Cluster::new(3);
    if seed.is_multiple_of(2) {
        cluster.fault(|faults| {
            faults.random = Some(Random::seeded(seed));
            faults.delay_ms_max = 3;
            faults.cut_permille = 3;
            faults.move_permille = 10;
        });
    }
    let client = cluster.client();
    // Cut within and between tasks.
    let split_points = [3u16, 9, 10].map(|group| group.to_be_bytes().to_vec().into()).to_vec();
    client.create_table("state", TableOptions { split_points, ..TableOptions::default() }).await.unwrap();
    let max = MaxParallelism::new(GROUPS).unwrap();
    let job = Job::new(client.table("state"), "job", max).with_options(options.clone());
    let dice = Dice(Random::seeded(seed));
    let keys: Vec<String> = ["a", "b", "", "k\0", "k\0\u{1}"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..15).map(|key| format!("key {key}")))
        .collect();
    let mut tasks = start_all(&job, 1 + u32::try_from(dice.below(4)).unwrap(), Start::Fresh).await;
    let (mut model, mut number) = (Model::default(), 1);
    let mut saved = (checkpoint(&mut tasks, number).await, model.clone());
    let mut zombies: Vec<Running> = Vec::new();
    for _ in 0..600 {
        match dice.below(60) {
            0 => {
                number += 1;
                saved = (checkpoint(&mut tasks, number).await, model.clone());
            }
            1 => {
                // Events go on while the checkpoint is made, and are not in it.
                number += 1;
                for running in &mut tasks {
                    running.task.begin_checkpoint(number).await.unwrap();
                }
                let was = model.clone();
                for _ in 0..10 {
                    some_event(&mut tasks, &mut model, &keys, &dice).await;
                }
                let mut made = Vec::new();
                for running in &mut tasks {
                    made.push(running.task.end_checkpoint().await.unwrap());
                }
                saved = (made, was);
            }
            2 => {
                // Some have begun to flush when the job is lost.
                for running in tasks.iter_mut().filter(|_| dice.below(2) == 0) {
                    running.task.begin_checkpoint(number + 1).await.unwrap();
                }
                if dice.below(2) == 0 {
                    zombies.append(&mut tasks);
                }
                drop(std::mem::take(&mut tasks));
                let parallelism = 1 + u32::try_from(dice.below(5)).unwrap();
                tasks = start_all(&job, parallelism, Start::Restored(&saved.0)).await;
                model = saved.1.clone();
                compare(&mut tasks, &model, &keys).await;
            }
            3 => {
                for running in &mut zombies {
                    let key = keys.iter().find(|key| running.task.has(*key));
                    let Some(key) = key else { continue };
                    let _ = running.sum.add(&mut running.task, key, 1_000_000).await;
                    assert!(running.task.flush().await.unwrap_err().is_fenced());
                    assert!(running.sum.add(&mut running.task, key, 1).await.unwrap_err().is_fenced());
                    assert!(running.task.checkpoint(99).await.unwrap_err().is_fenced());
                }
                zombies.clear();
            }
            4 => {
                let (rule, text) = (dice.number(), format!("rule {}", dice.number()));
                for running in &mut tasks {
                    running.rules.put(&mut running.task, &rule, &text).await.unwrap();
                }
                model.rules.insert(rule, text);
            }
            5 => {
                let rule = dice.number();
                for running in &mut tasks {
                    running.rules.remove(&mut running.task, &rule).await.unwrap();
                    assert_eq!(running.rules.get(&running.task, &rule).unwrap(), None);
                }
                model.rules.remove(&rule);
            }
            6 => {
                for running in std::mem::take(&mut tasks) {
                    running.task.stop().await.unwrap();
                }
                let left = Start::Left(client.now().await.unwrap());
                tasks = start_all(&job, 1 + u32::try_from(dice.below(5)).unwrap(), left).await;
                compare(&mut tasks, &model, &keys).await;
            }
            _ => some_event(&mut tasks, &mut model, &keys, &dice).await,
        }
    }
    for running in &mut tasks {
        running.task.flush().await.unwrap();
    }
    compare(&mut tasks, &model, &keys).await;
    // The same without anything in memory.
    let last = checkpoint(&mut tasks, number + 2).await;
    for running in tasks {
        running.task.stop().await.unwrap();
    }
    let mut tasks = start_all(&job, 3, Start::Restored(&last)).await;
    compare(&mut tasks, &model, &keys).await;
    for running in &mut tasks {
        running.task.flush().await.unwrap();
    }
    rows(&client).await
}

async fn some_event(tasks: &mut [Running], model: &mut Model, keys: &[String], dice: &Dice) {
    let key = &keys[usize::try_from(dice.below(keys.len() as u64)).unwrap()];
    let mut own = tasks.iter_mut().filter(|running| running.task.has(key));
    let running = own.next().expect("every key has a task");
    assert!(own.next().is_none(), "and no key has two");
    operate(running, model, key, dice).await.unwrap();
}

async fn checkpoint(tasks: &mut [Running], number: u64) -> Vec<TaskCheckpoint> {
    let mut made = Vec::new();
    for running in tasks {
        made.push(running.task.checkpoint(number).await.unwrap());
    }
    made
}

async fn rows(client: &Client) -> Vec<Row> {
    let mut scan = client.table("state").scan(KeyRange::all()).start();
    let mut rows = Vec::new();
    while let Some(row) = scan.next().await {
        rows.push(row.unwrap());
    }
    rows
}

/// With any cache and any buffer a job answers as the model does, and leaves the same bytes.
#[tokio::test(start_paused = true)]
async fn a_job_answers_as_one_in_memory() {
    for seed in 0..12 {
        let large = StateOptions::default();
        let small = StateOptions { cache_bytes: 4_000, flush_bytes: 700, dirty_bytes_max: 1_500, ..large.clone() };
        let off = StateOptions { cache_bytes: 0, batch_operations: 2, ..small.clone() };
        let at_once = StateOptions { cache_bytes: 0, flush_bytes: 1, dirty_bytes_max: 1, ..large.clone() };
        let mut ends = Vec::new();
        for options in [large, small, off, at_once] {
            let rows = live(seed, &options).await;
            ends.push(rows.into_iter().map(|row| (row.key, row.value)).collect::<Vec<_>>());
        }
        assert!(!ends[0].is_empty());
        assert!(ends.iter().all(|end| *end == ends[0]), "seed {seed}: the bytes do not depend on the knobs");
    }
}
