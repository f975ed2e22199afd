//! A job from its first attempt to its end.
//!
//! ```text
//!   round: all tasks work ──► all tasks checkpoint ──► round …            the checkpoint is complete, and kept
//!             │ kill                 │ kill, or the cluster is away
//!             └──────────────────────┴──► the next attempt, from the last complete checkpoint, at any parallelism
//! ```

use std::time::Duration;

use futures_util::future::try_join_all;
use lentic_client::state::StateOptions;
use lentic_client::{Client, ErrorKind, TableOptions};
use lentic_runtime::Random;

use super::failure::Failure;
use super::ledger;
use super::source::{self, Flight, Side, Source};
use super::worker::{Place, Saved, Worker};

/// Most tasks that a job is restored with.
const TASKS_MAX: usize = 4;
/// One round of so many ends with a kill, where there is chaos.
const ROUNDS_PER_KILL: usize = 3;
/// Events that a zombie goes on with.
const ZOMBIE_EVENTS: usize = 40;
/// Attempts that may fail by themselves, one after the other without a checkpoint between, before the job gives up.
const FAILURES_MAX: u32 = 10;
/// How long the job waits for the cluster after an attempt has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Into how many shards each table is cut.
const SHARDS: u32 = 4;

/// How a job is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// With how many tasks it begins.
    pub(crate) tasks: u32,
    /// Events between two checkpoints, of all tasks together.
    pub(crate) round_events: usize,
    /// Decides about kills; `None`: there are none.
    pub(crate) chaos: Option<Random>,
    /// The knobs of its tasks.
    pub(crate) options: StateOptions,
    /// Is told of each checkpoint and each attempt, in a line.
    pub(crate) say: fn(&str),
}

/// What has happened to a job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) events: usize,
    pub(crate) checkpoints: u64,
    pub(crate) kills: u64,
    /// Attempts that failed by themselves.
    pub(crate) failures: u64,
    pub(crate) restores: u64,
    /// Tasks of replaced attempts that went on, and found out that they may not.
    pub(crate) fenced: u64,
}

/// A job at its end, its tasks still there to be asked.
pub(crate) struct Ended {
    pub(crate) report: Report,
    pub(crate) workers: Vec<Worker>,
}

/// Makes the tables of both jobs anew.
pub(crate) async fn prepare(client: &Client) -> Result<(), Failure> {
    let cut = |shard: u32| u16::try_from(source::GROUPS * shard / SHARDS).expect("a key group").to_be_bytes();
    let split_points: Vec<_> = (1..SHARDS).map(|shard| cut(shard).to_vec().into()).collect();
    let by_groups = TableOptions { split_points, ..TableOptions::default() };
    let tables = Side::BOTH.into_iter().flat_map(|side| [side.name(), side.output()]);
    let tables = tables.map(|table| (table, by_groups.clone())).chain([(ledger::TABLE, TableOptions::default())]);
    for (table, options) in tables {
        match client.drop_table(table).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
        client.create_table(table, options).await?;
    }
    Ok(())
}

/// Runs a job over all flights to its end, whatever happens to it.
pub(crate) async fn run(client: &Client, side: Side, flights: &[Flight], plan: &Plan) -> Result<Ended, Failure> {
    let source = Source::new(side, flights);
    let mut run = Run { client, side, source, plan, report: Report::default(), saved: None, number: 0, cut: false };
    let (mut zombies, mut parallelism, mut failures) = (Vec::new(), plan.tasks, 0);
    loop {
        let checkpoints = run.report.checkpoints;
        let failure = match run.attempt(parallelism, std::mem::take(&mut zombies)).await {
            Ok(End::Done(workers)) => {
                run.report.events = run.source.len();
                return Ok(Ended { report: run.report, workers });
            }
            Ok(End::Killed(left)) => {
                run.report.kills += 1;
                zombies = left;
                None
            }
            Err(failure) => Some(failure),
        };
        failures = if run.report.checkpoints > checkpoints { 0 } else { failures };
        if let Some(failure) = failure {
            failures += 1;
            if !failure.may_pass() || failures > FAILURES_MAX {
                return Err(failure);
            }
            run.report.failures += 1;
            run.say(&format!("an attempt failed: {failure}"));
            tokio::time::sleep(PAUSE).await;
        }
        run.report.restores += 1;
        if let Some(dice) = &plan.chaos {
            parallelism = u32::try_from(1 + below(dice, TASKS_MAX)).expect("a few tasks");
        }
    }
}

/// How an attempt ends.
enum End {
    Done(Vec<Worker>),
    /// With the tasks that do not know it.
    Killed(Vec<Worker>),
}

/// What happens to a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// It is killed while it works.
    Works,
    /// It is killed when some of its tasks have made their checkpoint.
    Checkpoints,
}

