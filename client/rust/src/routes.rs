//! Where the keys of a table are: what a client remembers of its shards.
//!
//! ```text
//!   keys       ""          "g"          "p"          …
//!   shards     │    s1      │    s2      │    s3      │
//!   leader     http://a:1   http://b:1   (none)
//! ```
//!
//! What is remembered may be old. That costs a detour and never a wrong answer, for each request names the shard and the
//! epoch it is meant for.

use std::sync::Arc;

use bytes::Bytes;
use lentic_net::Address;
use lentic_proto::{ShardPlace, v1};
use lentic_types::limits::REPLICAS_MAX;
use lentic_types::{Epoch, KeyRange, ShardId, TableId};

/// A shard as a router knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) table: TableId,
    pub(crate) range: KeyRange,
    /// Where its leader is spoken to, as far as is known.
    pub(crate) leader: Option<Address>,
    /// Where its replicas are spoken to, as far as is known.
    pub(crate) replicas: Vec<Address>,
}

impl Route {
    /// The shard of a message; `None` if its range is inside out.
    pub(crate) fn from_wire(shard: v1::Shard) -> Option<Self> {
        let ShardPlace { shard, epoch, table, range, leader_address, replica_addresses, .. } = shard.try_into().ok()?;
        let leader = (!leader_address.is_empty()).then(|| Address::from(&*leader_address));
        let known = replica_addresses.iter().filter(|address| !address.is_empty()).take(REPLICAS_MAX);
        let replicas = known.map(|address| Address::from(&**address)).collect();
        Some(Self { shard, epoch, table, range, leader, replicas })
    }

    /// What a request says of where it belongs.
    pub(crate) fn wire(&self) -> v1::Route {
        v1::Route::to(self.shard, self.epoch)
    }
}

/// Which shard is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The one that holds the key.
    Key(Bytes),
    /// The one that holds the last keys before this one, or before the end of the table.
    Before(Option<Bytes>),
}

/// The shards of a table, in key order. There may be gaps: what is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes(Vec<Arc<Route>>);

impl Routes {
    /// The routes of a table's description; `None` if they overlap or are inside out.
    pub(crate) fn from_wire(shards: Vec<v1::Shard>) -> Option<Self> {
        let mut routes =
            shards.into_iter().map(|shard| Route::from_wire(shard).map(Arc::new)).collect::<Option<Vec<_>>>()?;
        routes.sort_by(|a, b| a.range.start().cmp(b.range.start()));
        let overlap = routes.windows(2).any(|pair| pair[0].range.overlaps(&pair[1].range));
        (!overlap).then_some(Self(routes))
    }

    /// The shard of a place.
    pub(crate) fn find(&self, place: &Place) -> Option<&Arc<Route>> {
        match place {
            Place::Key(key) => {
                let after = self.0.partition_point(|route| route.range.start() <= key);
                self.0[..after].last().filter(|route| route.range.contains(key))
            }
            Place::Before(end) => {
                let after =
                    end.as_ref().map_or(self.0.len(), |end| self.0.partition_point(|route| route.range.start() < end));
                let reaches = |route: &&Arc<Route>| match (route.range.end(), end) {
                    (None, _) => true,
                    (Some(last), Some(end)) => last >= end,
                    (Some(_), None) => false,
                };
                self.0[..after].last().filter(reaches)
            }
        }
    }

    /// The routes with what another node knows better, or `None` if it does not: the hint is older, or says nothing new.
    pub(crate) fn learn(&self, hint: Route) -> Option<Self> {
        let hint = Arc::new(hint);
        let stands_against = |known: &Route| {
            let is_newer = if known.shard == hint.shard { known.epoch > hint.epoch } else { known.epoch >= hint.epoch };
            is_newer && known.range.overlaps(&hint.range)
        };
        let is_foreign = |known: &Route| known.table != hint.table;
        if self.0.iter().any(|known| **known == *hint || is_foreign(known) || stands_against(known)) {
            return None;
        }
        let apart = |known: &&Arc<Route>| known.shard != hint.shard && !known.range.overlaps(&hint.range);
        let mut routes: Vec<_> = self.0.iter().filter(apart).cloned().collect();
        let place = routes.partition_point(|route| route.range.start() < hint.range.start());
        routes.insert(place, hint);
        Some(Self(routes))
    }

    /// The parts of `range` by shard, in key order, with the shard of each; `None` if some part is not known.
    pub(crate) fn cut(&self, range: &KeyRange) -> Option<Vec<(Arc<Route>, KeyRange)>> {
        let mut parts = Vec::new();
        let mut at = Some(range.start().clone());
        while let Some(start) = at {
            let route = self.find(&Place::Key(start))?;
            let part = route.range.intersection(range).expect("the shard holds the part's first key");
            at = part.end().filter(|end| range.contains(end)).cloned();
            parts.push((route.clone(), part));
        }
        Some(parts)
    }
}

/// The keys that begin with `prefix`.
#[must_use]
pub fn prefix_range(prefix: impl Into<Bytes>) -> KeyRange {
    let prefix = prefix.into();
    let end = prefix.iter().rposition(|byte| *byte != 0xff).map(|place| {
        let mut end = prefix[..=place].to_vec();
        end[place] += 1;
        end
    });
    KeyRange::new(prefix, end).expect("the end is above the prefix")
}

#[cfg(test)]
mod tests;
