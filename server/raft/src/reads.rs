//! Read points: rounds in which a quorum confirms that this node leads, each shared by all who came before it began.

use std::sync::Arc;

use lentic_types::{Index, NodeId};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::error::ReadError;
use crate::stats::{Counters, add};
use crate::types::{Raft, Types, term_of};

/// Reads that wait for their round to begin; more wait with their callers.
const WAITING_MAX: usize = 1_024;

/// A point from which a read sees everything that was acknowledged before the read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIndex {
    /// The term in which this node was confirmed to lead.
    pub term: u64,
    /// Everything up to here is applied here.
    pub index: Index,
}

type Ask = oneshot::Sender<Result<ReadIndex, ReadError>>;

/// Where reads ask for their point. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Reads(mpsc::Sender<Ask>);

impl Reads {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, waiting) = mpsc::channel(WAITING_MAX);
        (Self(asks), waiting)
    }

    /// A point that is not applied yet, perhaps: from a round that begins after this call.
    pub(crate) async fn confirm(&self) -> Result<ReadIndex, ReadError> {
        let stopped = || ReadError::Stopped("it is removed".to_owned());
        let (ask, answer) = oneshot::channel();
        self.0.send(ask).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Runs one round after the other while somebody asks.
pub(crate) async fn rounds(raft: Raft, mut asks: mpsc::Receiver<Ask>, counters: Arc<Counters>) {
    let mut round = Vec::new();
    // Whoever asks while a round runs is in the next.
    while asks.recv_many(&mut round, WAITING_MAX).await > 0 {
        add(&counters.read_rounds, 1);
        add(&counters.reads, round.len());
        let result = match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => {
                let id = linearizer.read_log_id().log_id();
                Ok(ReadIndex { term: term_of(id), index: Index(id.index) })
            }
            Err(error) => Err(refused(error)),
        };
        round.drain(..).for_each(|ask| drop(ask.send(result.clone())));
    }
}

fn refused(error: RaftError<Types, LinearizableReadError<Types>>) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader { leader: forward.leader_id.map(NodeId) }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::NotConfirmed,
        RaftError::Fatal(fatal) => ReadError::Stopped(fatal.to_string()),
    }
}
