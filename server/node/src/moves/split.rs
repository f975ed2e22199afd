//! A split: the leader of a shard cuts it where the catalog says, and says that it has.
//!
//! ```text
//!   catalog: shall be cut      all replicas ask for a flush: after the cut there is little left to be made durable
//!                              the leader proposes it, once its own state is
//!   cut in its log             the leader says so
//!   catalog: is cut            each node starts the child when what was made of it here is durable; where the shard is led,
//!                              the child asks for votes at once
//! ```

use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{ShardPlace, Splitting};
use lentic_machine::shard::{Action, Split};
use lentic_machine::{Outcome, Refusal};
use lentic_proto::v1::Failure;
use lentic_types::{GroupId, Index, NodeId};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use crate::ask::Question;
use crate::failure;
use crate::gateway::Gateway;
use crate::shard::queue::{Cost, Proposal, Reply};
use crate::shard::replica::Replica;

/// How long a leader waits for its state to be durable before it cuts all the same.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the entry may take.
const CUT_WITHIN: Duration = Duration::from_secs(5);
/// What a split weighs in an entry, beside its key.
const SPLIT_BYTES: usize = 128;
/// How long a new group asks for votes without waiting for an election, and how often: the others may start a little later.
const LEAD_WITHIN: Duration = Duration::from_secs(2);
const LEAD_EVERY: Duration = Duration::from_millis(3);
/// How long an election may take before it is begun anew.
const VOTES_WITHIN: Duration = Duration::from_millis(50);
/// How long the catalog here may lack what the leader of the meta group has taken.
const NEWS_WITHIN: Duration = Duration::from_millis(500);

/// Asks for a flush of what the shard has so far: on every replica, before it is cut.
pub(super) fn prepare<S: Portable>(home: &Replica<S>) {
    if let Err(error) = home.store().request_flush() {
        debug!(shard = home.shard.0, %error, "not flushed before a split");
    }
}

/// Takes the leader's next step; `Ok` also if there is none for this node.
pub(super) async fn take<S: Portable>(
    gateway: &Gateway<S>,
    home: &Replica<S>,
    place: &ShardPlace,
    splitting: &Splitting,
) -> Result<(), Failure> {
    if !home.serves() {
        return Ok(());
    }
    let (parent, child, epoch, began) = (home.shard, splitting.child, place.epoch, Instant::now());
    let is_to_cut = home.descriptor().epoch == epoch;
    if is_to_cut {
        wait_until_durable(home).await?;
    }
    // Who asks meanwhile waits: the parent refuses until the catalog says where the child is, and that until it is led.
    gateway.shards.soon.begins(child);
    let waits = gateway.shards.soon.while_kept(parent);
    if is_to_cut {
        cut(home, place, splitting).await?;
        info!(shard = parent.0, child = child.0, took = ?began.elapsed(), "a shard was cut in two");
    }
    let born = home.born();
    let is_taken = match gateway.meta.leads() {
        true => gateway.meta.end_split((parent, child), epoch, born).await,
        false => gateway.meta.ask_leader(&Question::EndSplit { parent, child, epoch, born }).await.is_some(),
    };
    if !is_taken {
        return Err(failure::not_leader());
    }
    let mut catalog = gateway.meta.catalog.subscribe();
    // Without the news nothing is lost: callers find out by themselves.
    let _ = timeout(NEWS_WITHIN, catalog.wait_for(|catalog| catalog.shards.contains_key(&child))).await;
    drop(waits);
    Ok(())
}

/// What is applied now is on disk, or it takes too long.
async fn wait_until_durable<S: Portable>(home: &Replica<S>) -> Result<(), Failure> {
    let (store, applied) = (home.store(), home.status().applied);
    let failed = |error: lentic_engine::StoreError| failure::internal(error.to_string());
    store.request_flush().map_err(failed)?;
    let since = Instant::now();
    while store.durable_applied(GroupId::from(home.shard)).map_err(failed)? < applied && since.elapsed() < FLUSH_WITHIN
    {
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Has the split in the log, and applied here.
async fn cut<S: Portable>(home: &Replica<S>, place: &ShardPlace, splitting: &Splitting) -> Result<(), Failure> {
    let voters = home.status().voters.iter().copied().collect();
    let split = Split { at: splitting.at.clone(), child: splitting.child, voters };
    let cost = Cost { bytes: SPLIT_BYTES + split.at.len(), operations: 1 };
    let (reply, answer) = Reply::awaited();
    let deadline = Instant::now() + CUT_WITHIN;
    let action = Action::Split(split);
    home.propose(Proposal { epoch: place.epoch, key: None, action, cost, deadline, rides: false, reply });
    match answer.await? {
        Outcome::Committed { .. } => Ok(()),
        // It is done, by an earlier leader.
        Outcome::Refused(Refusal::WrongEpoch { .. }) if home.born() > Index(0) => Ok(()),
        Outcome::Refused(refusal) => Err(failure::of_refusal(&refusal)),
        outcome => Err(failure::internal(format!("a split was answered by {outcome:?}"))),
    }
}

/// Has the group of a new shard led from this node soon: of a child, where its parent is led. Returns when it serves, or when it
/// will not from here.
pub(crate) async fn lead<S: Portable>(me: NodeId, new: &Replica<S>) {
    let mut asked = None::<Instant>;
    let serves = timeout(LEAD_WITHIN, async {
        while !new.serves() {
            let status = new.status();
            if status.leader.is_some_and(|leader| leader != me) {
                return;
            }
            // Once votes are being written to disks, asking anew would have them written once more.
            let patience = if status.term == 0 { Duration::ZERO } else { VOTES_WITHIN };
            if status.leader.is_none() && asked.is_none_or(|at| at.elapsed() >= patience) {
                asked = Some(Instant::now());
                if let Err(error) = new.group.campaign().await {
                    debug!(shard = new.shard.0, %error, "not elected");
                    return;
                }
            }
            sleep(LEAD_EVERY).await;
        }
    });
    if serves.await.is_err() {
        debug!(shard = new.shard.0, "the other replicas of a new shard did not vote in time");
    }
}
