//! A task of a job at work: what an event does to its states, and what belongs to its checkpoint.

use std::collections::BTreeMap;

use lentic_client::Client;
use lentic_client::state::{
    Aggregate, AggregatingState, Count, Job, KeyGroup, Reduce, ReducingState, Start, StateOptions, Task,
    TaskCheckpoint, Timers, ValueState, Windowed,
};

use super::failure::Failure;
use super::ledger::{AIR, Ledger};
use super::source::{self, Event, Side, Source};

/// How long a window of delays is.
pub(super) const WINDOW_MINUTES: i64 = 360;

/// What is kept of an aircraft: where it is, when it set out for there, and its flights.
pub(super) type Aircraft = (String, (i64, i64));
/// A row of the output: flights of a window, the sum of their delays, and the longest. Of a route it is kept, too.
pub(crate) type Delays = (i64, (i64, i64));

const NO_DELAYS: Delays = (0, (0, i64::MIN));

fn sum((flights, (delay, longest)): Delays, (others, (other, longer)): Delays) -> Delays {
    (flights + others, (delay + other, longest.max(longer)))
}

/// The delays of a window. No operator of the server folds such triples: they are read, changed and written.
#[derive(Debug)]
struct OfWindow;

impl Aggregate for OfWindow {
    type Input = i64;
    type Accumulator = Delays;
    type Output = Delays;

    const NAME: &'static str = "delays";

    fn create(&self) -> Delays {
        NO_DELAYS
    }

    fn add(&self, known: &mut Delays, delay: &i64) {
        *known = sum(*known, (1, (*delay, *delay)));
    }

    fn result(&self, known: &Delays) -> Delays {
        *known
    }
}

/// What a job has of a checkpoint: that of each task's state, and that of its output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    state: Vec<TaskCheckpoint>,
    output: Vec<TaskCheckpoint>,
}

impl Saved {
    pub(super) fn add(&mut self, (state, output): (TaskCheckpoint, TaskCheckpoint)) {
        self.state.push(state);
        self.output.push(output);
    }
}

/// Where a worker is in its job.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) side: Side,
    pub(super) index: u32,
    pub(super) parallelism: u32,
}

/// A task with its states. Its output has key groups, a fence and checkpoints as its state has.
pub(crate) struct Worker {
    state: Task,
    output: Task,
    ledger: Ledger,
    /// The next event of each partition that has one, by its minute: with its offset.
    next: BTreeMap<(i64, KeyGroup), i64>,
    offsets: ValueState<i64, i64>,
    aircraft: ValueState<String, Aircraft>,
    flights: AggregatingState<String, Count>,
    cancelled: AggregatingState<String, Count>,
    delay: ReducingState<String, i64>,
    worst: ReducingState<String, i64>,
    routes: ValueState<String, Delays>,
    windows: Timers<String>,
    window: AggregatingState<Windowed<String>, OfWindow>,
    delays: ValueState<Windowed<String>, Delays>,
}

impl Worker {
    /// Starts a task, from nothing or from a checkpoint: state, output and offsets are those of one moment.
    pub(super) async fn start(
        client: &Client,
        place: Place,
        saved: Option<&Saved>,
        options: &StateOptions,
        source: &Source,
    ) -> Result<Self, Failure> {
        let Place { side, index, parallelism } = place;
        let start = async |table: &str, from: Option<&[TaskCheckpoint]>| {
            let job = Job::new(client.table(table), side.name(), source::max_parallelism());
            let from = from.map_or(Start::Cleared, Start::Restored);
            job.with_options(options.clone()).start(index, parallelism, from).await
        };
        let mut state = start(side.name(), saved.map(|saved| &saved.state[..])).await?;
        let mut output = start(side.output(), saved.map(|saved| &saved.output[..])).await?;
        let ledger = Ledger::open(client, side, &state).await?;
        let mut worker = Self {
            offsets: state.value_state("offset")?,
            aircraft: state.value_state("aircraft")?,
            flights: state.aggregating_state("flights", Count)?,
            cancelled: state.aggregating_state("cancelled", Count)?,
            delay: state.reducing_state("delay", Reduce::<i64>::sum())?,
            worst: state.reducing_state("worst", Reduce::<i64>::max())?,
            routes: state.value_state("routes")?,
            windows: state.timers("windows")?,
            window: state.aggregating_state("window", OfWindow)?,
            delays: output.value_state("delays")?,
            next: BTreeMap::new(),
            state,
            output,
            ledger,
        };
        worker.seek(source).await?;
        Ok(worker)
    }

    /// Goes to where its partitions were left.
    async fn seek(&mut self, source: &Source) -> Result<(), Failure> {
        let partitions: Vec<KeyGroup> = self.state.groups().iter().collect();
        let keys: Vec<i64> = partitions.iter().map(|partition| source::key_in(*partition)).collect();
        let offsets = self.offsets.values(&mut self.state, &keys).await?;
        for (partition, offset) in partitions.into_iter().zip(offsets) {
            self.expect(source, partition, offset.unwrap_or(0));
        }
        Ok(())
    }

