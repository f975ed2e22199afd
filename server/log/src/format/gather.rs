//! A gather: the records of one write and one fdatasync.
//!
//! **A gather is in the log whole or not at all**, and **gather n + 1 is written only after gather n was synced**: a
//! valid gather proves everything before it.

use super::{BLOCK_BYTES, Seed};
use lentic_types::codec::{DecodeError, Reader};

const MAGIC: &[u8; 4] = b"GTHR";

/// Bytes of a gather before its first record.
pub(crate) const GATHER_HEADER_BYTES: usize = 20;

/// What stands before the records of a gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GatherHeader {
    /// Where the gather begins in its file.
    pub(crate) offset: u32,
    /// Bytes of its records.
    pub(crate) bytes: u32,
    /// How many records there are; none in the gather that closes a log.
    pub(crate) records: u32,
}

/// A length inside a segment, as the format stores it.
pub(crate) fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("everything inside a segment is bounded far below 4 GiB")
}

/// The length on disk of a gather with this many bytes of records.
pub(crate) fn gather_bytes(record_bytes: usize) -> u32 {
    narrow(GATHER_HEADER_BYTES + record_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Clears `out` and leaves room for the header: append the records, then call [`finish_gather`].
pub(crate) fn begin_gather(out: &mut Vec<u8>) {
    out.clear();
    out.resize(GATHER_HEADER_BYTES, 0);
}

/// Fills in the header and pads to the block.
pub(crate) fn finish_gather(out: &mut Vec<u8>, seed: Seed, offset: u32, records: u32) {
    let bytes = narrow(out.len() - GATHER_HEADER_BYTES);
    out[..4].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&offset.to_be_bytes());
    out[12..16].copy_from_slice(&bytes.to_be_bytes());
    out[16..20].copy_from_slice(&records.to_be_bytes());
    let crc = seed.crc(&out[8..20]);
    out[4..8].copy_from_slice(&crc.to_be_bytes());
    out.resize(out.len().next_multiple_of(BLOCK_BYTES as usize), 0);
}

impl GatherHeader {
    /// Reads the header of the gather that should begin at `offset`.
    pub(crate) fn decode(input: &[u8], seed: Seed, offset: u32) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        if reader.take(MAGIC.len(), "gather magic")? != MAGIC {
            return Err(DecodeError::Invalid { field: "gather magic" });
        }
        let crc = reader.u32_be("gather crc")?;
        let covered = reader.take(12, "gather header")?;
        if seed.crc(covered) != crc {
            return Err(DecodeError::Invalid { field: "gather crc" });
        }
        let mut fields = Reader::new(covered);
        let header = Self {
            offset: fields.u32_be("offset")?,
            bytes: fields.u32_be("bytes")?,
            records: fields.u32_be("records")?,
        };
        match header.offset == offset {
            true => Ok(header),
            false => Err(DecodeError::Invalid { field: "gather offset" }),
        }
    }

    /// Its length on disk; wider than the field it comes from, which may be anything.
    pub(crate) fn disk_bytes(&self) -> u64 {
        (GATHER_HEADER_BYTES as u64 + u64::from(self.bytes)).next_multiple_of(u64::from(BLOCK_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sequence;
    use super::*;
    use lentic_types::ClusterId;
    use proptest::prelude::*;

    fn seed() -> Seed {
        Seed::new(ClusterId(*b"0123456789abcdef"), Sequence(7))
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        begin_gather(&mut out);
        out.extend_from_slice(b"records");
        finish_gather(&mut out, seed(), 8192, 3);
        assert_eq!(out.len(), 4096);
        assert_eq!(&out[..4], b"GTHR");
        assert_eq!(out[4..8], [234, 33, 134, 74]);
        assert_eq!(out[8..20], [0, 0, 0x20, 0, 0, 0, 0, 7, 0, 0, 0, 3]);
        assert_eq!(&out[20..27], b"records");
        assert!(out[27..].iter().all(|byte| *byte == 0));
        let header = GatherHeader::decode(&out, seed(), 8192).unwrap();
        assert_eq!(header, GatherHeader { offset: 8192, bytes: 7, records: 3 });
        assert!(GatherHeader::decode(&out, seed(), 4096).is_err(), "a gather knows its place");
    }

    proptest! {
        #[test]
        fn any_input_is_read_or_refused(input: Vec<u8>, offset: u32) {
            prop_assert!(GatherHeader::decode(&input, seed(), offset).is_err());
        }

        #[test]
        fn a_flip_is_refused(at in 0usize..20, mask in 1u8..) {
            let mut out = Vec::new();
            begin_gather(&mut out);
            finish_gather(&mut out, seed(), 4096, 0);
            out[at] ^= mask;
            prop_assert!(GatherHeader::decode(&out, seed(), 4096).is_err());
        }
    }
}
