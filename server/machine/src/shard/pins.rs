//! The pins that a shard knows of: versions that it keeps although they may be below its watermark.
//!
//! The truth about pins is the meta group's. A shard hears of them with each rise of its watermark, all of them at once, and
//! with the revision that the list is of: a list says nothing of pins that came after it, so one that is older than what the
//! shard knows is not listened to. Why no pin is missed is in docs/decisions/0018-pins-and-the-floor.md.

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, StoreError, View};
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::PINS_PER_TABLE_MAX;
use lentic_types::{GroupId, Version};

/// Pinned versions, as of a revision of the meta group's pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    revision: u64,
    /// Strictly rising.
    versions: Vec<Version>,
}

impl Pins {
    /// The revision that the list is of; 0 before the first.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The pinned versions, rising.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Whether `version` is pinned.
    #[must_use]
    pub fn holds(&self, version: Version) -> bool {
        self.versions.binary_search(&version).is_ok()
    }

    /// The list in place of this one. Below `watermark` history may be gone: what was not pinned there is not kept by being
    /// pinned now.
    pub(super) fn replaced(&self, revision: u64, versions: &[Version], watermark: Version) -> Self {
        let is_kept = |version: &Version| *version >= watermark || self.holds(*version);
        Self { revision, versions: versions.iter().copied().filter(is_kept).collect() }
    }

    pub(super) fn put(&self, batch: &mut Batch, group: GroupId) {
        let mut value = Vec::new();
        put_varint(&mut value, self.revision);
        encode_rising(&mut value, &self.versions);
        batch.put(Family::Sys, &sys::key(group, SysKind::Pins, &[]), &value);
    }

    pub(super) fn load(view: &impl View, group: GroupId) -> Result<Self, StoreError> {
        let key = sys::key(group, SysKind::Pins, &[]);
        let Some(value) = view.get(Family::Sys, &key)? else { return Ok(Self::default()) };
        if lentic_types::mutant!("pins-not-loaded") {
            return Ok(Self::default());
        }
        let decode = || {
            let mut reader = Reader::new(&value);
            let pins = Self { revision: reader.varint("revision of pins")?, versions: decode_rising(&mut reader)? };
            reader.finish("pins").map(|()| pins)
        };
        decode().map_err(|reason: DecodeError| StoreError::damaged(Family::Sys, &key, reason))
    }
}

/// Appends a counted list of strictly rising versions: the first, then by how much each is above the one before.
pub(super) fn encode_rising(out: &mut Vec<u8>, versions: &[Version]) {
    put_varint(out, versions.len() as u64);
    let mut last = 0;
    for Version(version) in versions {
        put_varint(out, version.wrapping_sub(last));
        last = *version;
    }
}

/// Reads what [`encode_rising`] has written.
pub(super) fn decode_rising(reader: &mut Reader<'_>) -> Result<Vec<Version>, DecodeError> {
    let count = reader.count(1, "pins")?;
    if count > PINS_PER_TABLE_MAX {
        return Err(DecodeError::Invalid { field: "pins" });
    }
    let (mut versions, mut last) = (Vec::with_capacity(count), 0u64);
    for place in 0..count {
        let more = reader.varint("pin")?;
        if more == 0 && place > 0 {
            return Err(DecodeError::Invalid { field: "order of pins" });
        }
        last = last.checked_add(more).ok_or(DecodeError::Invalid { field: "pin" })?;
        versions.push(Version(last));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_versions_come_back_and_others_are_refused() {
        for versions in [vec![], vec![0], vec![3, 4, 300], vec![0, u64::MAX], vec![u64::MAX]] {
            let versions: Vec<_> = versions.into_iter().map(Version).collect();
            let mut out = Vec::new();
            encode_rising(&mut out, &versions);
            let mut reader = Reader::new(&out);
            assert_eq!(decode_rising(&mut reader), Ok(versions));
            reader.finish("pins").unwrap();
        }
        for bytes in
            [&b"\x02\x05\x00"[..], b"\x02\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x03\x01", b"\xe9\x07"]
        {
            assert!(decode_rising(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn below_the_watermark_only_what_was_pinned_stays_pinned() {
        let of = |versions: &[u64]| versions.iter().copied().map(Version).collect::<Vec<_>>();
        let pins = Pins::default().replaced(1, &of(&[3, 5]), Version::ZERO);
        let next = pins.replaced(2, &of(&[2, 3, 7, 9]), Version(7));
        assert_eq!((next.revision(), next.versions()), (2, &of(&[3, 7, 9])[..]));
        assert!(next.holds(Version(7)) && !next.holds(Version(5)) && !next.holds(Version(2)));
    }
}