    fn expect(&mut self, source: &Source, partition: KeyGroup, offset: i64) {
        if let Some((minute, _)) = source.get(partition, offset) {
            self.next.insert((*minute, partition), offset);
        }
    }

    /// Takes up to so many events, of all its partitions in the order of their minutes. Returns how many there were.
    pub(super) async fn work(&mut self, source: &Source, events: usize) -> Result<usize, Failure> {
        for done in 0..events {
            let Some(((minute, partition), offset)) = self.next.pop_first() else {
                self.close_windows(i64::MAX).await?;
                return Ok(done);
            };
            self.close_windows(minute).await?;
            let (_, event) = source.get(partition, offset).expect("it was looked up");
            self.take(partition, offset, event).await?;
            self.offsets.update(&mut self.state, &source::key_in(partition), &(offset + 1)).await?;
            self.expect(source, partition, offset + 1);
            if self.ledger.is_full() {
                self.ledger.settle(&self.state).await?;
            }
        }
        Ok(events)
    }

    async fn take(&mut self, partition: KeyGroup, offset: i64, event: &Event) -> Result<(), Failure> {
        let task = &mut self.state;
        match event {
            Event::Departed { route, origin, minute, delay } => {
                let end = minute - minute.rem_euclid(WINDOW_MINUTES) + WINDOW_MINUTES;
                let window = Windowed { key: route.clone(), window: end };
                self.window.add(task, &window, delay).await?;
                self.windows.add(task, end, route).await?;
                self.ledger.shift(partition, offset, origin, AIR);
            }
            Event::Flown { carrier, delay: Some(delay) } => {
                self.flights.add(task, carrier, &()).await?;
                self.delay.add(task, carrier, *delay).await?;
                self.worst.add(task, carrier, *delay).await?;
            }
            Event::Flown { carrier, delay: None } => self.cancelled.add(task, carrier, &()).await?,
            Event::Landed { tail, dest, minute } => {
                let known = self.aircraft.value(task, tail).await?;
                let flights = known.map_or(0, |(_, (_, flights))| flights);
                self.aircraft.update(task, tail, &(dest.clone(), (*minute, flights + 1))).await?;
                self.ledger.shift(partition, offset, AIR, dest);
            }
        }
        Ok(())
    }

    /// Closes the windows that end at a minute or before: no event of the task's partitions is earlier.
    async fn close_windows(&mut self, minute: i64) -> Result<(), Failure> {
        while let Some(due) = self.windows.pop_up_to(&mut self.state, minute).await? {
            let window = Windowed { key: due.key, window: due.time };
            let task = &mut self.state;
            let Some(closed) = self.window.get(task, &window).await? else {
                return Err(Failure::Wrong(format!("{window:?} has a timer and no flights")));
            };
            self.window.clear(task, &window).await?;
            let known = self.routes.value(task, &window.key).await?.unwrap_or(NO_DELAYS);
            self.routes.update(task, &window.key, &sum(known, closed)).await?;
            if let Some(before) = self.delays.value(&mut self.output, &window).await? {
                return Err(Failure::Wrong(format!("{window:?} was closed twice: {before:?} is in the output")));
            }
            self.delays.update(&mut self.output, &window, &closed).await?;
        }
        Ok(())
    }

    /// A checkpoint of all that the task has done: state with offsets, output, and before them the ledger.
    pub(super) async fn checkpoint(&mut self, number: u64) -> Result<(TaskCheckpoint, TaskCheckpoint), Failure> {
        self.ledger.settle(&self.state).await?;
        Ok((self.state.checkpoint(number).await?, self.output.checkpoint(number).await?))
    }

    /// What becomes of writes of an attempt that was replaced: of its ledger, its state and its output, each by itself.
    pub(super) async fn haunt(mut self, source: &Source, events: usize) -> [Result<(), Failure>; 3] {
        let before = self.ledger.commits();
        // What it reads may be of its successor by now, so that it may fail before it writes.
        let _ = self.work(source, events).await;
        let mut ledger = self.ledger.settle(&self.state).await;
        if self.ledger.commits() > before {
            ledger = Err(Failure::Wrong("a zombie has written to the ledger".to_owned()));
        }
        let state = self.state.checkpoint(u64::MAX).await.map(drop);
        [ledger, state.map_err(Failure::from), self.output.checkpoint(u64::MAX).await.map(drop).map_err(Failure::from)]
    }

    /// Whether a key's state is here.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.state.has(key)
    }

    /// Flights of a carrier, those that were cancelled, and the sum of delays.
    pub(crate) async fn carrier(&mut self, carrier: &str) -> Result<(i64, i64, i64), Failure> {
        let task = &mut self.state;
        let flights = self.flights.get(task, carrier).await?.unwrap_or(0);
        let cancelled = self.cancelled.get(task, carrier).await?.unwrap_or(0);
        Ok((flights, cancelled, self.delay.get(task, carrier).await?.unwrap_or(0)))
    }

    /// A route's delays over all windows that were closed.
    pub(crate) async fn route(&mut self, route: &str) -> Result<Option<Delays>, Failure> {
        Ok(self.routes.value(&mut self.state, route).await?)
    }
}
