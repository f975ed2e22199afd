//! Begin split: a shard shall be cut in two.
//!
//! The child gets its number here, and what is under way stands beside the shard until its leader says that it is done: see
//! `end_split`. Nothing else changes a shard's shape, place or table meanwhile.

use bytes::Bytes;
use lentic_types::limits::KEY_BYTES_MAX;
use lentic_types::{Epoch, KeyRange, ShardId};

use super::catalog::{Shape, ShardPlace, Splitting};
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Lets the keys of `shard` from `at` on become another shard's; answers with the one that they shall be of.
pub(super) fn apply(
    meta: &mut Meta,
    shard: ShardId,
    epoch: Epoch,
    at: &Bytes,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let catalog = &meta.catalog;
    let Some(place) = catalog.shards.get(&shard) else {
        return Err(MetaRefusal::NoSuchShard { shard });
    };
    if place.epoch != epoch {
        return Err(MetaRefusal::WrongEpoch { epoch: place.epoch });
    }
    check_key(place, at)?;
    if let Some(Splitting { child, .. }) = place.shape.splitting.as_ref().filter(|splitting| splitting.at == at) {
        return Ok(MetaOutcome::Splitting { child: *child });
    }
    if !place.shape.leaving.is_empty() || place.shape.splitting.is_some() {
        return Err(MetaRefusal::UnderWay { shard });
    }
    check_branches(meta, place)?;
    let mut counters = meta.counters;
    let child = counters.take_shard();
    let splitting = Some(Splitting { at: Bytes::copy_from_slice(at), child });
    let place = ShardPlace { shape: Shape { splitting, ..place.shape.clone() }, ..place.clone() };
    let range = KeyRange::new(at.clone(), place.range.end().cloned())
        .map_err(|_| MetaRefusal::Invalid("the shard has no key from there on; choose another one".into()))?;
    let half = ShardPlace { shard: child, range, ..place.clone() };
    catalog.check_room_for_split(&[place.clone(), half])?;
    meta.put_counters(counters, change);
    meta.put_shard(place, change);
    Ok(MetaOutcome::Splitting { child })
}

fn check_key(place: &ShardPlace, at: &Bytes) -> Result<(), MetaRefusal> {
    if at.len() > KEY_BYTES_MAX {
        return Err(MetaRefusal::Invalid("the key is longer than limits.key_bytes_max (16 KiB); shorten it".into()));
    }
    if *at == *place.range.start() || !place.range.contains(at) {
        return Err(MetaRefusal::Invalid(
            "a shard is split at a key within it that is not its first; choose another key, or another shard".into(),
        ));
    }
    Ok(())
}

/// A branch is cut where its parent is, and reads through to it: neither is split.
fn check_branches(meta: &Meta, place: &ShardPlace) -> Result<(), MetaRefusal> {
    let catalog = &meta.catalog;
    if catalog.branches.contains_key(&place.table) {
        return Err(MetaRefusal::Invalid("a branch is cut where its parent is, and is not split by itself".into()));
    }
    let name = |table| catalog.tables.get(&table).map_or_else(|| table.to_string(), |table| table.name.clone());
    match catalog.branches_of(place.table).next() {
        Some(branch) => Err(MetaRefusal::HasBranch { name: name(place.table), branch: name(branch) }),
        None => Ok(()),
    }
}
