//! What a request is told: replicated like any result, the same on every replica.

use bytes::Bytes;
use lentic_types::{Epoch, ErrorKind, Expiry, TxnId, Version};

use super::command::Participant;
use super::fences::Token;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The write took effect at this version.
    Committed {
        /// The commit version.
        version: Version,
    },
    /// The range is owned by the caller, and shows the old versions where it went back.
    Taken {
        /// What each of its writes must carry; its number is the version of the command.
        token: Token,
    },
    /// The range is free.
    Released,
    /// The watermark is at least where it was asked to be.
    Raised {
        /// The watermark now.
        watermark: Version,
    },
    /// The transaction is prepared here: it can commit, at this version or above.
    Prepared(Prepared),
    /// What was decided of the transaction: as asked, or before.
    Decided(Decision),
    /// This shard has done as was decided.
    Resolved,
    /// How the transaction stands here.
    Status(TxnStatus),
    /// Nothing was done.
    Refused(Refusal),
}

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// All of it takes effect at this version.
    Commit(Version),
    /// None of it does.
    Abort,
}

/// A shard's word that it can commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prepared {
    /// Not below this version.
    pub version: Version,
    /// Nor from this time on: something that was read ends then.
    pub valid_until: Option<Expiry>,
}

/// How a transaction stands in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TxnStatus {
    /// It is prepared, and nothing more is known here.
    Prepared {
        /// How.
        prepared: Prepared,
        /// At its anchor, all shards that take part.
        participants: Vec<Participant>,
    },
    /// What was decided is known here, and that it was carried out everywhere is not.
    Decided {
        /// What was decided.
        decision: Decision,
        /// At its anchor, all shards that take part.
        participants: Vec<Participant>,
    },
    /// It has ended here, or can never begin.
    Ended(Decision),
}

/// What follows when every participant is prepared: commit at the largest version of a prepare, unless something that was
/// read has ended by then. Whoever asks all participants comes to the same.
#[must_use]
pub fn decision_of(prepared: impl IntoIterator<Item = Prepared>) -> Decision {
    let is_lowest = lentic_types::mutant!("commit-at-lowest");
    let all = prepared.into_iter().fold((Version::ZERO, None), |(version, until), one: Prepared| {
        if is_lowest && version > Version::ZERO {
            return (one.version.min(version), until);
        }
        (one.version.max(version), lentic_engine::read::earlier(until, one.valid_until))
    });
    match all {
        (version, Some(until)) if until.is_over_at(version) => Decision::Abort,
        (version, _) => Decision::Commit(version),
    }
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
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
    /// What the request has read was changed since.
    #[error("what was read at position {position} has changed since; run the transaction again from its reads")]
    Conflict {
        /// Which condition, from 0; ranges count on behind the conditions.
        position: u32,
    },
    /// An open transaction holds a key.
    #[error("a key is held by transaction {holder}, which is not decided yet; send again when it is")]
    Blocked {
        /// The oldest one.
        holder: TxnId,
    },
    /// The transaction was aborted, or has ended, before this prepare came.
    #[error("the transaction has ended before it was prepared here; begin another attempt")]
    TxnEnded,
    /// The shard's locks are full.
    #[error("too much is locked in the shard; send again a little later")]
    LocksFull,
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
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Blocked { .. } | Self::TxnEnded | Self::LocksFull => ErrorKind::Throttled,
        }
    }

    /// Whether the answer is for good: a copy of the request must get the same one. The others depend on nothing that
    /// the request did, and the sender repeats the request in another form.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Invalid(_)
                | Self::WrongEpoch { .. }
                | Self::OutOfRange
                | Self::AnswerForgotten
                | Self::Blocked { .. }
                | Self::TxnEnded
                | Self::LocksFull
        )
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_come_to_the_same_decision() {
        let at = |ms| Version::tick(ms, 0).unwrap();
        let prepared = |ms, ends: Option<u64>| Prepared { version: at(ms), valid_until: ends.map(Expiry) };
        let rows = [
            (vec![prepared(5, None)], Decision::Commit(at(5))),
            (vec![prepared(5, None), prepared(9, None), prepared(7, None)], Decision::Commit(at(9))),
            (vec![prepared(5, Some(10)), prepared(9, None)], Decision::Commit(at(9))),
            // The value ends between its prepare and the commit, wherever the later prepare is.
            (vec![prepared(5, Some(9)), prepared(9, None)], Decision::Abort),
            (vec![prepared(9, Some(20)), prepared(5, Some(8))], Decision::Abort),
            (vec![prepared(9, Some(20)), prepared(5, Some(10))], Decision::Commit(at(9))),
        ];
        for (mut prepared, decision) in rows {
            assert_eq!(decision_of(prepared.clone()), decision, "{prepared:?}");
            prepared.reverse();
            assert_eq!(decision_of(prepared.clone()), decision, "{prepared:?}");
        }
    }
}
