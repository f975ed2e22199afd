//! What a request is told: replicated like any result, the same on every replica.

use bytes::Bytes;
use lentic_types::{Epoch, ErrorKind, Version};

use super::fences::Token;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write took effect at this version.
    Committed {
        /// The commit version.
        version: Version,
    },
    /// The range is owned by the caller: each of its writes carries this token.
    Acquired {
        /// The token.
        token: Token,
    },
    /// The range is free.
    Released,
    /// The range shows the old version, and is owned by the caller.
    RolledBack {
        /// The token; its number is the version of the rollback.
        token: Token,
    },
    /// The watermark is at least where it was asked to be.
    Raised {
        /// The watermark now.
        watermark: Version,
    },
    /// Nothing was done.
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request breaks a rule whatever the state.
    #[error("{0}")]
    Invalid(&'static str),
    /// A condition does not hold.
    #[error("condition {position} does not hold; read again, then decide again")]
    ConditionFailed {
        /// Which condition, from 0.
        position: u32,
        /// The version of the key's value, if it has one.
        found: Option<Version>,
    },
    /// The range is owned and the token is missing or old, or the token is given for keys it does not own.
    #[error("this writer does not own the range; a newer owner may have replaced it")]
    Fenced {
        /// The owner's token, if the range is owned.
        newest: Option<Token>,
    },
    /// Another owner has the range.
    #[error("the range is owned by {}; wait for its release, or take it by force", owner.escape_ascii())]
    Owned {
        /// The owner's name.
        owner: Bytes,
    },
    /// An operand, or the value it would fold into, is not of the operator's kind.
    #[error("operation {position} merges a value of another kind; check the key and the operator")]
    WrongKind {
        /// Which operation, from 0.
        position: u32,
    },
    /// An effect would exceed a limit.
    #[error("operation {position} would exceed a limit; ask for less, or continue in parts")]
    TooLarge {
        /// Which operation, from 0; 0 for requests without operations.
        position: u32,
    },
    /// The version lies below the watermark.
    #[error("the version is below the watermark {watermark}; take a newer one")]
    VersionTooOld {
        /// The watermark.
        watermark: Version,
    },
    /// The version lies in the shard's future.
    #[error("the version is above {newest}, the newest of this shard; take a tick")]
    VersionTooNew {
        /// The request's own stamp.
        newest: Version,
    },
    /// Whether the request was applied before is no longer known.
    #[error("the answer to this request is no longer kept; read before writing again")]
    AnswerForgotten,
    /// The shard has changed its shape since the request was routed.
    #[error("the shard is at {epoch} now; refresh the route and send again")]
    WrongEpoch {
        /// The shard's epoch.
        epoch: Epoch,
    },
    /// A key lies outside the shard.
    #[error("a key lies outside the shard; refresh the route and send again")]
    OutOfRange,
}

impl Refusal {
    /// What kind of failure this is for the caller.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::ConditionFailed { .. } => ErrorKind::ConditionFailed,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Owned { .. } => ErrorKind::Owned,
            Self::WrongKind { .. } => ErrorKind::WrongKind,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::VersionTooOld { .. } => ErrorKind::VersionTooOld,
            Self::VersionTooNew { .. } => ErrorKind::VersionTooNew,
            Self::AnswerForgotten => ErrorKind::AnswerForgotten,
            Self::WrongEpoch { .. } | Self::OutOfRange => ErrorKind::WrongEpoch,
        }
    }

    /// Whether the answer is for good: a copy of the request must get the same one. The others depend on nothing that
    /// the request did, and the sender repeats the request in another form.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Invalid(_) | Self::WrongEpoch { .. } | Self::OutOfRange | Self::AnswerForgotten)
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
