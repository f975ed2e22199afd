//! The token of a checkpoint: a version of a range, by name. It is handed out and taken back, and kept by the job alone.
//!
//! ```text
//! 01  cluster (16 bytes)  table u32  version u64  fence u64  number u64  crc32 u32 of all before: 49 bytes
//! ```

use bytes::Bytes;
use lentic_types::codec::Reader;
use lentic_types::{ClusterId, TableId, Version};

const FORMAT: u8 = 0x01;
const BYTES: usize = 49;

/// A checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) cluster: ClusterId,
    pub(super) table: TableId,
    /// What it names.
    pub(super) version: Version,
    /// Under which its owner wrote.
    pub(super) fence: Version,
    /// The job's number of it.
    pub(super) number: u64,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(BYTES);
        out.push(FORMAT);
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&self.table.0.to_be_bytes());
        [self.version.0, self.fence.0, self.number].iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out.into()
    }

    /// Reads a token, or says why it is none.
    pub(super) fn decode(token: &[u8]) -> Result<Self, &'static str> {
        const NO_TOKEN: &str =
            "the checkpoint's token is damaged or of another release; give its bytes as they were handed out";
        let (body, sum) = token.split_last_chunk::<4>().ok_or(NO_TOKEN)?;
        if token.len() != BYTES || crc32fast::hash(body) != u32::from_be_bytes(*sum) || body[0] != FORMAT {
            return Err(NO_TOKEN);
        }
        let (cluster, rest) = body[1..].split_first_chunk::<16>().ok_or(NO_TOKEN)?;
        let (table, words) = rest.split_first_chunk::<4>().ok_or(NO_TOKEN)?;
        let mut reader = Reader::new(words);
        let mut word = || reader.u64_be("token").map_err(|_| NO_TOKEN);
        Ok(Self {
            cluster: ClusterId(*cluster),
            table: TableId(u32::from_be_bytes(*table)),
            version: Version(word()?),
            fence: Version(word()?),
            number: word()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let (version, fence) = (Version(0x0102_0304_0506_0708), Version(300));
        Checkpoint { cluster: ClusterId([7; 16]), table: TableId(9), version, fence, number: 12 }
    }

    #[test]
    fn golden_bytes() {
        let bytes = checkpoint().encode();
        let body = [
            &b"\x01"[..],
            &[7; 16],
            b"\0\0\0\x09\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\0\0\0\0\0\0\x01\x2c\0\0\0\0\0\0\0\x0c",
        ];
        assert_eq!(bytes[..BYTES - 4].escape_ascii().to_string(), body.concat().escape_ascii().to_string());
        assert!(bytes.len() <= 64);
        assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let bytes = checkpoint().encode();
        for length in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..length]).is_err(), "the first {length} bytes");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[place] ^= 1;
            assert!(Checkpoint::decode(&damaged).is_err(), "byte {place}");
        }
        assert!(Checkpoint::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}
