//! How scripts write times and ticks: `2026.5d.3h.2m.1s.7` is 5 days, 3 hours, 2 minutes, a second and 7 milliseconds after
//! the beginning of 2026; `1500` is 1,500 milliseconds after version 0, and `2100` the beginning of that year. `#3` behind
//! a time is the third tick after the first of that millisecond.

use std::str::FromStr;

use lentic_types::Version;
use lentic_types::limits::{CLOCK_MS_MAX, CLOCK_MS_MIN};

const UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("", 1)];

/// Milliseconds since version 0.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    /// The first tick of the time.
    pub(crate) fn tick(self) -> Version {
        Version::tick(self.0, 0).unwrap_or(Version::MAX)
    }

    /// What a clock shows then.
    pub(crate) fn unix_ms(self) -> u64 {
        Version::UNIX_MS_AT_ZERO + self.0
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| match part {
            "2026" => Ok(CLOCK_MS_MIN),
            "2100" => Ok(CLOCK_MS_MAX),
            "end" => Ok(Version::MS_MAX),
            _ => {
                let digits = part.trim_end_matches(char::is_alphabetic);
                let unit = UNITS.iter().find(|(name, _)| *name == &part[digits.len()..]);
                let (Ok(number), Some((_, ms))) = (digits.parse::<u64>(), unit) else {
                    return Err(format!("{part} is no part of a time"));
                };
                Ok(number * ms)
            }
        };
        text.split('.').map(part).sum::<Result<_, _>>().map(Self)
    }
}

/// Prints a tick.
pub(crate) fn tick(version: Version) -> String {
    assert!(version.is_tick(), "{version} is no tick");
    let sequence = (version.0 >> 8) & u64::from(Version::SEQUENCE_MAX);
    let sequence = if sequence > 0 { format!("#{sequence}") } else { String::new() };
    ms(version.ms()) + &sequence
}

/// Prints a time.
pub(crate) fn ms(ms: u64) -> String {
    if ms == Version::MS_MAX {
        return "end".to_owned();
    }
    let is_set = ms >= CLOCK_MS_MIN;
    let mut rest = if is_set { ms - CLOCK_MS_MIN } else { ms };
    let mut parts = if is_set { vec!["2026".to_owned()] } else { Vec::new() };
    for (name, unit) in UNITS {
        if rest / unit > 0 && (is_set || unit == 1) {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(".") }
}
