//! The bytes of commands, in the log, and of outcomes, in the kept answers.
//!
//! ```text
//! command    01 epoch n request*         of the group's own shard
//!            02 shard epoch n request*   of a branch's, which rides in the group
//! request    version key action
//! key        00 | 01 client sequence acked-below issued
//! action     01 fence n condition* n operation*          write
//!            07 fence n condition* n range-read* n operation*       write with ranges
//!            08 txn n participant* n part*               prepare
//!            0d txn n participant* take                  prepare of a take
//!            0e take
//!            09 txn decision                             decide
//!            0a txn decision                             resolve
//!            0b txn                                      status
//!            0c refusal                                  decline; a refusal as in outcomes
//!            0f version revision n pin*                  raise watermark; 05 was the same without pins
//!            10 shard table version revision             branch
//!            11 shard                                    drop branch
//!            16 token range                              release; 03 was the same of all that the token owned
//!            17 key child n node*                        split
//! part       fence n condition* n range-read* n operation*
//! range-read range version
//! pin        the first version, then by how much each is above the one before
//! txn        id (24 bytes) until anchor-table anchor-key
//! take       range owner force n (range version)*       the last: what goes back, and where to
//! fence      00 | 01 token
//! condition  tag key …     01 exists, 02 absent, 03 version is (version), 04 value is (value), 05 unchanged since (version)
//! operation  tag …         01 put (key value), 02 put until (key value expiry), 03 delete (key), 04 delete range (range),
//!                          05 merge (key operator operand), 06 merge until (key operator operand expiry)
//! range      00 start | 01 start end
//! outcome    01 version    committed         02 token     taken          03          released
//!            05 version    raised
//!            10 position found               condition failed; found: 00 | 01 version
//!            11 fence                        fenced        12 owner      owned        13 position   wrong kind
//!            14 position   too large         15 version   too old        16 version   too new
//!            17 position   conflict
//! ```
//!
//! The actions 02 and 04 and the outcome 04 were those of taking a range without and with going back, and stay taken.
//!
//! What only travels between nodes and is never kept (`codec/steps.rs`) has tags from 0x20 on.
//!
//! Tags and flags are one byte, operators one byte, numbers varints, names and values byte strings with their length.
//! A decoder takes nothing on trust: unknown tags are refused, counts are checked against the input before memory is
//! asked for, and keys and values are slices of the entry.

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{ClientId, Epoch, Expiry, KeyRange, NodeId, ShardId, TableId, Version};

use super::answers::RequestKey;
use super::command::{
    Action, Back, Branch, Command, Condition, Decide, Expected, Operation, Prepare, RaiseWatermark, RangeRead, Release,
    Request, Resolve, Split, Take, Write,
};
use super::fences::Token;
use super::open_txns::{
    decode_decision, decode_participants, decode_ref, encode_decision, encode_participants, encode_ref,
};
use super::outcome::{Decision, Outcome, Refusal};
use super::pins::{decode_rising, encode_rising};

mod steps;

const FORMAT: u8 = 0x01;
const FORMAT_OF_RIDER: u8 = 0x02;

impl Command {
    /// The bytes of an entry of the group's own shard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_for(None)
    }

    /// The bytes of an entry of the group's own shard, or of one that rides there.
    #[must_use]
    pub fn encode_for(&self, rider: Option<ShardId>) -> Vec<u8> {
        // At once: growing would copy what is there, and of a large entry more than once.
        let mut out = Vec::with_capacity(self.room().1);
        match rider {
            None => out.push(FORMAT),
            Some(rider) => {
                out.push(FORMAT_OF_RIDER);
                put_varint(&mut out, rider.0);
            }
        }
        put_varint(&mut out, self.epoch.0);
        put_varint(&mut out, self.requests.len() as u64);
        self.requests.iter().for_each(|request| request.encode(&mut out));
        out
    }

    /// Decodes the bytes of an entry of the group's own shard. An error means damage, or an entry of a newer release: stop the
    /// group.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        match Self::decode_for(input)? {
            (None, command) => Ok(command),
            (Some(_), _) => Err(DecodeError::Invalid { field: "entry of the group's own shard" }),
        }
    }

    /// Decodes the bytes of an entry, and of which rider it is. Errors are as those of [`Self::decode`].
    pub fn decode_for(input: &Bytes) -> Result<(Option<ShardId>, Self), DecodeError> {
        let mut decoder = Decoder::new(input);
        let rider = match decoder.reader.u8("command format")? {
            FORMAT => None,
            FORMAT_OF_RIDER => Some(ShardId(decoder.reader.varint("rider")?)),
            tag => return Err(DecodeError::UnknownTag { field: "command format", tag }),
        };
        let epoch = Epoch(decoder.reader.varint("epoch")?);
        let requests = decoder.list(3, "requests", Decoder::request)?;
        decoder.reader.finish("command")?;
        Ok((rider, Self { epoch, requests }))
    }
}

