//! Branches' shards that ride in a group.
//!
//! ```text
//!   group of shard 7      log  ── 7 ── 7 ── 12 ── 7 ── 12 ── 15 ──▶      each entry is of one shard
//!                              own shard 7        of table orders
//!                              rider 12           of table trial, a branch of orders
//!                              rider 15           of table again, a branch of trial
//! ```
//!
//! A branch reads what its parent held, so its shards have the logs and the stores of its parent's: on whatever replica an
//! entry of a rider is applied, all entries that came before it in the parent's are. A rider has a number, a descriptor,
//! fences, masks, locks, answers and stamps of its own, under a group's number that no group has.
//!
//! ```text
//! family sys   group 0f shard      00 revision                       rides here
//!                                  01 revision index table range     was dropped by the entry at the index
//!              group 11            index of the last entry that changed one of these
//! ```
//!
//! What a dropped one kept is cleared by each node when the drop is durable there, and that may be after any restart: so
//! it is kept in mind who was dropped, and for the same reason nobody comes back.

use std::collections::BTreeMap;

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, Mask, StoreError, View};
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::GONE_BRANCHES_MAX;
use lentic_types::{GroupId, Index, KeyRange, ShardId, TableId};

use super::apply::{Applied, Event, Fatal};
use super::codec::{decode_range, encode_range};
use super::heads::HeadsOptions;
use super::state::{Descriptor, Shard, descriptor_in, load_all};

/// A rider has this part of the room that its home has for heads: there may be many.
const HEADS_PART: u64 = 8;

/// The shards of branches in a group: those that ride there, and those that did.
#[derive(Debug)]
pub(super) struct Riders {
    here: BTreeMap<ShardId, Rider>,
    gone: BTreeMap<ShardId, Gone>,
    heads: HeadsOptions,
}

#[derive(Debug)]
struct Rider {
    shard: Shard,
    revision: u64,
}

/// A branch's shard that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The entry that dropped it.
    pub index: Index,
    /// Its table.
    pub table: TableId,
    /// Its keys.
    pub range: KeyRange,
    revision: u64,
}

/// What an entry changed of a group's riders.
#[derive(Debug, Default)]
pub(super) struct RiderChanges {
    /// Those that came, with the revision of a catalog that they are in.
    pub(super) came: Vec<(Shard, u64)>,
    /// Those that were dropped.
    pub(super) left: Vec<(ShardId, Gone)>,
    /// Masks that went, of a table that others may read through to.
    pub(super) unmasked: Option<(TableId, Vec<Mask>)>,
}

/// A row of a rider.
enum Row {
    Here { revision: u64 },
    Gone(Gone),
}

impl Shard {
    /// The shards of branches that ride in this one's group, each with the revision of a catalog that it is in.
    pub fn riders(&self) -> impl Iterator<Item = (&Self, u64)> {
        self.riders.here.values().map(|rider| (&rider.shard, rider.revision))
    }

    /// The shard with this number that rides in this one's group.
    #[must_use]
    pub fn rider(&self, shard: ShardId) -> Option<&Self> {
        self.riders.here.get(&shard).map(|rider| &rider.shard)
    }

    /// Those that were dropped, with where they had lain.
    pub fn gone_riders(&self) -> impl Iterator<Item = (ShardId, &Gone)> {
        self.riders.gone.iter().map(|(shard, gone)| (*shard, gone))
    }

    /// Takes over what an entry changed of the riders, and counts the entry if it was one of theirs.
    pub(super) fn ride(
        &mut self,
        index: Index,
        is_of_rider: bool,
        changes: RiderChanges,
        applied: &mut Applied,
    ) -> Result<(), Fatal> {
        if is_of_rider {
            self.applied = index;
            sys::put_applied(&mut applied.batch, self.group, index);
        }
        if !changes.came.is_empty() || !changes.left.is_empty() {
            applied.batch.put(Family::Sys, &changed_key(self.group), &index.0.to_be_bytes());
        }
        for (shard, revision) in changes.came {
            let id = ShardId::from(shard.group);
            if self.riders.here.insert(id, Rider { shard, revision }).is_some() {
                return Err(Fatal::Invariant("a shard rides in a group once"));
            }
            applied.events.push(Event::RiderCame(id));
        }
        for (id, gone) in changes.left {
            self.riders.here.remove(&id);
            self.riders.gone.insert(id, gone);
            applied.events.push(Event::RiderLeft(id));
        }
        if let Some((table, gone)) = changes.unmasked {
            let origins = self.riders.here.values_mut().filter_map(|rider| rider.shard.origin.as_mut());
            let layers = origins.flat_map(|origin| &mut origin.layers).filter(|layer| layer.table == table);
            layers.for_each(|layer| layer.masks.remove(&gone));
        }
        while self.riders.gone.len() > GONE_BRANCHES_MAX
            && let Some((oldest, _)) = self.riders.gone.pop_first()
        {
            applied.batch.delete(Family::Sys, &key(self.group, oldest));
        }
        Ok(())
    }
}

impl Riders {
    /// None, for a shard that has so much room for heads.
    pub(super) const fn new(heads: HeadsOptions) -> Self {
        let heads = HeadsOptions { bytes_max: heads.bytes_max / HEADS_PART, ..heads };
        Self { here: BTreeMap::new(), gone: BTreeMap::new(), heads }
    }

