//! What a cell of the grid holds, and its bytes.
//!
//! ```text
//! 01 value                                         put
//! 02 expiry value                                  put that ends
//! 03                                               delete
//! 04 operator depth folded-bytes operand           merge operand
//! 05 expiry operator depth folded-bytes operand    merge operand of a value that ends
//! ```
//!
//! Expiry and folded-bytes are varints, operator and depth one byte each; the value and the operand run to the end.
//!
//! **An operand always has its base right below it**: the newest record that was visible when it was written, which is
//! a put or another operand, of the same operator and with a depth one less. (A merge onto nothing is stored as a
//! put.) So a chain has at most [`OPERAND_DEPTH_MAX`] operands and always ends in a put, and its expiry is that of
//! its newest record.

use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::OPERAND_DEPTH_MAX;
use lentic_types::{Expiry, Version};

use crate::merge::MergeOperator;

const PUT: u8 = 0x01;
const PUT_UNTIL: u8 = 0x02;
const DELETE: u8 = 0x03;
const OPERAND: u8 = 0x04;
const OPERAND_UNTIL: u8 = 0x05;

/// The bytes of a delete: what GC leaves of a record that has ended.
pub const DELETE_BYTES: &[u8] = &[DELETE];

/// One record, borrowing its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The key has this value from here on, until its expiry.
    Put {
        /// The value.
        value: &'a [u8],
        /// When the value ends.
        expiry: Option<Expiry>,
    },
    /// The key has no value from here on.
    Delete,
    /// The key's value from here on is the one below with this operand folded in.
    Operand {
        /// The operand and its place in the chain.
        operand: Operand<'a>,
        /// When the value, folded, ends.
        expiry: Option<Expiry>,
    },
}

/// A merge operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand<'a> {
    /// How it folds.
    pub operator: MergeOperator,
    /// Its place in the chain: 1 right above the put.
    pub depth: u8,
    /// An upper bound of the value's bytes when folded up to here: lets a writer keep values bounded without folding.
    pub folded_bytes: u64,
    /// The operand itself.
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put { value, expiry } => {
                put_head(out, PUT, PUT_UNTIL, expiry);
                out.extend_from_slice(value);
            }
            Self::Delete => out.push(DELETE),
            Self::Operand { operand, expiry } => {
                put_head(out, OPERAND, OPERAND_UNTIL, expiry);
                out.extend_from_slice(&[operand.operator as u8, operand.depth]);
                put_varint(out, operand.folded_bytes);
                out.extend_from_slice(operand.bytes);
            }
        }
    }

    /// Decodes a record's bytes. An error means damage, or data of a newer release.
    pub fn decode(input: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let tag = reader.u8("record")?;
        let expiry = match tag {
            PUT_UNTIL | OPERAND_UNTIL => Some(Expiry(reader.varint("expiry of record")?)),
            _ => None,
        };
        match tag {
            PUT | PUT_UNTIL => Ok(Self::Put { value: reader.rest(), expiry }),
            OPERAND | OPERAND_UNTIL => Ok(Self::Operand { operand: Operand::decode(reader)?, expiry }),
            DELETE => reader.finish("delete record").map(|()| Self::Delete),
            tag => Err(DecodeError::UnknownTag { field: "record", tag }),
        }
    }

    /// When the record ends, if ever.
    #[must_use]
    pub const fn expiry(&self) -> Option<Expiry> {
        match self {
            Self::Put { expiry, .. } | Self::Operand { expiry, .. } => *expiry,
            Self::Delete => None,
        }
    }

    /// Whether the record, as the newest one visible, leaves a read at `version` without a value.
    #[must_use]
    pub fn is_gone_at(&self, version: Version) -> bool {
        let version = if lentic_types::mutant!("ttl-late") { version.minus_ms(100) } else { version };
        matches!(self, Self::Delete) || self.expiry().is_some_and(|expiry| expiry.is_over_at(version))
    }
}

impl<'a> Operand<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let tag = reader.u8("merge operator")?;
        let operator = MergeOperator::from_tag(tag).ok_or(DecodeError::UnknownTag { field: "merge operator", tag })?;
        let depth = reader.u8("depth of operand")?;
        if !(1..=OPERAND_DEPTH_MAX).contains(&depth) {
            return Err(DecodeError::Invalid { field: "depth of operand" });
        }
        let folded_bytes = reader.varint("folded bytes of operand")?;
        Ok(Self { operator, depth, folded_bytes, bytes: reader.rest() })
    }
}

fn put_head(out: &mut Vec<u8>, tag: u8, tag_until: u8, expiry: Option<Expiry>) {
    match expiry {
        None => out.push(tag),
        Some(expiry) => {
            out.push(tag_until);
            put_varint(out, expiry.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    #[test]
    fn golden_bytes() {
        let operand = Operand { operator: MergeOperator::Append, depth: 2, folded_bytes: 300, bytes: b"x" };
        let rows: [(Record<'_>, &[u8]); 5] = [
            (Record::Put { value: b"v", expiry: None }, b"\x01v"),
            (Record::Put { value: b"v", expiry: Some(Expiry(300)) }, b"\x02\xac\x02v"),
            (Record::Delete, DELETE_BYTES),
            (Record::Operand { operand, expiry: None }, b"\x04\x07\x02\xac\x02x"),
            (Record::Operand { operand, expiry: Some(Expiry(1)) }, b"\x05\x01\x07\x02\xac\x02x"),
        ];
        for (record, bytes) in rows {
            assert_eq!(encoded(&record), bytes);
            assert_eq!(Record::decode(bytes), Ok(record));
        }
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let rows: [&[u8]; 6] = [b"", b"\x00", b"\x06x", b"\x03x", b"\x04\x07\x00\x01x", b"\x04\xff\x01\x01x"];
        for bytes in rows {
            assert!(Record::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_decoded_or_refused(input: Vec<u8>) {
            if let Ok(record) = Record::decode(&input) {
                prop_assert_eq!(encoded(&record), input.clone());
            }
        }

        #[test]
        fn round_trip(value: Vec<u8>, expiry in proptest::option::of(any::<u64>().prop_map(Expiry)), depth in 1..=OPERAND_DEPTH_MAX, folded_bytes: u64) {
            let operand = Operand { operator: MergeOperator::SetUnion, depth, folded_bytes, bytes: &value };
            for record in [Record::Put { value: &value, expiry }, Record::Operand { operand, expiry }] {
                let bytes = encoded(&record);
                prop_assert_eq!(Record::decode(&bytes), Ok(record));
            }
        }
    }
}
