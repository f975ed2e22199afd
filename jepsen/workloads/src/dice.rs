//! Choices under a seed.

use std::ops::RangeInclusive;

use lentic_runtime::Random;

/// Choices under a seed. Clones draw from the same source.
#[derive(Clone, Debug)]
pub struct Dice(Random);

impl Dice {
    /// Choices that follow from the next seed of `random`.
    #[must_use]
    pub fn new(random: &Random) -> Self {
        Self(Random::seeded(random.next_seed()))
    }

    /// Dice of their own, for a task: what it draws does not depend on what others draw.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(&self.0)
    }

    /// A number of the range.
    #[must_use]
    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.0.next_seed() % (range.end() - range.start() + 1)
    }

    /// A place in something with `len` of them.
    #[must_use]
    pub fn place(&self, len: usize) -> usize {
        let len = u64::try_from(len.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.0.next_seed() % len).expect("below a length")
    }

    /// True once in `n` times.
    #[must_use]
    pub fn one_in(&self, n: u64) -> bool {
        self.0.next_seed().is_multiple_of(n)
    }

    /// The source.
    #[must_use]
    pub const fn random(&self) -> &Random {
        &self.0
    }
}
