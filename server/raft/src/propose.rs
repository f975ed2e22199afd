//! Commands on their way: from submission to the machine's reply.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use lentic_types::limits::ENTRY_BYTES_MAX;
use lentic_types::{Index, NodeId};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Semaphore, oneshot};

use crate::error::ProposeError;
use crate::format::ENTRY_HEAD_BYTES;
use crate::responder::Answering;
use crate::types::{Clid, Command, Raft, Reply, Types};

/// Bounds the commands of a group that wait, in bytes.
pub(crate) struct Room {
    permits: Arc<Semaphore>,
    max: usize,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let max = bytes_max.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(max)), max }
    }

    /// Makes a responder that holds the room of a command.
    fn responder<T>(&self, bytes: usize) -> Result<(Answering<T>, oneshot::Receiver<T>), ProposeError> {
        // At least one, so that the number of empty commands is bounded, too.
        let permits = u32::try_from(bytes.clamp(1, self.max)).expect("the room fits 32 bits");
        let permit = Arc::clone(&self.permits)
            .try_acquire_many_owned(permits)
            .map_err(|_| ProposeError::Full { waiting: self.max - self.permits.available_permits(), max: self.max })?;
        Ok(Answering::new(Some(permit)))
    }
}

/// A command that is enqueued; awaiting it gives its position and the machine's reply. Dropped, it is applied all the
/// same.
#[derive(Debug)]
pub struct Pending<R> {
    outcome: oneshot::Receiver<ClientWriteResult<Types>>,
    reply: PhantomData<fn() -> R>,
}

/// Largest command in bytes: an entry without its head.
pub const COMMAND_BYTES_MAX: usize = ENTRY_BYTES_MAX - ENTRY_HEAD_BYTES;

/// Enqueues a command of the leader of `term`.
pub(crate) async fn submit<R>(raft: &Raft, room: &Room, term: u64, command: Bytes) -> Result<Pending<R>, ProposeError> {
    if command.len() > COMMAND_BYTES_MAX {
        return Err(ProposeError::Full { waiting: command.len(), max: COMMAND_BYTES_MAX });
    }
    let (responder, outcome) = room.responder(command.len())?;
    let write = raft.write(Command(command)).responder(responder).with_leader(Clid::new(term));
    write.await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
    Ok(Pending { outcome, reply: PhantomData })
}

impl<R: 'static> Future for Pending<R> {
    type Output = Result<(Index, R), ProposeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(context).map(|outcome| match outcome {
            Ok(Ok(response)) => Ok((Index(response.log_id.index), downcast(response.data))),
            Ok(Err(error)) => Err(refused(error)),
            // The group stopped while the command was under way.
            Err(_) => Err(ProposeError::Lost),
        })
    }
}

fn downcast<R: 'static>(reply: Reply) -> R {
    let reply = reply.0.and_then(|reply| reply.downcast().ok());
    *reply.expect("a group's machine replies to its commands in its own type")
}

fn refused(error: ClientWriteError<Types>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposeError::NotLeader { leader: forward.leader_id.map(NodeId) },
        ClientWriteError::LogEntryDiscarded(_) => ProposeError::Lost,
        error => ProposeError::Stopped(error.to_string()),
    }
}
