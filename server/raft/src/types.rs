//! The types that openraft is used with.
//!
//! A term has one leader (`leader_id_std`), so a term names a leadership and a log id is (term, index). Replies are
//! erased: the consensus code is compiled once, for all machines.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch};
use openraft::type_config::alias;
use openraft::vote::leader_id_std;
use openraft::{EntryPayload, RaftTypeConfig};

use crate::responder::Answering;
use crate::runtime::Runtime;

/// What openraft is used with.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = Reply;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, ()>;
    type Entry = openraft::Entry<Clid, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Answering<T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// What a log id says of the leader: the term.
pub(crate) type Clid = leader_id_std::CommittedLeaderId<u64>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, ()>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Fatal = openraft::errors::Fatal<Types>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<Types>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<Types>;

/// The log id of an entry of `term` at `index`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The term of the leader that wrote the entry.
pub(crate) fn term_of(id: &LogId) -> u64 {
    **id.committed_leader_id()
}

/// A command as the machine gets it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A machine's reply to a command, of the type that its group knows; none for an entry without one.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) Option<Box<dyn Any + Send + Sync>>);
pub(crate) type Raft = openraft::Raft<Types, crate::store::Store>;
