//! The shards of this node: what the catalog says is here, is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, ShardPlace};
use lentic_runtime::{blocking, spawn};
use lentic_types::{GroupId, Index, ShardId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::gateway::Gateway;
use crate::moves;
use crate::shard::begins::Begins;
use crate::shard::replica::{Replica, Shared};
use crate::shard::riders;
use crate::soon::Soon;

/// How soon it is looked again whether a replica that has to wait can begin.
const AGAIN: Duration = Duration::from_millis(2);

/// How long a replica waits before the disk is asked once more: it was asked when the shard was cut off. Each time is a flush,
/// and one behind the other holds up who asks.
const FLUSH_AGAIN: Duration = Duration::from_millis(200);

/// How soon it is asked again which catalog is current, while replicas have stopped that wait for the answer.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The replicas of this node.
pub(crate) struct Shards<S: Portable> {
    pub(crate) shared: Shared<S>,
    here: Mutex<BTreeMap<ShardId, Arc<Replica<S>>>>,
    /// Those that this node is about to lead.
    pub(crate) soon: Soon,
}

impl<S: Portable> Shards<S> {
    pub(crate) fn new(shared: Shared<S>) -> Self {
        Self { shared, here: Mutex::default(), soon: Soon::default() }
    }

    /// The replica of a shard, if it is here.
    pub(crate) fn get(&self, shard: ShardId) -> Option<Arc<Replica<S>>> {
        self.here().get(&shard).cloned()
    }

    /// All replicas, in the order of their shards.
    pub(crate) fn all(&self) -> Vec<Arc<Replica<S>>> {
        self.here().values().cloned().collect()
    }

    /// The replicas that have groups of their own: each group once.
    pub(crate) fn groups(&self) -> Vec<Arc<Replica<S>>> {
        self.here().values().filter(|replica| !replica.is_rider()).cloned().collect()
    }

    /// How many shards this node leads.
    pub(crate) fn leading(&self) -> u32 {
        u32::try_from(self.all().iter().filter(|replica| replica.serves()).count()).unwrap_or(u32::MAX)
    }

    /// Starts and ends replicas as the catalog changes. It ends with the node.
    pub(crate) async fn follow(self: Arc<Self>, gateway: &Gateway<S>) {
        let mut catalog = gateway.meta.catalog.subscribe();
        let (mut waits_since, mut stopped) = (None, Vec::new());
        loop {
            let now = Arc::clone(&catalog.borrow_and_update());
            self.end(&now, gateway, &mut stopped).await;
            let waits = !self.begin(&now, &catalog, gateway).await;
            if !waits || !gateway.meta.is_current(&now) {
                waits_since = None;
            } else if waits_since.get_or_insert_with(Instant::now).elapsed() >= FLUSH_AGAIN {
                waits_since = None;
                if let Err(error) = blocking(|| self.shared.store.request_flush()) {
                    self.shared.failure.note(&error);
                }
            }
            let changed = tokio::select! {
                biased;
                changed = catalog.changed() => changed,
                () = sleep(AGAIN), if waits => Ok(()),
                () = sleep(ASK_AGAIN), if !stopped.is_empty() => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Stops the replicas that the catalog names no more, and clears those of `stopped` that no newer one can name.
    async fn end(&self, catalog: &Catalog, gateway: &Gateway<S>, stopped: &mut Vec<Arc<Replica<S>>>) {
        // A catalog names whoever is a member of a group until it is none any more. But this one may be old, and a newer one name
        // this node again.
        let place = |shard: ShardId| catalog.shards.get(&shard);
        let is_here = |replica: &Replica<S>| {
            place(replica.shard).is_some_and(|place| place.holders().any(|on| on == self.shared.node))
        };
        for replica in self.groups().into_iter().filter(|replica| !is_here(replica)) {
            self.stop(&replica).await;
            stopped.push(replica);
        }
        stopped.retain(|replica| !is_here(replica));
        // Asked once they have stopped: a leader that has made this node a member again has had no answer from it since.
        let may_come_back = stopped.iter().any(|replica| place(replica.shard).is_some());
        let is_known = may_come_back && gateway.meta.ask_revision().await;
        let is_current = is_known && gateway.meta.is_current(catalog);
        // The number of a shard that is in no catalog does not come back.
        for replica in stopped.extract_if(.., |replica| is_current || place(replica.shard).is_none()) {
            self.clear(&replica).await;
        }
    }

    /// Starts the replicas that the catalog names and that are not here; whether none has to wait.
    async fn begin(
        self: &Arc<Self>,
        catalog: &Catalog,
        changes: &watch::Receiver<Arc<Catalog>>,
        gateway: &Gateway<S>,
    ) -> bool {
        let node = self.shared.node;
        let is_current = gateway.meta.is_current(catalog);
        let (mut begins, mut waits, mut failed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        // In the order of their numbers: a shard that was cut off has a higher one than the other.
        for place in catalog.shards_on(node) {
            if self.get(place.shard).is_some() || catalog.home_of(place) != Some(place.shard) {
                continue;
            }
            // What does not run yet may have the keys of those that were cut off it.
            if place.shape.born > Index(0) && (waits.contains(&place.table) || failed.contains(&place.table)) {
                continue;
            }
            match Begins::find(&self.shared, (catalog, is_current), place, &self.groups()) {
                Ok(Some(Begins::New)) => begins.push(place),
                Ok(Some(begin)) if self.start(place, begin, changes, gateway).await => {}
                Ok(Some(_)) => {
                    failed.insert(place.table);
                }
                Ok(None) => {
                    waits.insert(place.table);
                }
                Err(reason) => {
                    not_started(place, &reason);
                    failed.insert(place.table);
                }
            }
        }
        // One flush for all of them.
        let flushed = if begins.is_empty() { Ok(()) } else { blocking(|| self.shared.store.flush()) };
        for place in begins {
            match &flushed {
                Ok(()) => drop(self.start(place, Begins::New, changes, gateway).await),
                Err(error) => not_started(place, &error.to_string()),
            }
        }
        waits.is_empty()
    }

    /// Starts a replica with all that works for it; whether it could be.
    async fn start(
        self: &Arc<Self>,
        place: &ShardPlace,
        begins: Begins,
        changes: &watch::Receiver<Arc<Catalog>>,
        gateway: &Gateway<S>,
    ) -> bool {
        let replica = match Replica::start(&self.shared, place, begins).await {
            Ok(replica) => Arc::new(replica),
            Err(reason) => {
                not_started(place, &reason);
                self.soon.ends(place.shard);
                return false;
            }
        };
        info!(shard = place.shard.0, table = place.table.0, ?begins, "replica started");
        let leads_soon = match begins {
            Begins::New => place.replicas.first() == Some(&self.shared.node),
            Begins::Divided => {
                let parent = self.groups().into_iter().find(|other| is_cut_off(&replica, other));
                parent.iter().for_each(|parent| replica.locked().inherit(parent.locked()));
                parent.is_some_and(|parent| parent.serves())
            }
            Begins::Known | Begins::Joins => false,
        };
        match leads_soon {
            true => self.soon.begins(place.shard),
            false => self.soon.ends(place.shard),
        }
        self.here().insert(place.shard, Arc::clone(&replica));
        if leads_soon {
            let (shards, new) = (Arc::clone(self), Arc::clone(&replica));
            spawn(async move {
                moves::lead(shards.shared.node, &new).await;
                shards.soon.ends(new.shard);
            });
        }
        spawn(moves::follow(gateway.clone(), Arc::clone(&replica)));
        spawn(riders::keep(Arc::clone(self), replica, changes.clone()));
        true
    }

    /// Stops a replica whose shard is gone, or has left this node. What it has stays.
    async fn stop(&self, replica: &Replica<S>) {
        replica.shown().leave();
        self.here().remove(&replica.shard);
        riders::of(replica).into_iter().for_each(|(rider, _)| self.remove(rider));
        if let Err(error) = self.shared.host.stop(replica.shard.into()).await {
            error!(shard = replica.shard.0, %error, "a replica that is gone was not stopped");
        }
    }

    /// Clears what a replica kept that has stopped for good.
    async fn clear(&self, replica: &Replica<S>) {
        let group = GroupId::from(replica.shard);
        let mut spans = lentic_machine::shard::spans(group, &replica.descriptor());
        for (rider, lies) in riders::of(replica) {
            self.shared.gc.stage(rider.into(), Index(0), None);
            spans.extend(lies);
        }
        spans.sort();
        if let Err(error) = self.shared.host.remove(group).await {
            error!(shard = replica.shard.0, %error, "the log of a replica that is gone was not removed");
            return;
        }
        replica.leaves();
        self.shared.gc.stage(group, Index(0), None);
        let store = &self.shared.store;
        let cleared = blocking(|| store.clear(&spans));
        match cleared {
            Ok(()) => info!(shard = replica.shard.0, "replica removed"),
            Err(error) => error!(shard = replica.shard.0, %error, "what a replica kept that is gone was not cleared"),
        }
    }

    /// Adds the replica of a branch's shard.
    pub(crate) fn add(&self, replica: Replica<S>) {
        self.here().insert(replica.shard, Arc::new(replica));
    }

    /// Lets go of the replica of a branch's shard, if it is here.
    pub(crate) fn remove(&self, rider: ShardId) {
        if let Some(replica) = self.here().remove(&rider) {
            replica.shown().leave();
        }
    }

    fn here(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<Replica<S>>>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a shard was cut off another one by the last cut of both.
fn is_cut_off<S: Portable>(child: &Replica<S>, parent: &Replica<S>) -> bool {
    let (child_is, parent_is) = (child.descriptor(), parent.descriptor());
    child_is.table == parent_is.table
        && parent_is.range.end() == Some(child_is.range.start())
        && child.born() == parent.born()
}

fn not_started(place: &ShardPlace, reason: &str) {
    error!(shard = place.shard.0, reason, "replica not started; look at the disk, then restart");
}
