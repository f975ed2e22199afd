//! The proposer of a shard: gather, tick, stamp, submit.
//!
//! ```text
//!   queue ──gather──► tick ──► stamp ──► entry ──submit──► fsync on a quorum ──► apply ──► answers
//!            n + 2     n + 1                                     n
//! ```
//!
//! While an entry is being replicated the next one gathers. It goes when that one is done, or sooner, beside it, when
//! it is large enough: many small entries at once would cost every replica more than they would save their callers.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::{Command, Outcome, Refusal};
use lentic_raft::{Group, ProposeError};
use lentic_runtime::{hesitate, spawn};
use lentic_types::{Epoch, ShardId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::blocked::Blocked;
use super::machine::{ShardMachine, Shown};
use super::queue::{Asker, Proposal, Queue, QueueLimits};
use super::stamps::Stamps;
use crate::failure;
use crate::ticks::{Stopped, TickSource, last_of};

/// One tick stamps this many requests.
const STAMPS_PER_TICK: usize = 256;

/// What the proposer works with.
pub(crate) struct Proposer<S: Portable> {
    pub(crate) group: Group<ShardMachine<S>>,
    /// The shard's number, if it rides in the group.
    pub(crate) rider: Option<ShardId>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) blocked: Arc<Blocked>,
    pub(crate) ticks: TickSource,
    pub(crate) limits: QueueLimits,
    pub(crate) entries_in_flight_max: usize,
}

/// Requests on their way through the proposer. Dropped before they were submitted, they say that they were not.
struct Gathered(Vec<Proposal>);

impl Drop for Gathered {
    fn drop(&mut self) {
        refuse(self.0.drain(..));
    }
}

/// Tells requests that were never submitted that this node does not lead.
fn refuse(proposals: impl IntoIterator<Item = Proposal>) {
    proposals.into_iter().for_each(|proposal| proposal.reply.send(Err(failure::not_leader())));
}

impl<S: Portable> Proposer<S> {
    /// Proposes whenever this node leads, until the group stops or the shard has left it.
    pub(crate) async fn run(self) {
        let (shown, queue) = (Arc::clone(&self.shown), Arc::clone(&self.queue));
        tokio::select! {
            biased;
            () = shown.left() => {}
            () = self.run_while_here() => {}
        }
        refuse(queue.close());
    }

    async fn run_while_here(self) {
        let mut status = self.group.watch();
        loop {
            let Ok(leading) = status.wait_for(|status| status.is_leader).await.map(|status| status.term) else { break };
            let mut changes = status.clone();
            // A group that goes for good may have led to the end: its last status says so for ever.
            let is_gone =
                async { changes.wait_for(|status| !status.is_leader || status.term != leading).await.is_err() };
            tokio::select! {
                biased;
                is_gone = is_gone => if is_gone { break },
                _ = self.lead(leading) => break,
            }
            refuse(self.queue.close());
            // What is still in flight commits or not; a later term of this node reads only after it knows.
            self.stamps.abandon();
        }
    }

