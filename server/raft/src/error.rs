//! What can go wrong, and what to do then.

use lentic_types::{GroupId, Index, NodeId};

use crate::machine::Fault;
use crate::options::OptionError;

/// Why a group does not start on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It is running already.
    #[error("{0} runs on this node already")]
    Running(GroupId),
    /// The host is shut down.
    #[error("this node shuts down")]
    ShutDown,
    /// The knobs do not fit each other.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// Entries are gone from the log that the store has not: the store was set back, or is not the one of this log.
    #[error(
        "the store of {group} is durable up to {durable}, but the log is purged through {purged}; start with the store \
         that belongs to the log, or bring this node back empty, under a new node id, from the other replicas"
    )]
    StoreBehindLog {
        /// The group.
        group: GroupId,
        /// What the store would come back with after a crash.
        durable: Index,
        /// The last entry that the log does not have any more.
        purged: Index,
    },
    /// The machine cannot say what it holds.
    #[error("{group}: {fault}")]
    Machine {
        /// The group.
        group: GroupId,
        /// What it says.
        fault: Fault,
    },
    /// Log and machine do not fit each other, or cannot be read.
    #[error("{group}: {reason}")]
    Failed {
        /// The group.
        group: GroupId,
        /// What was found.
        reason: String,
    },
}

/// What became of a command that was not applied here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead in that term, or cannot reach a quorum at present. The command was not appended: it is
    /// safe to submit it elsewhere.
    #[error("this node does not lead the group; {}", hint(*leader))]
    NotLeader {
        /// Who may.
        leader: Option<NodeId>,
    },
    /// Leadership was lost before the outcome was known: the command may be applied now or later, or never. Only a
    /// command that is applied once however often it is submitted may be submitted again.
    #[error("leadership was lost; whether the command is applied is not known")]
    Lost,
    /// Too much waits already. The command was not appended; submit it again when something has been applied. A command
    /// above [`COMMAND_BYTES_MAX`](crate::COMMAND_BYTES_MAX) never fits.
    #[error("{waiting} bytes of commands wait, expected at most {max}; submit again later")]
    Full {
        /// Bytes that wait.
        waiting: usize,
        /// The bound.
        max: usize,
    },
    /// The group has stopped on this node. The command may be applied on others.
    #[error("the group has stopped on this node: {0}")]
    Stopped(String),
}

/// Why there is no read point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead: ask the one who does.
    #[error("this node does not lead the group; {}", hint(*leader))]
    NotLeader {
        /// Who may.
        leader: Option<NodeId>,
    },
    /// No quorum confirmed in time that this node leads: ask again, here or elsewhere.
    #[error("no quorum has confirmed that this node leads; read again")]
    NotConfirmed,
    /// The group has stopped on this node.
    #[error("the group has stopped on this node: {0}")]
    Stopped(String),
}

/// Why a change of the group did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead: ask the one who does.
    #[error("this node does not lead the group; {}", hint(*leader))]
    NotLeader {
        /// Who may.
        leader: Option<NodeId>,
    },
    /// Leadership was lost before the outcome was known: look at the members, and ask again for what should be.
    #[error("leadership was lost; whether the change took place is not known")]
    Lost,
    /// It is not possible, or not now: the message says why.
    #[error("{0}")]
    Refused(String),
    /// The group has stopped on this node.
    #[error("the group has stopped on this node: {0}")]
    Stopped(String),
}

/// Why a question to a node has no answer. The node may have got it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It cannot be reached, or the link broke.
    #[error("{0}")]
    Unreachable(String),
    /// It cannot answer, and says why.
    #[error("{0}")]
    Refused(String),
    /// Nothing came in time.
    #[error("{0} has not answered in time")]
    Timeout(NodeId),
}

fn hint(leader: Option<NodeId>) -> String {
    leader.map_or_else(|| "who does is not known".to_owned(), |leader| format!("ask {leader}"))
}
