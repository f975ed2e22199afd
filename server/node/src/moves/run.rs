//! The leader of a group takes the steps of its moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, ShardPlace};
use lentic_raft::ChangeError;
use lentic_types::{Index, NodeId};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::split;
use super::step::{Step, is_unsettled, step};
use crate::ask::{Answer, Question};
use crate::disk;
use crate::gateway::Gateway;
use crate::shard::replica::Replica;

/// How soon it is looked again while something is under way.
const AGAIN: Duration = Duration::from_millis(100);
/// How long one step may take before it is looked again.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// How long another node may take to answer.
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// A follower that has applied all but so many entries has them before an election is over.
const UNAPPLIED_MAX: u64 = 100;

/// Sees to it that the members of the group of `home`, and its shape, are what the catalog says. It ends with the replica.
pub(crate) async fn follow<S: Portable>(gateway: Gateway<S>, home: Arc<Replica<S>>) {
    let mut catalog: watch::Receiver<Arc<Catalog>> = gateway.meta.catalog.subscribe();
    let (mut status, mut prepared) = (home.group.watch(), None);
    loop {
        let now = Arc::clone(&catalog.borrow_and_update());
        let place = now.shards.get(&home.shard);
        let is_to_do = |place: &&ShardPlace| is_unsettled(&home.status(), place) || place.shape.splitting.is_some();
        let Some(place) = place.filter(is_to_do) else {
            let unsettles = async {
                match place {
                    Some(place) => status.wait_for(|status| is_unsettled(status, place)).await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! { biased;
                () = home.shown().left() => return,
                changed = catalog.changed() => if changed.is_err() { return },
                goes_on = unsettles => if !goes_on { return },
            }
            continue;
        };
        let splitting = place.shape.splitting.as_ref();
        let child = splitting.map(|splitting| splitting.child);
        if child.is_some() && std::mem::replace(&mut prepared, child) != child {
            split::prepare(&home);
        }
        let taken = async {
            match splitting {
                Some(splitting) if !is_unsettled(&home.status(), place) => {
                    if let Err(failure) = split::take(&gateway, &home, place, splitting).await {
                        debug!(shard = home.shard.0, reason = failure.message, "a split is tried again");
                    }
                }
                _ => take(&gateway, &home, place, now.revision).await,
            }
        };
        tokio::select! { biased;
            () = home.shown().left() => return,
            () = taken => {}
        }
        tokio::select! { biased;
            () = home.shown().left() => return,
            changed = catalog.changed() => if changed.is_err() { return },
            () = sleep(AGAIN) => {}
        }
    }
}

async fn take<S: Portable>(gateway: &Gateway<S>, home: &Replica<S>, place: &ShardPlace, revision: u64) {
    let (group, shard) = (&home.group, home.shard.0);
    let next = step(gateway.meta.node, &home.status(), place);
    if matches!(next, Step::Rest | Step::Wait) {
        return;
    }
    debug!(shard, step = ?next, "a step of a move");
    let done = timeout(STEP_WITHIN, async {
        match &next {
            Step::Rest | Step::Wait => Ok(()),
            Step::AddLearner(node) => group.add_learner(*node).await,
            Step::DropLearners(nodes) => group.remove_learners(BTreeSet::clone(nodes)).await,
            Step::ChangeVoters(voters) => group.change_voters(BTreeSet::clone(voters)).await,
            Step::HandOver(heirs) => hand_over(gateway, home, heirs).await,
            Step::Settle => settle(gateway, place, revision).await,
        }
    });
    match done.await {
        Ok(Ok(())) => info!(shard, step = ?next, "a step of a move is done"),
        Ok(Err(error)) => debug!(shard, step = ?next, %error, "a step of a move is tried again"),
        Err(_) => debug!(shard, step = ?next, "a step of a move takes long"),
    }
}

/// Hands over to the first that has applied what is committed, or nearly: until it has, nobody would be served.
async fn hand_over<S: Portable>(gateway: &Gateway<S>, home: &Replica<S>, heirs: &[NodeId]) -> Result<(), ChangeError> {
    for heir in heirs {
        let committed = home.status().committed;
        let applied = ask_applied(gateway, *heir, place_of(home)).await;
        let is_ready = applied.is_some_and(|applied| applied.0 + UNAPPLIED_MAX >= committed.0);
        if is_ready && disk::hand_over(&home.group, *heir).await {
            return Ok(());
        }
    }
    Err(ChangeError::Refused("no replica that stays has applied all and takes over".to_owned()))
}

fn place_of<S: Portable>(home: &Replica<S>) -> Question {
    Question::Member { shard: home.shard }
}

async fn ask_applied<S: Portable>(gateway: &Gateway<S>, node: NodeId, question: Question) -> Option<Index> {
    let answer = gateway.meta.host.ask(node, question.encode(), ASK_WITHIN).await.ok()?;
    match Answer::decode(&answer) {
        Ok(Answer::Member { applied, .. }) => Some(applied),
        _ => None,
    }
}

/// Tells the meta group that the members are those of the catalog.
async fn settle<S: Portable>(gateway: &Gateway<S>, place: &ShardPlace, revision: u64) -> Result<(), ChangeError> {
    if place.shape.leaving.is_empty() {
        return Ok(());
    }
    let (shard, epoch) = (place.shard, place.epoch);
    let question = Question::SettleReplicas { shard, epoch, revision };
    let answer = match gateway.meta.leads() {
        true => gateway.meta.settle(shard, epoch, revision).await,
        false => gateway.meta.ask_leader(&question).await.is_some(),
    };
    if answer { Ok(()) } else { Err(ChangeError::Refused("the meta group did not take it".to_owned())) }
}
