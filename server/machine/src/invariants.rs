//! What must hold, as named predicates: for assertions in release builds, property tests, and simulation.

use lentic_engine::{StoreError, View};
use lentic_types::{Index, Version};

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
