//! What nodes ask each other.
//!
//! Questions and answers travel as opaque bytes over the control links of replication: a tag, then what the kind adds.
//! They are no part of the wire contract; all nodes of a cluster speak the same release or the one before.

use std::time::Duration;

use bytes::Bytes;
use lentic_machine::oracle::Ticks;
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{Epoch, Index, KeyRange, NodeId, ShardId, TableId, Version};

use crate::disk::Pace;
use crate::meta::pins::PinList;
use crate::report::{Report, Sending, put_sends, read_sends};
use crate::shard::resolved::Settled;

/// A question to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Ticks, of the oracle. The term in which the asker's vote is with the one it asks, if it is.
    Ticks { count: u32, vouched: Option<u64> },
    /// The catalog, if it is newer than a revision; answered when it is, or after a while all the same.
    Catalog { newer_than: u64 },
    /// The revision of the catalog, or of a newer one, as of some moment after the question.
    Revision,
    /// Whether a node knows the catalog of this revision, or a newer one; it waits for it a while.
    Knows { revision: u64 },
    /// The asker is alive, and leads so many shards.
    Alive { leaders: u32 },
    /// Which nodes were heard from lately.
    Nodes,
    /// How quick the disk of the log is there.
    Pace,
    /// The pins of a range, with a floor as high as is wanted, if that may be.
    Pins { table: TableId, range: KeyRange, wanted: Version },
    /// How far shards are resolved that the node leads.
    Settled { shards: Vec<ShardId> },
    /// What the asker leads.
    Led(Report),
    /// The states of shards that are on their way between nodes.
    Sends,
    /// Asks a shard's leader to hand it over.
    HandOver { shard: ShardId, to: NodeId },
    /// How the replica of a shard stands there.
    Member { shard: ShardId },
    /// The members of a shard's group are those of the catalog of this revision: told to the meta group's leader.
    SettleReplicas { shard: ShardId, epoch: Epoch, revision: u64 },
    /// A shard is too large or too busy, and shall be cut at this key: told to the meta group's leader.
    BeginSplit { shard: ShardId, epoch: Epoch, at: Bytes },
    /// A shard has been cut in two, by the entry `born` of its log: told to the meta group's leader.
    EndSplit { parent: ShardId, child: ShardId, epoch: Epoch, born: Index },
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ticks(Ticks),
    /// The catalog, encoded; empty if it has not changed.
    Catalog(Bytes),
    Revision(u64),
    Done,
    /// Nodes, whether they were heard from lately, and how many shards they lead.
    Nodes(Vec<(NodeId, (bool, u32))>),
    Pace(Pace),
    Pins(PinList),
    /// Of shards that the node leads: whoever has applied an entry has all up to a version.
    Settled(Vec<(ShardId, Settled)>),
    /// The states of shards that are on their way.
    Sends(Vec<Sending>),
    /// Whether the replica leads, and what it has applied.
    Member {
        leads: bool,
        applied: Index,
    },
    /// Not here: the meta group's leader, if the node knows it.
    NotLeader(Option<NodeId>),
}

