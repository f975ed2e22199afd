//! The tasks of one node.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};

use crate::random::Random;

tokio::task_local! {
    static CURRENT: Scope;
}

/// The tasks of one node, and its source of randomness. A task started in a scope is in it, and so are those that it
/// starts. Clones are the same scope.
#[derive(Clone, Debug)]
pub struct Scope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    random: Random,
    /// One in how many times a task hesitates; never, if it is 0.
    hesitates_one_in: u64,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    running: Vec<AbortHandle>,
    /// When to sweep `running` of what has ended: at twice what was left last time, so that it costs O(1) a task.
    sweep_at: usize,
    aborted: bool,
}

const SWEEP_AT_LEAST: usize = 64;

impl Scope {
    /// A scope without tasks.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self::hesitating(random, 0)
    }

    /// A scope without tasks, in which one in `one_in` calls of [`hesitate`] takes a while: for simulations.
    #[must_use]
    pub fn hesitating(random: Random, one_in: u64) -> Self {
        Self(Arc::new(Inner { random, hesitates_one_in: one_in, tasks: Mutex::default() }))
    }

    /// The scope of the task that asks.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The scope's source of randomness.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    /// Starts a task in this scope. In a scope that was aborted it never runs.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = tokio::spawn(CURRENT.scope(self.clone(), task));
        let mut tasks = self.tasks();
        if tasks.aborted {
            handle.abort();
        } else {
            if tasks.running.len() >= tasks.sweep_at.max(SWEEP_AT_LEAST) {
                tasks.running.retain(|task| !task.is_finished());
                tasks.sweep_at = 2 * tasks.running.len();
            }
            tasks.running.push(handle.abort_handle());
        }
        handle
    }

    /// Runs a future in this scope, without a task of its own.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    /// Ends all tasks of the scope where they stand, as a crash does, and lets no more begin.
    pub fn abort(&self) {
        let mut tasks = self.tasks();
        tasks.aborted = true;
        let running = std::mem::take(&mut tasks.running);
        drop(tasks);
        running.iter().for_each(AbortHandle::abort);
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a task in the scope of the caller, or in none if the caller is in none.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Scope::current() {
        Some(scope) => scope.spawn(task),
        None => tokio::spawn(task),
    }
}

/// Marks a place where a busy machine may let a task wait while others go on, and where that must do no harm. In
/// production it does nothing. In a simulation every task that can run does so before time passes: there, in a
/// [hesitating](Scope::hesitating) scope, it sometimes sleeps.
pub async fn hesitate() {
    let pause = CURRENT.try_with(|Scope(inner)| {
        let one_in = inner.hesitates_one_in;
        let hesitates = one_in > 0 && inner.random.next_seed().is_multiple_of(one_in);
        hesitates.then(|| Duration::from_millis(inner.random.next_seed() % HESITATION_MS_MAX + 1))
    });
    if let Ok(Some(pause)) = pause {
        tokio::time::sleep(pause).await;
    }
}

/// The longest hesitation: longer than a few messages take.
const HESITATION_MS_MAX: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::rng;
    use rand::Rng as _;
    use std::future::pending;

    #[tokio::test]
    async fn aborting_a_scope_ends_the_tasks_of_its_tasks() {
        let scope = Scope::new(Random::seeded(1));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let outer = scope.spawn(async move {
            let inner = spawn(pending::<()>());
            assert!(sender.send(inner).is_ok());
            pending::<()>().await;
        });
        let inner = receiver.await.unwrap();
        let other = tokio::spawn(async { 7 });
        scope.abort();
        assert!(outer.await.unwrap_err().is_cancelled());
        assert!(inner.await.unwrap_err().is_cancelled());
        assert_eq!(other.await.unwrap(), 7, "a task outside goes on");
        assert!(scope.spawn(async {}).await.unwrap_err().is_cancelled(), "nothing begins after it");
    }

    #[tokio::test]
    async fn random_numbers_of_a_scope_are_a_function_of_its_seed() {
        let draw = |seed| async move { Scope::new(Random::seeded(seed)).run(async { rng().next_u64() }).await };
        assert_eq!(draw(1).await, draw(1).await);
        assert_ne!(draw(1).await, draw(2).await);
        let scope = Scope::new(Random::seeded(1));
        let drawn = scope.spawn(async { spawn(async { rng().next_u64() }).await.unwrap() }).await.unwrap();
        assert_eq!(drawn, draw(1).await, "a task of a task draws from the same seed");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_hesitating_scope_hesitates() {
        let took = |scope: Scope| async move {
            let began = tokio::time::Instant::now();
            scope.run(hesitate()).await;
            began.elapsed()
        };
        assert!(took(Scope::new(Random::seeded(1))).await.is_zero());
        assert!(!took(Scope::hesitating(Random::seeded(1), 1)).await.is_zero());
    }

    #[tokio::test]
    async fn ended_tasks_are_forgotten() {
        let scope = Scope::new(Random::seeded(1));
        for _ in 0..10_000 {
            scope.spawn(async {}).await.unwrap();
        }
        assert!(scope.tasks().running.len() <= 2 * SWEEP_AT_LEAST);
    }
}
