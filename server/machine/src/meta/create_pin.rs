//! Create pin: a version of some tables or ranges gets a name, and is kept from GC.

use lentic_types::PinId;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::pins::{Pin, PinKind, end_of_lease};
use super::state::{Change, Meta};

/// Creates a pin; answers with the one that an earlier copy of the command made. The pin's id and the end of its lease
/// are given here.
pub(super) fn apply(
    meta: &mut Meta,
    asked: &Pin,
    lease_ms: u64,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    asked.check()?;
    if asked.kind == PinKind::Branch {
        return Err(MetaRefusal::Invalid("a pin of a branch is made with the branch; make a branch".into()));
    }
    let expires = end_of_lease(asked.created, lease_ms)?;
    let exists = |pin: &Pin| MetaRefusal::PinExists { name: pin.name.clone(), pin: pin.pin };
    if let Some(pin) = meta.pins.of_nonce(&asked.nonce) {
        let is_copy = (pin.kind, &pin.name, &pin.spans) == (asked.kind, &asked.name, &asked.spans);
        return if is_copy { Ok(made(pin)) } else { Err(exists(pin)) };
    }
    if let Some(pin) = meta.pins.snapshot(&asked.name).filter(|_| asked.kind == PinKind::Snapshot) {
        return Err(exists(pin));
    }
    let gone = asked.spans.iter().find(|span| !meta.catalog.tables.contains_key(&span.table));
    if let Some(span) = gone {
        return Err(MetaRefusal::NoSuchTable { name: span.table.to_string() });
    }
    if asked.version.max(asked.created) > meta.window_end {
        return Err(MetaRefusal::VersionAhead { newest: meta.window_end });
    }
    if asked.version < meta.pins.floor() && !meta.pins.holds(asked.version, &asked.spans) {
        return Err(MetaRefusal::PinTooOld { floor: meta.pins.floor() });
    }
    let pin = Pin { pin: PinId(meta.pins.given() + 1), expires, ..asked.clone() };
    meta.pins.check_room(&pin)?;
    let told = made(&pin);
    meta.put_pin(pin, change);
    Ok(told)
}

const fn made(pin: &Pin) -> MetaOutcome {
    MetaOutcome::Pinned { pin: pin.pin, version: pin.version }
}
