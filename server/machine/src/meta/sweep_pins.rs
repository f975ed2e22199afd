//! Sweep pins: those whose lease has ended go, and the floor rises.

use lentic_types::Version;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Removes the pins that have expired by `now`, and raises the floor to `floor`, which never goes down.
pub(super) fn apply(
    meta: &mut Meta,
    now: Version,
    floor: Version,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    if now.max(floor) > meta.window_end {
        return Err(MetaRefusal::VersionAhead { newest: meta.window_end });
    }
    let expired = meta.pins.expired(now);
    let gone = expired.len() as u64;
    expired.into_iter().for_each(|pin| meta.remove_pin(pin, change));
    if floor > meta.pins.floor() {
        meta.raise_floor(floor, change);
    }
    Ok(MetaOutcome::Swept { floor: meta.pins.floor(), gone })
}