struct Run<'a> {
    client: &'a Client,
    side: Side,
    source: Source,
    plan: &'a Plan,
    report: Report,
    /// The last complete checkpoint.
    saved: Option<Saved>,
    number: u64,
    /// Whether the last checkpoint that was begun is not complete.
    cut: bool,
}

impl Run<'_> {
    async fn attempt(&mut self, parallelism: u32, zombies: Vec<Worker>) -> Result<End, Failure> {
        let mut workers = Vec::new();
        for index in 0..parallelism {
            let place = Place { side: self.side, index, parallelism };
            let options = &self.plan.options;
            workers.push(Worker::start(self.client, place, self.saved.as_ref(), options, &self.source).await?);
        }
        self.say(&format!("{parallelism} tasks from checkpoint {}", self.report.checkpoints));
        let mut zombies = Some(zombies);
        loop {
            let fate = self.fate();
            let share = self.plan.round_events.div_ceil(workers.len());
            let shares: Vec<usize> = workers.iter().map(|_| self.share(fate, share)).collect();
            let source = &self.source;
            let work = workers.iter_mut().zip(shares).map(|(worker, events)| worker.work(source, events));
            let done: usize = try_join_all(work).await?.into_iter().sum();
            for zombie in zombies.take().unwrap_or_default() {
                self.haunt(zombie).await?;
            }
            if fate == Fate::Works {
                return Ok(End::Killed(self.leave(workers)));
            }
            if !self.checkpoint(&mut workers, fate).await? {
                return Ok(End::Killed(self.leave(workers)));
            }
            if done == 0 {
                return Ok(End::Done(workers));
            }
        }
    }

    fn fate(&self) -> Fate {
        let Some(dice) = &self.plan.chaos else { return Fate::Lives };
        match below(dice, ROUNDS_PER_KILL * 2) {
            // Of a range of key groups three checkpoints are kept: incomplete ones must not push out the one that counts.
            0 if !self.cut => Fate::Checkpoints,
            0 | 1 => Fate::Works,
            _ => Fate::Lives,
        }
    }

    /// How many events a task gets to in a round: a kill comes at any of them.
    fn share(&self, fate: Fate, share: usize) -> usize {
        match (&self.plan.chaos, fate) {
            (Some(dice), Fate::Works) => below(dice, share + 1),
            _ => share,
        }
    }

    /// A checkpoint of all tasks, which is complete when the last of them has made its own. False: it never will be.
    async fn checkpoint(&mut self, workers: &mut [Worker], fate: Fate) -> Result<bool, Failure> {
        self.number += 1;
        self.cut = true;
        let number = self.number;
        let some = match (&self.plan.chaos, fate) {
            (Some(dice), Fate::Checkpoints) => below(dice, workers.len()),
            _ => workers.len(),
        };
        let all = some == workers.len();
        let made = try_join_all(workers[..some].iter_mut().map(|worker| worker.checkpoint(number))).await?;
        if !all {
            return Ok(false);
        }
        let mut saved = Saved::default();
        made.into_iter().for_each(|of_task| saved.add(of_task));
        self.saved = Some(saved);
        self.cut = false;
        self.report.checkpoints += 1;
        ledger::check_total(self.client).await?;
        self.say(&format!("checkpoint {}, {} tasks", self.report.checkpoints, workers.len()));
        Ok(true)
    }

    /// Kills an attempt: what its tasks have not flushed is lost. Some of them do not notice.
    fn leave(&self, mut workers: Vec<Worker>) -> Vec<Worker> {
        let dice = self.plan.chaos.as_ref();
        workers.retain(|_| dice.is_some_and(|dice| below(dice, 2) == 0));
        workers
    }

    /// A task of an attempt before goes on: none of its writes may take effect.
    async fn haunt(&mut self, zombie: Worker) -> Result<(), Failure> {
        let [ledger, state, output] = zombie.haunt(&self.source, ZOMBIE_EVENTS).await;
        for (what, result) in [("state", state), ("output", output)] {
            match result {
                Err(failure) if failure.is_fenced() => {}
                Err(failure) => return Err(failure),
                Ok(()) => return Err(Failure::Wrong(format!("a zombie has written to the {what} of its successor"))),
            }
        }
        match ledger {
            // It had nothing to write.
            Ok(()) => {}
            Err(failure) if failure.is_fenced() || failure.is_outrun() => {}
            Err(failure) => return Err(failure),
        }
        self.report.fenced += 1;
        Ok(())
    }

    fn say(&self, what: &str) {
        (self.plan.say)(&format!("{}: {what}", self.side.name()));
    }
}

fn below(dice: &Random, bound: usize) -> usize {
    usize::try_from(dice.next_seed() % bound as u64).expect("it is below a usize")
}
