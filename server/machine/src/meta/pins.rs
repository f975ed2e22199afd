//! Pins: names for versions, which keep them from GC.
//!
//! A snapshot costs one row here and nothing elsewhere: shards hear of it when they next let go of history. The **floor** is
//! what makes that safe. It only rises, and no pin is taken below it; a shard raises its watermark to the floor at most, and
//! with the list of pins that goes with it. So whatever is pinned later lies at or above each watermark, and whatever was
//! pinned before is in the list (docs/decisions/0018-pins-and-the-floor.md).
//!
//! Pins are no part of the [`Catalog`](super::Catalog), of which each node holds a copy: nothing is routed by them, and
//! jobs make and release them all the time.

mod codec;

use std::collections::{BTreeMap, BTreeSet};

use lentic_types::limits::{
    OWNER_BYTES_MAX, PIN_LEASE_MS_MAX, PIN_NAME_BYTES_MAX, PIN_SPANS_MAX, PINS_BYTES_MAX, PINS_MAX, PINS_PER_TABLE_MAX,
};
use lentic_types::{KeyRange, PinId, TableId, Version};

use super::outcome::MetaRefusal;

/// A version that is kept from GC, in some tables or ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The pin's id.
    pub pin: PinId,
    /// What it is for.
    pub kind: PinKind,
    /// What it is called: among snapshots each name is there once.
    pub name: String,
    /// Who made it; empty if that was not said.
    pub owner: String,
    /// Made once for one request: a copy of the request finds its pin by it.
    pub nonce: [u8; 16],
    /// What is kept: rising by table and first key, without overlaps.
    pub spans: Vec<PinSpan>,
    /// The version that is kept.
    pub version: Version,
    /// When it was made.
    pub created: Version,
    /// When it goes by itself; `None`: when it is released.
    pub expires: Option<Version>,
}

/// What a pin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinKind {
    /// A named version of tables.
    Snapshot,
    /// A version that a job can go back to.
    Checkpoint,
    /// What a branch has from its parent. It goes with the branch, and in no other way.
    Branch,
}

/// A range of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinSpan {
    /// The table.
    pub table: TableId,
    /// Its keys: all of them for a snapshot.
    pub range: KeyRange,
}

/// The pins at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Counts the changes of pins and floor. Of two lists of pins the one of the higher revision is newer.
    pub(super) revision: u64,
    /// No pin is taken below it, but where a pin holds the version already.
    pub(super) floor: Version,
    /// How many ids were given.
    pub(super) given: u64,
    pins: BTreeMap<PinId, Pin>,
    names: BTreeMap<String, PinId>,
    nonces: BTreeMap<[u8; 16], PinId>,
    by_table: BTreeMap<TableId, BTreeSet<PinId>>,
    /// Encoded size of all pins.
    bytes: usize,
}

impl Pins {
    /// Counts the changes of pins and floor.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// No pin is taken below it, but where a pin holds the version already.
    #[must_use]
    pub const fn floor(&self) -> Version {
        self.floor
    }

    /// How many ids were given: the newest pin has this one.
    #[must_use]
    pub const fn given(&self) -> u64 {
        self.given
    }

