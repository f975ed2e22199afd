//! openraft's network on the links.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use lentic_net::{BoxFuture, Class};
use lentic_proto::internal::message::Body;
use lentic_types::{GroupId, NodeId};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{SnapshotResponse, StreamAppendResult, TransferLeaderError, TransferLeaderRequest};
use openraft::storage::Snapshot;
use openraft::{OptionalSend, RaftNetworkFactory};

use super::lane::{CallError, CallResult};
use super::messages::{self, AppendOutcome, Malformed};
use super::peer::{Called, Peers};
use crate::snapshot::{Holds, Senders};
use crate::store::SnapshotData;
use crate::types::{AppendRequest, Clid, Types, Vote, VoteRequest, VoteResponse};

/// Appends to one follower of one group that are under way. More hides a longer round trip; the follower's group holds
/// as many.
pub(crate) const APPENDS_IN_FLIGHT: usize = 16;

type RpcError = RPCError<Types>;

/// Makes the connections of one group.
#[derive(Clone)]
pub(crate) struct Factory {
    pub(crate) peers: Arc<Peers>,
    pub(crate) group: GroupId,
    pub(crate) senders: Arc<Senders>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) append_timeout: Duration,
}

/// One group's connection to one node.
pub(crate) struct Connection {
    factory: Factory,
    node: NodeId,
    /// Where appends go: heartbeats do not wait behind entries.
    appends: Class,
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, (): &()) -> Connection {
        Connection { factory: self.clone(), node: NodeId(target), appends: Class::Append }
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Connection {
        Connection { factory: self.clone(), node: NodeId(target), appends: Class::Control }
    }
}

impl Connection {
    async fn control(&self, body: Body) -> CallResult {
        self.factory.peers.call(self.node, Class::Control, self.factory.group.0, body).await
    }

    async fn ballot(&self, body: Body) -> Result<VoteResponse, RpcError> {
        match self.control(body).await.map_err(failed)? {
            Body::VoteReply(reply) | Body::PreVoteReply(reply) => {
                messages::ballot_reply_from_wire(reply).map_err(malformed)
            }
            _ => Err(malformed(Malformed("reply to a vote"))),
        }
    }
}

/// What a stream of appends needs of its connection.
#[derive(Clone)]
struct Appends {
    peers: Arc<Peers>,
    group: GroupId,
    node: NodeId,
    class: Class,
    timeout: Duration,
}

impl Appends {
    async fn send(self, request: AppendRequest) -> Result<Called, CallError> {
        let body = Body::Append(messages::append_to_wire(request));
        self.peers.send(self.node, self.class, self.group.0, body).await
    }

    /// The reply to an append that was sent.
    async fn outcome(self, called: Result<Called, CallError>) -> Result<AppendOutcome, RpcError> {
        let called = called.map_err(failed)?;
        let reply = tokio::time::timeout(self.timeout, called).await.map_err(|_| self.timed_out())?;
        match reply.unwrap_or_else(|_| Err(CallError::Lost("the link is gone".to_owned()))).map_err(failed)? {
            Body::AppendReply(reply) => messages::outcome_from_wire(reply).map_err(malformed),
            _ => Err(malformed(Malformed("reply to an append"))),
        }
    }

    fn timed_out(&self) -> RpcError {
        let (id, target, timeout) = (self.peers.node.0, self.node.0, self.timeout);
        RPCError::Timeout(Timeout { action: RPCTypes::AppendEntries, id, target, timeout })
    }
}

impl NetStreamAppend<Types> for Connection {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let Factory { peers, group, append_timeout, .. } = &self.factory;
        let (peers, group, node, timeout) = (Arc::clone(peers), *group, self.node, *append_timeout);
        let appends = Appends { peers, group, node, class: self.appends, timeout };
        let waiting = appends.clone();
        // One after the other onto the link, so that they arrive in order; then many wait for their replies.
        let sent = input.then(move |request| appends.clone().send(request));
        let replies = sent.map(move |called| waiting.clone().outcome(called)).buffered(APPENDS_IN_FLIGHT);
        // What was sent after an append that failed means nothing any more.
        let until_failure = stream::unfold(Some(Box::pin(replies)), |replies| async move {
            let mut replies = replies?;
            let outcome = replies.next().await?;
            let goes_on = matches!(outcome, Ok(Ok(_)));
            Some((outcome, goes_on.then_some(replies)))
        });
        Box::pin(async move { Ok(until_failure.boxed()) })
    }
}

impl NetVote<Types> for Connection {
    async fn vote(&mut self, request: VoteRequest, _option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.ballot(Body::Vote(messages::ballot_to_wire(&request))).await
    }

    async fn pre_vote(&mut self, request: VoteRequest, _option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.ballot(Body::PreVote(messages::ballot_to_wire(&request))).await
    }
}

impl NetTransferLeader<Types> for Connection {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<Result<(), TransferLeaderError<Types>>, RpcError> {
        match self.control(Body::Transfer(messages::transfer_to_wire(&request))).await.map_err(failed)? {
            Body::TransferReply(reply) => Ok(match reply.refused {
                None => Ok(()),
                Some(_) => {
                    Err(TransferLeaderError::LogNotFlushed { expected: request.last_log_id().copied(), actual: None })
                }
            }),
            _ => Err(malformed(Malformed("reply to a transfer"))),
        }
    }
}

impl NetSnapshot<Types> for Connection {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Clid, u64, (), SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Factory { peers, group, senders, holds, .. } = &self.factory;
        // What comes after the snapshot must be in the log when the follower has it.
        let _hold = holds.hold(self.node, snapshot.meta.last_log_id.map_or(0, |last| last.index));
        tokio::select! { biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = senders.send(peers, *group, self.node, vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(reason) => Err(StreamingError::Unreachable(Unreachable::from_string(reason))),
            },
        }
    }
}

impl NetBackoff<Types> for Connection {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

/// A link that broke is tried again at once; a node that cannot be reached, or refuses, after a while.
fn failed(error: CallError) -> RpcError {
    match error {
        CallError::Lost(reason) => RPCError::Network(NetworkError::from_string(reason)),
        CallError::Unreachable(reason) | CallError::Refused(reason) => {
            RPCError::Unreachable(Unreachable::from_string(reason))
        }
    }
}

fn malformed(error: Malformed) -> RpcError {
    RPCError::Unreachable(Unreachable::from_string(error))
}
