//! What must stay in the log for those who get a snapshot: the entries after it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_types::NodeId;
use tokio::time::Instant;

/// How long a snapshot's entries stay after it is installed. By then the follower has got on.
const GRACE: Duration = Duration::from_secs(5);

/// The snapshots of one group that are under way, or were a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Holds(Mutex<BTreeMap<NodeId, Held>>);

#[derive(Debug)]
struct Held {
    /// The follower has everything up to here when it has the snapshot.
    index: u64,
    /// None while it is under way.
    until: Option<Instant>,
}

impl Holds {
    /// Up to here the log may be purged.
    pub(crate) fn lowest(&self) -> u64 {
        let now = Instant::now();
        let mut held = self.held();
        held.retain(|_, held| held.until.is_none_or(|until| now < until));
        held.values().map(|held| held.index).min().unwrap_or(u64::MAX)
    }

    /// Keeps the entries after `index` for `node`, until the guard is dropped and a little longer.
    pub(crate) fn hold(self: &Arc<Self>, node: NodeId, index: u64) -> Hold {
        self.held().insert(node, Held { index, until: None });
        Hold { holds: Arc::clone(self), node }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<NodeId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot that is under way.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Arc<Holds>,
    node: NodeId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(held) = self.holds.held().get_mut(&self.node) {
            held.until = Some(Instant::now() + GRACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_stay_until_a_little_after_the_last_snapshot() {
        let holds = Arc::new(Holds::default());
        assert_eq!(holds.lowest(), u64::MAX);
        let first = holds.hold(NodeId(2), 7);
        let second = holds.hold(NodeId(3), 5);
        assert_eq!(holds.lowest(), 5);
        drop(second);
        tokio::time::advance(GRACE / 2).await;
        assert_eq!(holds.lowest(), 5);
        tokio::time::advance(GRACE).await;
        assert_eq!(holds.lowest(), 7);
        drop(first);
        tokio::time::advance(GRACE).await;
        assert_eq!(holds.lowest(), u64::MAX);
    }
}
