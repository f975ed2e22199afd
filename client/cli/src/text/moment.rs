//! Moments: a version, a time, or so long ago.

use std::str::FromStr;

use jiff::Timestamp;
use lentic_types::Version;

use super::span::Span;

/// When to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At a version, as writes and reads tell it: `v892341…`, or the number alone.
    Version(Version),
    /// At a time, in milliseconds since 1970: RFC 3339.
    Time(u64),
    /// So long before now, by the cluster's clock: `-10m`.
    Ago(Span),
}

/// Text that is no moment, or a moment without a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MomentError {
    /// Neither of the three.
    #[error(
        "expected a version such as v8912896, a time such as 2026-05-01T10:03:00Z, or a span back from now such as -10m, \
         found {0:?}"
    )]
    Unreadable(String),
    /// Before 2020 or after 2159.
    #[error("there are no versions of {0}; expected a time from 2020-01-01 on, up to now")]
    NoVersion(String),
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let unreadable = || MomentError::Unreadable(text.to_owned());
        if let Some(back) = text.strip_prefix('-') {
            return back.parse().map(Self::Ago).map_err(|_| unreadable());
        }
        let number = text.strip_prefix('v').unwrap_or(text);
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            return number.parse().map(|number| Self::Version(Version(number))).map_err(|_| unreadable());
        }
        let time: Timestamp = text.parse().map_err(|_| unreadable())?;
        let unix_ms = u64::try_from(time.as_millisecond()).ok();
        let moment = Self::Time(unix_ms.ok_or_else(|| MomentError::NoVersion(text.to_owned()))?);
        // What can be refused without the cluster is refused before it is asked.
        moment.version(Version::MAX).map(|_| moment)
    }
}

impl Moment {
    /// Whether the version depends on what time it is for the cluster.
    pub(crate) const fn needs_now(self) -> bool {
        matches!(self, Self::Ago(_))
    }

    /// The version of the moment, when it is `now`: of a time, the first tick of its millisecond, so that a read sees
    /// what was committed before it.
    pub(crate) fn version(self, now: Version) -> Result<Version, MomentError> {
        let tick_of = |ms: Option<u64>| ms.and_then(|ms| Version::tick(ms, 0));
        match self {
            Self::Version(version) => Ok(version),
            Self::Time(unix_ms) => tick_of(unix_ms.checked_sub(Version::UNIX_MS_AT_ZERO))
                .ok_or_else(|| MomentError::NoVersion(rfc3339(unix_ms))),
            Self::Ago(span) => {
                tick_of(now.ms().checked_sub(span.ms())).ok_or_else(|| MomentError::NoVersion(format!("{span} ago")))
            }
        }
    }
}

/// The time that a version carries, in milliseconds since 1970.
pub(crate) const fn unix_ms_of(version: Version) -> u64 {
    version.ms() + Version::UNIX_MS_AT_ZERO
}

/// The time that a version carries, in RFC 3339.
pub(crate) fn time_of(version: Version) -> String {
    rfc3339(unix_ms_of(version))
}

/// A time in RFC 3339, in UTC, to the millisecond.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{unix_ms} ms after 1970"), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Version = Version(3 << 60);

    fn version_of(text: &str) -> Result<Version, String> {
        text.parse::<Moment>().and_then(|moment| moment.version(NOW)).map_err(|error| error.to_string())
    }

    #[test]
    fn versions_times_and_spans_back_are_versions() {
        assert_eq!(version_of("12"), Ok(Version(12)));
        assert_eq!(version_of("v12"), Ok(Version(12)));
        assert_eq!(version_of("2020-01-01T00:00:00Z"), Ok(Version(0)));
        assert_eq!(version_of("2020-01-01T00:00:01.5Z"), Ok(Version::tick(1_500, 0).unwrap()));
        assert_eq!(version_of("2020-01-01T02:00:00+02:00"), Ok(Version(0)));
        assert_eq!(version_of("-10m"), Ok(Version::tick(NOW.ms() - 600_000, 0).unwrap()));
    }

    #[test]
    fn what_has_no_version_is_refused() {
        let refused = "there are no versions of 2019-12-31T23:59:59Z; expected a time from 2020-01-01 on, up to now";
        assert_eq!(version_of("2019-12-31T23:59:59Z"), Err(refused.replace("59Z", "59.000Z")));
        assert!(version_of("1950-01-01T00:00:00Z").unwrap_err().contains("1950"));
        assert!(version_of("2999-01-01T00:00:00Z").unwrap_err().starts_with("there are no versions of 2999"));
        assert!(version_of("-2000w").unwrap_err().starts_with("there are no versions of 14000d ago"));
        for text in ["", "v", "-", "now", "12a", "-5", "2026-05-01", "18446744073709551616", "2026-05-01T10:03:00"] {
            assert!(version_of(text).unwrap_err().starts_with("expected a version"), "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(time_of(Version::tick(1, 3).unwrap()), "2020-01-01T00:00:00.001Z");
        assert_eq!(rfc3339(u64::MAX), "18446744073709551615 ms after 1970");
    }

    proptest! {
        #[test]
        fn the_time_of_a_version_leads_back(ms in 0..=Version::MS_MAX) {
            let tick = Version::tick(ms, 0).unwrap();
            prop_assert_eq!(version_of(&time_of(tick)), Ok(tick));
            prop_assert_eq!(version_of(&tick.to_string()), Ok(tick));
        }

        #[test]
        fn any_text_is_a_moment_or_refused(text: String) {
            let _ = version_of(&text);
        }
    }
}
