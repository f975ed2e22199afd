//! The oracle: hands out ticks, each above every tick handed out before, by whichever leader.
//!
//! ```text
//!                  handed out                     may be handed out               needs an extension first
//!   ───────────────────────────────────────●──────────────────────────────────●────────────────────────▶ versions
//!                                        next                             window end (replicated)
//! ```
//!
//! The leader of the meta group hands out ticks from memory, below the window's end. The end is replicated before any
//! tick below it is given, and whoever leads next begins there: so no tick is given twice, and ticks rise over changes of
//! leader, whatever the clocks say. An extension that was lost, or of which nobody knows whether it was, costs a gap.
//! Before it answers, the leader confirms that it still leads: that is its host's part, and so is extending in time.
//!
//! # Time
//! Ticks follow the wall clock of the leader while that goes forward. Where the clock stands, or is set back, they rise
//! one by one from where they are, until the clock has caught up.
//!
//! A clock that is far ahead is a danger, for ticks never go back: they would carry its time for ever, and whatever expires
//! would be gone. But a machine may have slept, and a cluster may have been stopped. So:
//!
//! - A new leader follows its clock up to [`WINDOW_LEAP_MS_MAX`] (400 days) beyond the window's end at once.
//! - From then on it follows leaps up to [`CLOCK_LEAP_MS_MAX`] (a day) at once. A longer one, up to 400 days, it follows
//!   after the clock has gone on for [`CLOCK_DOUBT_MS`] (ten minutes) from there; until then ticks rise one by one.
//! - A clock that is ahead by more is never followed. If it is right, a person extends the window, in steps of 400 days,
//!   and has another leader begin.
//! - A time before [`CLOCK_MS_MIN`] (2026) says nothing: no clock of a running Lentic is right there. A leap from it is
//!   followed, and so is the first clock of a new cluster, up to [`CLOCK_MS_MAX`] (2100).
//!
//! [`Oracle::clock_ahead_ms`] says when a clock is not followed: a reason to alert a person.

use lentic_types::Version;
use lentic_types::limits::{
    CLOCK_DOUBT_MS, CLOCK_LEAP_MS_MAX, CLOCK_MS_MAX, CLOCK_MS_MIN, TICKS_PER_TAKE_MAX, WINDOW_IDLE_MS,
    WINDOW_LEAP_MS_MAX, WINDOW_MS, WINDOW_STEP_MS,
};

/// From one tick to the next: the sequence counts up, and carries into the millisecond.
const STEP: u64 = 1 << 8;

/// Hands out ticks while its node leads the meta group.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The next tick. All ticks handed out are below.
    next: Version,
    /// All ticks handed out are below, and will be until the end is raised.
    window_end: Version,
    /// What the clock showed when it was followed last, in milliseconds since 2020. It may be behind the ticks.
    clock_ms: u64,
    /// What the clock showed last, if it is ahead and not followed.
    doubt: Option<Doubt>,
    /// Whether somebody has asked for ticks since the window was raised.
    is_used: bool,
}

/// A clock that is not followed.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// What it showed when it leapt.
    since_ms: u64,
    /// What it showed last.
    seen_ms: u64,
}

/// Ticks in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// The first.
    pub first: Version,
    /// How many.
    pub count: u32,
}

impl Ticks {
    /// The ticks, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Version> {
        (0..self.count).map(move |position| Version(self.first.0 + u64::from(position) * STEP))
    }
}

/// Why there are no ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTicks {
    /// The window ends too early. Have the group apply an extension to `until`, tell [`Oracle::extended`] what the window's
    /// end is then, and take again: after a long stop, several times.
    #[error("the window of ticks ends too early; extend it to {until} first")]
    NeedsWindow {
        /// Where the window should end.
        until: Version,
    },
    /// More were asked for than are handed out at once.
    #[error("asked for {count} ticks, at most {TICKS_PER_TAKE_MAX} are handed out at once; ask several times")]
    TooMany {
        /// How many.
        count: u32,
    },
    /// There are no versions above any more.
    #[error("version time has reached its end in the year 2159; no tick can follow, and nothing more can be written")]
    Exhausted,
}

impl Oracle {
    /// The oracle of a new leader, which must have applied every entry of the leaders before it: `window_end` is then
    /// above all their ticks. It begins there, so the first tick needs an extension.
    #[must_use]
    pub fn lead(window_end: Version, unix_ms: u64) -> Self {
        let begin = if lentic_types::mutant!("oracle-no-window") { Version::ZERO } else { window_end };
        // Version 0 is before every commit, so it is no tick. At the end, `next` is no tick either.
        let next = Version(begin.0.max(1).checked_next_multiple_of(STEP).unwrap_or(u64::MAX));
        let mut oracle = Self { next, window_end, clock_ms: 0, doubt: None, is_used: true };
        oracle.observe(unix_ms, WINDOW_LEAP_MS_MAX);
        oracle
    }

