//! Work that many wait for and one task does.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::Error;
use crate::tasks::Tasks;

type Landed = Option<Result<(), Error>>;

/// One piece of work at a time; who asks while it runs waits for its result.
///
/// A task does it, so that it goes on when the caller who began it no longer waits.
#[derive(Debug, Default)]
pub(crate) struct Flight(Mutex<Option<watch::Receiver<Landed>>>);

impl Flight {
    /// Waits for the work that runs, or begins it.
    pub(crate) async fn join<F>(&self, tasks: &Tasks, begin: impl FnOnce() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut receiver = self.board(tasks, begin);
        let landed = match receiver.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone(),
            Err(_) => None,
        };
        landed.unwrap_or_else(|| Err(Error::unavailable("the client is closed")))
    }

    fn board<F>(&self, tasks: &Tasks, begin: impl FnOnce() -> F) -> watch::Receiver<Landed>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) =
            slot.as_ref().filter(|receiver| receiver.borrow().is_none() && receiver.has_changed().is_ok())
        {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let work = begin();
        tasks.spawn(async move {
            let result = work.await;
            sender.send_replace(Some(result));
        });
        *slot = Some(receiver.clone());
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_one() {
        let (flight, tasks, begun) = (Flight::default(), Tasks::default(), Arc::new(AtomicU32::new(0)));
        let join = || {
            flight.join(&tasks, || {
                begun.fetch_add(1, Ordering::Relaxed);
                async {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    Ok(())
                }
            })
        };
        let (a, b) = tokio::join!(join(), join());
        assert_eq!((a, b, begun.load(Ordering::Relaxed)), (Ok(()), Ok(()), 1));
        join().await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2, "what has landed is not waited for");
        tasks.end();
        assert!(join().await.is_err(), "nothing begins after the end, and nobody waits for it");
    }
}
