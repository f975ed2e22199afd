//! What lies between two hosts, in one direction.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What lies between two hosts, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) cut_since: Option<Instant>,
    /// How long it was cut last, and when it was healed.
    pub(super) was_cut: Duration,
    pub(super) healed_at: Option<Instant>,
    pub(super) bytes_per_second: Option<u64>,
}

impl Path {
    pub(super) fn heal(&mut self) {
        if let Some(since) = self.cut_since.take() {
            self.was_cut = since.elapsed();
            self.healed_at = Some(Instant::now());
        }
    }

    /// How long so many bytes take to leave.
    pub(super) fn leaving(&self, bytes: usize) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))
    }
}

/// Waits until the path is not cut.
pub(super) async fn open(mut path: watch::Receiver<Path>) {
    let gone = path.wait_for(|path| path.cut_since.is_none()).await.is_err();
    if gone {
        // The network is: nothing comes through any more.
        pending::<()>().await;
    }
}

/// Waits until the path has been cut for `patience` without a break.
pub(super) async fn given_up(mut path: watch::Receiver<Path>, patience: Duration) {
    loop {
        let since = path.borrow_and_update().cut_since;
        let wait = async {
            match since {
                Some(since) => sleep_until(since + patience).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = path.changed() => if changed.is_err() { pending::<()>().await },
            () = wait => return,
        }
    }
}
