//! Where shards are, for callers who asked in the wrong place.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, ShardPlace};
use lentic_proto::v1::{self, Failure};
use lentic_runtime::spawn;
use lentic_types::{ErrorKind, Index, NodeId, ShardId};

use crate::failure;
use crate::meta::service::MetaService;
use crate::shards::Shards;

/// The term of a group's first leader.
const FIRST_TERM: u64 = 1;

/// What this node knows of routes.
pub(crate) struct Routes<S: Portable> {
    pub(crate) shards: Arc<Shards<S>>,
    pub(crate) meta: Arc<MetaService<S>>,
}

impl<S: Portable> Routes<S> {
    /// Who leads a shard, as far as this node knows; or who may know that, if it does not.
    pub(crate) fn leader(&self, place: &ShardPlace) -> Option<NodeId> {
        self.leader_in_turn(place, 0)
    }

    /// The same; where nothing is known, another of the replicas with each turn.
    pub(crate) fn leader_in_turn(&self, place: &ShardPlace, turn: usize) -> Option<NodeId> {
        let catalog = self.meta.catalog();
        // A branch's shard may be about to come into its group.
        let home = || self.shards.get(catalog.home_of(place)?);
        let status = self.shards.get(place.shard).or_else(home).map(|replica| replica.status());
        match status {
            Some(status) if status.fault.is_none() => {
                let first = || (status.term <= FIRST_TERM).then(|| self.first_leader(&catalog, place)).flatten();
                // Whoever comes waits here.
                let soon = || self.shards.soon.has(place.shard).then_some(self.meta.node);
                status.leader.or_else(first).or_else(soon)
            }
            // Nothing is known where there is no replica, or one that has stopped.
            _ => {
                let is_new = turn == 0 && status.is_none() && place.shape.born > Index(0);
                let first = is_new.then(|| self.first_leader(&catalog, place)).flatten();
                let others: Vec<_> = place.replicas.iter().copied().filter(|node| *node != self.meta.node).collect();
                first.or_else(|| others.get(turn.checked_rem(others.len())?).copied())
            }
        }
    }

    /// Who will lead a shard that has had no leader yet, if it is not lost: the leader of the one that it was cut off, or the
    /// first of its replicas. It is a guess: shards that were moved may look as if they were cut off each other. So it is a
    /// replica, and never this node, which would know, unless it is about to lead: who was sent back here would come for ever.
    fn first_leader(&self, catalog: &Catalog, place: &ShardPlace) -> Option<NodeId> {
        let first = if place.shape.born == Index(0) {
            place.replicas.first().copied()
        } else {
            let below = catalog.shard_below(place.table, place.range.start())?;
            let parent = Some(below).filter(|below| below.shape.born == place.shape.born)?;
            self.shards.get(parent.shard)?.status().leader
        };
        let leads_soon = || self.shards.soon.has(place.shard);
        first.filter(|first| place.replicas.contains(first) && (*first != self.meta.node || leads_soon()))
    }

    /// A shard as a router needs to know it.
    pub(crate) fn shard(&self, catalog: &Catalog, place: &ShardPlace) -> v1::Shard {
        let leader = self.leader(place);
        v1::Shard {
            shard: place.shard.0,
            epoch: place.epoch.0,
            table: place.table.0,
            start: place.range.start().clone(),
            end: place.range.end().cloned(),
            replicas: place.replicas.iter().map(|node| node.0).collect(),
            replica_addresses: place.replicas.iter().map(|node| address(catalog, *node)).collect(),
            leader: leader.map(|node| node.0),
            leader_address: leader.map_or_else(String::new, |node| address(catalog, node)),
        }
    }

    /// The failure of a request for a shard that has no replica here.
    pub(crate) fn elsewhere(&self, shard: ShardId) -> Failure {
        if self.meta.catalog().shards.contains_key(&shard) {
            return failure::not_leader();
        }
        Failure::new(ErrorKind::WrongEpoch, "there is no such shard any more; ask for the table's shards")
    }

    /// Answers a request for a key of a shard: with the right route, if it is refused for its own. Of a shard that is just being
    /// cut in two that is known in a moment.
    pub(crate) fn answer<T: Send + 'static>(
        self: &Arc<Self>,
        shard: ShardId,
        key: Bytes,
        result: Result<T, Failure>,
        answer: impl FnOnce(Result<T, Failure>) + Send + 'static,
    ) {
        match result {
            Err(failure) if failure.kind() == v1::ErrorKind::WrongEpoch && self.shards.soon.has(shard) => {
                let routes = Arc::clone(self);
                spawn(async move {
                    routes.shards.soon.over(shard).await;
                    answer(Err(routes.add_to(failure, shard, Some(&key))));
                });
            }
            result => answer(result.map_err(|failure| self.add_to(failure, shard, Some(&key)))),
        }
    }

    /// Adds the right route to the failures that are about routes: of the shard that has the key now, which may have been cut
    /// off the one that was asked for.
    pub(crate) fn add_to(&self, mut failure: Failure, shard: ShardId, key: Option<&[u8]>) -> Failure {
        if matches!(failure.kind(), v1::ErrorKind::NotLeader | v1::ErrorKind::WrongEpoch) {
            // Another replica may lead; but who looks into why this one does not, finds it here.
            let fault = self.shards.get(shard).and_then(|replica| replica.status().fault);
            if let Some(fault) = fault.filter(|_| failure.kind() == v1::ErrorKind::NotLeader) {
                failure.message = format!("shard {shard} has stopped on this node: {fault}; send to another replica");
            }
            let catalog = self.meta.catalog();
            let asked = catalog.shards.get(&shard);
            let found = asked.and_then(|asked| key.and_then(|key| catalog.shard_for(asked.table, key))).or(asked);
            failure.shard = found.map(|place| Box::new(self.shard(&catalog, place)));
            // Who knows the leader need not wait.
            if failure.shard.as_ref().is_some_and(|shard| shard.leader.is_some_and(|node| node != self.meta.node.0)) {
                failure.retry_after_ms = 0;
            }
        }
        failure
    }
}

fn address(catalog: &Catalog, node: NodeId) -> String {
    catalog.nodes.get(&node).map_or_else(String::new, |node| node.address.to_string())
}
