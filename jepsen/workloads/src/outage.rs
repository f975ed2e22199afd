//! How long nothing was acknowledged.

use std::fmt;
use std::time::Duration;

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// When it was meant to begin.
    pub meant: Duration,
    /// When it was acknowledged.
    pub at: Duration,
}

/// The longest time without an acknowledgement that touches the time between `from` and `to`. `acks` are sorted.
///
/// It is counted from the last acknowledgement before `from`, and to the first one after `to`; without those, from and
/// to the ends.
#[must_use]
pub fn longest_gap(acks: &[Duration], from: Duration, to: Duration) -> Duration {
    let first = acks.partition_point(|at| *at <= from);
    let last = acks.partition_point(|at| *at < to);
    let before = first.checked_sub(1).map_or(from, |place| acks[place]);
    let after = acks.get(last).copied().unwrap_or(to);
    let between = acks[first..last.max(first)].iter().copied();
    let (mut longest, mut previous) = (Duration::ZERO, before);
    for at in between.chain([after]) {
        longest = longest.max(at.saturating_sub(previous));
        previous = at;
    }
    longest
}

/// Durations, and how they are distributed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution(Vec<Duration>);

impl Distribution {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        let place = self.0.partition_point(|known| *known <= duration);
        self.0.insert(place, duration);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The duration that `percent` of all do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn worst(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Distribution {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all: Vec<Duration> = durations.into_iter().collect();
        all.sort_unstable();
        Self(all)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_millis();
        let (p50, p99, worst) = (ms(self.percentile(50)), ms(self.percentile(99)), ms(self.worst()));
        write!(f, "p50 {p50} ms, p99 {p99} ms, worst {worst} ms, of {}", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_gap_is_counted_from_the_last_sign_to_the_next() {
        let acks = [ms(0), ms(10), ms(20), ms(500), ms(510)];
        assert_eq!(longest_gap(&acks, ms(25), ms(505)), ms(480));
        assert_eq!(longest_gap(&acks, ms(25), ms(100)), ms(480), "it is whole though it ends after the window");
        assert_eq!(longest_gap(&acks, ms(501), ms(509)), ms(10));
        assert_eq!(longest_gap(&acks, ms(520), ms(900)), ms(390), "and lasts to the end if nothing comes");
        assert_eq!(longest_gap(&[], ms(5), ms(7)), ms(2));
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut all = Distribution::default();
        (1..=20).rev().for_each(|number| all.add(ms(number)));
        assert_eq!((all.percentile(50), all.percentile(99), all.worst(), all.count()), (ms(10), ms(20), ms(20), 20));
        assert_eq!(Distribution::default().worst(), Duration::ZERO);
        assert_eq!((1..=20).rev().map(ms).collect::<Distribution>(), all);
    }
}
