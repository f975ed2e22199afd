//! The tasks of one client: they end when its last clone is dropped.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// Tasks that end together.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: Vec<AbortHandle>,
    /// When to sweep `running` of what has ended: at twice what was left last time.
    sweep_at: usize,
    ended: bool,
}

const SWEEP_AT_LEAST: usize = 64;

impl Tasks {
    /// Starts a task; after the end it never runs.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        if state.running.len() >= state.sweep_at.max(SWEEP_AT_LEAST) {
            state.running.retain(|task| !task.is_finished());
            state.sweep_at = 2 * state.running.len();
        }
        state.running.push(lentic_runtime::spawn(task).abort_handle());
    }

    /// Ends all tasks where they stand, and lets no more begin.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let running = std::mem::take(&mut state.running);
        drop(state);
        running.iter().for_each(AbortHandle::abort);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
