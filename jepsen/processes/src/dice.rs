//! Choices under a seed.

use std::ops::RangeInclusive;

use lentic_runtime::Random;

/// Choices under a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) const fn new(random: Random) -> Self {
        Self(random)
    }

    /// A number of the range.
    pub(crate) fn between(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.0.next_seed() % (range.end() - range.start() + 1)
    }

    /// A number below `len`.
    pub(crate) fn below(&self, len: usize) -> usize {
        let len = u64::try_from(len.max(1)).expect("a length");
        usize::try_from(self.0.next_seed() % len).expect("below a length")
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.0.next_seed().is_multiple_of(n)
    }
}
