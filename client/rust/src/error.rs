//! What can go wrong, in a form that a caller can act on.

use std::fmt;
use std::time::Duration;

use lentic_proto::v1;
use lentic_types::{ErrorKind, Retry, Version};

/// Why an operation failed. What a safe retry could have hidden has been retried before, until the deadline.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    kind: ErrorKind,
    message: String,
    retry: Retry,
    retry_after: Option<Duration>,
    position: Option<u32>,
    version: Option<Version>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Parts { kind, message, retry: kind.retry(), retry_after: None, position: None, version: None }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Nothing was sent, for no node could be reached or had room.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Throttled, message)
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unknown, message)
    }

    pub(crate) fn from_failure(failure: v1::Failure) -> Self {
        let after = u64::from(failure.retry_after_ms);
        Self(Box::new(Parts {
            kind: failure.error_kind(),
            retry: failure.retry_rule(),
            message: failure.message,
            retry_after: (after > 0).then_some(Duration::from_millis(after)),
            position: failure.position,
            version: failure.version.map(Version),
        }))
    }

    /// The same error with words before its message.
    pub(crate) fn in_front(mut self, words: &str) -> Self {
        self.0.message.insert_str(0, words);
        self
    }

    /// The same error about another position, in other words.
    pub(crate) fn at_position(mut self, position: u32, message: String) -> Self {
        self.0.position = Some(position);
        self.0.message = message;
        self
    }

    /// What a caller can act on.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// For people: what was expected, what was found, what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether sending the request again is safe and can help.
    ///
    /// [`Retry::WithSameKey`] is the client's own business: it retried with the same key until the deadline, and the
    /// caller, who has no key, must read before writing again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether the operation had no effect and may have one when it is called again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retry == Retry::Safe
    }

    /// Whether a write may have had its effect: read before writing again.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.retry == Retry::WithSameKey
    }

    /// Whether a transaction had no effect because what it had read was changed: run it again from its reads.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }

    /// How long to wait before calling again, if the cluster said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Which condition or operation of the batch, from 0, if the error is about one.
    #[must_use]
    pub const fn position(&self) -> Option<u32> {
        self.0.position
    }

    /// The version found, the watermark or the owner's token, whichever the kind speaks of.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.0.version
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.word(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}