impl Request {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.0);
        encode_request_key(out, self.key.as_ref());
        self.action.encode(out);
    }
}

impl Action {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Write(write) if write.ranges.is_empty() => {
                out.push(0x01);
                write.encode(out);
            }
            Self::Write(write) => {
                out.push(0x07);
                write.encode_part(out);
            }
            Self::Take(take) => {
                out.push(0x0e);
                encode_take(out, take);
            }
            Self::Release(Release { range, token }) => {
                out.push(0x16);
                put_varint(out, token.0.0);
                encode_range(out, range);
            }
            Self::RaiseWatermark(RaiseWatermark { to, revision, pins }) => {
                out.push(0x0f);
                put_varint(out, to.0);
                put_varint(out, *revision);
                encode_rising(out, pins);
            }
            Self::Branch(Branch { shard, table, version, revision }) => {
                out.push(0x10);
                [shard.0, u64::from(table.0), version.0, *revision].into_iter().for_each(|it| put_varint(out, it));
            }
            Self::DropBranch(shard) => {
                out.push(0x11);
                put_varint(out, shard.0);
            }
            Self::Split(Split { at, child, voters }) => {
                out.push(0x17);
                put_bytes(out, at);
                put_varint(out, child.0);
                put_varint(out, voters.len() as u64);
                voters.iter().for_each(|node| put_varint(out, node.0));
            }
            Self::Decline(refusal) => {
                out.push(0x0c);
                refusal.encode(out);
            }
            Self::Prepare(Prepare { txn, participants, take: Some(take), parts: _ }) => {
                out.push(0x0d);
                encode_ref(out, txn);
                encode_participants(out, participants);
                encode_take(out, take);
            }
            Self::Prepare(Prepare { txn, participants, parts, take: None }) => {
                out.push(0x08);
                encode_ref(out, txn);
                encode_participants(out, participants);
                put_varint(out, parts.len() as u64);
                parts.iter().for_each(|part| part.encode_part(out));
            }
            Self::Decide(Decide { txn, decision }) => {
                out.push(0x09);
                encode_ref(out, txn);
                encode_decision(out, Some(*decision));
            }
            Self::Resolve(Resolve { txn, decision }) => {
                out.push(0x0a);
                encode_ref(out, txn);
                encode_decision(out, Some(*decision));
            }
            Self::Status(txn) => {
                out.push(0x0b);
                encode_ref(out, txn);
            }
        }
    }
}

pub(super) fn encode_request_key(out: &mut Vec<u8>, key: Option<&RequestKey>) {
    out.push(u8::from(key.is_some()));
    if let Some(RequestKey { client, sequence, acked_below, issued }) = key {
        [client.0, *sequence, *acked_below, issued.0].into_iter().for_each(|number| put_varint(out, number));
    }
}

pub(super) fn decode_request_key(reader: &mut Reader<'_>) -> Result<Option<RequestKey>, DecodeError> {
    if !reader.bool("request key")? {
        return Ok(None);
    }
    Ok(Some(RequestKey {
        client: ClientId(reader.varint("client")?),
        sequence: reader.varint("sequence")?,
        acked_below: reader.varint("acknowledged sequence")?,
        issued: Version(reader.varint("tick of issue")?),
    }))
}

impl Write {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_token(out, self.fence);
        self.encode_conditions(out);
        self.encode_operations(out);
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_token(out, self.fence);
        self.encode_conditions(out);
        put_varint(out, self.ranges.len() as u64);
        for RangeRead { range, since } in &self.ranges {
            encode_range(out, range);
            put_varint(out, since.0);
        }
        self.encode_operations(out);
    }

    fn encode_conditions(&self, out: &mut Vec<u8>) {
        put_varint(out, self.conditions.len() as u64);
        for Condition { key, expected } in &self.conditions {
            let tag = match expected {
                Expected::Exists => 0x01,
                Expected::Absent => 0x02,
                Expected::VersionIs(_) => 0x03,
                Expected::ValueIs(_) => 0x04,
                Expected::UnchangedSince(_) => 0x05,
            };
            out.push(tag);
            put_bytes(out, key);
            match expected {
                Expected::Exists | Expected::Absent => {}
                Expected::VersionIs(version) | Expected::UnchangedSince(version) => put_varint(out, version.0),
                Expected::ValueIs(value) => put_bytes(out, value),
            }
        }
    }

    fn encode_operations(&self, out: &mut Vec<u8>) {
        put_varint(out, self.operations.len() as u64);
        self.operations.iter().for_each(|operation| operation.encode(out));
    }
}

