//! The closed list of ways in which a request can fail.

/// Whether sending the same request again can help, and whether it is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// This sending had no effect; sent again as it is, with its idempotency key if it has one, it may succeed. (An
    /// earlier sending of the same request may have had its effect: the key then brings back its answer.)
    Safe,
    /// The request may have had its effect; send it again only with the same idempotency key.
    WithSameKey,
    /// The request had no effect and never will have in this form; change it first.
    Never,
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $retry:ident;)*) => {
        /// The kind of a failure: what a caller can act on. Numbers are part of the wire format and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ErrorKind { $($(#[$doc])* $name = $code,)* }

        impl ErrorKind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind's word in messages, metrics and JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Whether a retry is safe and can help.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }

            /// The kind with this number on the wire, if there is one.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

error_kinds! {
    /// The request breaks a rule or a limit whatever the state: correct it.
    Invalid = 1, "invalid", Never;
    /// A condition of the request does not hold: read again, decide again.
    ConditionFailed = 2, "condition_failed", Never;
    /// The range has an owner and the request carries no token, or an old one: this writer has been replaced.
    Fenced = 3, "fenced", Never;
    /// Another owner holds the range: wait until it is released, or take it over by force.
    Owned = 4, "owned", Never;
    /// A merge met a value, or an operand, of another kind: check the key and the operator.
    WrongKind = 5, "wrong_kind", Never;
    /// The read is below the watermark, where versions may be gone: read at a newer version or at a pinned one.
    VersionTooOld = 6, "version_too_old", Never;
    /// The version lies in the future of the shard: use a tick.
    VersionTooNew = 7, "version_too_new", Never;
    /// The answer to this idempotency key is no longer kept: the outcome is unknown, read before writing again.
    AnswerForgotten = 8, "answer_forgotten", Never;
    /// The shard has changed its shape: refresh the route and send again.
    WrongEpoch = 9, "wrong_epoch", Safe;
    /// This replica does not lead the group: send to the leader.
    NotLeader = 10, "not_leader", Safe;
    /// The node has too much to do: wait as hinted and send again.
    Throttled = 11, "throttled", Safe;
    /// A result or an effect would exceed a limit: ask for less, or continue in parts.
    TooLarge = 12, "too_large", Never;
    /// The outcome is unknown, for the connection or the leader was lost after sending.
    Unknown = 13, "unknown", WithSameKey;
    /// The node met a fault of its own and has stopped the group; an operator must look.
    Internal = 14, "internal", WithSameKey;
    /// There is no table, shard or node of this name: create it, or check the name.
    NotFound = 15, "not_found", Never;
    /// The name is taken by something else: choose another, or drop what has it.
    AlreadyExists = 16, "already_exists", Never;
    /// What the transaction has read was changed by another: nothing was done, run it again from its reads.
    Conflict = 17, "conflict", Never;
    /// Something else still needs it: remove that first. The message names it.
    InUse = 18, "in_use", Never;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_unique_and_known() {
        for (position, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(ErrorKind::from_code(*kind as u8), Some(*kind));
            assert!(ErrorKind::ALL[..position].iter().all(|other| other.word() != kind.word()));
        }
        assert_eq!(ErrorKind::from_code(0), None);
        assert_eq!(ErrorKind::from_code(u8::try_from(ErrorKind::ALL.len()).unwrap() + 1), None);
    }
}
