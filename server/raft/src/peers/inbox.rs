//! A group's share of what comes in: bounded, so that one slow group holds up nobody else.
//!
//! Requests go to openraft in the order in which they came, without waiting for the outcome of those before; replies
//! find their request by number.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lentic_net::Class;
use lentic_proto::internal as wire;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::AppendEntriesResponse;
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use wire::message::Body;

use super::messages::{self, Malformed};
use super::network::APPENDS_IN_FLIGHT;
use crate::stats::{Counters, add};
use crate::types::{Fatal, Raft};

/// Appends of one group that wait, beside those that openraft has. A leader has no more under way; an earlier leader may
/// have left some.
const APPENDS_WAITING: usize = 2 * APPENDS_IN_FLIGHT;
/// Votes and heartbeats that wait.
const CONTROLS_WAITING: usize = 64;
/// Requests that openraft has and has not answered.
const ANSWERING_MAX: usize = 4 * APPENDS_IN_FLIGHT;

/// A request with where its reply goes.
pub(crate) struct Incoming {
    pub(crate) body: Body,
    pub(crate) reply: ReplyTo,
}

/// Where a reply goes. Replies never wait: one that the other end does not take is dropped, and asked for again.
#[derive(Clone)]
pub(crate) struct ReplyTo {
    pub(crate) group: u64,
    pub(crate) id: u64,
    pub(crate) replies: mpsc::Sender<wire::Message>,
    pub(crate) counters: Arc<Counters>,
}

impl ReplyTo {
    pub(crate) fn send(self, body: Body) {
        let message = wire::Message { group: self.group, id: self.id, body: Some(body) };
        if self.replies.try_send(message).is_err() {
            add(&self.counters.replies_dropped, 1);
        }
    }

    pub(crate) fn refuse(self, reason: impl Into<String>) {
        add(&self.counters.refused, 1);
        self.send(Body::Refusal(reason.into()));
    }
}

/// Where a group's requests are put. Clones are the same inbox.
#[derive(Clone)]
pub(crate) struct Inbox {
    appends: mpsc::Sender<Incoming>,
    controls: mpsc::Sender<Incoming>,
}

/// What is in an inbox, for its group.
pub(crate) struct Waiting {
    appends: mpsc::Receiver<Incoming>,
    controls: mpsc::Receiver<Incoming>,
}

impl Inbox {
    pub(crate) fn new() -> (Self, Waiting) {
        let (appends, appends_waiting) = mpsc::channel(APPENDS_WAITING);
        let (controls, controls_waiting) = mpsc::channel(CONTROLS_WAITING);
        (Self { appends, controls }, Waiting { appends: appends_waiting, controls: controls_waiting })
    }

    /// Puts a request in, or refuses it if the group is behind.
    pub(crate) fn put(&self, class: Class, incoming: Incoming) {
        let queue = match class {
            Class::Append => &self.appends,
            _ => &self.controls,
        };
        if let Err(refused) = queue.try_send(incoming) {
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => "the group is behind with earlier requests; send again",
                mpsc::error::TrySendError::Closed(_) => "the group stops here",
            };
            refused.into_inner().reply.refuse(reason);
        }
    }
}

/// Answers what comes into the inbox, until the group is removed from the host.
///
/// `joins`: while nothing of the group is here, only a snapshot may bring it.
pub(crate) async fn answer(raft: Raft, mut waiting: Waiting, joins: bool) {
    let mut answering = FuturesUnordered::new();
    let metrics = raft.metrics();
    let has_nothing = || joins && metrics.borrow_watched().last_applied.is_none();
    loop {
        let room = answering.len() < ANSWERING_MAX;
        tokio::select! { biased;
            Some(()) = answering.next(), if !answering.is_empty() => {}
            Some(incoming) = waiting.controls.recv(), if room => {
                if let Some(incoming) = admit(has_nothing(), incoming) {
                    answering.push(start(&raft, incoming));
                }
            }
            Some(incoming) = waiting.appends.recv(), if room => {
                if let Some(incoming) = admit(has_nothing(), incoming) {
                    answering.push(start(&raft, incoming));
                }
            }
            else => return,
        }
    }
}

/// Refuses what a replica that has nothing of the group must not take.
fn admit(has_nothing: bool, incoming: Incoming) -> Option<Incoming> {
    let brings_the_first = match &incoming.body {
        Body::Append(append) => append.previous.is_none() && !append.entries.is_empty(),
        Body::Vote(_) | Body::PreVote(_) | Body::Transfer(_) => true,
        _ => false,
    };
    if has_nothing && brings_the_first {
        incoming.reply.refuse("this replica begins with nothing and waits for a snapshot");
        return None;
    }
    Some(incoming)
}

/// Polled first in the order of the calls, and then hands the request to openraft at once: unconstrained, it does not
/// give way before that.
fn start(raft: &Raft, Incoming { body, reply }: Incoming) -> impl Future<Output = ()> + use<> {
    let raft = raft.clone();
    unconstrained(async move {
        match handle(&raft, body).await {
            Ok(body) => reply.send(body),
            Err(reason) => reply.refuse(reason),
        }
    })
}

async fn handle(raft: &Raft, body: Body) -> Result<Body, String> {
    let malformed = |error: Malformed| error.to_string();
    match body {
        Body::Append(append) => {
            let request = messages::append_from_wire(append).map_err(malformed)?;
            let previous = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id).or(previous);
            let response = raft.append_entries(request).await.map_err(stopped)?;
            let outcome = match response {
                // Nothing comes before the first entry, so nothing can contradict it.
                AppendEntriesResponse::Conflict if previous.is_none() => return Err(malformed(Malformed("previous"))),
                response => response.into_stream_result(previous, last),
            };
            Ok(Body::AppendReply(messages::outcome_to_wire(&outcome)))
        }
        Body::Vote(ballot) => {
            let request = messages::ballot_from_wire(ballot).map_err(malformed)?;
            let reply = raft.vote(request).await.map_err(stopped)?;
            Ok(Body::VoteReply(messages::ballot_reply_to_wire(&reply)))
        }
        Body::PreVote(ballot) => {
            let request = messages::ballot_from_wire(ballot).map_err(malformed)?;
            let reply = raft.pre_vote(request).await.map_err(stopped)?;
            Ok(Body::PreVoteReply(messages::ballot_reply_to_wire(&reply)))
        }
        Body::Transfer(transfer) => {
            let request = messages::transfer_from_wire(transfer).map_err(malformed)?;
            let outcome = raft.handle_transfer_leader(request).await.map_err(|fatal: Fatal| stopped(fatal))?;
            let refused = outcome.err().map(|error| error.to_string());
            Ok(Body::TransferReply(wire::TransferReply { refused }))
        }
        Body::Confirm(wire::Confirm {}) => {
            let vote = raft.with_raft_state(|state| messages::vote_to_wire(state.vote_ref())).await;
            Ok(Body::ConfirmReply(vote.map_err(stopped)?))
        }
        _ => Err("expected a request of a group on this kind of link".to_owned()),
    }
}

fn stopped(error: impl std::fmt::Display) -> String {
    format!("the group has stopped here: {error}")
}