impl Operation {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put { key, value, expiry } => {
                out.push(if expiry.is_some() { 0x02 } else { 0x01 });
                put_bytes(out, key);
                put_bytes(out, value);
                expiry.iter().for_each(|expiry| put_varint(out, expiry.0));
            }
            Self::Delete { key } => {
                out.push(0x03);
                put_bytes(out, key);
            }
            Self::DeleteRange { range } => {
                out.push(0x04);
                encode_range(out, range);
            }
            Self::Merge { key, operator, operand, expiry } => {
                out.push(if expiry.is_some() { 0x06 } else { 0x05 });
                put_bytes(out, key);
                out.push(*operator as u8);
                put_bytes(out, operand);
                expiry.iter().for_each(|expiry| put_varint(out, expiry.0));
            }
        }
    }
}

/// Appends a range.
pub fn encode_range(out: &mut Vec<u8>, range: &KeyRange) {
    out.push(u8::from(range.end().is_some()));
    put_bytes(out, range.start());
    range.end().into_iter().for_each(|end| put_bytes(out, end));
}

/// Reads a range, copying its keys.
pub fn decode_range(reader: &mut Reader<'_>) -> Result<KeyRange, DecodeError> {
    let has_end = reader.bool("range")?;
    let start = Bytes::copy_from_slice(reader.bytes("start of range")?);
    let end = if has_end { Some(Bytes::copy_from_slice(reader.bytes("end of range")?)) } else { None };
    KeyRange::new(start, end).map_err(|_| DecodeError::Invalid { field: "range" })
}

/// Appends what is to be taken.
pub(super) fn encode_take(out: &mut Vec<u8>, Take { range, owner, force, back }: &Take) {
    encode_range(out, range);
    put_bytes(out, owner);
    out.push(u8::from(*force));
    put_varint(out, back.len() as u64);
    for Back { range, to } in back {
        encode_range(out, range);
        put_varint(out, to.0);
    }
}

fn encode_token(out: &mut Vec<u8>, token: Option<Token>) {
    out.push(u8::from(token.is_some()));
    token.iter().for_each(|token| put_varint(out, token.0.0));
}

fn decode_token(reader: &mut Reader<'_>) -> Result<Option<Token>, DecodeError> {
    Ok(if reader.bool("fence")? { Some(Token(Version(reader.varint("token")?))) } else { None })
}

