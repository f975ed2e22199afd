//! Spans of time: `500ms`, `10m`, `1h30m`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(Duration);

/// The units with their milliseconds, largest first.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Text that is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a span of time such as 500ms, 10m, 1h30m or 7d, found {0:?}")]
pub(crate) struct SpanError(String);

impl Span {
    /// The span as the standard library has it.
    pub(crate) const fn duration(self) -> Duration {
        self.0
    }

    /// The span in milliseconds.
    pub(crate) fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).expect("it was read from milliseconds that fit")
    }

    /// A span of whole milliseconds.
    pub(crate) const fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Whether it is empty.
    pub(crate) const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        parse_ms(text).map(Self::from_ms).ok_or_else(|| SpanError(text.to_owned()))
    }
}

/// Parts of falling units, each a whole number: `1h30m`.
fn parse_ms(text: &str) -> Option<u64> {
    let (mut rest, mut ms, mut units) = (text, 0u64, &UNITS[..]);
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let place = units.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        ms = ms.checked_add(number.checked_mul(units[place].1)?)?;
        (rest, units) = (&rest[letters..], &units[place + 1..]);
    }
    Some(ms)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.ms();
        for (unit, unit_ms) in UNITS.into_iter().filter(|(unit, _)| *unit != "w") {
            if rest >= unit_ms {
                write!(f, "{}{unit}", rest / unit_ms)?;
                rest %= unit_ms;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_with_their_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().ms(), ms, "{text}");
        }
        for text in
            ["", "10", "m", "1.5h", "-10m", "10 m", "1m1h", "1m1m", "1y", "1M", "99999999999999999999s", "ms5", "é"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!(
            "10".parse::<Span>().unwrap_err().to_string(),
            "expected a span of time such as 500ms, 10m, 1h30m or 7d, found \"10\""
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms: u64) {
            let span = Span::from_ms(ms);
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }

        #[test]
        fn any_text_is_a_span_or_refused(text: String) {
            let _ = text.parse::<Span>();
        }
    }
}
