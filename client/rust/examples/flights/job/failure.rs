//! What can go wrong with the jobs.

use lentic_client::state::StateError;
use lentic_client::{Error, ErrorKind};

/// Why a job, or an attempt of it, ended.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A task's state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The cluster failed.
    #[error(transparent)]
    Client(#[from] Error),
    /// What is there is not what must be: no further attempt mends it.
    #[error("{0}")]
    Wrong(String),
}

impl Failure {
    /// Whether the cluster refused it because another attempt has the place.
    pub(crate) fn is_fenced(&self) -> bool {
        self.kind() == Some(ErrorKind::Fenced)
    }

    /// Whether another attempt was faster with the same.
    pub(crate) fn is_outrun(&self) -> bool {
        self.kind() == Some(ErrorKind::ConditionFailed)
    }

    /// Whether another attempt, from the last checkpoint, may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::State(StateError::Lost(_) | StateError::Table(_)) | Self::Client(_) => true,
            Self::State(_) | Self::Wrong(_) => false,
        }
    }

    fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::State(StateError::Lost(error) | StateError::Table(error)) | Self::Client(error) => Some(error.kind()),
            Self::State(_) | Self::Wrong(_) => None,
        }
    }
}
