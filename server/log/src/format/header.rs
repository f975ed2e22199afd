//! The first block of a segment: whose it is, and where the segment before it ends.

use super::{BLOCK_BYTES, Sequence, VERSION};
use lentic_types::ClusterId;
use lentic_types::codec::{DecodeError, Reader};

const MAGIC: &[u8; 8] = b"LENTICLG";
/// What the checksum covers.
const COVERED_BYTES: usize = 44;

/// The segment before another one, and where it ends. **A link is written only after everything before its end was
/// synced**, so what it spans is proven durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) sequence: Sequence,
    pub(crate) end: u32,
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) cluster: ClusterId,
    pub(crate) sequence: Sequence,
    pub(crate) capacity: u32,
    pub(crate) previous: Option<Link>,
}

/// Why a block is not a header of this release.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Written by another release.
    Version(u32),
    /// Not a header, or a damaged one.
    Damaged(DecodeError),
}

impl From<DecodeError> for HeaderError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error)
    }
}

impl SegmentHeader {
    /// The whole first block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let previous = self.previous.unwrap_or(Link { sequence: Sequence(0), end: 0 });
        let mut out = Vec::with_capacity(BLOCK_BYTES as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.cluster.0);
        for field in [self.sequence.0, self.capacity, previous.sequence.0, previous.end] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out.resize(BLOCK_BYTES as usize, 0);
        out
    }

    /// Reads the first block. The version is looked at before the checksum, for another release may lay out the rest
    /// in another way.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(block);
        if reader.take(MAGIC.len(), "magic")? != MAGIC {
            return Err(DecodeError::Invalid { field: "magic" }.into());
        }
        let version = reader.u32_be("version")?;
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let cluster = reader.take(16, "cluster")?.try_into().expect("took sixteen bytes");
        let sequence = Sequence(reader.u32_be("sequence")?);
        let capacity = reader.u32_be("capacity")?;
        let previous = Link { sequence: Sequence(reader.u32_be("previous sequence")?), end: reader.u32_be("end")? };
        if reader.u32_be("header crc")? != crc32fast::hash(&block[..COVERED_BYTES]) {
            return Err(DecodeError::Invalid { field: "header crc" }.into());
        }
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Invalid { field: "header padding" }.into());
        }
        let previous = (previous.sequence.0 > 0).then_some(previous);
        Ok(Self { cluster: ClusterId(cluster), sequence, capacity, previous })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            cluster: ClusterId(*b"0123456789abcdef"),
            sequence: Sequence(7),
            capacity: 1 << 16,
            previous: Some(Link { sequence: Sequence(5), end: 8192 }),
        }
    }

    #[test]
    fn golden_bytes() {
        let block = header().encode();
        assert_eq!(block.len(), 4096);
        assert_eq!(&block[..28], b"LENTICLG\x00\x00\x00\x010123456789abcdef");
        assert_eq!(block[28..44], [0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0x20, 0]);
        assert_eq!(block[44..48], [7, 118, 119, 141]);
        assert!(block[48..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let block = header().encode();
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named_even_if_the_rest_differs() {
        let mut block = header().encode();
        block[11] = 2;
        block[100] = 1;
        assert_eq!(SegmentHeader::decode(&block), Err(HeaderError::Version(2)));
    }

    proptest! {
        #[test]
        fn round_trip(cluster: [u8; 16], sequence in 1u32.., capacity: u32, previous in proptest::option::of((1u32.., any::<u32>()))) {
            let previous = previous.map(|(sequence, end)| Link { sequence: Sequence(sequence), end });
            let header = SegmentHeader { cluster: ClusterId(cluster), sequence: Sequence(sequence), capacity, previous };
            prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn any_input_is_read_or_refused(mut input: Vec<u8>, with_magic: bool) {
            if with_magic {
                input.splice(0..0, *b"LENTICLG\x00\x00\x00\x01");
            }
            prop_assert!(SegmentHeader::decode(&input).is_err());
        }
    }
}
