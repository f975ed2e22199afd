//! What a caller asks for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::recorder::Call;
use crate::tally::Style;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Of which workload.
    pub(crate) workload: &'static str,
    /// In which way.
    pub(crate) style: Style,
    /// What it does, as the history has it.
    pub(crate) call: Call,
    /// The places of the shards that it writes to; none if it only reads.
    pub(crate) shards: Vec<usize>,
    /// When the caller is gone, if it does not wait for the answer.
    pub(crate) gives_up: Option<Duration>,
    /// When it was meant to begin, in the time of the history, if that is not when it is called.
    pub(crate) meant: Option<Duration>,
    /// How often its body ran, if it has one.
    pub(crate) runs: Runs,
}

impl Step {
    /// `f` of `key`, which a caller waits for.
    pub(crate) fn new(workload: &'static str, style: Style, f: &'static str, key: impl Into<String>) -> Self {
        let call = Call { f, key: key.into(), value: Value::Null };
        Self { workload, style, call, shards: Vec::new(), gives_up: None, meant: None, runs: Runs::default() }
    }

    /// A read of `what`, which a workload names.
    pub(crate) fn read(workload: &'static str, what: &str) -> Self {
        Self::new(workload, Style::ReadOnly, "read", format!("{workload}/{what}"))
    }

    /// It writes this.
    pub(crate) fn value(mut self, value: impl Into<Value>) -> Self {
        self.call.value = value.into();
        self
    }

    /// It writes to the shards at these places.
    pub(crate) fn in_shards(mut self, shards: Vec<usize>) -> Self {
        self.shards = shards;
        self
    }

    /// Its caller waits so long at most.
    pub(crate) const fn gives_up(mut self, gives_up: Option<Duration>) -> Self {
        self.gives_up = gives_up;
        self
    }

    /// It was meant to begin then.
    pub(crate) const fn meant_at(mut self, meant: Duration) -> Self {
        self.meant = Some(meant);
        self
    }

    /// Its body counts its runs there.
    pub(crate) fn runs(mut self, runs: &Runs) -> Self {
        self.runs = runs.clone();
        self
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {} {}", self.workload, self.call.f, self.call.key, self.call.value)
    }
}

/// Counts the runs of a body. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Arc<AtomicU64>);

impl Runs {
    /// One more.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