    /// Proposes in one term. It ends only with the node.
    async fn lead(&self, term: u64) -> Result<(), Stopped> {
        // Rule F. The tick is fetched as leader of this term, after everything of earlier terms was applied.
        let first = self.ticks.fetch(1).await?;
        self.stamps.lead(last_of(first), self.shown.newest());
        self.queue.open();
        let in_flight = Arc::new(Semaphore::new(self.entries_in_flight_max));
        'entries: loop {
            let permit = Arc::clone(&in_flight).acquire_owned().await.map_err(|_| Stopped)?;
            let mut early = match lentic_types::mutant!("no-rule-w") {
                true => Some(self.ticks.fetch(1).await?),
                false => None,
            };
            let is_alone = || in_flight.available_permits() + 1 == self.entries_in_flight_max;
            let mut gathered = Gathered(self.queue.gather(&self.limits, is_alone).await);
            // The shape that they were routed by: it may change while a tick is fetched.
            let mut epoch = self.let_go(&mut gathered.0);
            if gathered.0.is_empty() {
                continue;
            }
            let stamped = loop {
                let wanted = u32::try_from(gathered.0.len().div_ceil(STAMPS_PER_TICK)).unwrap_or(u32::MAX);
                let ticks = match early.take() {
                    Some(ticks) => ticks,
                    None => self.ticks.fetch(wanted).await?,
                };
                // A read at a later tick may come first.
                hesitate().await;
                // Without a leader of the meta group no tick comes, and coordinators die meanwhile.
                gathered.0.retain(|proposal| !proposal.is_abandoned());
                if gathered.0.is_empty() {
                    continue 'entries;
                }
                if let Some(stamped) = self.stamps.take(gathered.0.len(), &ticks) {
                    break stamped;
                }
            };
            let number = stamped.number();
            if lentic_types::mutant!("epoch-of-the-entry") {
                epoch = self.epoch();
            }
            let proposals = std::mem::take(&mut gathered.0);
            let (requests, askers): (Vec<_>, Vec<_>) = proposals
                .into_iter()
                .zip(stamped.versions)
                .map(|(proposal, version)| proposal.stamped(version))
                .unzip();
            let command = Command { epoch, requests };
            let entry = Bytes::from(command.encode_for(self.rider));
            let submitted = self.group.submit(term, entry).await;
            let (stamps, queue) = (Arc::clone(&self.stamps), Arc::clone(&self.queue));
            let blocked = Arc::clone(&self.blocked);
            spawn(async move {
                let result = match submitted {
                    Ok(pending) => pending.await.map(|(_, outcomes)| outcomes),
                    Err(error) => Err(error),
                };
                drop(permit);
                queue.look_again();
                stamps.done(number);
                answer(askers, command, result, &blocked);
            });
        }
    }

    /// Answers what needs no entry: requests nobody waits for any more, and those routed by another shape. The epoch of those
    /// that are left.
    fn let_go(&self, gathered: &mut Vec<Proposal>) -> Epoch {
        gathered.retain(|proposal| !proposal.is_abandoned());
        let (now, epoch) = (Instant::now(), self.epoch());
        let late = |proposal: &mut Proposal| proposal.deadline <= now || proposal.epoch != epoch;
        for proposal in gathered.extract_if(.., late) {
            let failure = if proposal.deadline <= now {
                failure::throttled("the request waited until its deadline; nothing was done", 0)
            } else {
                failure::of_refusal(&lentic_machine::Refusal::WrongEpoch { epoch })
            };
            proposal.reply.send(Err(failure));
        }
        epoch
    }

    fn epoch(&self) -> Epoch {
        self.shown.rules().descriptor.epoch
    }
}

fn answer(askers: Vec<Asker>, command: Command, result: Result<Vec<Outcome>, ProposeError>, blocked: &Arc<Blocked>) {
    let Command { epoch, requests } = command;
    match result {
        Ok(outcomes) => {
            for ((asker, request), outcome) in askers.into_iter().zip(requests).zip(outcomes) {
                match outcome {
                    Outcome::Refused(Refusal::Blocked { holder }) => blocked.wait(asker.again(epoch, request), holder),
                    outcome => asker.reply.send(Ok(outcome)),
                }
            }
        }
        Err(error) => {
            let failure = match error {
                ProposeError::NotLeader { .. } => failure::not_leader(),
                ProposeError::Full { .. } => failure::throttled("the log's queue is full; nothing was done", 20),
                ProposeError::Lost => failure::unknown("the leader changed; send again with the same key"),
                ProposeError::Stopped(reason) => failure::unknown(format!("the group has stopped: {reason}")),
            };
            askers.into_iter().for_each(|asker| asker.reply.send(Err(failure.clone())));
        }
    }
}