impl Question {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Ticks { count, vouched } => {
                out.push(if vouched.is_some() { 2 } else { 1 });
                put_varint(&mut out, u64::from(*count));
                if let Some(term) = vouched {
                    put_varint(&mut out, *term);
                }
            }
            Self::Catalog { newer_than } => {
                out.push(3);
                put_varint(&mut out, *newer_than);
            }
            Self::Revision => out.push(8),
            Self::Knows { revision } => {
                out.push(9);
                put_varint(&mut out, *revision);
            }
            Self::Alive { leaders } => {
                out.push(4);
                put_varint(&mut out, u64::from(*leaders));
            }
            Self::Nodes => out.push(5),
            Self::Pace => out.push(6),
            Self::Pins { table, range, wanted } => {
                out.push(7);
                put_varint(&mut out, u64::from(table.0));
                put_varint(&mut out, wanted.0);
                put_bytes(&mut out, range.start());
                out.push(u8::from(range.end().is_some()));
                range.end().iter().for_each(|end| put_bytes(&mut out, end));
            }
            Self::Settled { shards } => {
                out.push(20);
                put_varint(&mut out, shards.len() as u64);
                shards.iter().for_each(|shard| put_varint(&mut out, shard.0));
            }
            Self::Led(report) => {
                out.push(50);
                report.put(&mut out);
            }
            Self::Sends => out.push(52),
            Self::HandOver { shard, to } => {
                out.push(51);
                put_varint(&mut out, shard.0);
                put_varint(&mut out, to.0);
            }
            Self::Member { shard } => {
                out.push(43);
                put_varint(&mut out, shard.0);
            }
            Self::SettleReplicas { shard, epoch, revision } => {
                out.push(44);
                [shard.0, epoch.0, *revision].into_iter().for_each(|number| put_varint(&mut out, number));
            }
            Self::BeginSplit { shard, epoch, at } => {
                out.push(46);
                [shard.0, epoch.0].into_iter().for_each(|number| put_varint(&mut out, number));
                put_bytes(&mut out, at);
            }
            Self::EndSplit { parent, child, epoch, born } => {
                out.push(45);
                [parent.0, child.0, epoch.0, born.0].into_iter().for_each(|number| put_varint(&mut out, number));
            }
        }
        out.into()
    }

    pub(crate) fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let question = match reader.u8("question")? {
            1 => Self::Ticks { count: small(reader.varint("count")?)?, vouched: None },
            2 => {
                let count = small(reader.varint("count")?)?;
                Self::Ticks { count, vouched: Some(reader.varint("term")?) }
            }
            3 => Self::Catalog { newer_than: reader.varint("revision")? },
            4 => Self::Alive { leaders: small(reader.varint("leaders")?)? },
            5 => Self::Nodes,
            6 => Self::Pace,
            8 => Self::Revision,
            9 => Self::Knows { revision: reader.varint("revision")? },
            7 => {
                let (table, wanted) =
                    (TableId(small(reader.varint("table")?)?), Version(reader.varint("wanted floor")?));
                let start = input.slice_ref(reader.bytes("start")?);
                let end = if reader.bool("has end")? { Some(input.slice_ref(reader.bytes("end")?)) } else { None };
                let range = KeyRange::new(start, end).map_err(|_| DecodeError::Invalid { field: "range" })?;
                Self::Pins { table, range, wanted }
            }
            20 => {
                let count = reader.count(1, "shards")?;
                let shard = |reader: &mut Reader<'_>| reader.varint("shard").map(ShardId);
                Self::Settled { shards: (0..count).map(|_| shard(&mut reader)).collect::<Result<_, _>>()? }
            }
            50 => Self::Led(Report::read(&mut reader)?),
            51 => Self::HandOver { shard: ShardId(reader.varint("shard")?), to: NodeId(reader.varint("node")?) },
            52 => Self::Sends,
            43 => Self::Member { shard: ShardId(reader.varint("shard")?) },
            44 => Self::SettleReplicas {
                shard: ShardId(reader.varint("shard")?),
                epoch: Epoch(reader.varint("epoch")?),
                revision: reader.varint("revision")?,
            },
            45 => Self::EndSplit {
                parent: ShardId(reader.varint("parent")?),
                child: ShardId(reader.varint("child")?),
                epoch: Epoch(reader.varint("epoch")?),
                born: Index(reader.varint("entry of split")?),
            },
            46 => Self::BeginSplit {
                shard: ShardId(reader.varint("shard")?),
                epoch: Epoch(reader.varint("epoch")?),
                at: input.slice_ref(reader.bytes("key of split")?),
            },
            tag => return Err(DecodeError::UnknownTag { field: "question", tag }),
        };
        reader.finish("question")?;
        Ok(question)
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Ticks(ticks) => {
                out.push(1);
                put_varint(&mut out, ticks.first.0);
                put_varint(&mut out, u64::from(ticks.count));
            }
            Self::Catalog(catalog) => {
                out.push(3);
                put_bytes(&mut out, catalog);
            }
            Self::Revision(revision) => {
                out.push(9);
                put_varint(&mut out, *revision);
            }
            Self::Done => out.push(4),
            Self::Nodes(nodes) => {
                out.push(6);
                put_varint(&mut out, nodes.len() as u64);
                for (NodeId(node), (alive, leaders)) in nodes {
                    put_varint(&mut out, *node);
                    out.push(u8::from(*alive));
                    put_varint(&mut out, u64::from(*leaders));
                }
            }
            Self::Pace(Pace { sync, is_slow }) => {
                out.push(7);
                out.push(u8::from(*is_slow));
                // 0: there was none lately.
                let micros = sync.map_or(0, |sync| u64::try_from(sync.as_micros()).unwrap_or(u64::MAX).max(1));
                put_varint(&mut out, micros);
            }
            Self::Pins(PinList { revision, floor, versions }) => {
                out.push(8);
                let counts = [*revision, floor.0, versions.len() as u64];
                counts.into_iter().for_each(|number| put_varint(&mut out, number));
                versions.iter().for_each(|version| put_varint(&mut out, version.0));
            }
            Self::Settled(shards) => {
                out.push(20);
                put_varint(&mut out, shards.len() as u64);
                for (shard, Settled { index, version }) in shards {
                    [shard.0, index.0, version.0].into_iter().for_each(|number| put_varint(&mut out, number));
                }
            }
            Self::Sends(sends) => {
                out.push(52);
                put_sends(&mut out, sends);
            }
            Self::Member { leads, applied } => {
                out.extend_from_slice(&[43, u8::from(*leads)]);
                put_varint(&mut out, applied.0);
            }
            Self::NotLeader(leader) => {
                out.push(5);
                put_varint(&mut out, leader.map_or(0, |NodeId(node)| node));
            }
        }
        out.into()
    }

    pub(crate) fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let answer = match reader.u8("answer")? {
            1 => {
                let (first, count) = (Version(reader.varint("tick")?), small(reader.varint("count")?)?);
                Self::Ticks(Ticks { first, count })
            }
            3 => Self::Catalog(input.slice_ref(reader.bytes("catalog")?)),
            9 => Self::Revision(reader.varint("revision")?),
            4 => Self::Done,
            5 => Self::NotLeader(Some(NodeId(reader.varint("leader")?)).filter(|node| node.0 != 0)),
            6 => {
                let count = reader.count(3, "nodes")?;
                let node = |reader: &mut Reader<'_>| {
                    let node = NodeId(reader.varint("node")?);
                    Ok((node, (reader.bool("alive")?, small(reader.varint("leaders")?)?)))
                };
                Self::Nodes((0..count).map(|_| node(&mut reader)).collect::<Result<_, DecodeError>>()?)
            }
            7 => {
                let (is_slow, micros) = (reader.bool("slow")?, reader.varint("micros")?);
                Self::Pace(Pace { sync: (micros > 0).then(|| Duration::from_micros(micros)), is_slow })
            }
            8 => {
                let (revision, floor) = (reader.varint("revision")?, Version(reader.varint("floor")?));
                let count = reader.count(1, "pins")?;
                let versions = (0..count).map(|_| reader.varint("pin").map(Version)).collect::<Result<_, _>>()?;
                Self::Pins(PinList { revision, floor, versions })
            }
            20 => {
                let count = reader.count(3, "shards")?;
                let one = |reader: &mut Reader<'_>| {
                    let shard = ShardId(reader.varint("shard")?);
                    let (index, version) = (Index(reader.varint("index")?), Version(reader.varint("version")?));
                    Ok((shard, Settled { index, version }))
                };
                Self::Settled((0..count).map(|_| one(&mut reader)).collect::<Result<_, DecodeError>>()?)
            }
            52 => Self::Sends(read_sends(&mut reader)?),
            43 => Self::Member { leads: reader.bool("leads")?, applied: Index(reader.varint("applied")?) },
            tag => return Err(DecodeError::UnknownTag { field: "answer", tag }),
        };
        reader.finish("answer")?;
        Ok(answer)
    }
}

