//! Pauses between retries.

use std::time::Duration;

use lentic_runtime::Random;

use crate::options::Options;

/// The pause before retry `round` (from 0): it doubles, and half of it is random, so that callers who failed together do
/// not come back together.
pub(crate) fn pause(options: &Options, round: u32, random: &Random) -> Duration {
    let full = options.backoff_min.saturating_mul(1 << round.min(20)).min(options.backoff_max);
    jitter(full, random)
}

/// Half of `full`, and a random part of the other half.
pub(crate) fn jitter(full: Duration, random: &Random) -> Duration {
    let half = full / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(random.next_seed() % nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let (options, random) = (Options::default(), Random::seeded(1));
        for round in 0..40 {
            let full = options.backoff_min.saturating_mul(1 << round.min(20)).min(options.backoff_max);
            let pause = pause(&options, round, &random);
            assert!((full / 2..=full).contains(&pause), "{round}: {pause:?}");
        }
        let draw = |seed| pause(&options, 5, &Random::seeded(seed));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