    /// The pins, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.pins.values()
    }

    /// The pin of this id.
    #[must_use]
    pub fn get(&self, pin: PinId) -> Option<&Pin> {
        self.pins.get(&pin)
    }

    /// The snapshot of this name.
    #[must_use]
    pub fn snapshot(&self, name: &str) -> Option<&Pin> {
        self.pins.get(self.names.get(name)?)
    }

    /// The pin that was made for the request with this nonce.
    #[must_use]
    pub fn of_nonce(&self, nonce: &[u8; 16]) -> Option<&Pin> {
        self.pins.get(self.nonces.get(nonce)?)
    }

    /// The versions pinned in a range of a table, strictly rising: at most [`PINS_PER_TABLE_MAX`].
    #[must_use]
    pub fn versions_in(&self, table: TableId, range: &KeyRange) -> Vec<Version> {
        let is_planted = lentic_types::mutant!("branch-not-pinned");
        let concerns = |pin: &&Pin| {
            !(is_planted && pin.kind == PinKind::Branch)
                && pin.spans.iter().any(|span| span.table == table && span.range.overlaps(range))
        };
        let versions: BTreeSet<_> = self.of_table(table).filter(concerns).map(|pin| pin.version).collect();
        versions.into_iter().collect()
    }

    /// When the first lease ends, of those that there are.
    #[must_use]
    pub fn first_expiry(&self) -> Option<Version> {
        self.pins.values().filter_map(|pin| pin.expires).min()
    }

    /// Whether all of `spans` is pinned at `version`.
    pub(super) fn holds(&self, version: Version, spans: &[PinSpan]) -> bool {
        let covers = |span: &PinSpan, pin: &Pin| {
            let mut own = pin.spans.iter().filter(|other| other.table == span.table);
            pin.version == version && own.any(|other| other.range.covers(&span.range))
        };
        spans.iter().all(|span| self.of_table(span.table).any(|pin| covers(span, pin)))
    }

    /// Whether names and nonces are unique, and nothing is above the ids given or more than is allowed. The error says what
    /// is not so.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !self.pins.keys().all(|pin| (1..=self.given).contains(&pin.0)) {
            return Err("the id of a pin is above those that were given");
        }
        if self.names.len() != self.pins.values().filter(|pin| pin.kind == PinKind::Snapshot).count() {
            return Err("names of snapshots are unique");
        }
        if self.nonces.len() != self.pins.len() {
            return Err("nonces of pins are unique");
        }
        if self.pins.len() > PINS_MAX || self.bytes > PINS_BYTES_MAX {
            return Err("there are more pins than there may be");
        }
        Ok(())
    }

    /// Checks that there is room for one more.
    pub(super) fn check_room(&self, pin: &Pin) -> Result<(), MetaRefusal> {
        let too_many = |of: &'static str, most: usize| MetaRefusal::TooMany { of: of.into(), most: most as u64 };
        if self.pins.len() >= PINS_MAX {
            return Err(too_many("pins", PINS_MAX));
        }
        let is_full = |span: &PinSpan| self.by_table.get(&span.table).is_some_and(|of| of.len() >= PINS_PER_TABLE_MAX);
        if pin.spans.iter().any(is_full) {
            return Err(too_many("pins of one table", PINS_PER_TABLE_MAX));
        }
        if self.bytes + pin.bytes() > PINS_BYTES_MAX {
            return Err(too_many("bytes of pins", PINS_BYTES_MAX));
        }
        Ok(())
    }

    /// Adds a pin, or puts it in place of the one with its id.
    pub(super) fn put(&mut self, pin: Pin) {
        self.remove(pin.pin);
        self.bytes += pin.bytes();
        if pin.kind == PinKind::Snapshot {
            self.names.insert(pin.name.clone(), pin.pin);
        }
        self.nonces.insert(pin.nonce, pin.pin);
        for span in &pin.spans {
            self.by_table.entry(span.table).or_default().insert(pin.pin);
        }
        self.pins.insert(pin.pin, pin);
    }

    /// Removes a pin, if it is there.
    pub(super) fn remove(&mut self, pin: PinId) {
        let Some(old) = self.pins.remove(&pin) else { return };
        self.bytes -= old.bytes();
        if old.kind == PinKind::Snapshot {
            self.names.remove(&old.name);
        }
        self.nonces.remove(&old.nonce);
        for span in &old.spans {
            if let Some(of_table) = self.by_table.get_mut(&span.table) {
                of_table.remove(&pin);
                if of_table.is_empty() {
                    self.by_table.remove(&span.table);
                }
            }
        }
    }

    /// The pins that concern a table.
    pub(super) fn of_table(&self, table: TableId) -> impl Iterator<Item = &Pin> {
        self.by_table.get(&table).into_iter().flatten().filter_map(|pin| self.pins.get(pin))
    }

    /// The pins whose lease has ended.
    pub(super) fn expired(&self, now: Version) -> Vec<PinId> {
        self.pins.values().filter(|pin| pin.is_expired(now)).map(|pin| pin.pin).collect()
    }
}

impl Pin {
    /// Whether its lease has ended.
    #[must_use]
    pub fn is_expired(&self, now: Version) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether its parts can be those of a pin, whatever the state.
    pub(super) fn check(&self) -> Result<(), MetaRefusal> {
        let invalid = |reason: &'static str| Err(MetaRefusal::Invalid(reason.into()));
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
        if self.name.is_empty() || self.name.len() > PIN_NAME_BYTES_MAX || !self.name.bytes().all(is_of_name) {
            return invalid("this is no name of a snapshot; use 1 to 128 letters, digits, and . _ - / : @");
        }
        if self.owner.len() > OWNER_BYTES_MAX {
            return invalid("the owner of a pin is longer than 256 bytes; shorten it");
        }
        if self.spans.is_empty() || self.spans.len() > PIN_SPANS_MAX {
            return invalid("a pin is of 1 to 100 tables or ranges; make several for more");
        }
        let is_before = |one: &PinSpan, next: &PinSpan| {
            let is_left = || one.range.start() < next.range.start() && !one.range.overlaps(&next.range);
            one.table < next.table || (one.table == next.table && is_left())
        };
        if !self.spans.is_sorted_by(is_before) {
            return invalid("the tables or ranges of a pin overlap or are out of order; name each once");
        }
        if self.kind == PinKind::Snapshot && self.spans.iter().any(|span| span.range != KeyRange::all()) {
            return invalid("a snapshot is of whole tables; leave the ranges out");
        }
        Ok(())
    }
}

/// When a lease that begins at `now` ends; `None`: it does not.
pub(super) fn end_of_lease(now: Version, lease_ms: u64) -> Result<Option<Version>, MetaRefusal> {
    if lease_ms > PIN_LEASE_MS_MAX {
        return Err(MetaRefusal::Invalid(
            "a lease lasts ten years at most; leave it out to keep a pin for good".into(),
        ));
    }
    Ok((lease_ms > 0).then(|| now.plus_ms(lease_ms).unwrap_or(Version::MAX)))
}
