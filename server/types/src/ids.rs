//! Ids and counters. Each is its own type, so that none can stand where another belongs.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $raw:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A node: one server process with its data directory. Never reused, not even for the same machine.
    NodeId, u64, "n"
);
id!(
    /// A table. It is the first part of every data key, so a shard can change hands without rewriting keys.
    TableId, u32, "t"
);
id!(
    /// A shard: a contiguous key range of one table.
    ShardId, u64, "s"
);
id!(
    /// A Raft group: the one that replicates a shard, or the meta group. A shard's group has the shard's number.
    GroupId, u64, "g"
);
id!(
    /// A client, as issued by the meta group; half of an idempotency key.
    ClientId, u64, "c"
);
id!(
    /// A pin: a name for a version that keeps it from GC. Never reused.
    PinId, u64, "p"
);
id!(
    /// Counts the changes of a shard's shape: splits, moves, merges.
    Epoch, u64, "e"
);
id!(
    /// The position of an entry in a group's log, from 1; 0 stands before the first entry.
    Index, u64, "i"
);

impl Index {
    /// The index after this one.
    ///
    /// # Panics
    /// At the end of the 64-bit range, which no log reaches.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log has fewer than 2^64 entries"))
    }
}

impl From<GroupId> for ShardId {
    fn from(group: GroupId) -> Self {
        Self(group.0)
    }
}

impl From<ShardId> for GroupId {
    fn from(shard: ShardId) -> Self {
        Self(shard.0)
    }
}

/// Names one cluster for its whole life: 16 random bytes, made when the cluster is.
///
/// A node refuses the data, the peers and the clients of any other cluster.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}
