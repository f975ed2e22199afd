//! How far a feed has come, as a few bytes to keep: docs/formats.md has them.
//!
//! ```text
//!   01 │ cluster │ table │ count │ range position │ range position │ … │ crc32
//! ```
//!
//! A token says nothing of shards or nodes, so that any of them can go on from it.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{ClusterId, KeyRange, Position, TableId, Version, limits};

use crate::error::Error;

const FORMAT: u8 = 1;
const CRC_BYTES: usize = 4;
/// What a token begins with as text: no number does.
const TEXT: &str = "feed1-";

/// Where a feed goes on: for each part of its range, what was given of it.
///
/// It is text of some dozen letters for each part, a part for each shard at most, and can be kept as [`Display`](fmt::Display)
/// writes it, or as [`bytes`](Self::to_bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedToken {
    pub(super) cluster: ClusterId,
    pub(super) table: TableId,
    /// In the order of keys, apart from each other, and no two that could be one.
    pub(super) parts: Vec<(KeyRange, Position)>,
}

impl FeedToken {
    /// A token of parts that do not overlap; there is at least one.
    pub(super) fn new(cluster: ClusterId, table: TableId, mut parts: Vec<(KeyRange, Position)>) -> Self {
        parts.sort_by(|(one, _), (other, _)| one.start().cmp(other.start()));
        let mut joined: Vec<(KeyRange, Position)> = Vec::with_capacity(parts.len());
        for (range, position) in parts {
            match joined.last_mut() {
                Some((last, at)) if *at == position && last.end() == Some(range.start()) => {
                    *last = KeyRange::new(last.start().clone(), range.end().cloned()).expect("the parts are in order");
                }
                _ => joined.push((range, position)),
            }
        }
        Self { cluster, table, parts: joined }
    }

    /// The newest version up to which everything was given in all parts.
    #[must_use]
    pub fn resolved(&self) -> Version {
        self.parts.iter().map(|(_, position)| position.complete()).min().unwrap_or_default()
    }

    /// The token's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.cluster.0);
        put_varint(&mut out, u64::from(self.table.0));
        put_varint(&mut out, self.parts.len() as u64);
        for (range, position) in &self.parts {
            out.push(u8::from(range.end().is_some()));
            put_bytes(&mut out, range.start());
            range.end().into_iter().for_each(|end| put_bytes(&mut out, end));
            put_varint(&mut out, position.version.0);
            out.push(u8::from(position.key.is_some()));
            position.key.iter().for_each(|key| put_bytes(&mut out, key));
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// The token that these bytes are.
    ///
    /// # Errors
    /// They are none, or were damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::invalid(format!("this is no token of a feed, or not all of it: {reason}"));
        let Some((body, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else { return Err(damaged("it is too short")) };
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err(damaged("its checksum is not right"));
        }
        let token = decode(body).map_err(|reason| damaged(&reason.to_string()))?;
        let in_order = token.parts.windows(2).all(|pair| pair[0].0.end().is_some_and(|end| end <= pair[1].0.start()));
        let is_joined = Self::new(token.cluster, token.table, token.parts.clone()) == token;
        if token.parts.is_empty() || !in_order || !is_joined {
            return Err(damaged("its ranges are not in order"));
        }
        Ok(token)
    }
}

fn decode(body: &[u8]) -> Result<FeedToken, DecodeError> {
    let mut reader = Reader::new(body);
    match reader.u8("format of the token")? {
        FORMAT => {}
        tag => return Err(DecodeError::UnknownTag { field: "format of the token", tag }),
    }
    let cluster = reader.take(16, "cluster")?.try_into().expect("took sixteen bytes");
    let table = u32::try_from(reader.varint("table")?).map_err(|_| DecodeError::Invalid { field: "table" })?;
    // A part has a flag, an empty key, a version and a flag at least.
    let count = reader.count(4, "parts")?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let has_end = reader.bool("end of range")?;
        let start = key(&mut reader)?;
        let end = if has_end { Some(key(&mut reader)?) } else { None };
        let range = KeyRange::new(start, end).map_err(|_| DecodeError::Invalid { field: "range" })?;
        let version = Version(reader.varint("version")?);
        let key = if reader.bool("key of position")? { Some(key(&mut reader)?) } else { None };
        parts.push((range, Position { version, key }));
    }
    reader.finish("token")?;
    Ok(FeedToken { cluster: ClusterId(cluster), table: TableId(table), parts })
}

