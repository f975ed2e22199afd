//! Renew pin: its lease begins anew.

use lentic_types::{PinId, Version};

use super::outcome::{MetaOutcome, MetaRefusal};
use super::pins::{Pin, PinKind, end_of_lease};
use super::state::{Change, Meta};

/// Renews the lease of a pin from `now` on, or keeps it until it is released if `lease_ms` is 0. It never gets shorter, so
/// that a late copy does no harm; but a pin that had no lease gets one.
pub(super) fn apply(
    meta: &mut Meta,
    pin: PinId,
    now: Version,
    lease_ms: u64,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    if now > meta.window_end {
        return Err(MetaRefusal::VersionAhead { newest: meta.window_end });
    }
    let end = end_of_lease(now, lease_ms)?;
    // Expired, it is gone, even if nobody has swept yet: a shard may be told so at any moment.
    let old = meta.pins.get(pin).filter(|old| !old.is_expired(now)).ok_or(MetaRefusal::NoSuchPin { pin })?;
    if old.kind == PinKind::Branch {
        return Err(MetaRefusal::PinOfBranch { name: old.owner.clone() });
    }
    let expires = end.map(|end| old.expires.map_or(end, |before| before.max(end)));
    let told = MetaOutcome::Pinned { pin, version: old.version };
    if expires != old.expires {
        let renewed = Pin { expires, ..old.clone() };
        meta.put_pin(renewed, change);
    }
    Ok(told)
}
