//! The shards of branches that ride in a group of this node.
//!
//! ```text
//!   catalog says           the group has        its leader proposes
//!   branch is there        nothing of it        branch, of the parent's shard
//!   branch is gone         it                   drop branch
//! ```
//!
//! What is there is looked at, and the next step follows from it: whoever leads next goes on. A leader's catalog may be old.
//! So a rider tells the revision of a catalog that it was in, and it is dropped only by a later one; and who was dropped does
//! not come back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lentic_engine::{Portable, Span};
use lentic_machine::Outcome;
use lentic_machine::meta::{Catalog, ShardPlace};
use lentic_machine::shard::{Action, Branch, Descriptor, Gone, spans};
use lentic_proto::v1::Failure;
use lentic_runtime::blocking;
use lentic_types::{Epoch, GroupId, ShardId, Version};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info};

use super::machine::Riding;
use super::queue::{Cost, Proposal, Reply};
use super::replica::Replica;
use crate::failure;
use crate::shards::Shards;

/// How soon it is looked again where something is still to be done.
const AGAIN: Duration = Duration::from_millis(100);
/// How soon it is looked again whether a drop is durable.
const CLEAR_AGAIN: Duration = Duration::from_secs(2);
/// How long a step waits for its entry.
const STEP_WITHIN: Duration = Duration::from_secs(2);
/// What a step weighs in an entry.
const STEP_BYTES: usize = 64;

/// Sees to it that what rides in the group of `home` is what the catalog says, and that this node serves it. It ends with the
/// group.
pub(crate) async fn keep<S: Portable>(
    shards: Arc<Shards<S>>,
    home: Arc<Replica<S>>,
    mut catalog: watch::Receiver<Arc<Catalog>>,
) {
    let Some(mut riding) = home.riding() else { return };
    let mut cleared = BTreeSet::new();
    loop {
        let (wanted, found) = (Arc::clone(&catalog.borrow_and_update()), Arc::clone(&riding.borrow_and_update()));
        serve(&shards, &home, &wanted, &found);
        if home.serves()
            && let Err(failure) = step(&shards, &home, &wanted, &found).await
        {
            debug!(shard = home.shard.0, reason = failure.message, "a branch is not where it belongs yet");
        }
        let is_clear = clear(&shards, &home, &found, &mut cleared);
        let is_settled = missing(&home, &wanted, &found).next().is_none() && left_over(&wanted, &found).is_none();
        let pause = if is_settled { CLEAR_AGAIN } else { AGAIN };
        tokio::select! {
            biased;
            () = home.shown().left() => return,
            changed = catalog.changed() => if changed.is_err() { return },
            changed = riding.changed() => if changed.is_err() { return },
            () = sleep(pause), if !is_settled || !is_clear => {}
        }
    }
}

/// Where the riders of a group lie, those that were dropped among them.
pub(crate) fn of<S: Portable>(home: &Replica<S>) -> Vec<(ShardId, Vec<Span>)> {
    let Some(riding) = home.riding().map(|riding| Arc::clone(&riding.borrow())) else { return Vec::new() };
    let here = riding.here.iter().map(|(id, (shown, _))| (*id, spans((*id).into(), &shown.rules().descriptor)));
    let gone = riding.gone.iter().map(|(id, gone)| (*id, spans_of_gone(*id, gone)));
    here.chain(gone).collect()
}

/// Starts and ends the replicas of riders.
fn serve<S: Portable>(shards: &Shards<S>, home: &Replica<S>, catalog: &Catalog, riding: &Riding) {
    let has_left = |replica: &Arc<Replica<S>>| replica.is_rider() && replica.shown().has_left();
    shards.all().into_iter().filter(has_left).for_each(|replica| shards.remove(replica.shard));
    for (id, (shown, _)) in &riding.here {
        if shards.get(*id).is_none() && catalog.shards.contains_key(id) {
            shards.add(Replica::ride(&shards.shared, *id, home, Arc::clone(shown)));
            info!(shard = id.0, home = home.shard.0, "branch served");
        }
    }
}

