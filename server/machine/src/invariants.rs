//! What must hold, as named predicates: for assertions in release builds, property tests, and simulation.

use lentic_engine::{StoreError, View};
use lentic_types::{Index, Version};

use crate::meta::{Meta, ShardPlace};
use crate::shard::{Fences, HeadsOptions, Shard};

/// Entries are applied in the order of the log, each once.
#[must_use]
pub fn entry_is_next(applied: Index, entry: Index) -> bool {
    entry == applied.next()
}

/// Stamps rise strictly within a shard.
#[must_use]
pub fn stamp_rises(newest: Version, stamp: Version) -> bool {
    stamp > newest
}

/// No key has two owners.
#[must_use]
pub fn fences_are_disjoint(fences: &Fences) -> bool {
    let ranges: Vec<_> = fences.iter().map(|fence| &fence.range).collect();
    ranges.windows(2).all(|pair| !pair[0].overlaps(pair[1]))
}

/// Nothing is owned outside the shard.
#[must_use]
pub fn fences_are_inside(shard: &Shard) -> bool {
    shard.fences().iter().all(|fence| shard.descriptor().range.covers(&fence.range))
}

/// Nothing lies in the future: no token, no mask and no watermark is above the newest stamp.
#[must_use]
pub fn nothing_is_ahead(shard: &Shard) -> bool {
    let newest = shard.newest();
    shard.fences().iter().all(|fence| fence.token.0 <= newest)
        && shard.masks().masks().iter().all(|mask| mask.end <= newest)
        && shard.descriptor().watermark <= newest
}

/// The decoded state is what the store holds.
pub fn image_matches_store(shard: &Shard, view: &impl View) -> Result<bool, StoreError> {
    let loaded = Shard::load(view, shard.group(), &HeadsOptions { bytes_max: 0, seed: 0 })?;
    Ok(loaded.is_some_and(|loaded| loaded.is_same_state(shard)))
}

/// Everything that must hold of a shard between two entries. The error names what does not.
pub fn check(shard: &Shard, view: &impl View) -> Result<(), String> {
    let image_matches = image_matches_store(shard, view).map_err(|error| error.to_string())?;
    for (holds, name) in [
        (fences_are_disjoint(shard.fences()), "fences_are_disjoint"),
        (fences_are_inside(shard), "fences_are_inside"),
        (nothing_is_ahead(shard), "nothing_is_ahead"),
        (image_matches, "image_matches_store"),
    ] {
        if !holds {
            return Err(format!("{name} does not hold of the shard of {}", shard.group()));
        }
    }
    Ok(())
}

/// No node, table or shard has an id that is still to be given, and no shard has the number of the meta group.
#[must_use]
pub fn ids_are_below_counters(meta: &Meta) -> bool {
    let (catalog, next) = (meta.catalog(), meta.counters());
    catalog.nodes.keys().all(|node| (1..next.node).contains(&node.0))
        && catalog.tables.keys().all(|table| (1..next.table).contains(&table.0))
        && catalog.shards.keys().all(|shard| (crate::meta::GROUP.0 + 1..next.shard).contains(&shard.0))
}

/// The shards of each table hold each key once, names are unique, replicas are on different nodes: what
/// [`Catalog::check`](crate::meta::Catalog::check) says.
#[must_use]
pub fn catalog_is_sound(meta: &Meta) -> bool {
    meta.catalog().check().is_ok()
}

/// The decoded state of the meta group is what the store holds.
pub fn meta_image_matches_store(meta: &Meta, view: &impl View) -> Result<bool, StoreError> {
    Ok(Meta::load(view)?.is_some_and(|loaded| loaded == *meta))
}

/// From one entry to a later one: ids are not given again, epochs and the window's end do not go down, a shard keeps its
/// table, and another catalog has a higher revision.
#[must_use]
pub fn meta_only_moves_on(before: &Meta, after: &Meta) -> bool {
    let (old, new) = (before.catalog(), after.catalog());
    let (old_next, new_next) = (before.counters(), after.counters());
    let keeps_its_own = |place: &ShardPlace| {
        let earlier = old.shards.get(&place.shard);
        earlier.map_or(place.shard.0 >= old_next.shard, |earlier| {
            earlier.epoch <= place.epoch && earlier.table == place.table
        })
    };
    old_next.node <= new_next.node
        && old_next.table <= new_next.table
        && old_next.shard <= new_next.shard
        && old_next.client <= new_next.client
        && new.nodes.keys().all(|node| old.nodes.contains_key(node) || node.0 >= old_next.node)
        && new.tables.keys().all(|table| old.tables.contains_key(table) || table.0 >= old_next.table)
        && new.shards.values().all(keeps_its_own)
        && before.window_end() <= after.window_end()
        && (old == new || old.revision < new.revision)
        && before.applied() <= after.applied()
}

/// Everything that must hold of the meta group between two entries. The error names what does not.
pub fn check_meta(meta: &Meta, view: &impl View) -> Result<(), String> {
    let image_matches = meta_image_matches_store(meta, view).map_err(|error| error.to_string())?;
    for (holds, name) in [
        (ids_are_below_counters(meta), "ids_are_below_counters"),
        (catalog_is_sound(meta), "catalog_is_sound"),
        (image_matches, "meta_image_matches_store"),
    ] {
        if !holds {
            return Err(format!("{name} does not hold of the meta group"));
        }
    }
    Ok(())
}
