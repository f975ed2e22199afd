//! The bytes of the meta group's state in the store.
//!
//! ```text
//! key (after group and kind)      value
//! 01                              cluster (16 bytes) revision replicas
//! 02                              next node, next table, next shard, next client
//! 03                              end of the oracle's window
//! 04                              revision of pins, floor, pins given
//! 05                              nothing: there while leaders are not balanced
//! 10 node (u64)                   address http-address incarnation (16 bytes)
//! 11 table (u32)                  name options
//! 12 shard (u64)                  table epoch range n node*
//! 13 pin (u64)                    a pin: see pins/codec.rs
//! 15 branch (u32)                 parent (table) version pin
//! 16 shard (u64)                  born n leaving* 00 | 01 split-key child       its shape, if it has one
//! 17 node (u64)                   01 draining | 02 removed                      its state, if it is not active
//!
//! options                         shards n split-point* retention-ms replicas ttl-ms
//! ```
//!
//! Names, addresses and split points are byte strings; other numbers are varints. In keys, numbers are big endian.

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family};
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{ClusterId, Epoch, NodeId, PinId, ShardId, TableId, Version};

use super::catalog::{Node, NodeState, Origin, Shape, ShardPlace, Table};
use super::name::canonical_name;
use super::options::TableOptions;
use super::pins::Pin;
use super::state::{Counters, GROUP};
use crate::shard::{decode_range, encode_range};

/// One row of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Cluster {
        cluster: ClusterId,
        revision: u64,
        replicas: u32,
    },
    Counters(Counters),
    Window(Version),
    Pins {
        revision: u64,
        floor: Version,
        given: u64,
    },
    /// Leaders are not balanced.
    Unbalanced,
    Node(Node),
    Table(Table),
    Shard(ShardPlace),
    Pin(Pin),
    Branch {
        branch: TableId,
        origin: Origin,
    },
    Shape {
        shard: ShardId,
        shape: Shape,
    },
    State {
        node: NodeId,
        state: NodeState,
    },
}

impl Row {
    /// Adds the row to `batch`, in place of one with the same key.
    pub(super) fn put(&self, batch: &mut Batch) {
        let mut value = Vec::new();
        let key = match self {
            Self::Cluster { cluster, revision, replicas } => {
                value.extend_from_slice(&cluster.0);
                put_varint(&mut value, *revision);
                put_varint(&mut value, u64::from(*replicas));
                cluster_key()
            }
            Self::Counters(counters) => {
                let Counters { node, table, shard, client } = *counters;
                [node, u64::from(table), shard, client].into_iter().for_each(|next| put_varint(&mut value, next));
                key(0x02, &[])
            }
            Self::Window(end) => {
                put_varint(&mut value, end.0);
                key(0x03, &[])
            }
            Self::Unbalanced => unbalanced_key(),
            Self::Node(node) => {
                node.encode(&mut value);
                key(0x10, &node.node.0.to_be_bytes())
            }
            Self::Table(table) => {
                table.encode(&mut value);
                table_key(table.table)
            }
            Self::Shard(place) => {
                place.encode(&mut value);
                shard_key(place.shard)
            }
            Self::Pins { revision, floor, given } => {
                [*revision, floor.0, *given].into_iter().for_each(|number| put_varint(&mut value, number));
                key(0x04, &[])
            }
            Self::Pin(pin) => {
                pin.encode(&mut value);
                pin_key(pin.pin)
            }
            Self::Branch { branch, origin } => {
                origin.encode(&mut value);
                branch_key(*branch)
            }
            Self::Shape { shard, shape } => {
                shape.encode(&mut value);
                shape_key(*shard)
            }
            Self::State { node, state } => {
                value.push(state.number());
                state_key(*node)
            }
        };
        batch.put(Family::Sys, &key, &value);
    }

    /// Reads a row; `suffix` is what follows group and kind in its key.
    pub(super) fn decode(suffix: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let (mut name, mut reader) = (Reader::new(suffix), Reader::new(value));
        let row = match name.u8("meta row")? {
            0x01 => Self::Cluster {
                cluster: ClusterId(reader.take(16, "cluster")?.try_into().expect("took 16 bytes")),
                revision: counter(&mut reader, "revision")?,
                replicas: narrow(&mut reader, "replicas")?,
            },
            0x02 => Self::Counters(Counters {
                node: counter(&mut reader, "next node")?,
                table: narrow(&mut reader, "next table")?,
                shard: counter(&mut reader, "next shard")?,
                client: counter(&mut reader, "next client")?,
            }),
            0x03 => Self::Window(Version(reader.varint("end of window")?)),
            0x05 => Self::Unbalanced,
            0x10 => Self::Node(Node::decode(NodeId(name.u64_be("node")?), &mut reader)?),
            0x11 => Self::Table(Table::decode(TableId(name.u32_be("table")?), &mut reader)?),
            0x12 => Self::Shard(ShardPlace::decode(ShardId(name.u64_be("shard")?), &mut reader)?),
            0x04 => Self::Pins {
                revision: counter(&mut reader, "revision of pins")?,
                floor: Version(reader.varint("floor of pins")?),
                given: reader.varint("pins given")?,
            },
            0x13 => Self::Pin(pin_row(Pin::decode(PinId(name.u64_be("pin")?), &mut reader)?)?),
            0x15 => Self::Branch {
                branch: TableId(u32::from_be_bytes(name.take(4, "branch")?.try_into().expect("took 4 bytes"))),
                origin: Origin::decode(&mut reader)?,
            },
            0x16 => Self::Shape { shard: ShardId(name.u64_be("shard")?), shape: Shape::decode(&mut reader)? },
            0x17 => Self::State { node: NodeId(name.u64_be("node")?), state: NodeState::decode(&mut reader)? },
            tag => return Err(DecodeError::UnknownTag { field: "meta row", tag }),
        };
        name.finish("key of meta row")?;
        reader.finish("meta row")?;
        Ok(row)
    }
}

