//! The records of the log.
//!
//! | kind | number | body |
//! |---|---|---|
//! | entry | 1 | group 8, index 8, the entry |
//! | save | 2 | group 8, the group's saved state |
//! | truncate | 3 | group 8, first index that is gone 8 |
//! | purge | 4 | group 8, last index that is gone 8, the marker |
//! | remove | 5 | group 8 |
//! | release | 6 | first segment that is still needed 4 |
//!
//! Numbers are never reused. An unknown number under a right checksum was written by a newer release and is refused.

use super::{Seed, Sequence, narrow};
use lentic_types::codec::{DecodeError, Reader};
use lentic_types::{GroupId, Index};

/// Bytes of a record before its body.
pub(crate) const RECORD_HEADER_BYTES: usize = 9;
/// Bytes of an entry's record beside the entry itself.
pub(crate) const ENTRY_FRAME_BYTES: usize = RECORD_HEADER_BYTES + 16;

const ENTRY: u8 = 1;
const SAVE: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const REMOVE: u8 = 5;
const RELEASE: u8 = 6;

/// One change of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// An entry of a group, next after the group's last.
    Entry { group: GroupId, index: Index, data: &'a [u8] },
    /// What the group keeps beside its entries, such as its vote; replaces what was saved before.
    Save { group: GroupId, data: &'a [u8] },
    /// The group's entries at and after `from` are gone.
    Truncate { group: GroupId, from: Index },
    /// The group's entries up to and with `through` are gone.
    Purge { group: GroupId, through: Index, marker: &'a [u8] },
    /// Everything of the group is gone.
    Remove { group: GroupId },
    /// No segment before `below` is needed any more; each one from there on is.
    Release { below: Sequence },
}

impl<'a> Record<'a> {
    /// Appends the record to `out`.
    pub(crate) fn encode(&self, seed: Seed, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        let kind = match *self {
            Self::Entry { group, index, data } => {
                out.extend_from_slice(&group.0.to_be_bytes());
                out.extend_from_slice(&index.0.to_be_bytes());
                out.extend_from_slice(data);
                ENTRY
            }
            Self::Save { group, data } => {
                out.extend_from_slice(&group.0.to_be_bytes());
                out.extend_from_slice(data);
                SAVE
            }
            Self::Truncate { group, from } => {
                out.extend_from_slice(&group.0.to_be_bytes());
                out.extend_from_slice(&from.0.to_be_bytes());
                TRUNCATE
            }
            Self::Purge { group, through, marker } => {
                out.extend_from_slice(&group.0.to_be_bytes());
                out.extend_from_slice(&through.0.to_be_bytes());
                out.extend_from_slice(marker);
                PURGE
            }
            Self::Remove { group } => {
                out.extend_from_slice(&group.0.to_be_bytes());
                REMOVE
            }
            Self::Release { below } => {
                out.extend_from_slice(&below.0.to_be_bytes());
                RELEASE
            }
        };
        let length = narrow(out.len() - start - RECORD_HEADER_BYTES);
        out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
        out[start + 8] = kind;
        let crc = seed.crc(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Bytes that [`Self::encode`] appends.
    pub(crate) fn encoded_bytes(&self) -> usize {
        RECORD_HEADER_BYTES
            + match self {
                Self::Entry { data, .. } => 16 + data.len(),
                Self::Save { data, .. } => 8 + data.len(),
                Self::Truncate { .. } => 16,
                Self::Purge { marker, .. } => 16 + marker.len(),
                Self::Remove { .. } => 8,
                Self::Release { .. } => 4,
            }
    }

    /// Reads one record off the front of `reader`.
    ///
    /// # Errors
    /// [`RecordError::Broken`] if the bytes are not what was written: torn, stale or damaged, as the place decides.
    /// [`RecordError::Foreign`] if the checksum is right and this release still cannot read it.
    pub(crate) fn decode(reader: &mut Reader<'a>, seed: Seed) -> Result<Self, RecordError> {
        let (kind, body) = checked(reader, seed).map_err(RecordError::Broken)?;
        Self::from_body(kind, body).map_err(RecordError::Foreign)
    }

    fn from_body(kind: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut body = Reader::new(body);
        if kind == RELEASE {
            let below = Sequence(body.u32_be("released segment")?);
            return body.finish("release").map(|()| Self::Release { below });
        }
        let group = GroupId(body.u64_be("group")?);
        match kind {
            ENTRY => Ok(Self::Entry { group, index: Index(body.u64_be("index")?), data: body.rest() }),
            SAVE => Ok(Self::Save { group, data: body.rest() }),
            TRUNCATE => {
                let from = Index(body.u64_be("index")?);
                body.finish("truncate").map(|()| Self::Truncate { group, from })
            }
            PURGE => Ok(Self::Purge { group, through: Index(body.u64_be("index")?), marker: body.rest() }),
            REMOVE => body.finish("remove").map(|()| Self::Remove { group }),
            tag => Err(DecodeError::UnknownTag { field: "record", tag }),
        }
    }
}

/// Why a record cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// Its checksum or its length is wrong.
    Broken(DecodeError),
    /// It was written so, but not by this release.
    Foreign(DecodeError),
}

/// Takes one record's kind and body, if the checksum agrees.
fn checked<'a>(reader: &mut Reader<'a>, seed: Seed) -> Result<(u8, &'a [u8]), DecodeError> {
    let crc = reader.u32_be("record crc")?;
    let covered = *reader;
    let length = reader.u32_be("record length")? as usize;
    let kind = reader.u8("record kind")?;
    let body = reader.take(length, "record body")?;
    match seed.crc(&covered.rest()[..5 + length]) == crc || lentic_types::mutant!("damage-served") {
        true => Ok((kind, body)),
        false => Err(DecodeError::Invalid { field: "record crc" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_types::ClusterId;
    use proptest::prelude::*;

    fn seed() -> Seed {
        Seed::new(ClusterId(*b"0123456789abcdef"), Sequence(7))
    }

    fn encode(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(seed(), &mut out);
        assert_eq!(out.len(), record.encoded_bytes());
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes() {
        let group = GroupId(0x0102);
        for (record, golden) in [
            (
                Record::Entry { group, index: Index(3), data: b"put" },
                "03c19484000000130100000000000001020000000000000003707574",
            ),
            (Record::Save { group, data: b"vote" }, "eda1c0310000000c020000000000000102766f7465"),
            (Record::Truncate { group, from: Index(4) }, "f5eafc4c000000100300000000000001020000000000000004"),
            (
                Record::Purge { group, through: Index(5), marker: b"id" },
                "d6ccbb740000001204000000000000010200000000000000056964",
            ),
            (Record::Remove { group }, "5a00dfff00000008050000000000000102"),
            (Record::Release { below: Sequence(6) }, "3d643bfb000000040600000006"),
        ] {
            assert_eq!(hex(&encode(&record)), golden, "{record:?}");
        }
    }

    #[test]
    fn a_newer_kind_is_told_from_damage() {
        let mut bytes = encode(&Record::Remove { group: GroupId(1) });
        bytes[8] = 99;
        assert!(matches!(Record::decode(&mut Reader::new(&bytes), seed()), Err(RecordError::Broken(_))));
        let crc = seed().crc(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(Record::decode(&mut Reader::new(&bytes), seed()), Err(RecordError::Foreign(_))));
    }

    fn any_record(kind: u8, group: u64, number: u64, data: &[u8]) -> Record<'_> {
        let group = GroupId(group);
        match kind {
            0 => Record::Entry { group, index: Index(number), data },
            1 => Record::Save { group, data },
            2 => Record::Truncate { group, from: Index(number) },
            3 => Record::Purge { group, through: Index(number), marker: data },
            4 => Record::Remove { group },
            _ => Record::Release { below: Sequence(u32::try_from(number >> 32).unwrap()) },
        }
    }

    proptest! {
        #[test]
        fn round_trip(kind in 0u8..6, group: u64, number: u64, data: Vec<u8>, tail: Vec<u8>) {
            let record = any_record(kind, group, number, &data);
            let mut bytes = encode(&record);
            bytes.extend_from_slice(&tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Record::decode(&mut reader, seed()), Ok(record));
            prop_assert_eq!(reader.rest(), &tail[..]);
        }

        #[test]
        fn a_flip_is_refused(kind in 0u8..6, data: Vec<u8>, at: prop::sample::Index, mask in 1u8..) {
            let mut bytes = encode(&any_record(kind, 1, 2, &data));
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            let broken = matches!(Record::decode(&mut Reader::new(&bytes), seed()), Err(RecordError::Broken(_)));
            prop_assert!(broken);
        }

        #[test]
        fn any_input_is_read_or_refused(input: Vec<u8>, kind: u8) {
            let _ = Record::decode(&mut Reader::new(&input), seed());
            let _ = Record::from_body(kind, &input);
        }
    }
}
