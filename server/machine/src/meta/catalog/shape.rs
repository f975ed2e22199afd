//! What is under way: of a shard, between what it was and what it shall be; of a node.

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::limits::REPLICAS_MAX;
use lentic_types::{Index, NodeId, ShardId};

use super::{Node, ShardPlace};
use crate::meta::rows::{decode_nodes, encode_nodes};

/// What is under way with a shard, and what came of it; nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Where a split left its marks: a replica that begins with nothing must not be given entries up to this one, but a
    /// snapshot from behind it. 0: none.
    pub born: Index,
    /// Nodes that hold a replica although they shall not: until the members of the shard's group are others.
    pub leaving: Vec<NodeId>,
    /// How it shall be cut.
    pub splitting: Option<Splitting>,
}

/// A split that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splitting {
    /// The first key of the child: within the shard, and not its first.
    pub at: Bytes,
    /// The shard that takes over from there.
    pub child: ShardId,
}

/// What a node is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeState {
    /// It holds replicas, and gets more.
    #[default]
    Active,
    /// It is being emptied.
    Draining,
    /// It is gone for good: its id and its data directory are of no use any more.
    Removed,
}

impl Shape {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing is under way with the shard: what has moved or was cut before is as good as any other.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.leaving.is_empty() && self.splitting.is_none()
    }

    /// Whether it can be that of `place`, whose other fields are sound.
    pub(super) fn fits(&self, place: &ShardPlace) -> bool {
        let is_apart = self.leaving.iter().all(|node| !place.replicas.contains(node));
        let rises = self.leaving.windows(2).all(|pair| pair[0] < pair[1]);
        let is_cut = self.splitting.as_ref().is_none_or(|split| {
            split.child > place.shard && split.at != *place.range.start() && place.range.contains(&split.at)
        });
        self.leaving.len() <= REPLICAS_MAX && is_apart && rises && is_cut
    }

    pub(in crate::meta) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.born.0);
        encode_nodes(out, &self.leaving);
        out.push(u8::from(self.splitting.is_some()));
        if let Some(Splitting { at, child }) = &self.splitting {
            put_bytes(out, at);
            put_varint(out, child.0);
        }
    }

    pub(in crate::meta) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (born, leaving) = (Index(reader.varint("born")?), decode_nodes(reader)?);
        let splitting = match reader.bool("splitting")? {
            true => Some(Splitting {
                at: Bytes::copy_from_slice(reader.bytes("split key")?),
                child: ShardId(reader.varint("child")?),
            }),
            false => None,
        };
        let shape = Self { born, leaving, splitting };
        // One form: what there is nothing of is not written.
        if shape.is_plain() { Err(DecodeError::Invalid { field: "shape" }) } else { Ok(shape) }
    }
}

impl NodeState {
    /// Whether a node that is used so holds replicas and gets more.
    #[must_use]
    pub fn is_active(self) -> bool {
        self == Self::Active
    }

    pub(in crate::meta) const fn number(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::Draining => 1,
            Self::Removed => 2,
        }
    }

    pub(in crate::meta) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // One form: what there is nothing of is not written.
        match reader.u8("state of node")? {
            1 => Ok(Self::Draining),
            2 => Ok(Self::Removed),
            tag => Err(DecodeError::UnknownTag { field: "state of node", tag }),
        }
    }
}

/// Bytes of a node's state in the catalog.
pub(super) fn state_bytes(node: &Node) -> usize {
    if node.state.is_active() { 0 } else { super::bytes_of(node.node.0, |out| out.push(node.state.number())) }
}

/// Bytes of a shard's shape in the catalog.
pub(super) fn shape_bytes(place: &ShardPlace) -> usize {
    if place.shape.is_plain() { 0 } else { super::bytes_of(place.shard.0, |out| place.shape.encode(out)) }
}
