//! What a shard can be asked to do.

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_types::{Epoch, Expiry, KeyRange, Limits, Version, limits};

use super::answers::RequestKey;
use super::fences::Token;
use super::outcome::Refusal;

/// Bytes that a request or an operation takes beside its keys and values, in an entry or in a batch, or a few more.
const HEAD_BYTES: usize = 48;

/// One log entry of a shard: requests that reached its leader together.
///
/// Each request is judged by itself, in order, and sees the effects of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The shard's epoch when the requests were routed. If it has changed since, all of them are refused.
    pub epoch: Epoch,
    /// The requests.
    pub requests: Vec<Request>,
}

/// One request, stamped by the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The commit version, should it commit. Stamps rise strictly from request to request.
    pub version: Version,
    /// Makes a retry safe; without it the caller must not retry after an unknown outcome.
    pub key: Option<RequestKey>,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Change keys.
    Write(Write),
    /// Become the only writer of a range.
    Acquire(Acquire),
    /// Give a range up.
    Release(Release),
    /// Go back to a version of a range, and become its only writer.
    Rollback(Rollback),
    /// Let go of versions below this one.
    RaiseWatermark(Version),
    /// Do nothing: the leader refused the request, for a reason that replicas would not judge alike. Unless a copy of it
    /// was answered before, that it would exceed a limit is the answer to it for good.
    Decline {
        /// Which operation of the request, from 0.
        position: u32,
    },
}

/// Conditions and operations that take effect together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The writer's token: required for keys of an owned range, refused for others.
    pub fence: Option<Token>,
    /// What must hold before the operations.
    pub conditions: Vec<Condition>,
    /// The operations, in order; a later one sees the earlier ones.
    pub operations: Vec<Operation>,
}

impl Operation {
    /// Bytes of its key and value, or of the ends of its range.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeleteRange { range } => range.start().len() + range.end().map_or(0, Bytes::len),
            Self::Merge { key, operand, .. } => key.len() + operand.len(),
        }
    }
}

impl Command {
    /// About how many changes and bytes the entry makes of the store. The entry itself has no more bytes, or a few.
    pub(super) fn room(&self) -> (usize, usize) {
        let of_request = |request: &Request| match &request.action {
            Action::Write(write) => {
                let bytes = write.operations.iter().map(|operation| HEAD_BYTES + operation.bytes()).sum::<usize>();
                (write.operations.len(), HEAD_BYTES + bytes)
            }
            _ => (1, HEAD_BYTES),
        };
        self.requests.iter().map(of_request).fold((0, HEAD_BYTES), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// What must hold of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The key.
    pub key: Bytes,
    /// What must hold.
    pub expected: Expected,
}

/// What a condition expects of a key just before the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It has a value.
    Exists,
    /// It has none.
    Absent,
    /// Its value was last changed at this version.
    VersionIs(Version),
    /// It has this value.
    ValueIs(Bytes),
}

/// A change of one key, or of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// When the value ends.
        expiry: Option<Expiry>,
    },
    /// Removes a value, if there is one.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Removes the values of all keys in a range: at most [`limits::DELETE_RANGE_KEYS_MAX`] of them, else the request is
    /// refused and can be continued in parts.
    DeleteRange {
        /// The range.
        range: KeyRange,
    },
    /// Folds an operand into a value at the server.
    Merge {
        /// The key.
        key: Bytes,
        /// How the operand folds.
        operator: MergeOperator,
        /// The operand.
        operand: Bytes,
        /// When the merged value ends; `None` leaves the end that the value has.
        expiry: Option<Expiry>,
    },
}

/// Makes `owner` the only writer of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The range, within the shard.
    pub range: KeyRange,
    /// The owner's name: a job's, not a task's, so that a new attempt may take over from the old one.
    pub owner: Bytes,
    /// Whether to take over from another owner.
    pub force: bool,
}

/// Gives up what was acquired under a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The token.
    pub token: Token,
}

/// Hides what was written to a range after a version, and makes `owner` its only writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The range, within the shard.
    pub range: KeyRange,
    /// The newest version that stays visible.
    pub to: Version,
    /// The owner's name, as in [`Acquire`].
    pub owner: Bytes,
    /// Whether to take over from another owner.
    pub force: bool,
}

impl Request {
    /// Checks the request against limits, whatever the state. A gateway calls it with the node's limits before any work
    /// is done; apply calls it with the format's.
    pub fn check(&self, node: &Limits) -> Result<(), Refusal> {
        if self.key.is_some_and(|key| key.issued > self.version) {
            return Err(Refusal::VersionTooNew { newest: self.version });
        }
        match &self.action {
            Action::Write(write) => write.check(node),
            Action::Acquire(Acquire { range, owner, .. }) | Action::Rollback(Rollback { range, owner, .. }) => {
                check_range(range, node)?;
                if owner.is_empty() || owner.len() > limits::OWNER_BYTES_MAX {
                    return Err(Refusal::Invalid("owner names have 1 to 256 bytes"));
                }
                Ok(())
            }
            Action::Release(_) | Action::RaiseWatermark(_) | Action::Decline { .. } => Ok(()),
        }
    }
}

impl Write {
    fn check(&self, node: &Limits) -> Result<(), Refusal> {
        if self.operations.len() > node.operations_max || self.conditions.len() > limits::CONDITIONS_MAX {
            return Err(Refusal::Invalid("too many operations or conditions in one request; split it"));
        }
        for condition in &self.conditions {
            check_key(&condition.key, node)?;
        }
        for (position, operation) in self.operations.iter().enumerate() {
            match operation {
                Operation::Put { key, value, .. } => {
                    check_key(key, node)?;
                    check_value(value, node)?;
                }
                Operation::Delete { key } => check_key(key, node)?,
                Operation::DeleteRange { range } => check_range(range, node)?,
                Operation::Merge { key, operator, operand, .. } => {
                    check_key(key, node)?;
                    check_value(operand, node)?;
                    operator
                        .check_operand(operand)
                        .map_err(|_| Refusal::WrongKind { position: position_of(position) })?;
                }
            }
        }
        Ok(())
    }
}

/// A position in a request's lists, which have at most 100,000 members.
pub(super) fn position_of(position: usize) -> u32 {
    u32::try_from(position).expect("lists of a request are bounded")
}

fn check_key(key: &[u8], node: &Limits) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(Refusal::Invalid("a key is empty; keys have at least one byte")),
        bytes if bytes > node.key_bytes_max => Err(Refusal::Invalid(
            "a key is longer than limits.key_bytes_max (16 KiB, or less on this node); shorten it",
        )),
        _ => Ok(()),
    }
}

/// A range may end just after the longest key, and begin there.
fn check_range(range: &KeyRange, node: &Limits) -> Result<(), Refusal> {
    let bounds = [range.start().len(), range.end().map_or(0, Bytes::len)];
    if bounds.into_iter().any(|bytes| bytes > node.key_bytes_max + 1) {
        return Err(Refusal::Invalid("a bound of a range is longer than any key; shorten it"));
    }
    Ok(())
}

fn check_value(value: &[u8], node: &Limits) -> Result<(), Refusal> {
    if value.len() > node.value_bytes_max {
        return Err(Refusal::Invalid(
            "a value is longer than limits.value_bytes_max (8 MiB, or less on this node); spread it over several keys",
        ));
    }
    Ok(())
}
