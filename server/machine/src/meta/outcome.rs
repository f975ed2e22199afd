//! What a command is told: the same on every replica.

use std::borrow::Cow;

use lentic_types::{ClientId, Epoch, ErrorKind, NodeId, PinId, ShardId, TableId, Version};

use super::catalog::NodeState;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaOutcome {
    /// The node is known by this id.
    Node(NodeId),
    /// The table is there.
    Table {
        /// The table.
        table: TableId,
        /// Whether it was made now; else it was there with the same options.
        created: bool,
    },
    /// The table is gone from the catalog. Its data is still in the stores of the nodes.
    Dropped {
        /// The table.
        table: TableId,
        /// Its shards, in key order.
        shards: Vec<ShardId>,
    },
    /// The window ends here, at least as far as it was asked to.
    Window(Version),
    /// These ids are the caller's: `first` and the `count - 1` after it.
    Clients {
        /// The first id.
        first: ClientId,
        /// How many.
        count: u32,
    },
    /// The version is kept, under this id.
    Pinned {
        /// The pin.
        pin: PinId,
        /// Its version.
        version: Version,
    },
    /// Pins have gone, and the floor is where it was asked to be, or above.
    Swept {
        /// The floor now.
        floor: Version,
        /// How many pins have gone.
        gone: u64,
    },
    /// The shard shall be split.
    Splitting {
        /// The shard that takes over from the key on.
        child: ShardId,
    },
    /// Done.
    Done,
    /// Nothing was done.
    Refused(MetaRefusal),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaRefusal {
    /// The command breaks a rule whatever the state.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The table cannot be called so.
    #[error("this is no name of a table: {0}; names are `name` or `namespace.name`")]
    InvalidName(Cow<'static, str>),
    /// There is no table of this name.
    #[error("there is no table {name}; create it, or check the name")]
    NoSuchTable {
        /// The name, with its namespace.
        name: String,
    },
    /// There is a table of this name with other options.
    #[error("table {name} exists with other options; choose another name, drop it, or ask for the options that it has")]
    TableExists {
        /// The name, with its namespace.
        name: String,
        /// The table that has it.
        table: TableId,
    },
    /// There is no node of this id.
    #[error("there is no node {node} in this cluster; let the node join without an id")]
    NoSuchNode {
        /// The node.
        node: NodeId,
    },
    /// The node's id belongs to another data directory.
    #[error(
        "node {node} has another data directory than the one that speaks; start it on its own, or join without an id"
    )]
    OtherIncarnation {
        /// The node.
        node: NodeId,
    },
    /// There is no such shard.
    #[error("there is no shard {shard}; refresh the catalog")]
    NoSuchShard {
        /// The shard.
        shard: ShardId,
    },
    /// The shard has changed its shape.
    #[error("the shard is at {epoch} now; refresh the catalog and decide again")]
    WrongEpoch {
        /// The shard's epoch.
        epoch: Epoch,
    },
    /// There is no node that could hold a replica.
    #[error("no node can hold the shards, for none is registered and alive; start one and send again")]
    NoNodes,
    /// The cluster would exceed a limit, or has used up its ids.
    #[error("the cluster would have more than {most} {of}; use fewer")]
    TooMany {
        /// Of what.
        of: Cow<'static, str>,
        /// How many there can be.
        most: u64,
    },
    /// One extension may not leap so far: the clock is wrong, or the cluster was stopped for very long.
    #[error("one extension may raise the window to {most} at most; set the clock right, or extend in several steps")]
    WindowTooFar {
        /// The furthest end that is granted now.
        most: Version,
    },
    /// There is a snapshot of this name, or the request was sent before for another.
    #[error("there is a snapshot {name}; choose another name, or drop it")]
    PinExists {
        /// Its name.
        name: String,
        /// The pin.
        pin: PinId,
    },
    /// There is no pin of this id.
    #[error("there is no pin {pin}: it was released, or its lease has ended; list those that there are")]
    NoSuchPin {
        /// The pin.
        pin: PinId,
    },
    /// History below this version may be gone.
    #[error("the version is below {floor}, from which on history is still kept everywhere; take a newer one")]
    PinTooOld {
        /// The floor.
        floor: Version,
    },
    /// The version was never handed out.
    #[error("the version is above {newest}, and none so new was handed out; ask for one and send again")]
    VersionAhead {
        /// The end of the oracle's window.
        newest: Version,
    },
    /// Branches read through to the table.
    #[error("table {name} has the branch {branch}, which reads what the table held; drop the branch first")]
    HasBranch {
        /// The table, with its namespace.
        name: String,
        /// One of its branches.
        branch: String,
    },
    /// The pin keeps what a branch reads.
    #[error("the pin keeps what the branch {name} reads, and goes with it; drop the branch")]
    PinOfBranch {
        /// The branch.
        name: String,
    },
    /// One change of a shard's replicas or shape at a time.
    #[error("shard {shard} is being moved or split; send again when that is done")]
    UnderWay {
        /// The shard.
        shard: ShardId,
    },
    /// The node gets no replicas, or is gone for good.
    #[error("node {node} {}", about_state(*state))]
    NotActive {
        /// The node.
        node: NodeId,
        /// What it is used for.
        state: NodeState,
    },
    /// The node holds replicas, or they are just leaving it.
    #[error("node {node} holds {replicas} replicas; drain it first, and wait until it holds none")]
    NodeHolds {
        /// The node.
        node: NodeId,
        /// How many.
        replicas: u64,
    },
    /// What the node holds would have no place.
    #[error(
        "without it {left} active nodes would be left, and {needed} are needed for what it holds; let another node join \
         first, or ask for fewer replicas"
    )]
    TooFewNodes {
        /// How many active nodes would be left.
        left: u64,
        /// How many there have to be.
        needed: u64,
    },
    /// The catalog has changed since the sender looked at it.
    #[error("the catalog is at revision {revision} now; look at it and decide again")]
    Superseded {
        /// Its revision.
        revision: u64,
    },
}

const fn about_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "is in use",
        NodeState::Draining => "is being emptied; name another node, or undrain it first",
        NodeState::Removed => "was removed for good; start a node with an empty data directory, and use that one",
    }
}

impl MetaRefusal {
    /// What kind of failure this is for the caller.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::InvalidName(_) | Self::NotActive { .. } | Self::TooFewNodes { .. } => {
                ErrorKind::Invalid
            }
            Self::NoSuchTable { .. } | Self::NoSuchNode { .. } | Self::NoSuchShard { .. } | Self::NoSuchPin { .. } => {
                ErrorKind::NotFound
            }
            Self::TableExists { .. } | Self::OtherIncarnation { .. } | Self::PinExists { .. } => {
                ErrorKind::AlreadyExists
            }
            Self::WrongEpoch { .. } => ErrorKind::WrongEpoch,
            Self::UnderWay { .. } | Self::Superseded { .. } | Self::NoNodes => ErrorKind::Throttled,
            Self::TooMany { .. } => ErrorKind::TooLarge,
            Self::WindowTooFar { .. } | Self::VersionAhead { .. } => ErrorKind::VersionTooNew,
            Self::PinTooOld { .. } => ErrorKind::VersionTooOld,
            Self::NodeHolds { .. } | Self::HasBranch { .. } | Self::PinOfBranch { .. } => ErrorKind::InUse,
        }
    }
}

impl From<MetaRefusal> for MetaOutcome {
    fn from(refusal: MetaRefusal) -> Self {
        Self::Refused(refusal)
    }
}
