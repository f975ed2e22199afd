//! The bytes of commands, in the log, and of outcomes, between nodes.
//!
//! ```text
//! command    01 tag …
//!            01 00 | 01 node, address http-address incarnation (16 bytes)      register node
//!            02 name options n node*                                           create table
//!            03 name                                                           drop table
//!            04 version                                                        extend window
//!            05 count                                                          issue clients
//!            06 shard epoch n node*                                            set replicas
//!            07 replicas                                                       set cluster
//!            08 pin lease-ms                                                   create pin; the pin as in its row
//!            09 pin-id version lease-ms                                        renew pin
//!            0a pin-id                                                         release pin
//!            0b version floor                                                  sweep pins
//!            3a 00 | 01                                                         set balance: off, on
//!            10 name parent-name version version nonce (16 bytes)              create branch: its version, and a tick
//!            34 shard epoch from to                                            move replica; from 0: none
//!            35 shard epoch revision                                           settle replicas
//!            38 node state                                                     set node state: 0 active, 1 draining, 2 removed
//!            30 shard epoch key                                                begin split
//!            31 parent child epoch index                                       end split
//! outcome    01 node                  02 table created              03 table n shard*        04 version (window)
//!            05 first count           06 (done)                07 pin-id version        08 floor gone
//!            09 shard (splitting)
//!            10 reason (invalid)      11 reason (name)              12 name (no table)       13 name table (exists)
//!            14 node (none)           15 node (other incarnation)   16 shard (none)          17 epoch
//!            18 (no nodes)            19 of most (too many)         1a version (window too far)
//!            1b name pin-id (exists)  1c pin-id (none)              1d version (too old)     1e version (ahead)
//!            22 name branch (has one)   23 name (pin of branch)
//!            34 shard (under way)   35 node state (not active)      36 node replicas (holds some)
//!            37 left needed (too few nodes)                         38 revision (superseded)
//! ```
//!
//! Tags and flags are one byte, numbers varints, names, addresses and reasons byte strings with their length; options are
//! those of the [`rows`](super::rows). A decoder takes nothing on trust: unknown tags are refused, and counts are checked
//! against the input before memory is asked for.

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{ClientId, Epoch, Index, NodeId, PinId, ShardId, TableId, Version};

use super::catalog::NodeState;
use super::command::MetaCommand;
use super::options::TableOptions;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::pins::Pin;
use super::rows::{decode_nodes, encode_nodes, narrow, text};

const FORMAT: u8 = 0x01;

