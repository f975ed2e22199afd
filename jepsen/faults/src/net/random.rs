//! Choices, as a function of a seed.

use std::time::Duration;

/// A generator: `SplitMix64`, which takes any seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True `percent` times of 100.
    pub(crate) fn percent(&mut self, percent: u8) -> bool {
        percent > 0 && self.next() % 100 < u64::from(percent)
    }

    /// From nothing to `most`, both included.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let most_ns = u64::try_from(most.as_nanos()).expect("what is late is so by hours at most");
        Duration::from_nanos(self.next() % (most_ns + 1))
    }
}