fn small(number: u64) -> Result<u32, DecodeError> {
    u32::try_from(number).map_err(|_| DecodeError::Invalid { field: "count" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figures;

    #[test]
    fn questions_and_answers_come_back() {
        let sending = Sending { shard: ShardId(3), to: NodeId(2), sent: 300, bytes: u64::MAX, ms: 5 };
        let questions = [
            Question::Ticks { count: 7, vouched: None },
            Question::Ticks { count: 7, vouched: Some(u64::MAX) },
            Question::Catalog { newer_than: u64::MAX },
            Question::Alive { leaders: 3 },
            Question::Nodes,
            Question::Revision,
            Question::Knows { revision: 300 },
            Question::Sends,
            Question::Pace,
            Question::Pins { table: TableId(7), range: KeyRange::all(), wanted: Version(300) },
            Question::Pins { table: TableId(7), range: KeyRange::new("a", Some("c")).unwrap(), wanted: Version::ZERO },
            Question::Settled { shards: vec![ShardId(3), ShardId(u64::MAX)] },
            Question::Led(Report::default()),
            Question::Led(Report {
                is_slow: true,
                led: vec![(ShardId(3), Figures { rate: u64::MAX, bytes: 7 }), (ShardId(4), Figures::default())],
                sends: vec![sending],
            }),
            Question::BeginSplit { shard: ShardId(3), epoch: Epoch(7), at: "k".into() },
            Question::HandOver { shard: ShardId(3), to: NodeId(2) },
        ];
        for question in questions {
            assert_eq!(Question::decode(&question.encode()).unwrap(), question);
        }
        let nodes = vec![(NodeId(1), (true, 4)), (NodeId(9), (false, 0))];
        let answers = [
            Answer::Ticks(Ticks { first: Version(512), count: 3 }),
            Answer::Catalog(Bytes::from_static(b"catalog")),
            Answer::Catalog(Bytes::new()),
            Answer::Done,
            Answer::Revision(u64::MAX),
            Answer::Nodes(nodes),
            Answer::Pace(Pace::default()),
            Answer::Pace(Pace { sync: Some(Duration::from_micros(1)), is_slow: true }),
            Answer::Pins(PinList { revision: 3, floor: Version(300), versions: vec![Version(1), Version(400)] }),
            Answer::Settled(vec![(ShardId(3), Settled { index: Index(7), version: Version(400) })]),
            Answer::Settled(Vec::new()),
            Answer::Sends(Vec::new()),
            Answer::Sends(vec![sending]),
            Answer::NotLeader(Some(NodeId(2))),
            Answer::NotLeader(None),
        ];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
        }
    }

    #[test]
    fn what_no_node_says_is_refused() {
        for bytes in
            [&b""[..], b"\0", b"\x63", b"\x01", b"\x03\xff", b"\x06\xff\xff\xff\xff\x0f", b"\x14\xff\xff\xff\xff\x0f"]
        {
            let bytes = Bytes::copy_from_slice(bytes);
            assert!(Question::decode(&bytes).is_err(), "{bytes:?}");
            assert!(Answer::decode(&bytes).is_err(), "{bytes:?}");
        }
        assert!(Question::decode(&Bytes::from_static(b"\x01\x07\x00")).is_err(), "left over");
    }
}
