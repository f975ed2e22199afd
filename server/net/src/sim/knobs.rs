//! How the network behaves by itself.

use std::time::Duration;

use lentic_runtime::Random;

/// How the network behaves by itself, without faults that a test asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimKnobs {
    /// Shortest time that a frame is on its way, in milliseconds.
    pub delay_ms_min: u64,
    /// Longest time, of the usual frame.
    pub delay_ms_max: u64,
    /// How many frames of a million take longer.
    pub late_per_million: u32,
    /// Longest time of those.
    pub late_ms_max: u64,
    /// How many frames of a million break their link as they are sent.
    pub reset_per_million: u32,
    /// How long a link outlives a cut of one of its directions, in milliseconds.
    pub cut_ms_max: u64,
    /// How long dialling goes on while nothing comes through, in milliseconds.
    pub dial_ms_max: u64,
}

impl Default for SimKnobs {
    fn default() -> Self {
        Self {
            delay_ms_min: 0,
            delay_ms_max: 2,
            late_per_million: 1_000,
            late_ms_max: 50,
            reset_per_million: 0,
            cut_ms_max: 5_000,
            dial_ms_max: 2_000,
        }
    }
}

impl SimKnobs {
    /// How long a frame is on its way, and whether that is unusual.
    pub(super) fn delay(self, random: &Random) -> (Duration, bool) {
        let late = hits(self.late_per_million, random);
        let max = if late { self.late_ms_max } else { self.delay_ms_max };
        let span = max.saturating_sub(self.delay_ms_min).saturating_add(1);
        (Duration::from_millis(self.delay_ms_min + random.next_seed() % span), late)
    }

    /// Whether a frame breaks its link.
    pub(super) fn resets(self, random: &Random) -> bool {
        hits(self.reset_per_million, random)
    }
}

/// True so many times of a million.
fn hits(per_million: u32, random: &Random) -> bool {
    random.next_seed() % 1_000_000 < u64::from(per_million)
}
