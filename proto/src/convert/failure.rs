//! Failures: made with a kind, read with tolerance for kinds that later releases have added.

use std::fmt;

use lentic_types::{ErrorKind, Retry};

use crate::v1;

impl v1::Failure {
    /// A failure of `kind`. The message is for people: what was expected, what was found, what to do. Whether to retry
    /// follows from the kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind: v1::ErrorKind::from(kind).into(),
            message: message.into(),
            retry: v1::Retry::from(kind.retry()).into(),
            ..Self::default()
        }
    }

    /// A request that breaks a rule or a limit.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The failure, about the condition or operation at `position` of the request, from 0.
    #[must_use]
    pub fn at_position(self, position: usize) -> Self {
        Self { position: u32::try_from(position).ok(), ..self }
    }

    /// The failure, with the version that its kind speaks of: the one found, the watermark, or the owner's token.
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }

    /// The failure, with the route to take instead.
    #[must_use]
    pub fn with_shard(self, shard: impl Into<v1::Shard>) -> Self {
        Self { shard: Some(Box::new(shard.into())), ..self }
    }

    /// The failure, with the time to wait before a retry, in milliseconds.
    #[must_use]
    pub fn with_retry_after_ms(self, retry_after_ms: u32) -> Self {
        Self { retry_after_ms, ..self }
    }

    /// The kind. One that this release does not know is taken for the nearest that asks the caller for the same: to wait
    /// and send again, to send again with the same key, or to change the request.
    #[must_use]
    pub fn error_kind(&self) -> ErrorKind {
        known_kind(self.kind).unwrap_or(match self.retry() {
            v1::Retry::Safe => ErrorKind::Throttled,
            v1::Retry::Never => ErrorKind::Invalid,
            // The effect is unknown, so nothing may be assumed.
            v1::Retry::WithSameKey | v1::Retry::Unspecified => ErrorKind::Unknown,
        })
    }

    /// Whether a retry is safe and can help, as the sender says; if it says nothing, as the kind does.
    #[must_use]
    pub fn retry_rule(&self) -> Retry {
        match self.retry() {
            v1::Retry::Safe => Retry::Safe,
            v1::Retry::WithSameKey => Retry::WithSameKey,
            v1::Retry::Never => Retry::Never,
            v1::Retry::Unspecified => self.error_kind().retry(),
        }
    }
}

/// The kind with this number on the wire, if this release knows it.
fn known_kind(number: i32) -> Option<ErrorKind> {
    u8::try_from(number).ok().and_then(ErrorKind::from_code)
}

impl fmt::Display for v1::Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_kind().word(), self.message)
    }
}

impl std::error::Error for v1::Failure {}

impl From<ErrorKind> for v1::ErrorKind {
    fn from(kind: ErrorKind) -> Self {
        Self::try_from(i32::from(kind as u8)).expect("every kind has its number on the wire, as a test shows")
    }
}

impl From<Retry> for v1::Retry {
    fn from(retry: Retry) -> Self {
        match retry {
            Retry::Safe => Self::Safe,
            Retry::WithSameKey => Self::WithSameKey,
            Retry::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_number_and_name_on_the_wire() {
        for kind in ErrorKind::ALL.iter().copied() {
            let wire = v1::ErrorKind::try_from(i32::from(kind as u8)).unwrap();
            assert_eq!(wire.as_str_name(), format!("ERROR_KIND_{}", kind.word().to_uppercase()));
        }
        let numbers = (1..1_000).filter(|number| v1::ErrorKind::try_from(*number).is_ok());
        assert!(
            numbers.eq(ErrorKind::ALL.iter().map(|kind| i32::from(*kind as u8))),
            "the wire has no kind of its own"
        );
    }

    #[test]
    fn a_failure_says_its_kind_and_whether_to_retry() {
        for kind in ErrorKind::ALL.iter().copied() {
            let failure = v1::Failure::new(kind, "why");
            assert_eq!((failure.error_kind(), failure.retry_rule()), (kind, kind.retry()));
            assert_eq!(failure.to_string(), format!("{}: why", kind.word()));
        }
        let failure = v1::Failure::invalid("").at_position(3).with_version(4).with_retry_after_ms(5);
        assert_eq!((failure.position, failure.version, failure.retry_after_ms), (Some(3), Some(4), 5));
    }

    #[test]
    fn kinds_of_later_releases_ask_for_the_same() {
        for number in [0, 19, 255, 256 + 1, -1, i32::MAX, i32::MIN] {
            for (retry, kind) in [
                (v1::Retry::Safe, ErrorKind::Throttled),
                (v1::Retry::WithSameKey, ErrorKind::Unknown),
                (v1::Retry::Never, ErrorKind::Invalid),
                (v1::Retry::Unspecified, ErrorKind::Unknown),
            ] {
                let failure = v1::Failure { kind: number, retry: retry.into(), ..v1::Failure::default() };
                assert_eq!(failure.error_kind(), kind, "{number} {retry:?}");
                assert_eq!(failure.retry_rule(), kind.retry(), "{number} {retry:?}");
            }
        }
        let later = v1::Failure { kind: 1, retry: 99, ..v1::Failure::default() };
        assert_eq!(later.retry_rule(), Retry::Never, "a rule that is not known is that of the kind");
    }
}
