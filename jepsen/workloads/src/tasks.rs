//! Tasks that end together.

use std::future::Future;
use std::panic::resume_unwind;

use lentic_runtime::Scope;
use tokio::task::{JoinError, JoinSet};

/// Tasks of a workload. They end with this at the latest: when one panics, all do.
#[derive(Debug, Default)]
pub(crate) struct Tasks(JoinSet<()>);

impl Tasks {
    /// Starts one more, in the scope of the task that asks.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        match Scope::current() {
            Some(scope) => self.0.spawn(async move { scope.run(task).await }),
            None => self.0.spawn(task),
        };
    }

    /// How many there are that have not ended, as far as is known.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes note of those that have ended.
    ///
    /// # Panics
    /// If one of them did, with its words.
    pub(crate) fn sweep(&mut self) {
        while let Some(ended) = self.0.try_join_next() {
            check(ended);
        }
    }

    /// Waits until all have ended.
    ///
    /// # Panics
    /// If one of them does, with its words.
    pub(crate) async fn all(mut self) {
        while let Some(ended) = self.0.join_next().await {
            check(ended);
        }
    }
}

fn check(ended: Result<(), JoinError>) {
    match ended {
        Ok(()) => {}
        Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
        Err(_) => panic!("a task of a workload was ended by somebody else"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_one_ends_all_with_its_words() {
        let mut tasks = Tasks::default();
        tasks.spawn(std::future::pending());
        tasks.spawn(async { panic!("the words") });
        let ended = tokio::spawn(tasks.all()).await.unwrap_err().into_panic();
        assert_eq!(ended.downcast_ref::<&str>(), Some(&"the words"));
    }

    #[tokio::test]
    async fn all_are_waited_for() {
        let (told, mut hears) = tokio::sync::mpsc::channel(2);
        let mut tasks = Tasks::default();
        for number in 0..2 {
            let told = told.clone();
            tasks.spawn(async move { told.send(number).await.unwrap() });
        }
        tasks.all().await;
        assert_eq!((hears.try_recv(), hears.try_recv()), (Ok(0), Ok(1)));
    }
}
