//! How an operation is told, timed, counted and judged.
//!
//! ```text
//!                            refused as expected    nothing was done    nobody knows    any other error
//!   strict, or healed        Refused                panic               panic           panic
//!   tolerant, not healed     Refused                Refused             Unknown         panic
//! ```

use std::future::Future;
use std::time::Duration;

use lentic_client::{Error, ErrorKind, Version};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Policy, Step, World};
use crate::tally::Style;

/// What became of an operation.
#[derive(Debug)]
pub(crate) enum Done<T> {
    /// It took effect.
    Ok(T),
    /// It had no effect, and never will.
    Refused(Error),
    /// Nobody knows.
    Unknown,
}

impl<T> Done<T> {
    /// What came of it, if it took effect.
    pub(crate) fn ok(self) -> Option<T> {
        match self {
            Self::Ok(value) => Some(value),
            Self::Refused(_) | Self::Unknown => None,
        }
    }
}

impl World {
    /// Runs a write, tells it to the history and judges it.
    ///
    /// # Panics
    /// If it fails as it may not, or takes too long.
    pub(crate) async fn commit<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<(T, Version), Error>>,
    ) -> Done<(T, Version)> {
        let runs = step.runs.clone();
        let told = |(_, version): &(T, Version)| json!({"version": version.0, "runs": runs.count().max(1)});
        self.run(step, work, told).await
    }

    /// As [`commit`](Self::commit), where the version is all that there is to know.
    pub(crate) async fn write(&self, step: Step, work: impl Future<Output = Result<Version, Error>>) -> Done<Version> {
        self.run(step, work, |_| Value::Null).await
    }

    /// Reads `what`, tells it to the history and judges it. `None` if it failed as it may.
    ///
    /// # Panics
    /// If it fails as it may not, or takes too long.
    pub(crate) async fn read<T: Clone + Into<Value>>(
        &self,
        workload: &'static str,
        what: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        self.run(Step::read(workload, what), work, |found| found.clone().into()).await.ok()
    }

    /// Runs an operation, tells it to the history, with what it `told`, and judges it.
    ///
    /// # Panics
    /// If it fails as it may not, or takes too long.
    pub(crate) async fn run<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Error>>,
        told: impl FnOnce(&T) -> Value,
    ) -> Done<T> {
        let recording = self.recorder().invoke(step.call.clone());
        let called = recording.called();
        let result = match step.gives_up {
            Some(after) => timeout(after, work).await.ok(),
            None => Some(work.await),
        };
        let at = match &result {
            Some(Ok(value)) => recording.ok(told(value)),
            Some(Err(error)) if step.is_unknown(error) => recording.info(&error.to_string()),
            Some(Err(error)) => recording.fail(&error.to_string()),
            None => recording.info("the caller was gone"),
        };
        self.judge(&step, called, at, result)
    }

    /// Judges an operation that was called and answered then: `None` if its caller was gone.
    ///
    /// # Panics
    /// If it failed as it may not, or took too long.
    pub(crate) fn judge<T>(
        &self,
        step: &Step,
        called: Duration,
        at: Duration,
        result: Option<Result<T, Error>>,
    ) -> Done<T> {
        let (serves_within, is_strict) = self.demands(called);
        if let (Some(healed), true, Some(result)) = (self.healed(), is_strict, &result) {
            let (part, error) = (at.saturating_sub(called.max(healed)), result.as_ref().err());
            assert!(part <= serves_within, "{step} took {part:?} with no fault left, until {at:?}: {error:?}");
            self.tally().healed(part);
        }
        let mut tally = self.tally();
        match result {
            Some(Ok(value)) => {
                tally.succeeded(step, called, at);
                Done::Ok(value)
            }
            None => {
                tally.unknown(step, at);
                Done::Unknown
            }
            Some(Err(error)) if step.expects(&error) => {
                tally.counts(step).conflicts += 1;
                Done::Refused(error)
            }
            Some(Err(error)) if is_strict || !(error.is_unknown() || error.is_retryable()) => {
                drop(tally);
                let took = at.saturating_sub(called).as_millis();
                panic!("{step} failed after {took} ms, at {at:?}: {error}")
            }
            Some(Err(error)) if step.is_unknown(&error) => {
                tally.unknown(step, at);
                Done::Unknown
            }
            Some(Err(error)) => {
                tally.failed(step, at);
                Done::Refused(error)
            }
        }
    }

    /// How long an operation that was called then may take with no fault left, and whether it may not fail.
    fn demands(&self, called: Duration) -> (Duration, bool) {
        match self.shared.policy {
            Policy::Strict { serves_within } => (serves_within, true),
            Policy::Tolerant { serves_within } => (serves_within, self.healed().is_some_and(|healed| called >= healed)),
        }
    }
}

impl Step {
    /// Whether a caller must expect this.
    fn expects(&self, error: &Error) -> bool {
        match self.style {
            Style::OneShot | Style::ReadOnly => false,
            Style::Conditional => error.kind() == ErrorKind::ConditionFailed,
            Style::Fenced => error.kind() == ErrorKind::Fenced,
            Style::Reading => error.is_conflict(),
        }
    }

    /// Whether it may have had an effect all the same.
    fn is_unknown(&self, error: &Error) -> bool {
        self.style != Style::ReadOnly && error.is_unknown()
    }
}
