//! How far an operation has come: what decides its error when it runs out of time.

use lentic_types::{ErrorKind, Retry};
use tokio::time::Instant;

use crate::error::Error;
use crate::options::Options;

/// Whether an operation changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Writes,
}

/// How far an operation has come.
#[derive(Debug)]
pub(crate) struct Progress {
    effect: Effect,
    began: Instant,
    pub(crate) deadline: Instant,
    /// How often it was sent without a definite answer.
    pub(crate) in_doubt: u32,
    /// Retries that waited so far: the next one waits longer.
    pub(crate) rounds: u32,
    /// Resends in a row that did not wait.
    pub(crate) at_once: u32,
    /// How often its leader could not be reached.
    pub(crate) unreachable: u32,
    last: Option<Error>,
}

impl Progress {
    pub(crate) fn new(effect: Effect, options: &Options) -> Self {
        Self::until(effect, Instant::now() + options.deadline)
    }

    pub(crate) fn until(effect: Effect, deadline: Instant) -> Self {
        let began = Instant::now();
        Self { effect, began, deadline, in_doubt: 0, rounds: 0, at_once: 0, unreachable: 0, last: None }
    }

    /// What kind of operation it is.
    pub(crate) const fn effect(&self) -> Effect {
        self.effect
    }

    /// A sending was answered with a failure: if it had no effect, it is in doubt no more.
    pub(crate) fn answered(&mut self, error: &Error) {
        if error.retry() != Retry::WithSameKey {
            self.in_doubt = self.in_doubt.saturating_sub(1);
        }
    }

    /// Remembers why it is not done yet.
    pub(crate) fn note(&mut self, error: Error) {
        self.last = Some(error);
    }

    /// Goes on after a result that a later try may better; stops at others.
    pub(crate) fn note_or_stop(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(error) if error.retry() == Retry::Never => Err(self.give_up(error)),
            Err(error) => {
                self.note(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether something may have changed that the caller does not know of.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.effect == Effect::Writes && self.in_doubt > 0
    }

    /// The error for a caller whose operation cannot go on for another reason than its own answer.
    pub(crate) fn give_up(&self, error: Error) -> Error {
        if self.is_in_doubt() {
            return Error::unknown(format!("the outcome of the write is unknown; read before writing again ({error})"));
        }
        error
    }

    /// The error for a caller whose time is over.
    pub(crate) fn out_of_time(&self) -> Error {
        let waited = self.deadline.saturating_duration_since(self.began).as_millis();
        let reason = self.last.as_ref().map_or_else(|| "no answer came".to_owned(), ToString::to_string);
        if self.is_in_doubt() {
            return Error::unknown(format!(
                "the outcome of the write is unknown after {waited} ms; read before writing again ({reason})"
            ));
        }
        let kind = match &self.last {
            Some(last) if last.kind().retry() == Retry::Safe => last.kind(),
            Some(last) if last.kind() == ErrorKind::Internal => ErrorKind::Internal,
            _ => ErrorKind::Throttled,
        };
        Error::new(kind, format!("not done within {waited} ms; try again later, or allow more time ({reason})"))
    }
}
