//! What is measured, by name, and what is demanded of it.

use std::future::Future;
use std::pin::Pin;

use super::{blackout, failover, followers, waiting};
use crate::report::{Report, Stand};

/// How often each fault is struck.
pub(super) const TIMES: usize = 20;

/// Something that is measured.
pub struct Measure {
    /// Its name.
    pub name: &'static str,
    /// What is demanded of it.
    pub target: &'static str,
    run: for<'a> fn(&'a Stand, &'static Measure) -> Measuring<'a>,
}

/// A measurement that runs.
type Measuring<'a> = Pin<Box<dyn Future<Output = Report> + Send + 'a>>;

const MEASURES: &[Measure] = &[
    Measure {
        name: "leader-killed",
        target: "first write p50 1.2 s, p99 2 s, worst 3 s; p99 of other shards at most doubled",
        run: |stand, measure| Box::pin(failover::killed(stand, measure)),
    },
    Measure {
        name: "leader-cut",
        target: "as leader-killed",
        run: |stand, measure| Box::pin(failover::cut(stand, measure)),
    },
    Measure {
        name: "leader-cut-one-way",
        target: "as leader-killed",
        run: |stand, measure| Box::pin(failover::one_way(stand, measure)),
    },
    Measure {
        name: "leader-paused",
        target: "as leader-killed",
        run: |stand, measure| Box::pin(failover::paused(stand, measure)),
    },
    Measure {
        name: "leader-transferred",
        target: "200 ms, no unknown outcome",
        run: |stand, measure| Box::pin(failover::transferred(stand, measure)),
    },
    Measure {
        name: "rolling-restart",
        target: "200 ms, no unknown outcome",
        run: |stand, measure| Box::pin(failover::rolling(stand, measure)),
    },
    Measure {
        name: "follower-returns",
        target: "no stall over 150 ms",
        run: |stand, measure| Box::pin(followers::returns(stand, measure)),
    },
    Measure {
        name: "follower-slow",
        target: "write p99 at most 1.3 times",
        run: |stand, measure| Box::pin(followers::slow(stand, measure)),
    },
    Measure {
        name: "leader-slow",
        target: "it leads nothing after 10 s",
        run: |stand, measure| Box::pin(followers::leader_slow(stand, measure)),
    },
    Measure {
        name: "transaction-abandoned",
        target: "its locks are gone after 3 s: two until it is looked for, and one to end it",
        run: |stand, measure| Box::pin(waiting::abandoned(stand, measure)),
    },
    Measure {
        name: "feed-resumes",
        target: "2 s after its leader was killed",
        run: |stand, measure| Box::pin(waiting::feed(stand, measure)),
    },
    Measure {
        name: "blackout",
        target: "nothing acknowledged lost, first write 5 s after the start with 1 GB of log",
        run: |stand, measure| Box::pin(blackout::blackout(stand, measure)),
    },
];

/// The measurements of these names; all of them without one.
///
/// # Errors
/// A name is none.
pub fn named(names: &[&str]) -> Result<Vec<&'static Measure>, String> {
    if names.is_empty() {
        return Ok(MEASURES.iter().collect());
    }
    let known = || MEASURES.iter().map(|measure| measure.name).collect::<Vec<_>>().join(", ");
    let find = |name: &&str| MEASURES.iter().find(|measure| measure.name == *name);
    names
        .iter()
        .map(|name| find(name).ok_or_else(|| format!("nothing measured is called {name}; there are {}", known())))
        .collect()
}

/// Measures it.
///
/// # Panics
/// If a promise is broken. That a target is missed is said in the report.
pub async fn measure(stand: &Stand, measure: &'static Measure) -> Report {
    (measure.run)(stand, measure).await
}