/// Reads an entry whose keys and values stay where they are.
pub(super) struct Decoder<'a> {
    input: &'a Bytes,
    pub(super) reader: Reader<'a>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a Bytes) -> Self {
        Self { input, reader: Reader::new(input) }
    }

    /// A counted list of things of at least `bytes_each` bytes.
    pub(super) fn list<T>(
        &mut self,
        bytes_each: usize,
        field: &'static str,
        one: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.reader.count(bytes_each, field)?;
        // Not all at once: a thing in memory is larger than its shortest encoding.
        let mut all = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let bytes = self.reader.bytes(field)?;
        Ok(self.input.slice_ref(bytes))
    }

    fn version(&mut self, field: &'static str) -> Result<Version, DecodeError> {
        Ok(Version(self.reader.varint(field)?))
    }

    fn request(&mut self) -> Result<Request, DecodeError> {
        let version = self.version("version of request")?;
        let key = decode_request_key(&mut self.reader)?;
        Ok(Request { version, key, action: self.action()? })
    }

    pub(super) fn action(&mut self) -> Result<Action, DecodeError> {
        Ok(match self.reader.u8("action")? {
            0x01 => Action::Write(Write {
                fence: decode_token(&mut self.reader)?,
                conditions: self.list(2, "conditions", Self::condition)?,
                ranges: Vec::new(),
                operations: self.list(2, "operations", Self::operation)?,
            }),
            0x07 => match self.part()? {
                part if part.ranges.is_empty() => return Err(DecodeError::Invalid { field: "write with ranges" }),
                part => Action::Write(part),
            },
            0x08 => Action::Prepare(Prepare {
                txn: decode_ref(&mut self.reader)?,
                participants: decode_participants(&mut self.reader)?,
                parts: self.list(4, "parts of transaction", Self::part)?,
                take: None,
            }),
            0x0d => Action::Prepare(Prepare {
                txn: decode_ref(&mut self.reader)?,
                participants: decode_participants(&mut self.reader)?,
                parts: Vec::new(),
                take: Some(Box::new(self.take()?)),
            }),
            0x0e => Action::Take(self.take()?),
            0x09 => Action::Decide(Decide { txn: decode_ref(&mut self.reader)?, decision: self.decision()? }),
            0x0a => Action::Resolve(Resolve { txn: decode_ref(&mut self.reader)?, decision: self.decision()? }),
            0x0b => Action::Status(decode_ref(&mut self.reader)?),
            0x0f => Action::RaiseWatermark(RaiseWatermark {
                to: self.version("watermark")?,
                revision: self.reader.varint("revision of pins")?,
                pins: decode_rising(&mut self.reader)?,
            }),
            0x10 => Action::Branch(Branch {
                shard: ShardId(self.reader.varint("shard of branch")?),
                table: TableId(
                    u32::try_from(self.reader.varint("table of branch")?)
                        .map_err(|_| DecodeError::Invalid { field: "table of branch" })?,
                ),
                version: self.version("version of branch")?,
                revision: self.reader.varint("revision of catalog")?,
            }),
            0x11 => Action::DropBranch(ShardId(self.reader.varint("shard of branch")?)),
            0x17 => Action::Split(Split {
                at: self.bytes("key of split")?,
                child: ShardId(self.reader.varint("child of split")?),
                voters: self
                    .list(1, "voters of child", |decoder| Ok(NodeId(decoder.reader.varint("voter of child")?)))?,
            }),
            0x16 => {
                let token = Token(self.version("token")?);
                Action::Release(Release { range: decode_range(&mut self.reader)?, token })
            }
            0x0c => {
                let tag = self.reader.u8("refusal")?;
                Action::Decline(Refusal::decode(tag, &mut self.reader)?)
            }
            tag => return Err(DecodeError::UnknownTag { field: "action", tag }),
        })
    }

    pub(super) fn take(&mut self) -> Result<Take, DecodeError> {
        let (range, owner) = (decode_range(&mut self.reader)?, self.bytes("owner")?);
        let force = self.reader.bool("force")?;
        Ok(Take { range, owner, force, back: self.list(3, "ranges that go back", Self::back)? })
    }

    fn back(&mut self) -> Result<Back, DecodeError> {
        Ok(Back { range: decode_range(&mut self.reader)?, to: self.version("version to go back to")? })
    }

    fn part(&mut self) -> Result<Write, DecodeError> {
        Ok(Write {
            fence: decode_token(&mut self.reader)?,
            conditions: self.list(2, "conditions", Self::condition)?,
            ranges: self.list(3, "ranges", Self::range_read)?,
            operations: self.list(2, "operations", Self::operation)?,
        })
    }

    fn range_read(&mut self) -> Result<RangeRead, DecodeError> {
        Ok(RangeRead { range: decode_range(&mut self.reader)?, since: self.version("version of read")? })
    }

    fn decision(&mut self) -> Result<Decision, DecodeError> {
        decode_decision(&mut self.reader)?.ok_or(DecodeError::Invalid { field: "decision" })
    }

    fn condition(&mut self) -> Result<Condition, DecodeError> {
        let tag = self.reader.u8("condition")?;
        let key = self.bytes("key of condition")?;
        let expected = match tag {
            0x01 => Expected::Exists,
            0x02 => Expected::Absent,
            0x03 => Expected::VersionIs(self.version("expected version")?),
            0x04 => Expected::ValueIs(self.bytes("expected value")?),
            0x05 => Expected::UnchangedSince(self.version("version of read")?),
            tag => return Err(DecodeError::UnknownTag { field: "condition", tag }),
        };
        Ok(Condition { key, expected })
    }

    pub(super) fn operation(&mut self) -> Result<Operation, DecodeError> {
        match self.reader.u8("operation")? {
            tag @ (0x01 | 0x02) => {
                let (key, value) = (self.bytes("key")?, self.bytes("value")?);
                Ok(Operation::Put { key, value, expiry: self.expiry(tag == 0x02)? })
            }
            0x03 => Ok(Operation::Delete { key: self.bytes("key")? }),
            0x04 => Ok(Operation::DeleteRange { range: decode_range(&mut self.reader)? }),
            tag @ (0x05 | 0x06) => {
                let key = self.bytes("key")?;
                let operator = self.reader.u8("merge operator")?;
                let operator = MergeOperator::from_tag(operator)
                    .ok_or(DecodeError::UnknownTag { field: "merge operator", tag: operator })?;
                let operand = self.bytes("operand")?;
                Ok(Operation::Merge { key, operator, operand, expiry: self.expiry(tag == 0x06)? })
            }
            tag => Err(DecodeError::UnknownTag { field: "operation", tag }),
        }
    }

    fn expiry(&mut self, is_given: bool) -> Result<Option<Expiry>, DecodeError> {
        Ok(if is_given { Some(Expiry(self.reader.varint("expiry")?)) } else { None })
    }
}

