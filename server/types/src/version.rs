//! Versions: commit timestamp and MVCC version in one number.
//!
//! ```text
//!  63                                   22 21            8 7       0
//! ┌───────────────────────────────────────┬───────────────┬─────────┐
//! │ milliseconds since 2020-01-01T00:00Z  │   sequence    │  local  │
//! └───────────────────────────────────────┴───────────────┴─────────┘
//!                  42 bits (until 2159)        14 bits       8 bits
//! ```
//!
//! The oracle hands out *ticks*: versions whose local part is 0. A shard's leader that must stamp above a read
//! counts `local` up, which keeps the stamp below every later tick.

use std::fmt;

const LOCAL_BITS: u32 = 8;
const SEQUENCE_BITS: u32 = 14;
const MS_SHIFT: u32 = LOCAL_BITS + SEQUENCE_BITS;

/// A commit timestamp and MVCC version: sorts by time, so "as of 10:03" is a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Before every commit.
    pub const ZERO: Self = Self(0);
    /// After every commit; a read here sees the latest.
    pub const MAX: Self = Self(u64::MAX);
    /// Unix time in milliseconds of version 0: 2020-01-01T00:00:00Z.
    pub const UNIX_MS_AT_ZERO: u64 = 1_577_836_800_000;
    /// The largest millisecond a version can carry.
    pub const MS_MAX: u64 = (1 << (64 - MS_SHIFT)) - 1;
    /// The largest sequence of a millisecond.
    pub const SEQUENCE_MAX: u16 = (1 << SEQUENCE_BITS) - 1;

    /// The tick number `sequence` of millisecond `ms` (since 2020), or `None` if a part is out of its bits.
    #[must_use]
    pub const fn tick(ms: u64, sequence: u16) -> Option<Self> {
        if ms > Self::MS_MAX || sequence > Self::SEQUENCE_MAX {
            return None;
        }
        Some(Self(ms << MS_SHIFT | (sequence as u64) << LOCAL_BITS))
    }

    /// Milliseconds since 2020-01-01.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> MS_SHIFT
    }

    /// The part that a shard's leader counts up above a tick.
    #[must_use]
    pub const fn local(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Whether the oracle may have handed this out: the local part is 0.
    #[must_use]
    pub const fn is_tick(self) -> bool {
        self.local() == 0
    }

    /// The version so many milliseconds later, or `None` at the end of time.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Option<Self> {
        let later = ms.checked_mul(1 << MS_SHIFT).and_then(|more| self.0.checked_add(more));
        later.map(Self)
    }

    /// The first tick of the millisecond so many before this version's, or version 0 before the beginning of time.
    #[must_use]
    pub const fn minus_ms(self, ms: u64) -> Self {
        Self(self.ms().saturating_sub(ms) << MS_SHIFT)
    }

    /// The next version below the next tick, or `None` when the local part is used up: fetch a new tick then.
    #[must_use]
    pub const fn next_local(self) -> Option<Self> {
        if self.local() == u8::MAX { None } else { Some(Self(self.0 + 1)) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// When a record ends: milliseconds since 2020-01-01, the unit of [`Version::ms`].
///
/// It is judged against the version of a read, never against a clock, so it is the same on all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(pub u64);

impl Expiry {
    /// Whether a read at `version` no longer sees the record: from the first version of the millisecond on.
    #[must_use]
    pub const fn is_over_at(self, version: Version) -> bool {
        version.ms() >= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_bounded() {
        assert_eq!(Version::tick(Version::MS_MAX, Version::SEQUENCE_MAX), Some(Version(u64::MAX - 255)));
        assert_eq!(Version::tick(Version::MS_MAX + 1, 0), None);
        assert_eq!(Version::tick(0, Version::SEQUENCE_MAX + 1), None);
        assert_eq!(Version(0xff).next_local(), None);
        assert_eq!(Version::tick(5, 7).unwrap().plus_ms(3), Version::tick(8, 7));
        assert_eq!(Version::MAX.plus_ms(1), None);
    }

    #[test]
    fn expiry_is_exclusive() {
        let at = |ms| Version::tick(ms, 0).unwrap();
        assert!(!Expiry(10).is_over_at(Version(at(10).0 - 1)));
        assert!(Expiry(10).is_over_at(at(10)));
    }

    proptest! {
        #[test]
        fn versions_sort_by_time(a_ms in 0..=Version::MS_MAX, b_ms in 0..=Version::MS_MAX, a in 0u16..1 << 14, b in 0u16..1 << 14) {
            let (x, y) = (Version::tick(a_ms, a).unwrap(), Version::tick(b_ms, b).unwrap());
            prop_assert_eq!((a_ms, a).cmp(&(b_ms, b)), x.cmp(&y));
            prop_assert_eq!(x.ms(), a_ms);
            prop_assert!(x.is_tick());
            prop_assert!(x < x.next_local().unwrap());
        }
    }
}
