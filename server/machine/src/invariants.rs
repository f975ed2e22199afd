//! What must hold, as named predicates: for assertions in release builds, property tests, and simulation.

use lentic_engine::{StoreError, View};
use lentic_types::{Index, Version};

use crate::meta::{Meta, Pin, Pins, ShardPlace};
use crate::shard::{Decision, Fences, HeadsOptions, Locks, Mode, OpenTxn, Shard};

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

/// Nothing lies in the future: no token, no mask, no watermark and no prepare is above the newest stamp, and each commit
/// below it.
#[must_use]
pub fn nothing_is_ahead(shard: &Shard) -> bool {
    let newest = shard.newest();
    shard.fences().iter().all(|fence| fence.token.0 <= newest)
        && shard.masks().masks().iter().all(|mask| mask.end <= newest)
        && shard.descriptor().watermark <= newest
        && shard.locks().open().all(|open| {
            let is_amiss = |commit| commit < open.version || commit >= newest;
            let amiss = matches!(open.decision, Some(Decision::Commit(commit)) if is_amiss(commit));
            open.version <= newest && !amiss
        })
}

/// All of a branch's own history is above what it reads through to, and that goes down from layer to layer.
#[must_use]
pub fn branches_continue(shard: &Shard) -> bool {
    let versions: Vec<Version> = shard.layers().iter().map(|layer| layer.version).collect();
    let Some(first) = versions.first() else { return true };
    versions.is_sorted_by(|one, next| one >= next)
        && *first <= shard.descriptor().watermark
        && shard.masks().masks().iter().all(|mask| mask.from >= *first)
        && *first < shard.newest()
}

/// Every lock is of an open transaction, and known as such.
#[must_use]
pub fn locks_are_of_open_txns(locks: &Locks) -> bool {
    let held: usize = locks.by_key().map(|(_, holders)| holders.len()).sum();
    let known: usize = locks.open().map(|open| locks.locks_of(open.txn.id).count()).sum();
    held == known && locks.by_key().all(|(_, holders)| holders.keys().all(|txn| locks.get(*txn).is_some()))
}

/// Who holds a key together with others holds it in a mode that all of them share.
#[must_use]
pub fn shared_holders_are_compatible(locks: &Locks) -> bool {
    locks.by_key().all(|(_, holders)| {
        let mode = holders.values().next().map(|lock| lock.mode);
        holders.len() == 1 || holders.values().all(|lock| mode.is_some_and(|mode| lock.mode.is_shared_with(mode)))
    })
}

/// Nobody changes what an undecided transaction has read as a range.
#[must_use]
pub fn ranges_keep_writers_out(locks: &Locks) -> bool {
    let is_kept = |open: &OpenTxn| {
        let read = |key: &[u8]| open.ranges.iter().any(|range| range.contains(key));
        let mut others = locks.by_key().filter(|(key, _)| read(key)).flat_map(|(_, holders)| holders);
        others.all(|(txn, lock)| *txn == open.txn.id || lock.mode == Mode::Read)
    };
    locks.open().filter(|open| open.decision.is_none()).all(is_kept)
}

/// What is decided waits only for what may commit before it: no operation could be written, and nothing else is held.
#[must_use]
pub fn nothing_waits_without_reason(locks: &Locks) -> bool {
    let is_waiting = |open: &OpenTxn, mode: Mode| match open.decision {
        None => true,
        Some(Decision::Commit(_)) => mode.writes(),
        Some(Decision::Abort) => false,
    };
    let waits = |open: &OpenTxn| locks.locks_of(open.txn.id).all(|(_, lock)| is_waiting(open, lock.mode));
    locks.open().all(waits) && locks.by_key().all(|(key, _)| locks.next_commit(key).is_none())
}

/// No transaction is open and has ended.
#[must_use]
pub fn open_and_ended_are_disjoint(locks: &Locks) -> bool {
    locks.open().all(|open| locks.ended(open.txn.id).is_none())
}

/// The decoded state is what the store holds.
pub fn image_matches_store(shard: &Shard, view: &impl View) -> Result<bool, StoreError> {
    let loaded = Shard::load(view, shard.group(), &HeadsOptions { bytes_max: 0, seed: 0 })?;
    Ok(loaded.is_some_and(|loaded| loaded.is_same_state(shard)))
}

/// Everything that must hold of a shard between two entries. The error names what does not.
pub fn check(shard: &Shard, view: &impl View) -> Result<(), String> {
    // It has all that rides in the group.
    let image_matches = image_matches_store(shard, view).map_err(|error| error.to_string())?;
    shard.riders().try_for_each(|(rider, _)| check_image(rider, true))?;
    check_image(shard, image_matches)
}

