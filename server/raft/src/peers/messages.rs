//! From openraft's requests and replies to messages and back. What comes from outside is checked here.

use std::collections::{BTreeMap, BTreeSet};

use lentic_proto::internal as wire;
use openraft::EntryPayload;
use openraft::raft::{StreamAppendError, TransferLeaderRequest};
use wire::append_reply::Reply as AppendReply;
use wire::entry::Payload as WirePayload;

use crate::types::{AppendRequest, Command, Entry, LogId, Membership, Types, Vote, VoteRequest, VoteResponse};
use crate::types::{log_id, term_of};

/// A message that no node of this release sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message without a valid {0}; all nodes of a cluster run the same release")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// How an append ends: the last matching entry, or why it does not go on.
pub(crate) type AppendOutcome = Result<Option<LogId>, StreamAppendError<Types>>;

pub(crate) fn vote_to_wire(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_from_wire(vote: Option<wire::Vote>) -> Result<Vote, Malformed> {
    let wire::Vote { term, node, committed } = vote.ok_or(Malformed("vote"))?;
    Ok(match committed {
        true => Vote::new_committed(term, node),
        false => Vote::new(term, node),
    })
}

fn id_to_wire(id: &LogId) -> wire::LogId {
    wire::LogId { term: term_of(id), index: id.index }
}

fn id_from_wire(id: wire::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn append_to_wire(request: AppendRequest) -> wire::Append {
    wire::Append {
        vote: Some(vote_to_wire(&request.vote)),
        previous: request.prev_log_id.as_ref().map(id_to_wire),
        committed: request.leader_commit.as_ref().map(id_to_wire),
        entries: request.entries.into_iter().map(entry_to_wire).collect(),
    }
}

/// The entries follow `previous` without gaps, or the message is refused: a log that took them would have a hole.
pub(crate) fn append_from_wire(append: wire::Append) -> Result<AppendRequest, Malformed> {
    let vote = vote_from_wire(append.vote)?;
    let prev_log_id = append.previous.map(id_from_wire);
    let mut entries = Vec::with_capacity(append.entries.len());
    let mut last = prev_log_id;
    for entry in append.entries {
        let entry = entry_from_wire(entry)?;
        let follows = entry.log_id.index == last.map_or(0, |last| last.index + 1) && Some(entry.log_id) > last;
        if !follows || term_of(&entry.log_id) > vote.leader_id.term {
            return Err(Malformed("sequence of entries"));
        }
        last = Some(entry.log_id);
        entries.push(entry);
    }
    Ok(AppendRequest { vote, prev_log_id, entries, leader_commit: append.committed.map(id_from_wire) })
}

fn entry_to_wire(entry: Entry) -> wire::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(Command(command)) => Some(WirePayload::Command(command)),
        EntryPayload::Membership(membership) => Some(WirePayload::Membership(membership_to_wire(&membership))),
    };
    wire::Entry { id: Some(id_to_wire(&entry.log_id)), payload }
}

fn entry_from_wire(entry: wire::Entry) -> Result<Entry, Malformed> {
    let id = id_from_wire(entry.id.ok_or(Malformed("log id"))?);
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(WirePayload::Command(command)) => EntryPayload::Normal(Command(command)),
        Some(WirePayload::Membership(membership)) => EntryPayload::Membership(membership_from_wire(membership)?),
    };
    Ok(Entry { log_id: id, payload })
}

fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let set = |set: &BTreeSet<u64>| wire::NodeSet { nodes: set.iter().copied().collect() };
    wire::Membership {
        configs: membership.get_joint_config().iter().map(set).collect(),
        nodes: membership.nodes().map(|(node, ())| *node).collect(),
    }
}

fn membership_from_wire(membership: wire::Membership) -> Result<Membership, Malformed> {
    let sets = membership.configs.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, ()> = membership.nodes.into_iter().map(|node| (node, ())).collect();
    Membership::new(sets, nodes).map_err(|_| Malformed("membership"))
}

pub(crate) fn outcome_to_wire(outcome: &AppendOutcome) -> wire::AppendReply {
    let reply = match outcome {
        Ok(last) => AppendReply::Matched(wire::MatchedUpTo { last: last.as_ref().map(id_to_wire) }),
        Err(StreamAppendError::Conflict(id)) => AppendReply::Conflict(id_to_wire(id)),
        Err(StreamAppendError::HigherVote(vote)) => AppendReply::HigherVote(vote_to_wire(vote)),
    };
    wire::AppendReply { reply: Some(reply) }
}

pub(crate) fn outcome_from_wire(reply: wire::AppendReply) -> Result<AppendOutcome, Malformed> {
    Ok(match reply.reply.ok_or(Malformed("reply"))? {
        AppendReply::Matched(matched) => Ok(matched.last.map(id_from_wire)),
        AppendReply::Conflict(id) => Err(StreamAppendError::Conflict(id_from_wire(id))),
        AppendReply::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_wire(Some(vote))?)),
    })
}

pub(crate) fn ballot_to_wire(request: &VoteRequest) -> wire::Ballot {
    wire::Ballot {
        vote: Some(vote_to_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(id_to_wire),
        transfer: request.leadership_transfer,
    }
}

pub(crate) fn ballot_from_wire(ballot: wire::Ballot) -> Result<VoteRequest, Malformed> {
    let vote = vote_from_wire(ballot.vote)?;
    let mut last = ballot.last.map(id_from_wire);
    if lentic_types::mutant!("vote-for-older-log") {
        last = Some(log_id(vote.leader_id.term.saturating_sub(1), u64::MAX - 1));
    }
    let mut request = VoteRequest::new(vote, last);
    request.leadership_transfer = ballot.transfer;
    Ok(request)
}

pub(crate) fn ballot_reply_to_wire(reply: &VoteResponse) -> wire::BallotReply {
    wire::BallotReply {
        vote: Some(vote_to_wire(&reply.vote)),
        last: reply.last_log_id.as_ref().map(id_to_wire),
        granted: reply.vote_granted,
    }
}

pub(crate) fn ballot_reply_from_wire(reply: wire::BallotReply) -> Result<VoteResponse, Malformed> {
    let (vote, last) = (vote_from_wire(reply.vote)?, reply.last.map(id_from_wire));
    Ok(VoteResponse::new(vote, last, reply.granted))
}

pub(crate) fn transfer_to_wire(request: &TransferLeaderRequest<Types>) -> wire::Transfer {
    wire::Transfer {
        from: Some(vote_to_wire(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(id_to_wire),
    }
}

pub(crate) fn transfer_from_wire(transfer: wire::Transfer) -> Result<TransferLeaderRequest<Types>, Malformed> {
    let (from, last) = (vote_from_wire(transfer.from)?, transfer.last.map(id_from_wire));
    Ok(TransferLeaderRequest::new(from, transfer.to, last))
}