/// The shards that should ride in the group and do not, parents first.
fn missing<'a, S: Portable>(
    home: &Replica<S>,
    catalog: &'a Catalog,
    riding: &'a Riding,
) -> impl Iterator<Item = &'a ShardPlace> {
    let is_known =
        |place: &&ShardPlace| riding.here.contains_key(&place.shard) || riding.gone.contains_key(&place.shard);
    catalog.riders_of(home.shard).filter(move |place| !is_known(place))
}

/// A shard that rides in the group and is in the catalog no more: one that has no branches here, if there is one.
fn left_over(catalog: &Catalog, riding: &Riding) -> Option<ShardId> {
    let is_over =
        |(id, (_, revision)): &(&ShardId, &(_, u64))| *revision <= catalog.revision && !catalog.shards.contains_key(id);
    // A branch has a higher number than what it is a branch of.
    riding.here.iter().rev().find(is_over).map(|(id, _)| *id)
}

/// As the group's leader, takes the next step for each of them.
async fn step<S: Portable>(
    shards: &Shards<S>,
    home: &Replica<S>,
    catalog: &Catalog,
    riding: &Riding,
) -> Result<(), Failure> {
    for place in missing(home, catalog, riding) {
        let (Some(parent), Some(origin)) = (catalog.parent_of(place), catalog.branches.get(&place.table)) else {
            continue;
        };
        // Its parent may be on its way, too.
        let Some(replica) = shards.get(parent.shard) else { continue };
        let (shard, table) = (place.shard, place.table);
        let branch = Branch { shard, table, version: origin.version, revision: catalog.revision };
        replica.ask(parent.epoch, Action::Branch(branch)).await?;
    }
    if let Some(over) = left_over(catalog, riding) {
        home.ask(home.descriptor().epoch, Action::DropBranch(over)).await?;
    }
    Ok(())
}

/// Clears what riders kept that were dropped, where that is durable: else a crash could bring them back without it. Whether
/// there is nothing left to do.
fn clear<S: Portable>(shards: &Shards<S>, home: &Replica<S>, riding: &Riding, cleared: &mut BTreeSet<ShardId>) -> bool {
    cleared.retain(|id| riding.gone.contains_key(id));
    let waiting: Vec<_> = riding.gone.iter().filter(|(id, _)| !cleared.contains(id)).collect();
    if waiting.is_empty() {
        return true;
    }
    let store = &shards.shared.store;
    let Ok(durable) = store.durable_applied(GroupId::from(home.shard)) else { return false };
    for (id, gone) in waiting.into_iter().filter(|(_, gone)| gone.index <= durable) {
        match blocking(|| store.clear(&spans_of_gone(*id, gone))) {
            Ok(()) => {
                info!(shard = id.0, "what a dropped branch kept is cleared");
                cleared.insert(*id);
            }
            Err(error) => error!(shard = id.0, %error, "what a dropped branch kept was not cleared"),
        }
    }
    riding.gone.keys().all(|id| cleared.contains(id))
}

fn spans_of_gone(id: ShardId, gone: &Gone) -> Vec<Span> {
    let (table, range) = (gone.table, gone.range.clone());
    spans(id.into(), &Descriptor { table, range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 })
}

impl<S: Portable> Replica<S> {
    async fn ask(&self, epoch: Epoch, action: Action) -> Result<(), Failure> {
        let (reply, answer) = Reply::awaited();
        let (cost, deadline) = (Cost { bytes: STEP_BYTES, operations: 1 }, Instant::now() + STEP_WITHIN);
        self.propose(Proposal { epoch, key: None, action, cost, deadline, rides: false, reply });
        match answer.await? {
            Outcome::Refused(refusal) => Err(failure::of_refusal(&refusal)),
            _ => Ok(()),
        }
    }
}