/// The key of the row that every meta group has from its creation on.
pub(super) fn cluster_key() -> Vec<u8> {
    key(0x01, &[])
}

pub(super) fn unbalanced_key() -> Vec<u8> {
    key(0x05, &[])
}

pub(super) fn table_key(table: TableId) -> Vec<u8> {
    key(0x11, &table.0.to_be_bytes())
}

pub(super) fn branch_key(branch: TableId) -> Vec<u8> {
    key(0x15, &branch.0.to_be_bytes())
}

pub(super) fn shard_key(shard: ShardId) -> Vec<u8> {
    key(0x12, &shard.0.to_be_bytes())
}

pub(super) fn shape_key(shard: ShardId) -> Vec<u8> {
    key(0x16, &shard.0.to_be_bytes())
}

pub(super) fn state_key(node: NodeId) -> Vec<u8> {
    key(0x17, &node.0.to_be_bytes())
}

pub(super) fn pin_key(pin: PinId) -> Vec<u8> {
    key(0x13, &pin.0.to_be_bytes())
}

/// A pin that was made: nothing is a pin that could not be asked for.
fn pin_row(pin: Pin) -> Result<Pin, DecodeError> {
    if pin.check().is_err() { Err(DecodeError::Invalid { field: "pin" }) } else { Ok(pin) }
}

fn key(tag: u8, id: &[u8]) -> Vec<u8> {
    sys::key(GROUP, SysKind::Meta, &[&[tag], id].concat())
}

impl Node {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.address.as_bytes());
        put_bytes(out, self.http_address.as_bytes());
        out.extend_from_slice(&self.incarnation);
    }

    pub(super) fn decode(node: NodeId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node,
            address: text(reader, "address")?,
            http_address: text(reader, "http address")?,
            incarnation: reader.take(16, "incarnation")?.try_into().expect("took 16 bytes"),
            state: NodeState::Active,
        })
    }
}

impl Table {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        self.options.encode(out);
    }

    pub(super) fn decode(table: TableId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = text(reader, "table name")?;
        if canonical_name(&name).as_ref() != Ok(&name) {
            return Err(DecodeError::Invalid { field: "table name" });
        }
        let options = TableOptions::decode(reader)?;
        if options.clone().normal().as_ref() != Ok(&options) {
            return Err(DecodeError::Invalid { field: "table options" });
        }
        Ok(Self { table, name, options })
    }
}

impl Origin {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.table.0));
        put_varint(out, self.version.0);
        put_varint(out, self.pin.0);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (table, version) = (TableId(narrow(reader, "parent")?), Version(reader.varint("version of branch")?));
        Ok(Self { table, version, pin: PinId(reader.varint("pin of branch")?) })
    }
}

impl ShardPlace {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.table.0));
        put_varint(out, self.epoch.0);
        encode_range(out, &self.range);
        encode_nodes(out, &self.replicas);
    }

    pub(super) fn decode(shard: ShardId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (table, epoch) = (TableId(narrow(reader, "table")?), Epoch(reader.varint("epoch")?));
        let (range, replicas) = (decode_range(reader)?, decode_nodes(reader)?);
        Ok(Self { shard, table, epoch, range, replicas, shape: Shape::default() })
    }
}

impl TableOptions {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.shards));
        put_varint(out, self.split_points.len() as u64);
        self.split_points.iter().for_each(|point| put_bytes(out, point));
        put_varint(out, self.retention_ms);
        put_varint(out, u64::from(self.replicas));
        put_varint(out, self.ttl_ms);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let shards = narrow(reader, "shards")?;
        let points = reader.count(1, "split points")?;
        let mut split_points = Vec::with_capacity(points.min(1024));
        for _ in 0..points {
            split_points.push(Bytes::copy_from_slice(reader.bytes("split point")?));
        }
        let retention_ms = reader.varint("retention")?;
        let (replicas, ttl_ms) = (narrow(reader, "replicas")?, reader.varint("ttl")?);
        Ok(Self { shards, split_points, retention_ms, replicas, ttl_ms })
    }
}

/// Appends a counted list of nodes.
pub(super) fn encode_nodes(out: &mut Vec<u8>, nodes: &[NodeId]) {
    put_varint(out, nodes.len() as u64);
    nodes.iter().for_each(|node| put_varint(out, node.0));
}

/// Reads a counted list of nodes.
pub(super) fn decode_nodes(reader: &mut Reader<'_>) -> Result<Vec<NodeId>, DecodeError> {
    let count = reader.count(1, "nodes")?;
    let mut nodes = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        nodes.push(NodeId(reader.varint("node")?));
    }
    Ok(nodes)
}

/// Reads a number that only counts up, by one or by a few: it cannot have come near the end of its bits.
fn counter(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, DecodeError> {
    let next = reader.varint(field)?;
    if (1..1 << 62).contains(&next) { Ok(next) } else { Err(DecodeError::Invalid { field }) }
}

/// Reads a varint of at most 32 bits.
pub(super) fn narrow(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint(field)?).map_err(|_| DecodeError::Invalid { field })
}

/// Reads a byte string that is text.
pub(super) fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    String::from_utf8(reader.bytes(field)?.to_vec()).map_err(|_| DecodeError::Invalid { field })
}
