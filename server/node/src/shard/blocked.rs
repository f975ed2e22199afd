//! Requests that an open transaction keeps from being judged: they wait here, and are proposed again.
//!
//! A transaction that holds locks elsewhere must not wait for ever for one that waits for it. So an older one waits, as
//! long as its caller does; a younger one waits a moment and is then told to give way, let go of everything and come again
//! with its old age (WAIT-DIE: Rosenkrantz, Stearns, Lewis 1978). Other requests hold nothing and just wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lentic_machine::shard::Action;
use lentic_machine::{Outcome, Refusal};
use lentic_runtime::spawn;
use lentic_types::TxnId;
use tokio::time::{Instant, timeout_at};

use super::machine::Shown;
use super::queue::{Proposal, Queue, QueueLimits, Refused};
use crate::failure;

/// How long a younger transaction waits for an older one: most are decided within it, so that only those give way that
/// may wait for each other.
const YOUNGER_WAITS: Duration = Duration::from_millis(30);
/// How long a caller whose request did not find room waits, in milliseconds.
const PAUSE_MS: u32 = 20;

/// The requests of a shard that wait for transactions.
#[derive(Debug)]
pub(crate) struct Blocked {
    shown: Arc<Shown>,
    queue: Arc<Queue>,
    limits: QueueLimits,
    bytes: AtomicUsize,
}

impl Blocked {
    pub(crate) fn new(shown: Arc<Shown>, queue: Arc<Queue>, limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self { shown, queue, limits, bytes: AtomicUsize::new(0) })
    }

    /// Keeps a request until `holder` is decided, and queues it again.
    pub(crate) fn wait(self: &Arc<Self>, proposal: Proposal, holder: TxnId) {
        let bytes = proposal.cost.bytes;
        if self.bytes.fetch_add(bytes, Ordering::AcqRel) > self.limits.waiting_bytes_max {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            let words = "too much waits for transactions of this shard; nothing was done";
            return proposal.reply.send(Err(failure::throttled(words, PAUSE_MS)));
        }
        self.queue.hurry();
        let blocked = Arc::clone(self);
        spawn(async move {
            let until = match &proposal.action {
                Action::Prepare(prepare) if prepare.txn.id > holder => Instant::now() + YOUNGER_WAITS,
                _ => proposal.deadline,
            };
            let free = blocked.shown.locked.wait_while(|locked| locked.is_undecided(holder));
            let is_free = timeout_at(until.min(proposal.deadline), free).await.is_ok();
            blocked.bytes.fetch_sub(bytes, Ordering::AcqRel);
            match is_free {
                true => blocked.queue_again(proposal),
                false => give_way(proposal, holder),
            }
        });
    }

    fn queue_again(&self, proposal: Proposal) {
        if let Err(refused) = self.queue.offer_again(proposal) {
            let (proposal, refused) = *refused;
            proposal.reply.send(Err(match refused {
                Refused::NotLeader => failure::not_leader(),
                Refused::Full => failure::throttled("the shard's queue is full; nothing was done", PAUSE_MS),
            }));
        }
    }
}

fn give_way(proposal: Proposal, holder: TxnId) {
    let Action::Prepare(_) = proposal.action else {
        let words = "a transaction held a key until the deadline; nothing was done";
        return proposal.reply.send(Err(failure::throttled(words, PAUSE_MS)));
    };
    proposal.reply.send(Ok(Outcome::Refused(Refusal::Blocked { holder })));
}