    /// Takes `count` ticks in a row, all above every tick handed out before by anyone.
    ///
    /// # Errors
    /// [`NoTicks`]: none was handed out. On [`NoTicks::NeedsWindow`] extend the window and take again.
    pub fn take(&mut self, count: u32, unix_ms: u64) -> Result<Ticks, NoTicks> {
        if count > TICKS_PER_TAKE_MAX {
            return Err(NoTicks::TooMany { count });
        }
        self.is_used = true;
        self.observe(unix_ms, CLOCK_LEAP_MS_MAX);
        let Some(end) = self.next.0.checked_add(u64::from(count) * STEP).map(Version) else {
            return Err(NoTicks::Exhausted);
        };
        if count > 0 && end.0 - STEP >= self.window_end.0 {
            return Err(NoTicks::NeedsWindow { until: self.extension(end) });
        }
        let first = std::mem::replace(&mut self.next, end);
        Ok(Ticks { first, count })
    }

    /// The window ends at `window_end` now: what an extension that this leader proposed, in its own term, was answered when
    /// it was applied. An earlier end than is known is ignored.
    ///
    /// Danger: an end that another leader has replicated is where that one began, and is never told to this oracle. So the
    /// end that the group shows is not enough, for a leader that was paused may see there what its successor did.
    pub fn extended(&mut self, window_end: Version) {
        if window_end > self.window_end {
            self.window_end = window_end;
            self.is_used = false;
        }
    }

    /// Where the window should end, if it is time to extend it: ask often (every few hundred milliseconds), and propose
    /// what is said, so that [`take`](Self::take) never waits while ticks are in use. It is also how the oracle sees the
    /// clock while nobody takes ticks: then it asks only once an hour.
    pub fn wants_extension(&mut self, unix_ms: u64) -> Option<Version> {
        self.observe(unix_ms, CLOCK_LEAP_MS_MAX);
        let needed = if self.is_used {
            self.end_after(self.next, WINDOW_MS / 2, WINDOW_STEP_MS / 2)
        } else {
            Version::tick(self.clock_ms.saturating_sub(WINDOW_IDLE_MS), 0).expect("no more than the clock")
        };
        let until = self.extension(self.next);
        (needed > self.window_end && until > self.window_end).then_some(until)
    }

    /// By how many milliseconds the clock was last seen ahead of the ticks without being followed, if it was: look at the
    /// clock of this node.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<u64> {
        self.doubt.map(|doubt| doubt.seen_ms.saturating_sub(self.next.ms()))
    }

    /// An end of the window that leaves time for `next` and what follows it, as far as one extension may go.
    fn extension(&self, next: Version) -> Version {
        self.end_after(next, WINDOW_MS, WINDOW_STEP_MS).min(furthest_end(self.window_end))
    }

    /// So far beyond the clock, and so far beyond `next`.
    fn end_after(&self, next: Version, clock_ms: u64, step_ms: u64) -> Version {
        let clock = Version::tick(self.clock_ms, 0).expect("no more than the largest millisecond");
        add_ms(clock, clock_ms).max(add_ms(next, step_ms))
    }

    /// Follows the clock, or keeps in mind that it has leapt.
    fn observe(&mut self, unix_ms: u64, leap_ms_max: u64) {
        let ms = unix_ms.saturating_sub(Version::UNIX_MS_AT_ZERO).min(Version::MS_MAX);
        let ahead_ms = ms.saturating_sub(self.next.ms());
        let is_first = self.next.ms() < CLOCK_MS_MIN && ms < CLOCK_MS_MAX;
        if is_first || ahead_ms <= leap_ms_max || self.has_gone_on(ms) && ahead_ms <= WINDOW_LEAP_MS_MAX {
            (self.clock_ms, self.doubt) = (ms, None);
            let now = Version::tick(ms, 0).expect("no more than the largest millisecond");
            self.next = self.next.max(now);
        }
    }

    /// Whether a clock that has leapt to `ms`, or there from an earlier leap, has gone on for long enough.
    fn has_gone_on(&mut self, ms: u64) -> bool {
        let goes_on = |doubt: &Doubt| (doubt.seen_ms..=doubt.seen_ms + CLOCK_LEAP_MS_MAX).contains(&ms);
        let since_ms = self.doubt.filter(goes_on).map_or(ms, |doubt| doubt.since_ms);
        self.doubt = Some(Doubt { since_ms, seen_ms: ms });
        ms - since_ms >= CLOCK_DOUBT_MS
    }
}

/// The furthest end that one extension may give to a window that ends at `window_end`.
///
/// It is judged in apply, so that not even a fault in a leader takes version time further.
#[must_use]
pub fn furthest_end(window_end: Version) -> Version {
    let from = if window_end.ms() < CLOCK_MS_MIN { add_ms(Version::ZERO, CLOCK_MS_MAX) } else { window_end };
    add_ms(from, WINDOW_LEAP_MS_MAX)
}

fn add_ms(version: Version, ms: u64) -> Version {
    Version::tick(version.ms() + ms, 0).unwrap_or(Version::MAX)
}

#[cfg(test)]
mod tests;
