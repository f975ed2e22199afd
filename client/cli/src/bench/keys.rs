//! The keys and values of a bench.

use bytes::Bytes;

/// Bytes of which values are cut: enough that values of one entry are not the same.
const POOL_BYTES: usize = 1 << 20;

/// Random numbers by splitmix64: a function of the seed, good enough to spread load.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.roll()) * u128::from(bound)) >> 64).expect("less than the bound")
    }

    /// From 0 up to but without 1.
    pub(super) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float from 0 to 1 holds")]
        let high = (self.roll() >> 11) as f64;
        high / (1u64 << 53) as f64
    }
}

/// The finish of splitmix64: a bijection.
const fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// So many keys of 8 bytes, spread evenly, in groups that are read and written together.
///
/// ```text
///   byte   0 1      2 … 7
///         ┌────────┬──────────────┐
///         │ group  │ key          │     both scattered
///         └────────┴──────────────┘
/// ```
///
/// Keys of a group begin with the same two bytes, so they lie in one shard of a table that was made with equal shards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) groups: u64,
    pub(super) group_keys: u64,
}

impl Keys {
    /// `keys` keys in groups of `batch`, rounded up to whole groups.
    pub(super) fn new(keys: u64, batch: u64) -> Self {
        Self { groups: keys.div_ceil(batch), group_keys: batch }
    }

    /// How many there are.
    pub(super) fn len(self) -> u64 {
        self.groups.saturating_mul(self.group_keys)
    }

    /// The keys of a group.
    pub(super) fn group(self, group: u64) -> impl Iterator<Item = Bytes> {
        let head = scatter(group.wrapping_mul(self.group_keys)).to_be_bytes();
        (0..self.group_keys).map(move |place| {
            let mut key = scatter(group.wrapping_mul(self.group_keys).wrapping_add(place)).to_be_bytes();
            key[..2].copy_from_slice(&head[..2]);
            Bytes::copy_from_slice(&key)
        })
    }
}

/// Values of one size, which no compression makes smaller.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pool: Bytes,
    bytes: usize,
}

impl Values {
    pub(super) fn new(bytes: usize) -> Self {
        let mut dice = Dice::new(1);
        let pool = (0..(POOL_BYTES + bytes).div_ceil(8)).flat_map(|_| dice.roll().to_be_bytes());
        Self { pool: pool.collect(), bytes }
    }

    pub(super) fn next(&self, dice: &mut Dice) -> Bytes {
        let start = usize::try_from(dice.below(POOL_BYTES as u64)).expect("the pool is in memory");
        self.pool.slice(start..start + self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_differ_and_those_of_a_group_begin_alike() {
        for batch in [1, 100] {
            let keys = Keys::new(9_950, batch);
            let all: BTreeSet<Bytes> = (0..keys.groups).flat_map(|group| keys.group(group)).collect();
            assert_eq!(all.len() as u64, keys.len());
            assert!(keys.group(3).all(|key| key[..2] == keys.group(3).next().unwrap()[..2]));
            let quarters = (0..4u8).map(|quarter| all.iter().filter(|key| key[0] / 64 == quarter).count());
            assert!(quarters.into_iter().all(|count| count > all.len() / 8), "keys are spread");
        }
        assert_eq!((Keys::new(1, 1).len(), Keys::new(150, 100).len()), (1, 200));
    }

    #[test]
    fn values_have_their_size() {
        let (values, mut dice) = (Values::new(100), Dice::new(7));
        let drawn: BTreeSet<Bytes> = (0..50).map(|_| values.next(&mut dice)).collect();
        assert!(drawn.len() > 45 && drawn.iter().all(|value| value.len() == 100));
        assert_eq!(Values::new(0).next(&mut dice), "");
        assert!((0..1_000).all(|_| dice.below(3) < 3 && (0.0..1.0).contains(&dice.unit())));
    }
}
