//! The shards of this node: what the catalog says is here, is here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lentic_engine::Portable;
use lentic_machine::meta::Catalog;
use lentic_types::{GroupId, Index, ShardId};
use tokio::sync::watch;
use tracing::{error, info};

use crate::shard::replica::{Replica, Shared};

/// The replicas of this node.
pub(crate) struct Shards<S: Portable> {
    pub(crate) shared: Shared<S>,
    here: Mutex<BTreeMap<ShardId, Arc<Replica<S>>>>,
}

impl<S: Portable> Shards<S> {
    pub(crate) fn new(shared: Shared<S>) -> Self {
        Self { shared, here: Mutex::default() }
    }

    /// The replica of a shard, if it is here.
    pub(crate) fn get(&self, shard: ShardId) -> Option<Arc<Replica<S>>> {
        self.here().get(&shard).cloned()
    }

    /// All replicas, in the order of their shards.
    pub(crate) fn all(&self) -> Vec<Arc<Replica<S>>> {
        self.here().values().cloned().collect()
    }

    /// How many shards this node leads.
    pub(crate) fn leading(&self) -> u32 {
        u32::try_from(self.all().iter().filter(|replica| replica.serves()).count()).unwrap_or(u32::MAX)
    }

    /// Starts and ends replicas as the catalog changes. It ends with the node.
    pub(crate) async fn follow(&self, mut catalog: watch::Receiver<Arc<Catalog>>) {
        loop {
            let now = Arc::clone(&catalog.borrow_and_update());
            self.settle(&now).await;
            if catalog.changed().await.is_err() {
                return;
            }
        }
    }

    async fn settle(&self, catalog: &Catalog) {
        let node = self.shared.node;
        let gone: Vec<_> =
            self.all().into_iter().filter(|replica| !catalog.shards.contains_key(&replica.shard)).collect();
        for replica in gone {
            self.end(&replica).await;
        }
        for place in catalog.shards_on(node) {
            if self.get(place.shard).is_some() {
                continue;
            }
            match Replica::start(&self.shared, catalog, place).await {
                Ok(replica) => {
                    info!(shard = place.shard.0, table = place.table.0, "replica started");
                    self.here().insert(place.shard, Arc::new(replica));
                }
                Err(reason) => {
                    error!(shard = place.shard.0, reason, "replica not started; look at the disk, then restart");
                }
            }
        }
    }

    /// Ends a replica whose shard is gone, and clears what it kept.
    async fn end(&self, replica: &Replica<S>) {
        let (group, descriptor) = (GroupId::from(replica.shard), replica.descriptor());
        self.here().remove(&replica.shard);
        if let Err(error) = self.shared.host.remove(group).await {
            error!(shard = replica.shard.0, %error, "the log of a dropped shard was not removed");
            return;
        }
        replica.leaves();
        self.shared.gc.stage(group, Index(0), None);
        let spans = lentic_machine::shard::spans(group, &descriptor);
        let store = &self.shared.store;
        let cleared = lentic_runtime::blocking(|| store.clear(group, &spans));
        match cleared {
            Ok(()) => info!(shard = replica.shard.0, "replica of a dropped shard removed"),
            Err(error) => error!(shard = replica.shard.0, %error, "what a dropped shard kept was not cleared"),
        }
    }

    fn here(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<Replica<S>>>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
