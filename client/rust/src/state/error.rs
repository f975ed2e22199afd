//! What can go wrong with a job's state.

use lentic_types::codec::DecodeError;

use super::key_group::{KeyGroup, KeyGroups};
use crate::error::Error;

/// Why an operation on a job's state failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// An argument that cannot be used. Nothing was done.
    #[error("{0}")]
    Invalid(String),
    /// A state of this name is there with another type: in this task, or in the checkpoint that it was restored from.
    #[error("state {name} is registered as {found}, asked for as {asked}; use another name, or the type that it has")]
    Registered {
        /// The state's name.
        name: String,
        /// The type that it has.
        found: String,
        /// The type that was asked for.
        asked: String,
    },
    /// Two names whose ids in the table are the same: see docs/formats.md.
    #[error("states {name} and {other} have the same id; rename the new one")]
    Collides {
        /// The name that was asked for.
        name: String,
        /// The name that is there.
        other: String,
    },
    /// A key of another task.
    #[error("the key is in key group {group}, the task has {groups}; send the key to the task that has its group")]
    Elsewhere {
        /// The key's group.
        group: KeyGroup,
        /// The task's groups.
        groups: KeyGroups,
    },
    /// A key or value over its limit. Nothing was done.
    #[error("the {what} has {bytes} bytes, expected at most {bytes_max}; spread it over several keys")]
    TooLarge {
        /// Which of the two.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// Bytes in the table that no state of this type has written.
    #[error(
        "a {what} in the table cannot be read: {error}; others may have written to the job's range before it was owned"
    )]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The key groups are to be empty, and are not. Nothing was changed, but the job owns them now.
    #[error(
        "key groups {groups} are not empty; restore the job from its last checkpoint, or begin with Start::Cleared to \
         remove what is there"
    )]
    NotEmpty {
        /// The task's groups.
        groups: KeyGroups,
    },
    /// What the task had not flushed is lost, or another task has taken its place: end it. Only a checkpoint leads back.
    #[error("the task has lost its state: {0}; end it, and restore the job from its last checkpoint")]
    Lost(Error),
    /// The table could not be read, or the checkpoint not be made. The task has what it had, and may try again.
    #[error(transparent)]
    Table(#[from] Error),
}

impl StateError {
    pub(super) const fn damaged(what: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |error| Self::Damaged { what, error }
    }

    /// Whether a newer attempt of the job has taken the task's place.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Lost(error) if error.kind() == lentic_types::ErrorKind::Fenced)
    }
}
