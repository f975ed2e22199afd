//! What the meta group can be asked to do.

use bytes::Bytes;
use lentic_types::{Epoch, Index, NodeId, PinId, ShardId, Version};

use super::catalog::NodeState;
use super::options::TableOptions;
use super::pins::Pin;

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
    /// Makes a table whose history up to a version is another's. Sent again with the same nonce: the same table.
    CreateBranch {
        /// `name` or `namespace.name`.
        name: String,
        /// The parent's name.
        of: String,
        /// The newest version of the parent that the branch has.
        version: Version,
        /// A tick.
        now: Version,
        /// Made once for one request.
        nonce: [u8; 16],
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
    /// Says that a shard shall have a replica on another node, of a group that has been seen at work. Sent again: no effect.
    MoveReplica {
        /// The shard: none of a branch, which is where its parent's is.
        shard: ShardId,
        /// Its epoch as the sender knows it.
        epoch: Epoch,
        /// The node that shall hold none any more; `None`: the shard gets one more.
        from: Option<NodeId>,
        /// The node that shall hold one: an active one.
        to: NodeId,
    },
    /// Says that the members of a shard's group are those that the catalog names. Sent again: no effect.
    SettleReplicas {
        /// The shard.
        shard: ShardId,
        /// Its epoch as the sender knows it.
        epoch: Epoch,
        /// The catalog that the sender has compared them with. Refused if there is a newer one.
        revision: u64,
    },
    /// Says what a node is used for. Sent again: no effect.
    SetNodeState {
        /// The node.
        node: NodeId,
        /// From removed there is no way back.
        state: NodeState,
    },
    /// Lets a shard be cut in two, which its leader then does. Sent again with the same key before it is done: the same child.
    BeginSplit {
        /// The shard.
        shard: ShardId,
        /// Its epoch as the sender knows it.
        epoch: Epoch,
        /// The first key of the child: within the shard, and not its first.
        at: Bytes,
    },
    /// Says that a shard has been cut in two. Sent again: no effect.
    EndSplit {
        /// The shard, which keeps the keys below.
        parent: ShardId,
        /// The shard that has the others.
        child: ShardId,
        /// The epoch before the split; both have the next one.
        epoch: Epoch,
        /// The entry of the parent's log that has cut it.
        born: Index,
    },
    /// Sets what holds for the whole cluster. Sent again: no effect.
    SetCluster {
        /// How many replicas a shard has if its table does not say.
        replicas: u32,
    },
    /// Says whether leaders are balanced over the nodes. Sent again: no effect.
    SetBalance {
        /// Whether they are.
        on: bool,
    },
    /// Keeps a version of tables or ranges from GC, under a name. Sent again with the same nonce: the same pin, unless it is
    /// gone meanwhile; then another is made, or refused because its version is too old.
    CreatePin {
        /// What it is to be. Its id is given in apply, and the end of its lease is worked out from `lease_ms`.
        pin: Pin,
        /// For how long it is kept from its creation on; 0: until it is released.
        lease_ms: u64,
    },
    /// Begins the lease of a pin anew. Sent again: no effect.
    RenewPin {
        /// The pin.
        pin: PinId,
        /// A tick.
        now: Version,
        /// For how long it is kept from now on; 0: until it is released.
        lease_ms: u64,
    },
    /// Lets go of a pin. Sent again: refused, for there is no such pin any more, and there never will be.
    ReleasePin {
        /// The pin.
        pin: PinId,
    },
    /// Lets go of pins whose lease has ended, and raises the version below which no more are taken. Sent again: no effect.
    SweepPins {
        /// A tick.
        now: Version,
        /// The floor: from now on shards may let go of history below it, but for pins.
        floor: Version,
    },
}
