//! A job without state of its own: it counts flights by merges at the server, and notes how long it had to wait.
//!
//! Each kind of counter is a shard of its own, and a lane of the job: so a lane that has to wait holds up no other, and
//! its pauses are those of its shard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lentic_client::Table;
use tokio::task::JoinSet;

use crate::Failure;
use crate::flights::{Flight, Month};

/// What is counted, in the order of the keys.
pub(crate) const KINDS: [&str; 3] = ["carrier", "origin", "route"];
/// Where the table is cut.
pub(crate) const SPLIT_AT: [&str; 2] = ["origin/", "route/"];
/// Merges of a lane that are sent and not acknowledged, at most.
const IN_FLIGHT_MAX: usize = 512;

/// The key of the counter that a flight falls on.
fn counter(kind: &str, flight: &Flight) -> String {
    match kind {
        "carrier" => format!("carrier/{}", flight.carrier),
        "origin" => format!("origin/{}", flight.origin),
        _ => format!("route/{}-{}", flight.origin, flight.dest),
    }
}

/// What the counters must be in the end: the file's own counts.
pub(crate) fn expected(month: &Month) -> BTreeMap<String, i64> {
    let mut counters = BTreeMap::new();
    for (kind, flight) in KINDS.iter().flat_map(|kind| month.flights.iter().map(move |flight| (kind, flight))) {
        *counters.entry(counter(kind, flight)).or_default() += 1;
    }
    counters
}

/// The job, at work. Dropped, it ends.
pub(crate) struct Job {
    lanes: JoinSet<Result<Pace, Failure>>,
    acknowledged: Arc<[AtomicU64; KINDS.len()]>,
}

/// How it went for one kind of counters.
pub(crate) struct Pace {
    pub(crate) kind: &'static str,
    pub(crate) merges: u64,
    pub(crate) elapsed: Duration,
    /// The longest time in which nothing was acknowledged.
    pub(crate) longest_pause: Duration,
}

impl Job {
    /// Starts to count all flights of the month.
    pub(crate) fn start(table: &Table, month: &Month) -> Self {
        let acknowledged: Arc<[AtomicU64; KINDS.len()]> = Arc::default();
        let flights = month.as_planned();
        let mut lanes = JoinSet::new();
        for (lane, kind) in KINDS.into_iter().enumerate() {
            let keys: Vec<String> = flights.iter().map(|flight| counter(kind, flight)).collect();
            let (table, acknowledged) = (table.clone(), acknowledged.clone());
            lanes.spawn(async move { count(table, kind, keys, &acknowledged[lane]).await });
        }
        Self { lanes, acknowledged }
    }

    /// How far the slowest lane is.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.iter().map(|lane| lane.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// How far the fastest lane is.
    pub(crate) fn furthest(&self) -> u64 {
        self.acknowledged.iter().map(|lane| lane.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// Waits until everything is counted.
    pub(crate) async fn finish(mut self) -> Result<Vec<Pace>, Failure> {
        let mut paces = Vec::new();
        while let Some(ended) = self.lanes.join_next().await {
            paces.push(ended.map_err(|error| format!("the job ended: {error}"))??);
        }
        paces.sort_by_key(|pace| pace.kind);
        Ok(paces)
    }
}

async fn count(table: Table, kind: &'static str, keys: Vec<String>, acknowledged: &AtomicU64) -> Result<Pace, Failure> {
    let began = Instant::now();
    let (mut last, mut longest_pause) = (began, Duration::ZERO);
    let (mut keys, mut in_flight) = (keys.into_iter(), JoinSet::new());
    loop {
        while in_flight.len() < IN_FLIGHT_MAX
            && let Some(key) = keys.next()
        {
            let table = table.clone();
            in_flight.spawn(async move { table.add_i64(key, 1).await });
        }
        let Some(merged) = in_flight.join_next().await else { break };
        let merged = merged.map_err(|error| error.to_string())?;
        merged.map_err(|error| format!("a merge failed that should have been retried: {error}"))?;
        longest_pause = longest_pause.max(last.elapsed());
        last = Instant::now();
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    let merges = acknowledged.load(Ordering::Relaxed);
    Ok(Pace { kind, merges, elapsed: began.elapsed(), longest_pause })
}
