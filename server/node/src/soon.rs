//! Shards that this node is about to lead: who asks for one of them waits a moment, in place of being refused.
//!
//! A caller that is refused comes back after a pause of its own, which is longer than a shard takes to be cut in two, or a
//! new one to elect its first leader.

use std::collections::BTreeMap;
use std::time::Duration;

use lentic_types::ShardId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a request waits at most: what takes longer has met some trouble, of which its caller should know.
const WAITS_WITHIN: Duration = Duration::from_millis(500);

/// How long it is soon at most. Nothing that goes wrong makes callers of a shard wait for ever.
const LASTS_MAX: Duration = Duration::from_secs(5);

/// Which shards they are, and since when.
#[derive(Debug, Default)]
pub(crate) struct Soon(watch::Sender<BTreeMap<ShardId, Instant>>);

/// Keeps callers of a shard waiting until it is dropped.
pub(crate) struct Waits<'a>(&'a Soon, ShardId);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.ends(self.1);
    }
}

impl Soon {
    /// Has callers of a shard wait from now on, until [it ends](Self::ends).
    pub(crate) fn begins(&self, shard: ShardId) {
        self.0.send_modify(|shards| {
            shards.retain(|_, since| since.elapsed() < LASTS_MAX);
            shards.insert(shard, Instant::now());
        });
    }

    /// The same, for as long as what is returned is kept.
    pub(crate) fn while_kept(&self, shard: ShardId) -> Waits<'_> {
        self.begins(shard);
        Waits(self, shard)
    }

    /// A shard is led, or will not be from here.
    pub(crate) fn ends(&self, shard: ShardId) {
        self.0.send_if_modified(|shards| shards.remove(&shard).is_some());
    }

    /// Whether callers of a shard should wait.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        self.0.borrow().get(&shard).is_some_and(|since| since.elapsed() < LASTS_MAX)
    }

    /// Waits until it is over, or has taken too long; at once if it has not begun.
    pub(crate) async fn over(&self, shard: ShardId) {
        if !self.has(shard) {
            return;
        }
        let mut shards = self.0.subscribe();
        // Over or not, the request goes on: who has the shard answers it.
        let _ = timeout(WAITS_WITHIN, shards.wait_for(|shards| !shards.contains_key(&shard))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_wait_until_it_is_over_and_not_for_long() {
        let (soon, shard) = (Soon::default(), ShardId(7));
        let began = Instant::now();
        soon.over(shard).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody said that it is soon");
        let waits = soon.while_kept(shard);
        assert!(soon.has(shard) && !soon.has(ShardId(8)));
        let ends = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(waits);
        };
        tokio::join!(soon.over(shard), ends);
        assert_eq!(began.elapsed(), Duration::from_millis(30));
        soon.begins(shard);
        soon.over(shard).await;
        assert_eq!(began.elapsed(), Duration::from_millis(530), "it takes too long");
        tokio::time::advance(LASTS_MAX).await;
        assert!(!soon.has(shard), "nobody has said that it is over");
    }
}
