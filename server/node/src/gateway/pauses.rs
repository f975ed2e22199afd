//! Asking again for the leader of a shard: where, and after which pause.

use std::sync::Arc;
use std::time::Duration;

use lentic_machine::meta::Catalog;
use lentic_net::Address;
use lentic_proto::v1::{self, Failure};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The pause before a leader is looked for again, unless the failure says another; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// Whom to ask of the replicas of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whom {
    /// Who leads, as was said.
    pub(crate) hint: Option<Address>,
    /// Where nobody has said it: another replica each time. One of them may be down for long.
    pub(crate) turn: usize,
}

/// The pauses of one request.
pub(crate) struct Pauses {
    catalog: watch::Receiver<Arc<Catalog>>,
    deadline: Instant,
    pause: Duration,
    whom: Whom,
}

impl Pauses {
    pub(crate) fn new(catalog: &watch::Sender<Arc<Catalog>>, deadline: Instant) -> Self {
        Self { catalog: catalog.subscribe(), deadline, pause: PAUSE_MIN, whom: Whom::default() }
    }

    /// Begins a try: at who leads, if the last failure said so.
    pub(crate) fn whom(&mut self) -> Whom {
        self.catalog.mark_unchanged();
        Whom { hint: self.whom.hint.take(), turn: self.whom.turn }
    }

    /// Waits after a failure that a later try may better; gives others back. `again` says that the request may be sent
    /// again when its outcome is unknown.
    pub(crate) async fn after(&mut self, failure: Failure, again: bool) -> Result<(), Failure> {
        match failure.kind() {
            v1::ErrorKind::NotLeader | v1::ErrorKind::WrongEpoch | v1::ErrorKind::Throttled => {
                self.whom.hint = failure.shard.as_ref().map(|shard| Address::from(&*shard.leader_address));
            }
            v1::ErrorKind::Unknown if again => {}
            _ => return Err(failure),
        }
        self.whom.turn += 1;
        let asked = Duration::from_millis(u64::from(failure.retry_after_ms));
        let until = Instant::now() + self.pause.max(asked);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if until >= self.deadline {
            return Err(failure);
        }
        if failure.kind() == v1::ErrorKind::WrongEpoch {
            // The route came from the catalog here, which is old: there is no use in asking again before the news is
            // here. When the pause is over, all the same, for the other node's may have been the old one.
            let _ = timeout_at(until, self.catalog.changed()).await;
        } else {
            sleep_until(until).await;
        }
        Ok(())
    }
}
