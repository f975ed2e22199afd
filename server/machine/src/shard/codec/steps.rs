//! The bytes of what a transaction's coordinator asks of a shard, and of what it is told: between nodes only.
//!
//! ```text
//! step      01 request-key action
//! told      01 … 17 an outcome that is kept, as there        20 version valid-until                  prepared
//!           21 decision            decided                   22                                      resolved
//!           23 version valid-until n participant*  prepared  24 decision n participant*              decided
//!           25 decision            ended                     26 id (24 bytes)                        blocked
//!           27                     transaction has ended     28                                      locks full
//! ```

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::{TxnId, Version};

use super::{Decoder, FORMAT, decode_request_key, encode_request_key};
use crate::shard::answers::RequestKey;
use crate::shard::command::Action;
use crate::shard::open_txns::{
    decode_decision, decode_participants, decode_until, encode_decision, encode_participants, encode_until,
};
use crate::shard::outcome::{Decision, Outcome, Prepared, Refusal, TxnStatus};

impl Action {
    /// The bytes of an action with its client's key, for the node that leads the shard.
    #[must_use]
    pub fn to_step(&self, key: Option<&RequestKey>) -> Bytes {
        let mut out = vec![FORMAT];
        encode_request_key(&mut out, key);
        self.encode(&mut out);
        out.into()
    }

    /// Reads an action with its client's key. Keys and values are slices of the input.
    ///
    /// # Errors
    /// It is of another release, or damaged.
    pub fn from_step(input: &Bytes) -> Result<(Option<RequestKey>, Self), DecodeError> {
        let mut decoder = Decoder::new(input);
        match decoder.reader.u8("step format")? {
            FORMAT => {}
            tag => return Err(DecodeError::UnknownTag { field: "step format", tag }),
        }
        let key = decode_request_key(&mut decoder.reader)?;
        let action = decoder.action()?;
        decoder.reader.finish("step")?;
        Ok((key, action))
    }
}

impl Outcome {
    /// The bytes of an outcome, for the node that asked. `None` for those that speak of the route only, which have words
    /// of their own.
    #[must_use]
    pub fn to_told(&self) -> Option<Bytes> {
        let mut out = Vec::new();
        match self {
            Self::Prepared(prepared) => {
                out.push(0x20);
                encode_prepared(&mut out, prepared);
            }
            Self::Decided(decision) => {
                out.push(0x21);
                encode_decision(&mut out, Some(*decision));
            }
            Self::Resolved => out.push(0x22),
            Self::Status(status) => encode_status(&mut out, status),
            Self::Refused(Refusal::Blocked { holder }) => {
                out.push(0x26);
                out.extend_from_slice(&holder.to_bytes());
            }
            Self::Refused(Refusal::TxnEnded) => out.push(0x27),
            Self::Refused(Refusal::LocksFull) => out.push(0x28),
            Self::Refused(refusal) if !refusal.is_final() => return None,
            kept => kept.encode(&mut out),
        }
        Some(out.into())
    }

    /// Reads the bytes of an outcome.
    ///
    /// # Errors
    /// They are of another release, or damaged.
    pub fn from_told(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        if input.first().is_some_and(|tag| *tag < 0x20) {
            let outcome = Self::decode(&mut reader)?;
            return reader.finish("outcome").map(|()| outcome);
        }
        let outcome = match reader.u8("outcome")? {
            0x20 => Self::Prepared(decode_prepared(&mut reader)?),
            0x21 => Self::Decided(decision(&mut reader)?),
            0x22 => Self::Resolved,
            0x23 => Self::Status(TxnStatus::Prepared {
                prepared: decode_prepared(&mut reader)?,
                participants: decode_participants(&mut reader)?,
            }),
            0x24 => Self::Status(TxnStatus::Decided {
                decision: decision(&mut reader)?,
                participants: decode_participants(&mut reader)?,
            }),
            0x25 => Self::Status(TxnStatus::Ended(decision(&mut reader)?)),
            0x26 => Refusal::Blocked { holder: TxnId::decode(&mut reader)? }.into(),
            0x27 => Refusal::TxnEnded.into(),
            0x28 => Refusal::LocksFull.into(),
            tag => return Err(DecodeError::UnknownTag { field: "outcome", tag }),
        };
        reader.finish("outcome").map(|()| outcome)
    }
}

fn encode_status(out: &mut Vec<u8>, status: &TxnStatus) {
    match status {
        TxnStatus::Prepared { prepared, participants } => {
            out.push(0x23);
            encode_prepared(out, prepared);
            encode_participants(out, participants);
        }
        TxnStatus::Decided { decision, participants } => {
            out.push(0x24);
            encode_decision(out, Some(*decision));
            encode_participants(out, participants);
        }
        TxnStatus::Ended(decision) => {
            out.push(0x25);
            encode_decision(out, Some(*decision));
        }
    }
}

fn encode_prepared(out: &mut Vec<u8>, prepared: &Prepared) {
    put_varint(out, prepared.version.0);
    encode_until(out, prepared.valid_until);
}

fn decode_prepared(reader: &mut Reader<'_>) -> Result<Prepared, DecodeError> {
    Ok(Prepared { version: Version(reader.varint("version of prepare")?), valid_until: decode_until(reader)? })
}

fn decision(reader: &mut Reader<'_>) -> Result<Decision, DecodeError> {
    decode_decision(reader)?.ok_or(DecodeError::Invalid { field: "decision" })
}