impl Outcome {
    /// Appends the bytes of an answer that is kept.
    ///
    /// # Panics
    /// For refusals that are not final: they are never kept.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (tag, number) = match self {
            Self::Committed { version } => (0x01, version.0),
            Self::Taken { token } => (0x02, token.0.0),
            Self::Released => return out.push(0x03),
            Self::Raised { watermark } => (0x05, watermark.0),
            Self::Refused(refusal) => return refusal.encode(out),
            Self::Prepared(_) | Self::Decided(_) | Self::Resolved | Self::Status(_) => {
                unreachable!("how a transaction stands is not kept as an answer")
            }
        };
        out.push(tag);
        put_varint(out, number);
    }

    /// Reads the bytes of a kept answer.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = reader.u8("outcome")?;
        if tag >= 0x10 {
            return Ok(Self::Refused(Refusal::decode(tag, reader)?));
        }
        let mut version = || Ok(Version(reader.varint("version of outcome")?));
        match tag {
            0x01 => Ok(Self::Committed { version: version()? }),
            0x02 => Ok(Self::Taken { token: Token(version()?) }),
            0x03 => Ok(Self::Released),
            0x05 => Ok(Self::Raised { watermark: version()? }),
            tag => Err(DecodeError::UnknownTag { field: "outcome", tag }),
        }
    }
}

impl Refusal {
    fn encode(&self, out: &mut Vec<u8>) {
        let (tag, number) = match self {
            Self::ConditionFailed { position, found } => {
                out.push(0x10);
                put_varint(out, u64::from(*position));
                return encode_token(out, found.map(Token));
            }
            Self::Fenced { newest } => {
                out.push(0x11);
                return encode_token(out, *newest);
            }
            Self::Owned { owner } => {
                out.push(0x12);
                return put_bytes(out, owner);
            }
            Self::WrongKind { position } => (0x13, u64::from(*position)),
            Self::TooLarge { position } => (0x14, u64::from(*position)),
            Self::VersionTooOld { watermark } => (0x15, watermark.0),
            Self::VersionTooNew { newest } => (0x16, newest.0),
            Self::Conflict { position } => (0x17, u64::from(*position)),
            Self::Invalid(_)
            | Self::AnswerForgotten
            | Self::WrongEpoch { .. }
            | Self::OutOfRange
            | Self::Blocked { .. }
            | Self::TxnEnded
            | Self::LocksFull => unreachable!("refusals that are not final are not kept"),
        };
        out.push(tag);
        put_varint(out, number);
    }

    fn decode(tag: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let position = |reader: &mut Reader<'_>| {
            u32::try_from(reader.varint("position")?).map_err(|_| DecodeError::Invalid { field: "position" })
        };
        Ok(match tag {
            0x10 => {
                let position = position(reader)?;
                Self::ConditionFailed { position, found: decode_token(reader)?.map(|token| token.0) }
            }
            0x11 => Self::Fenced { newest: decode_token(reader)? },
            0x12 => Self::Owned { owner: Bytes::copy_from_slice(reader.bytes("owner")?) },
            0x13 => Self::WrongKind { position: position(reader)? },
            0x14 => Self::TooLarge { position: position(reader)? },
            0x15 => Self::VersionTooOld { watermark: Version(reader.varint("watermark")?) },
            0x16 => Self::VersionTooNew { newest: Version(reader.varint("newest stamp")?) },
            0x17 => Self::Conflict { position: position(reader)? },
            tag => return Err(DecodeError::UnknownTag { field: "outcome", tag }),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