impl MetaCommand {
    /// The entry's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        match self {
            Self::RegisterNode { node, address, http_address, incarnation } => {
                out.extend_from_slice(&[0x01, u8::from(node.is_some())]);
                node.iter().for_each(|node| put_varint(&mut out, node.0));
                put_bytes(&mut out, address.as_bytes());
                put_bytes(&mut out, http_address.as_bytes());
                out.extend_from_slice(incarnation);
            }
            Self::CreateTable { name, options, avoid } => {
                out.push(0x02);
                put_bytes(&mut out, name.as_bytes());
                options.encode(&mut out);
                encode_nodes(&mut out, avoid);
            }
            Self::DropTable { name } => {
                out.push(0x03);
                put_bytes(&mut out, name.as_bytes());
            }
            Self::ExtendWindow { until } => put_numbers(&mut out, 0x04, &[until.0]),
            Self::IssueClients { count } => put_numbers(&mut out, 0x05, &[u64::from(*count)]),
            Self::SetReplicas { shard, epoch, replicas } => {
                put_numbers(&mut out, 0x06, &[shard.0, epoch.0]);
                encode_nodes(&mut out, replicas);
            }
            Self::MoveReplica { shard, epoch, from, to } => {
                put_numbers(&mut out, 0x34, &[shard.0, epoch.0, from.map_or(0, |from| from.0), to.0]);
            }
            Self::SettleReplicas { shard, epoch, revision } => {
                put_numbers(&mut out, 0x35, &[shard.0, epoch.0, *revision]);
            }
            Self::SetNodeState { node, state } => {
                put_numbers(&mut out, 0x38, &[node.0]);
                out.push(state.number());
            }
            Self::SetCluster { replicas } => put_numbers(&mut out, 0x07, &[u64::from(*replicas)]),
            Self::CreatePin { pin, lease_ms } => {
                out.push(0x08);
                pin.encode(&mut out);
                put_varint(&mut out, *lease_ms);
            }
            Self::RenewPin { pin, now, lease_ms } => put_numbers(&mut out, 0x09, &[pin.0, now.0, *lease_ms]),
            Self::ReleasePin { pin } => put_numbers(&mut out, 0x0a, &[pin.0]),
            Self::SweepPins { now, floor } => put_numbers(&mut out, 0x0b, &[now.0, floor.0]),
            Self::SetBalance { on } => out.extend_from_slice(&[0x3a, u8::from(*on)]),
            Self::BeginSplit { shard, epoch, at } => {
                put_numbers(&mut out, 0x30, &[shard.0, epoch.0]);
                put_bytes(&mut out, at);
            }
            Self::EndSplit { parent, child, epoch, born } => {
                put_numbers(&mut out, 0x31, &[parent.0, child.0, epoch.0, born.0]);
            }
            Self::CreateBranch { name, of, version, now, nonce } => {
                out.push(0x10);
                put_bytes(&mut out, name.as_bytes());
                put_bytes(&mut out, of.as_bytes());
                put_varint(&mut out, version.0);
                put_varint(&mut out, now.0);
                out.extend_from_slice(nonce);
            }
        }
        out
    }

    /// Decodes an entry's bytes. An error means damage, or an entry of a newer release: stop the group.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        match reader.u8("meta command format")? {
            FORMAT => {}
            tag => return Err(DecodeError::UnknownTag { field: "meta command format", tag }),
        }
        let command = Self::decode_tagged(&mut reader)?;
        reader.finish("meta command")?;
        Ok(command)
    }

    fn decode_tagged(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("meta command")? {
            0x01 => Self::RegisterNode {
                node: if reader.bool("node")? { Some(NodeId(reader.varint("node")?)) } else { None },
                address: text(reader, "address")?,
                http_address: text(reader, "http address")?,
                incarnation: reader.take(16, "incarnation")?.try_into().expect("took 16 bytes"),
            },
            0x02 => Self::CreateTable {
                name: text(reader, "table name")?,
                options: TableOptions::decode(reader)?,
                avoid: decode_nodes(reader)?,
            },
            0x03 => Self::DropTable { name: text(reader, "table name")? },
            0x04 => Self::ExtendWindow { until: Version(reader.varint("end of window")?) },
            0x05 => Self::IssueClients { count: narrow(reader, "count")? },
            0x06 => Self::SetReplicas {
                shard: ShardId(reader.varint("shard")?),
                epoch: Epoch(reader.varint("epoch")?),
                replicas: decode_nodes(reader)?,
            },
            0x30 => Self::BeginSplit {
                shard: ShardId(reader.varint("shard")?),
                epoch: Epoch(reader.varint("epoch")?),
                at: Bytes::copy_from_slice(reader.bytes("split key")?),
            },
            0x31 => Self::EndSplit {
                parent: ShardId(reader.varint("parent")?),
                child: ShardId(reader.varint("child")?),
                epoch: Epoch(reader.varint("epoch")?),
                born: Index(reader.varint("born")?),
            },
            0x07 => Self::SetCluster { replicas: narrow(reader, "replicas")? },
            0x08 => Self::CreatePin { pin: Pin::decode(PinId(0), reader)?, lease_ms: reader.varint("lease")? },
            0x09 => Self::RenewPin {
                pin: PinId(reader.varint("pin")?),
                now: Version(reader.varint("time of renewal")?),
                lease_ms: reader.varint("lease")?,
            },
            0x0a => Self::ReleasePin { pin: PinId(reader.varint("pin")?) },
            0x0b => Self::SweepPins {
                now: Version(reader.varint("time of sweep")?),
                floor: Version(reader.varint("floor of pins")?),
            },
            0x3a => Self::SetBalance { on: reader.bool("balance")? },
            0x10 => Self::CreateBranch {
                name: text(reader, "table name")?,
                of: text(reader, "name of parent")?,
                version: Version(reader.varint("version of branch")?),
                now: Version(reader.varint("time of creation")?),
                nonce: reader.take(16, "nonce of branch")?.try_into().expect("took 16 bytes"),
            },
            0x34 => Self::MoveReplica {
                shard: ShardId(reader.varint("shard")?),
                epoch: Epoch(reader.varint("epoch")?),
                from: Some(NodeId(reader.varint("node to leave")?)).filter(|node| node.0 != 0),
                to: NodeId(reader.varint("node")?),
            },
            0x35 => Self::SettleReplicas {
                shard: ShardId(reader.varint("shard")?),
                epoch: Epoch(reader.varint("epoch")?),
                revision: reader.varint("revision")?,
            },
            0x38 => Self::SetNodeState { node: NodeId(reader.varint("node")?), state: any_state(reader)? },
            tag => return Err(DecodeError::UnknownTag { field: "meta command", tag }),
        })
    }
}