    /// None, for a rider, whose branches ride beside it: they have as much room as it has.
    pub(super) const fn beside(heads: HeadsOptions) -> Self {
        Self { here: BTreeMap::new(), gone: BTreeMap::new(), heads }
    }

    /// How much room a rider has for heads.
    pub(super) const fn heads(&self) -> &HeadsOptions {
        &self.heads
    }

    pub(super) fn get_mut(&mut self, shard: &ShardId) -> Option<&mut Shard> {
        self.here.get_mut(shard).map(|rider| &mut rider.shard)
    }

    /// The revision that a rider came with.
    pub(super) fn revision_of(&self, shard: ShardId) -> Option<u64> {
        self.here.get(&shard).map(|rider| rider.revision)
    }

    /// Those that are branches of the shard with the state of `parent`.
    pub(super) fn children_of(&self, parent: GroupId) -> impl Iterator<Item = ShardId> {
        let is_child = move |rider: &&Rider| rider.shard.origin.as_ref().is_some_and(|origin| origin.parent == parent);
        self.here.values().filter(is_child).map(|rider| ShardId::from(rider.shard.group))
    }

    pub(super) fn load(view: &impl View, group: GroupId, heads: &HeadsOptions) -> Result<Self, StoreError> {
        let mut riders = Self::new(*heads);
        for (id, row) in load_all(view, group, SysKind::Rider, decode)? {
            match row {
                Row::Here { revision } => {
                    let lost = || StoreError::damaged(Family::Sys, &key(group, id), "a branch's shard is not there");
                    let heads = riders.heads;
                    let shard = Shard::load_alone(view, (id.into(), group), &heads)?.ok_or_else(lost)?;
                    riders.here.insert(id, Rider { shard, revision });
                }
                Row::Gone(gone) => drop(riders.gone.insert(id, gone)),
            }
        }
        Ok(riders)
    }

    pub(super) fn is_same_state(&self, other: &Self) -> bool {
        let is_same =
            |(one, other): (&Rider, &Rider)| one.revision == other.revision && one.shard.is_same_state(&other.shard);
        self.here.keys().eq(other.here.keys())
            && self.here.values().zip(other.here.values()).all(is_same)
            && self.gone == other.gone
    }
}

fn key(group: GroupId, shard: ShardId) -> Vec<u8> {
    sys::key(group, SysKind::Rider, &shard.0.to_be_bytes())
}

/// The key of a row of `group` that is another one whenever other shards ride in the group.
#[must_use]
pub fn changed_key(group: GroupId) -> Vec<u8> {
    sys::key(group, SysKind::RidersChanged, &[])
}

/// The shards that ride in `group`, as `view` has them.
///
/// # Errors
/// The store failed or is damaged.
pub fn riders_in(view: &impl View, group: GroupId) -> Result<Vec<(GroupId, Descriptor)>, StoreError> {
    let mut riders = Vec::new();
    for (id, row) in load_all(view, group, SysKind::Rider, decode)? {
        let (Row::Here { .. }, rider) = (row, GroupId::from(id)) else { continue };
        let lost = || StoreError::damaged(Family::Sys, &key(group, id), "a branch's shard is not there");
        riders.push((rider, descriptor_in(view, rider)?.ok_or_else(lost)?));
    }
    Ok(riders)
}

/// Whether a shard rides, or did, in `group`, as `view` has it.
pub(super) fn is_known(view: &impl View, group: GroupId, shard: ShardId) -> Result<bool, StoreError> {
    Ok(view.get(Family::Sys, &key(group, shard))?.is_some())
}

pub(super) fn put_here(batch: &mut Batch, group: GroupId, shard: ShardId, revision: u64) {
    let mut value = vec![0x00];
    put_varint(&mut value, revision);
    batch.put(Family::Sys, &key(group, shard), &value);
}

pub(super) fn put_gone(batch: &mut Batch, group: GroupId, shard: ShardId, gone: &Gone) {
    let mut value = vec![0x01];
    [gone.revision, gone.index.0, u64::from(gone.table.0)].into_iter().for_each(|it| put_varint(&mut value, it));
    encode_range(&mut value, &gone.range);
    batch.put(Family::Sys, &key(group, shard), &value);
}

impl Gone {
    pub(super) fn new(shard: &Shard, revision: u64, index: Index) -> Self {
        Self { index, table: shard.descriptor().table, range: shard.descriptor().range.clone(), revision }
    }
}

fn decode(suffix: &[u8], value: &[u8]) -> Result<(ShardId, Row), DecodeError> {
    let (mut name, mut reader) = (Reader::new(suffix), Reader::new(value));
    let shard = ShardId(name.u64_be("rider")?);
    name.finish("key of rider")?;
    let row = match reader.u8("rider")? {
        0x00 => Row::Here { revision: reader.varint("revision of rider")? },
        0x01 => Row::Gone(Gone {
            revision: reader.varint("revision of rider")?,
            index: Index(reader.varint("entry of drop")?),
            table: TableId(
                u32::try_from(reader.varint("table of rider")?)
                    .map_err(|_| DecodeError::Invalid { field: "table of rider" })?,
            ),
            range: decode_range(&mut reader)?,
        }),
        tag => return Err(DecodeError::UnknownTag { field: "rider", tag }),
    };
    reader.finish("rider")?;
    Ok((shard, row))
}
