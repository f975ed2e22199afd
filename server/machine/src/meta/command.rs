//! What the meta group can be asked to do.

use lentic_types::{Epoch, NodeId, ShardId, Version};

use super::options::TableOptions;

/// One log entry of the meta group.
///
/// Each may be sent again after an unknown outcome. What it then does is said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaCommand {
    /// Makes a node known, or its new addresses. Sent again: the same answer.
    RegisterNode {
        /// `None`: the node has no id yet. One is issued, or the one that was issued to this incarnation before.
        /// `Some`: refused if there is no such node, or if it is another incarnation.
        node: Option<NodeId>,
        /// Where nodes and clients speak to it.
        address: String,
        /// Where its metrics and health are; empty if it serves none.
        http_address: String,
        /// Random bytes that were made once with the data directory, and tell it from every other.
        incarnation: [u8; 16],
    },
    /// Makes a table and places its shards. Sent again with the same options: the same table.
    CreateTable {
        /// `name` or `namespace.name`.
        name: String,
        /// What it is to be.
        options: TableOptions,
        /// Nodes that get no replica: those that the leader believes dead.
        avoid: Vec<NodeId>,
    },
    /// Removes a table and its shards from the catalog. Sent again: refused, for there is no such table any more.
    DropTable {
        /// `name` or `namespace.name`.
        name: String,
    },
    /// Raises the version below which ticks may be handed out; it never goes down. Sent again: no effect.
    ExtendWindow {
        /// The end of the window, exclusive.
        until: Version,
    },
    /// Issues client ids. Sent again: others, and the first are never used.
    IssueClients {
        /// How many.
        count: u32,
    },
    /// Says that a shard has other replicas. It is no change of shape, so the epoch stays. Sent again: no effect.
    SetReplicas {
        /// The shard.
        shard: ShardId,
        /// Its epoch as the sender knows it.
        epoch: Epoch,
        /// The nodes, the preferred leader first.
        replicas: Vec<NodeId>,
    },
    /// Sets what holds for the whole cluster. Sent again: no effect.
    SetCluster {
        /// How many replicas a shard has if its table does not say.
        replicas: u32,
    },
}
