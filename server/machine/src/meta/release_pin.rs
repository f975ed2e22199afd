//! Release pin: its name is free, and its version may go.

use lentic_types::PinId;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Releases a pin.
pub(super) fn apply(meta: &mut Meta, pin: PinId, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    if meta.pins.get(pin).is_none() {
        return Err(MetaRefusal::NoSuchPin { pin });
    }
    meta.remove_pin(pin, change);
    Ok(MetaOutcome::Done)
}