impl MetaOutcome {
    /// The bytes in which one node tells another.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Node(node) => put_numbers(&mut out, 0x01, &[node.0]),
            Self::Table { table, created } => {
                put_numbers(&mut out, 0x02, &[u64::from(table.0)]);
                out.push(u8::from(*created));
            }
            Self::Dropped { table, shards } => {
                put_numbers(&mut out, 0x03, &[u64::from(table.0), shards.len() as u64]);
                shards.iter().for_each(|shard| put_varint(&mut out, shard.0));
            }
            Self::Window(end) => put_numbers(&mut out, 0x04, &[end.0]),
            Self::Clients { first, count } => put_numbers(&mut out, 0x05, &[first.0, u64::from(*count)]),
            Self::Done => out.push(0x06),
            Self::Pinned { pin, version } => put_numbers(&mut out, 0x07, &[pin.0, version.0]),
            Self::Swept { floor, gone } => put_numbers(&mut out, 0x08, &[floor.0, *gone]),
            Self::Splitting { child } => put_numbers(&mut out, 0x09, &[child.0]),
            Self::Refused(refusal) => refusal.encode(&mut out),
        }
        out
    }

    /// Decodes an outcome's bytes. An error means that the sender is of a newer release.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let tag = reader.u8("meta outcome")?;
        let outcome = if tag >= 0x10 {
            Self::Refused(MetaRefusal::decode(tag, &mut reader)?)
        } else {
            Self::decode_tagged(tag, &mut reader)?
        };
        reader.finish("meta outcome")?;
        Ok(outcome)
    }

    fn decode_tagged(tag: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            0x01 => Self::Node(NodeId(reader.varint("node")?)),
            0x02 => Self::Table { table: TableId(narrow(reader, "table")?), created: reader.bool("created")? },
            0x03 => {
                let table = TableId(narrow(reader, "table")?);
                let count = reader.count(1, "shards")?;
                let mut shards = Vec::with_capacity(count.min(1024));
                for _ in 0..count {
                    shards.push(ShardId(reader.varint("shard")?));
                }
                Self::Dropped { table, shards }
            }
            0x04 => Self::Window(Version(reader.varint("end of window")?)),
            0x05 => Self::Clients { first: ClientId(reader.varint("first client")?), count: narrow(reader, "count")? },
            0x06 => Self::Done,
            0x07 => {
                Self::Pinned { pin: PinId(reader.varint("pin")?), version: Version(reader.varint("pinned version")?) }
            }
            0x09 => Self::Splitting { child: ShardId(reader.varint("child")?) },
            0x08 => Self::Swept { floor: Version(reader.varint("floor of pins")?), gone: reader.varint("pins gone")? },
            tag => return Err(DecodeError::UnknownTag { field: "meta outcome", tag }),
        })
    }
}

