//! From arguments to figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Subcommand};
use lentic_client::{ErrorKind, Table, TableOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::caller::{self, Work};
use super::keys::{Dice, Keys, Values};
use super::measured::Measured;
use super::pace::Pace;
use super::plan::Plan;
use super::report::Report;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Step};
use crate::session::{Outcome, Session};
use crate::text::{count, rate};

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Puts in flight while the table is filled.
const FILLERS: u64 = 256;

/// Measure how fast a cluster answers, under a load that this process makes
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Put values
    Put(PutPlan),
    /// Get values
    Get(GetPlan),
    /// Put and get values
    Mixed(MixedPlan),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PutPlan {
    #[command(flatten)]
    plan: Plan,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GetPlan {
    #[command(flatten)]
    plan: Plan,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MixedPlan {
    #[command(flatten)]
    plan: Plan,
    /// Which share of the operations are gets, from 0 to 1
    #[arg(long, value_name = "F", default_value_t = 0.5)]
    read_fraction: f64,
}

impl BenchCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let (workload, plan, read_fraction) = match self {
            Self::Put(PutPlan { plan }) => ("put", plan, 0.0),
            Self::Get(GetPlan { plan }) => ("get", plan, 1.0),
            Self::Mixed(MixedPlan { plan, read_fraction }) => ("mixed", plan, *read_fraction),
        };
        plan.check()?;
        if !(0.0..=1.0).contains(&read_fraction) {
            return Err(Failure::usage(format!("--read-fraction is {read_fraction}, expected 0 to 1")));
        }
        let interrupt = Interrupt::listen()?;
        let table = table(session, plan).await?;
        let (keys, values) = (Keys::new(plan.keys, plan.batch), Values::new(plan.value_bytes as usize));
        let begin = Instant::now();
        let mut work = Work {
            table,
            keys,
            values,
            read_fraction,
            pace: Pace::closed(begin, interrupt.clone()),
            measure_from: begin,
            measured: Measured::new(),
        };
        if plan.fill {
            work = fill(session, work, &interrupt, plan.seed).await?;
        }
        let begin = Instant::now();
        work.measure_from = begin + plan.warm_up.duration();
        let end = work.measure_from + Duration::from_secs_f64(plan.seconds);
        work.pace = match plan.rate {
            Some(rate) => Pace::open(begin, end, rate, interrupt.clone()),
            None => Pace::closed(end, interrupt.clone()),
        };
        let work = Arc::new(work);
        measure(session, plan, work.clone(), end).await;
        let measured_for = Instant::now().min(end).saturating_duration_since(work.measure_from);
        let report = Report::new(workload, plan, read_fraction, &work, measured_for);
        session.printer.answer(&report)?;
        Ok(match (interrupt.is_asked(), report.failed()) {
            (true, _) => Ending::Interrupted,
            (false, 0) => Ending::Done,
            (false, _) => Ending::Refused,
        })
    }
}

/// The table, made if that is wanted.
async fn table(session: &Session, plan: &Plan) -> Result<Table, Failure> {
    let client = session.lingering(plan.linger.duration()).await?;
    match (client.describe_table(&plan.table).await, plan.shards) {
        (Err(error), Some(shards)) if error.kind() == ErrorKind::NotFound => {
            client.create_table(&plan.table, TableOptions { shards, ..TableOptions::default() }).await?;
        }
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::from(error).with_help("create it with `lentic table create`, or here with --shards N"));
        }
        (found, _) => drop(found?),
    }
    Ok(client.table(&plan.table))
}

/// Runs the callers until the end.
async fn measure(session: &Session, plan: &Plan, work: Arc<Work>, end: Instant) {
    let mut dice = Dice::new(plan.seed);
    let mut callers = JoinSet::new();
    for caller in 0..plan.callers as usize {
        callers.spawn(caller::call(work.clone(), caller, Dice::new(dice.roll())));
    }
    let mut progress = Progress::new(session);
    let length = end.saturating_duration_since(Instant::now());
    loop {
        tokio::select! {
            biased;
            ended = callers.join_next() => match ended {
                Some(ended) => ended.expect("a caller does not panic"),
                None => break,
            },
            () = tokio::time::sleep(LOOK_EVERY) => {
                let (ended, failed) = (&work.measured.ended, &work.measured.failed);
                let (operations, failed) = (ended.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
                progress.show(&Calling { operations, failed, elapsed: progress.elapsed(), length });
            }
        }
    }
    progress.clear();
}

/// How far the callers are.
struct Calling {
    operations: u64,
    failed: u64,
    elapsed: Duration,
    length: Duration,
}

impl Step for Calling {
    fn done(&self) -> (u64, Option<u64>) {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        (ms(self.elapsed), Some(ms(self.length)))
    }

    fn words(&self, elapsed: Duration) -> String {
        let rate = rate(self.operations, elapsed.as_secs_f64());
        let errors = if self.failed > 0 { format!(", {} errors", count(self.failed)) } else { String::new() };
        format!("{} operations, {rate} a second{errors}", count(self.operations))
    }
}

/// Puts every key once.
async fn fill(session: &Session, work: Work, interrupt: &Interrupt, seed: u64) -> Result<Work, Failure> {
    let (work, next) = (Arc::new(work), Arc::new(AtomicU64::new(0)));
    let mut fillers = JoinSet::new();
    for filler in 0..FILLERS.min(work.keys.groups) {
        let (work, next, interrupt) = (work.clone(), next.clone(), interrupt.clone());
        fillers.spawn(async move {
            let mut dice = Dice::new(seed ^ filler);
            while !interrupt.is_asked() {
                let group = next.fetch_add(1, Ordering::Relaxed);
                if group >= work.keys.groups {
                    break;
                }
                caller::put(&work, group, &mut dice).await?;
            }
            Ok::<_, lentic_client::Error>(())
        });
    }
    let mut progress = Progress::new(session);
    loop {
        tokio::select! {
            biased;
            ended = fillers.join_next() => match ended {
                Some(ended) => ended.expect("a filler does not panic")?,
                None => break,
            },
            () = tokio::time::sleep(LOOK_EVERY) => {
                let groups = next.load(Ordering::Relaxed).min(work.keys.groups);
                progress.show(&Filling { done: groups * work.keys.group_keys, all: work.keys.len() });
            }
        }
    }
    progress.clear();
    Ok(Arc::into_inner(work).expect("all who shared it have ended"))
}

/// How far the filling is.
struct Filling {
    done: u64,
    all: u64,
}

impl Step for Filling {
    fn done(&self) -> (u64, Option<u64>) {
        (self.done, Some(self.all))
    }

    fn words(&self, elapsed: Duration) -> String {
        let (done, all) = (count(self.done), count(self.all));
        format!("filled {done} of {all} keys, {} a second", rate(self.done, elapsed.as_secs_f64()))
    }
}
