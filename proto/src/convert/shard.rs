//! Where a shard is.

use lentic_types::{Epoch, KeyRange, NodeId, ShardId, TableId};

use super::range::key_range;
use crate::v1;

/// A shard as a router needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlace {
    /// The shard.
    pub shard: ShardId,
    /// Counts its changes of shape: of two places of a shard, that of the higher epoch is newer.
    pub epoch: Epoch,
    /// The table whose keys it holds.
    pub table: TableId,
    /// Which of them.
    pub range: KeyRange,
    /// The nodes with a replica, in no order.
    pub replicas: Vec<NodeId>,
    /// The node that leads, as far as the sender knows.
    pub leader: Option<NodeId>,
    /// Where the leader is spoken to, "http://host:port"; empty if that is not known.
    pub leader_address: String,
    /// Where the replicas are spoken to, in their order; empty where that is not known.
    pub replica_addresses: Vec<String>,
}

impl From<ShardPlace> for v1::Shard {
    fn from(place: ShardPlace) -> Self {
        Self {
            shard: place.shard.0,
            epoch: place.epoch.0,
            table: place.table.0,
            start: place.range.start().clone(),
            end: place.range.end().cloned(),
            replicas: place.replicas.into_iter().map(|node| node.0).collect(),
            leader: place.leader.map(|node| node.0),
            leader_address: place.leader_address,
            replica_addresses: place.replica_addresses,
        }
    }
}

/// Fails if the bounds make no range.
impl TryFrom<v1::Shard> for ShardPlace {
    type Error = v1::Failure;

    fn try_from(message: v1::Shard) -> Result<Self, v1::Failure> {
        Ok(Self {
            shard: ShardId(message.shard),
            epoch: Epoch(message.epoch),
            table: TableId(message.table),
            range: key_range(message.start, message.end)?,
            replicas: message.replicas.into_iter().map(NodeId).collect(),
            leader: message.leader.map(NodeId),
            leader_address: message.leader_address,
            replica_addresses: message.replica_addresses,
        })
    }
}

impl v1::Route {
    /// The route to `shard` at `epoch`.
    #[must_use]
    pub fn to(shard: ShardId, epoch: Epoch) -> Self {
        Self { shard: shard.0, epoch: epoch.0 }
    }

    /// The shard that the sender means, and the epoch it believes in.
    #[must_use]
    pub fn parts(&self) -> (ShardId, Epoch) {
        (ShardId(self.shard), Epoch(self.epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_come_back(
            (shard, epoch, table) in any::<(u64, u64, u32)>(),
            start in proptest::collection::vec(any::<u8>(), 0..3),
            end in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3)),
            replicas in proptest::collection::vec(any::<u64>(), 0..4),
            (leader, address) in any::<(Option<u64>, String)>(),
        ) {
            let message = v1::Shard {
                shard, epoch, table, replicas, leader,
                start: Bytes::from(start),
                end: end.map(Bytes::from),
                leader_address: address.clone(),
                replica_addresses: vec![address],
            };
            let inside_out = message.end.as_ref().is_some_and(|end| *end <= message.start);
            let place = ShardPlace::try_from(message.clone());
            prop_assert_eq!(place.is_err(), inside_out);
            if let Ok(place) = place {
                prop_assert_eq!(v1::Shard::from(place), message);
            }
            let route = v1::Route { shard, epoch };
            let (shard, epoch) = route.parts();
            prop_assert_eq!(v1::Route::to(shard, epoch), route);
        }
    }
}
