//! The tasks of one node.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
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
    /// Only a simulation's scope can stand still.
    stop: Option<Mutex<Stop>>,
}

/// Whether a scope stands still, and whom to wake when it goes on.
#[derive(Debug, Default)]
struct Stop {
    stands: bool,
    waiting: Vec<Waker>,
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
        Self(Arc::new(Inner { random, hesitates_one_in: 0, tasks: Mutex::default(), stop: None }))
    }

    /// A scope without tasks for simulations: one in `one_in` calls of [`hesitate`] takes a while, or none if it is 0,
    /// and it can be made to [stand still](Self::stand_still).
    #[must_use]
    pub fn simulated(random: Random, one_in: u64) -> Self {
        Self(Arc::new(Inner {
            random,
            hesitates_one_in: one_in,
            tasks: Mutex::default(),
            stop: Some(Mutex::default()),
        }))
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
        let handle = match self.0.stop {
            None => tokio::spawn(CURRENT.scope(self.clone(), task)),
            Some(_) => {
                tokio::spawn(CURRENT.scope(self.clone(), Stoppable { scope: self.clone(), task: Box::pin(task) }))
            }
        };
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

    /// Lets no task of the scope go on until [`Self::go_on`], as a stopped process does: time passes, timers run out, what
    /// others send waits. Only in a simulation's scope.
    pub fn stand_still(&self) {
        if let Some(mut stop) = self.stop() {
            stop.stands = true;
        }
    }

    /// Ends that [it stands still](Self::stand_still).
    pub fn go_on(&self) {
        let waiting = self.stop().map(|mut stop| {
            stop.stands = false;
            std::mem::take(&mut stop.waiting)
        });
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether a task may not go on; then it is woken when it may.
    fn stops(&self, waker: &Waker) -> bool {
        self.stop().filter(|stop| stop.stands).is_some_and(|mut stop| {
            stop.waiting.push(waker.clone());
            true
        })
    }

    fn stop(&self) -> Option<MutexGuard<'_, Stop>> {
        self.0.stop.as_ref().map(|stop| stop.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task of a scope that can stand still.
struct Stoppable<F> {
    scope: Scope,
    task: Pin<Box<F>>,
}

impl<F: Future> Future for Stoppable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.scope.stops(context.waker()) {
            true => Poll::Pending,
            false => self.task.as_mut().poll(context),
        }
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
/// [simulated](Scope::simulated) scope, it sometimes sleeps.
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
        assert!(!took(Scope::simulated(Random::seeded(1), 1)).await.is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_that_stands_still_goes_on_where_it_stood() {
        let scope = Scope::simulated(Random::seeded(1), 0);
        let began = tokio::time::Instant::now();
        let task = scope.spawn(async move {
            let inner = spawn(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                tokio::time::Instant::now()
            });
            inner.await.unwrap()
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        scope.stand_still();
        let late = scope.spawn(async { tokio::time::Instant::now() });
        tokio::time::sleep(Duration::from_millis(95)).await;
        assert!(!task.is_finished() && !late.is_finished(), "its time is over, and nobody looks");
        scope.go_on();
        assert_eq!(task.await.unwrap() - began, Duration::from_millis(100));
        assert_eq!(late.await.unwrap() - began, Duration::from_millis(100));
        scope.stand_still();
        let stopped = scope.spawn(async {});
        scope.abort();
        assert!(stopped.await.unwrap_err().is_cancelled(), "what stands still can be ended");
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
