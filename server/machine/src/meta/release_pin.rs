//! Release pin: its name is free, and its version may go.

use lentic_types::PinId;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::pins::PinKind;
use super::state::{Change, Meta};

/// Releases a pin.
pub(super) fn apply(meta: &mut Meta, pin: PinId, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    let found = meta.pins.get(pin).ok_or(MetaRefusal::NoSuchPin { pin })?;
    if found.kind == PinKind::Branch {
        return Err(MetaRefusal::PinOfBranch { name: found.owner.clone() });
    }
    meta.remove_pin(pin, change);
    Ok(MetaOutcome::Done)
}