fn check_image(shard: &Shard, image_matches: bool) -> Result<(), String> {
    for (holds, name) in [
        (fences_are_disjoint(shard.fences()), "fences_are_disjoint"),
        (fences_are_inside(shard), "fences_are_inside"),
        (nothing_is_ahead(shard), "nothing_is_ahead"),
        (locks_are_of_open_txns(shard.locks()), "locks_are_of_open_txns"),
        (shared_holders_are_compatible(shard.locks()), "shared_holders_are_compatible"),
        (ranges_keep_writers_out(shard.locks()), "ranges_keep_writers_out"),
        (nothing_waits_without_reason(shard.locks()), "nothing_waits_without_reason"),
        (open_and_ended_are_disjoint(shard.locks()), "open_and_ended_are_disjoint"),
        (branches_continue(shard), "branches_continue"),
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
    let splits = catalog.shards.values().filter_map(|place| place.shape.splitting.as_ref());
    let children = splits.map(|splitting| &splitting.child);
    catalog.nodes.keys().all(|node| (1..next.node).contains(&node.0))
        && catalog.tables.keys().all(|table| (1..next.table).contains(&table.0))
        && catalog.shards.keys().chain(children).all(|shard| (crate::meta::GROUP.0 + 1..next.shard).contains(&shard.0))
}

/// The shards of each table hold each key once, names are unique, replicas are on different nodes: what
/// [`Catalog::check`](crate::meta::Catalog::check) says.
#[must_use]
pub fn catalog_is_sound(meta: &Meta) -> bool {
    meta.catalog().check().is_ok()
}

/// Each pin is of tables that are there, and of a time that has come; so is the floor.
#[must_use]
pub fn pins_are_sound(meta: &Meta) -> bool {
    let (catalog, pins, end) = (meta.catalog(), meta.pins(), meta.window_end());
    let is_sound = |pin: &Pin| {
        pin.version.max(pin.created) <= end && pin.spans.iter().all(|span| catalog.tables.contains_key(&span.table))
    };
    pins.floor() <= end && pins.iter().all(is_sound)
}

/// The decoded state of the meta group is what the store holds.
pub fn meta_image_matches_store(meta: &Meta, view: &impl View) -> Result<bool, StoreError> {
    Ok(Meta::load(view)?.is_some_and(|loaded| loaded == *meta))
}

/// From one entry to a later one: ids are not given again, epochs and the window's end do not go down, a shard keeps its
/// table, and another catalog has a higher revision. A pin is never taken below the floor, unless another held its version;
/// and other pins have a higher revision.
#[must_use]
pub fn meta_only_moves_on(before: &Meta, after: &Meta) -> bool {
    let (old, new) = (before.catalog(), after.catalog());
    let (old_next, new_next) = (before.counters(), after.counters());
    let keeps_its_own = |place: &ShardPlace| {
        let earlier = old.shards.get(&place.shard);
        let is_child = || {
            let splitting = old.shards.values().filter_map(|place| place.shape.splitting.as_ref());
            splitting.map(|splitting| splitting.child).any(|child| child == place.shard)
        };
        earlier.map_or_else(
            || place.shard.0 >= old_next.shard || is_child(),
            |earlier| earlier.epoch <= place.epoch && earlier.table == place.table,
        )
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
        && pins_only_move_on(&before.pins(), &after.pins())
}

fn pins_only_move_on(old: &Pins, new: &Pins) -> bool {
    let may_be_there = |pin: &Pin| match old.get(pin.pin) {
        Some(earlier) => earlier.version == pin.version && earlier.kind == pin.kind && earlier.nonce == pin.nonce,
        None => {
            pin.pin.0 > old.given() && (pin.version >= old.floor() || old.iter().any(|one| one.version == pin.version))
        }
    };
    old.floor() <= new.floor()
        && old.given() <= new.given()
        && (old == new || old.revision() < new.revision())
        && new.iter().all(may_be_there)
}

/// Everything that must hold of the meta group between two entries. The error names what does not.
pub fn check_meta(meta: &Meta, view: &impl View) -> Result<(), String> {
    let image_matches = meta_image_matches_store(meta, view).map_err(|error| error.to_string())?;
    for (holds, name) in [
        (ids_are_below_counters(meta), "ids_are_below_counters"),
        (catalog_is_sound(meta), "catalog_is_sound"),
        (pins_are_sound(meta), "pins_are_sound"),
        (image_matches, "meta_image_matches_store"),
    ] {
        if !holds {
            return Err(format!("{name} does not hold of the meta group"));
        }
    }
    Ok(())
}
