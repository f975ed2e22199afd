//! Failures as clients see them.

use std::sync::{Arc, OnceLock};

use lentic_engine::{ReadError, StoreError};
use lentic_machine::Refusal;
use lentic_machine::shard::Token;
use lentic_proto::v1::Failure;
use lentic_types::{ErrorKind, Version, limits};

/// How long a caller waits before it asks again while a leader is being elected, in milliseconds.
pub(crate) const ELECTION_PAUSE_MS: u32 = 50;

/// The failure that a refusal is to its caller.
pub(crate) fn of_refusal(refusal: &Refusal) -> Failure {
    let mut failure = Failure::new(refusal.kind(), refusal.to_string());
    match refusal {
        Refusal::ConditionFailed { position, found } => {
            failure.position = Some(*position);
            failure.version = found.map(|Version(version)| version);
        }
        Refusal::WrongKind { position } | Refusal::TooLarge { position } | Refusal::Conflict { position } => {
            failure.position = Some(*position);
        }
        Refusal::Fenced { newest } => failure.version = newest.map(|Token(version)| version.0),
        Refusal::VersionTooOld { watermark } => failure.version = Some(watermark.0),
        Refusal::VersionTooNew { newest } => failure.version = Some(newest.0),
        Refusal::Invalid(_)
        | Refusal::Owned { .. }
        | Refusal::AnswerForgotten
        | Refusal::WrongEpoch { .. }
        | Refusal::OutOfRange
        | Refusal::Blocked { .. }
        | Refusal::TxnEnded
        | Refusal::LocksFull => {}
    }
    failure
}

pub(crate) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, message.into())
}

pub(crate) fn not_found(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::NotFound, message.into())
}

/// Whether there is no such thing.
pub(crate) fn is_not_found(failure: &Failure) -> bool {
    failure.error_kind() == ErrorKind::NotFound
}

/// A multi-get asks for more keys than it may.
pub(crate) fn too_many_keys() -> Failure {
    invalid("a multi-get has at most 100,000 keys; split it")
}

/// A delete-range, at this place among the operations, would look at more records than it may.
pub(crate) fn too_many_records(position: u32) -> Failure {
    let message = format!(
        "operation {position} deletes a range with more than {} records, deleted keys and old versions among them; cut the \
         range and delete it in parts",
        limits::DELETE_RANGE_RECORDS_MAX
    );
    let mut failure = Failure::new(ErrorKind::TooLarge, message);
    failure.position = Some(position);
    failure
}

/// The ranges that a transaction has read hold more records than their validation may look at.
pub(crate) fn too_large_to_validate() -> Failure {
    let message = format!(
        "the ranges that the transaction has read hold more than {} records in one shard, deleted keys and old versions \
         among them; read less, or in several transactions",
        limits::VALIDATED_RECORDS_MAX
    );
    Failure::new(ErrorKind::TooLarge, message)
}

/// A multi-get would answer with more than it may.
pub(crate) fn too_many_bytes() -> Failure {
    let message = format!(
        "the values have more than {} MiB together, which is the most that a multi-get answers with; ask for fewer keys at \
         a time",
        limits::MULTI_GET_BYTES_MAX >> 20
    );
    Failure::new(ErrorKind::TooLarge, message)
}

/// The request may have had its effect.
pub(crate) fn unknown(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Unknown, message.into())
}

pub(crate) fn internal(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Internal, message.into())
}

/// The first failure of the node's store. A group that met one has stopped, and so will every other, and what a reader met
/// others will meet: whoever runs the node should end it, for others lead then.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreFailure(Arc<OnceLock<String>>);

impl StoreFailure {
    /// The failure, if there was one.
    pub(crate) fn get(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// Notes what a group met that has stopped for it. Damage to some key is no failure of the whole store.
    pub(crate) fn note(&self, error: &StoreError) {
        if matches!(error, StoreError::Failed(_)) {
            // The first says what it was; those after it follow from it.
            let _ = self.0.set(error.to_string());
        }
    }

    /// Notes that a read failed, be it for the disk or for damage to what is on it, and says so to the reader: it is no
    /// answer, and another replica has one.
    pub(crate) fn of_read(&self, ReadError::Store(error): &ReadError) -> Failure {
        let _ = self.0.set(error.to_string());
        let mut failure = not_leader();
        failure.message = format!("this node cannot read what it has: {error}; another replica can");
        failure
    }

    /// The fault that it is for a group.
    pub(crate) fn fault(&self, error: &StoreError) -> lentic_raft::Fault {
        self.note(error);
        fault(error)
    }
}

/// A fault of this replica: its group stops.
pub(crate) fn fault(error: impl std::fmt::Display) -> lentic_raft::Fault {
    lentic_raft::Fault::new(error.to_string())
}

/// Too much to do; nothing was begun.
pub(crate) fn throttled(message: impl Into<String>, retry_after_ms: u32) -> Failure {
    let mut failure = Failure::new(ErrorKind::Throttled, message.into());
    failure.retry_after_ms = retry_after_ms;
    failure
}

/// This replica does not know yet that it has all up to a version, and does not lead. The caller adds the route.
pub(crate) fn unresolved(at: Version, resolved: Version) -> Failure {
    let message =
        format!("this replica has all up to version {resolved} and is asked for {at}; send to the shard's leader");
    let mut failure = Failure::new(ErrorKind::NotLeader, message);
    failure.version = Some(resolved.0);
    failure
}

/// This node does not lead the shard. The caller adds the route.
pub(crate) fn not_leader() -> Failure {
    let mut failure = Failure::new(ErrorKind::NotLeader, "this node does not lead the shard; send to its leader");
    failure.retry_after_ms = ELECTION_PAUSE_MS;
    failure
}