fn key(reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    let key = reader.bytes("key")?;
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(DecodeError::Invalid { field: "key" });
    }
    Ok(Bytes::copy_from_slice(key))
}

impl fmt::Display for FeedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TEXT)?;
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for FeedToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let no_token =
            || Error::invalid(format!("a token of a feed is {TEXT} and hex digits; give it as it was shown"));
        let digits = text.strip_prefix(TEXT).filter(|digits| digits.len() % 2 == 0 && digits.is_ascii());
        let digits = digits.ok_or_else(no_token)?.as_bytes();
        let byte = |pair: &[u8]| {
            let digit = |digit: u8| (digit as char).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
            Some(u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).expect("two digits are a byte"))
        };
        let bytes = digits.chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>().ok_or_else(no_token)?;
        Self::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(parts: Vec<(KeyRange, Position)>) -> FeedToken {
        FeedToken::new(ClusterId(*b"the fake cluster"), TableId(7), parts)
    }

    #[test]
    fn golden_bytes() {
        let below = KeyRange::new("", Some("g")).unwrap();
        let above = KeyRange::new("g", None::<Bytes>).unwrap();
        let golden =
            token(vec![(above, Position::within(Version(300), "k".into())), (below, Position::after(Version(5)))]);
        let expected = b"\x01the fake cluster\x07\x02\x01\x00\x01g\x05\x00\x00\x01g\xac\x02\x01\x01k";
        let bytes = golden.to_bytes();
        assert_eq!(bytes[..bytes.len() - CRC_BYTES].escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(FeedToken::from_bytes(&bytes), Ok(golden.clone()));
        assert_eq!(golden.resolved(), Version(5));
        let text = golden.to_string();
        assert!(text.starts_with("feed1-0174686520") && text.len() <= 2 * bytes.len() + TEXT.len(), "{text}");
    }

    #[test]
    fn parts_that_are_as_far_are_one() {
        let ranges = [("", Some("g")), ("p", None), ("g", Some("p"))];
        let parts = ranges.map(|(start, end)| (KeyRange::new(start, end).unwrap(), Position::after(Version(9))));
        assert_eq!(token(parts.to_vec()).parts, [(KeyRange::all(), Position::after(Version(9)))]);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let text = token(vec![(KeyRange::all(), Position::after(Version(9)))]).to_string();
        let upper = text.to_uppercase();
        let cases = ["", "9", "feed1-", "feed1-0", "feed1-zz", "feed2-00", &text[..text.len() - 2], &upper];
        for text in cases {
            let error = text.parse::<FeedToken>().unwrap_err();
            assert_eq!(error.kind(), lentic_types::ErrorKind::Invalid, "{text}: {error}");
        }
        let mut bytes = token(vec![(KeyRange::all(), Position::after(Version(9)))]).to_bytes();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            assert!(FeedToken::from_bytes(&bytes).is_err(), "byte {place} is changed");
            bytes[place] ^= 1;
        }
    }

    proptest! {
        #[test]
        fn any_token_comes_back(
            cuts in proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..4), 1..6),
            positions in proptest::collection::vec((any::<u64>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4))), 6),
        ) {
            let cuts: Vec<_> = cuts.into_iter().collect();
            let ends = cuts[1..].iter().cloned().map(Some).chain([None]);
            let ranges = cuts.iter().zip(ends).map(|(start, end)| KeyRange::new(start.clone(), end).unwrap());
            let positions = positions.into_iter().map(|(version, key)| Position { version: Version(version), key: key.map(Bytes::from) });
            let token = token(ranges.zip(positions).collect());
            prop_assert_eq!(FeedToken::from_bytes(&token.to_bytes()), Ok(token.clone()));
            prop_assert_eq!(token.to_string().parse::<FeedToken>(), Ok(token));
        }

        #[test]
        fn any_bytes_are_a_token_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            bytes.insert(0, FORMAT);
            let crc = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
            if let Ok(token) = FeedToken::from_bytes(&bytes) {
                prop_assert_eq!(token.to_bytes(), bytes);
            }
        }
    }
}
