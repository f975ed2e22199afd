//! What the replica of a shard begins with on this node.
//!
//! ```text
//!   the log has it            what the store has, and the log behind it
//!   it was just made          nothing but who votes, which the catalog says: durable before, on each of them for itself
//!   it was cut off a shard    what that has made of it, once it is durable, without a log
//!   it has moved here         nothing: a snapshot comes
//! ```
//!
//! A node may end before that snapshot is here whole. Then its log has a vote, which it keeps, and no entry, and its store has
//! applied none: it waits for a snapshot again. Were it to start with that, it would vote for who lacks what it once had.
//!
//! A replica that begins with less than it once had would vote anew in terms in which it has voted. Only a catalog says that it
//! never was here, or that it has left, and a node that was stopped may have forgotten the catalog by which it has left. So
//! whatever has no log waits for one that is [as new as any](MetaService::is_current) that this node has acted on.
//!
//! The keys of a shard that was cut off are those of the other until that has applied the cut here, too. Before, nothing is
//! begun and nothing is cleared.

use std::sync::Arc;

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, Portable};
use lentic_machine::Shard;
use lentic_machine::meta::{Catalog, ShardPlace};
use lentic_machine::shard::{self, Descriptor};
use lentic_runtime::blocking;
use lentic_types::{GroupId, Index, Version};

use super::replica::{Replica, Shared};
#[cfg(doc)]
use crate::meta::service::MetaService;

/// The log of a new shard begins behind this entry, which nobody wrote: a node that is added later must get a snapshot, for the
/// entries do not say who was there before it.
pub(super) const MADE: Index = Index(1);

/// What it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// What is here of it.
    Known,
    /// Nothing but its voters, like its other replicas.
    New,
    /// The state that a split has made of it here.
    Divided,
    /// Nothing; others have it.
    Joins,
}

impl Begins {
    /// What the shard at `place` begins with, beside the replicas of `here`; `None` if it has to wait for one of them, for the
    /// disk, or, unless `is_current`, for a newer catalog. What is needed for it is in the store afterwards; of a new one it is
    /// not durable yet.
    pub(crate) fn find<S: Portable>(
        shared: &Shared<S>,
        (catalog, is_current): (&Catalog, bool),
        place: &ShardPlace,
        here: &[Arc<Replica<S>>],
    ) -> Result<Option<Self>, String> {
        let group = GroupId::from(place.shard);
        let applied = sys::applied(&*shared.store, group).map_err(|error| error.to_string())?;
        let has_log = shared.host.has_log(group).map_err(|error| error.to_string())?;
        let has_entries = shared.host.has_entries(group).map_err(|error| error.to_string())?;
        let has_joined_in_vain = place.shape.born > Index(0) && applied == Index(0) && !has_entries;
        if has_log && !has_joined_in_vain {
            return Ok(Some(Self::Known));
        }
        if !is_current {
            return Ok(None);
        }
        // The same on all replicas, whenever they begin: a table's TTL never changes.
        let table = catalog.tables.get(&place.table).ok_or("the catalog has a shard without its table")?;
        let descriptor = Descriptor {
            table: place.table,
            range: place.range.clone(),
            epoch: place.epoch,
            watermark: Version::ZERO,
            ttl_ms: table.options.ttl_ms,
        };
        if place.shape.born == Index(0) {
            let found = shard::descriptor_in(&*shared.store, group).map_err(|error| error.to_string())?;
            if found.is_none() {
                let mut batch = Batch::new();
                Shard::create(&mut batch, group, &descriptor);
                sys::put_applied(&mut batch, group, MADE);
                let voters = lentic_raft::replica_behind(MADE, &place.replicas);
                batch.put(Family::Sys, &sys::key(group, SysKind::Replica, &[]), &voters);
                shared.store.write(&batch).map_err(|error| error.to_string())?;
            }
            return Ok(Some(Self::New));
        }
        let overlaps = |other: &Arc<Replica<S>>| {
            let other = other.descriptor();
            other.table == place.table && other.range.intersection(&place.range).is_some()
        };
        if here.iter().any(overlaps) {
            return Ok(None);
        }
        let heads = shared.options.heads;
        let found = Shard::load(&*shared.store, group, &heads).map_err(|error| error.to_string())?;
        // With each move there is another mark: one that left and was not cleared to the end is none of those who were there.
        let is_divided = |shard: &Shard| shard.born() == place.shape.born && shard.applied() == place.shape.born;
        if found.as_ref().is_some_and(is_divided) {
            let durable = shared.store.durable_applied(group).map_err(|error| error.to_string())?;
            return Ok((durable >= place.shape.born).then_some(Self::Divided));
        }
        let spans = shard::spans(group, &descriptor);
        blocking(|| shared.store.clear(&spans)).map_err(|error| error.to_string())?;
        let mut batch = Batch::new();
        Shard::create(&mut batch, group, &descriptor);
        shared.store.write(&batch).map_err(|error| error.to_string())?;
        Ok(Some(Self::Joins))
    }
}