impl MetaRefusal {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut put_text = |tag, text: &str| {
            out.push(tag);
            put_bytes(out, text.as_bytes());
        };
        match self {
            Self::Invalid(reason) => put_text(0x10, reason),
            Self::InvalidName(reason) => put_text(0x11, reason),
            Self::NoSuchTable { name } => put_text(0x12, name),
            Self::TableExists { name, table } => {
                put_text(0x13, name);
                put_varint(out, u64::from(table.0));
            }
            Self::NoSuchNode { node } => put_numbers(out, 0x14, &[node.0]),
            Self::OtherIncarnation { node } => put_numbers(out, 0x15, &[node.0]),
            Self::NoSuchShard { shard } => put_numbers(out, 0x16, &[shard.0]),
            Self::WrongEpoch { epoch } => put_numbers(out, 0x17, &[epoch.0]),
            Self::NoNodes => out.push(0x18),
            Self::TooMany { of, most } => {
                put_text(0x19, of);
                put_varint(out, *most);
            }
            Self::WindowTooFar { most } => put_numbers(out, 0x1a, &[most.0]),
            Self::PinExists { name, pin } => {
                put_text(0x1b, name);
                put_varint(out, pin.0);
            }
            Self::NoSuchPin { pin } => put_numbers(out, 0x1c, &[pin.0]),
            Self::PinTooOld { floor } => put_numbers(out, 0x1d, &[floor.0]),
            Self::VersionAhead { newest } => put_numbers(out, 0x1e, &[newest.0]),
            Self::HasBranch { name, branch } => {
                put_text(0x22, name);
                put_bytes(out, branch.as_bytes());
            }
            Self::PinOfBranch { name } => put_text(0x23, name),
            Self::UnderWay { shard } => put_numbers(out, 0x34, &[shard.0]),
            Self::NotActive { node, state } => {
                put_numbers(out, 0x35, &[node.0]);
                out.push(state.number());
            }
            Self::NodeHolds { node, replicas } => put_numbers(out, 0x36, &[node.0, *replicas]),
            Self::TooFewNodes { left, needed } => put_numbers(out, 0x37, &[*left, *needed]),
            Self::Superseded { revision } => put_numbers(out, 0x38, &[*revision]),
        }
    }

    fn decode(tag: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            0x10 => Self::Invalid(text(reader, "reason")?.into()),
            0x11 => Self::InvalidName(text(reader, "reason")?.into()),
            0x12 => Self::NoSuchTable { name: text(reader, "table name")? },
            0x13 => {
                let name = text(reader, "table name")?;
                Self::TableExists { name, table: TableId(narrow(reader, "table")?) }
            }
            0x14 => Self::NoSuchNode { node: NodeId(reader.varint("node")?) },
            0x15 => Self::OtherIncarnation { node: NodeId(reader.varint("node")?) },
            0x16 => Self::NoSuchShard { shard: ShardId(reader.varint("shard")?) },
            0x17 => Self::WrongEpoch { epoch: Epoch(reader.varint("epoch")?) },
            0x18 => Self::NoNodes,
            0x19 => {
                let of = text(reader, "what is limited")?.into();
                Self::TooMany { of, most: reader.varint("limit")? }
            }
            0x1a => Self::WindowTooFar { most: Version(reader.varint("end of window")?) },
            0x1b => {
                let name = text(reader, "name of snapshot")?;
                Self::PinExists { name, pin: PinId(reader.varint("pin")?) }
            }
            0x1c => Self::NoSuchPin { pin: PinId(reader.varint("pin")?) },
            0x1d => Self::PinTooOld { floor: Version(reader.varint("floor of pins")?) },
            0x1e => Self::VersionAhead { newest: Version(reader.varint("end of window")?) },
            0x22 => Self::HasBranch { name: text(reader, "table name")?, branch: text(reader, "name of branch")? },
            0x23 => Self::PinOfBranch { name: text(reader, "name of branch")? },
            0x34 => Self::UnderWay { shard: ShardId(reader.varint("shard")?) },
            0x35 => Self::NotActive { node: NodeId(reader.varint("node")?), state: any_state(reader)? },
            0x36 => Self::NodeHolds { node: NodeId(reader.varint("node")?), replicas: reader.varint("replicas")? },
            0x37 => Self::TooFewNodes { left: reader.varint("nodes left")?, needed: reader.varint("nodes needed")? },
            0x38 => Self::Superseded { revision: reader.varint("revision")? },
            tag => return Err(DecodeError::UnknownTag { field: "meta refusal", tag }),
        })
    }
}

fn any_state(reader: &mut Reader<'_>) -> Result<NodeState, DecodeError> {
    match reader.rest().first() {
        Some(0) => reader.u8("state of node").map(|_| NodeState::Active),
        _ => NodeState::decode(reader),
    }
}

fn put_numbers(out: &mut Vec<u8>, tag: u8, numbers: &[u64]) {
    out.push(tag);
    numbers.iter().for_each(|number| put_varint(out, *number));
}

#[cfg(test)]
mod tests;
