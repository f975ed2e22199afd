//! A record's key: table (4 bytes), user key (escaped), version (8 bytes, inverted, so that the newest comes first).
//!
//! ```text
//! 00 00 00 07 │ a p p l e 00 01 │ FF FF FF FF FF FF FF CD      table 7, "apple", version 50
//! └──────── prefix ────────────┘ └──── !version ────────┘
//! ```
//!
//! The *prefix* is all but the version: the same for all records of one user key, and what bloom filters are made of.

use lentic_types::codec::DecodeError;
use lentic_types::{KeyRange, TableId, Version};

use super::escape;
use crate::store::Bounds;

const TABLE_BYTES: usize = 4;
const VERSION_BYTES: usize = 8;

/// Appends the key of `key`'s record at `version`. It is also where a read at `version` seeks to.
pub fn put(out: &mut Vec<u8>, table: TableId, key: &[u8], version: Version) {
    put_prefix(out, table, key);
    put_version(out, version);
}

/// Appends the prefix shared by all records of `key`.
pub fn put_prefix(out: &mut Vec<u8>, table: TableId, key: &[u8]) {
    out.extend_from_slice(&table.0.to_be_bytes());
    escape::put(out, key);
}

/// Appends a version behind a prefix.
pub fn put_version(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(&(!version.0).to_be_bytes());
}

/// The prefix of a data key, without any check of what is in it: for filters, which see every key.
#[must_use]
pub fn prefix(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(VERSION_BYTES)]
}

/// Splits a data key into its prefix and its version.
pub fn split(key: &[u8]) -> Result<(&[u8], Version), DecodeError> {
    let Some((prefix, version)) = key.split_last_chunk::<VERSION_BYTES>() else {
        return Err(DecodeError::Truncated { field: "data key" });
    };
    Ok((prefix, Version(!u64::from_be_bytes(*version))))
}

/// The table and the user key of a prefix.
pub fn decode_prefix(prefix: &[u8]) -> Result<(TableId, Vec<u8>), DecodeError> {
    let Some((table, escaped)) = prefix.split_first_chunk::<TABLE_BYTES>() else {
        return Err(DecodeError::Truncated { field: "table of data key" });
    };
    Ok((TableId(u32::from_be_bytes(*table)), escape::decode(escaped)?))
}

/// Turns a prefix into the bound after all its records.
pub fn make_prefix_end(prefix: &mut [u8]) {
    escape::make_end_bound(prefix);
}

/// The bounds of all records whose user key lies in `range`.
#[must_use]
pub fn bounds(table: TableId, range: &KeyRange) -> Bounds {
    let bound = |key: &[u8]| {
        let mut out = table.0.to_be_bytes().to_vec();
        escape::put_open(&mut out, key);
        out
    };
    let upper = match range.end() {
        Some(end) => Some(bound(end)),
        None => table.0.checked_add(1).map(|next| next.to_be_bytes().to_vec()),
    };
    Bounds::Range { lower: bound(range.start()), upper }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(table: TableId, key: &[u8], version: Version) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, table, key, version);
        out
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(
            encoded(TableId(7), b"a\0", Version(50)),
            b"\x00\x00\x00\x07a\x00\xff\x00\x01\xff\xff\xff\xff\xff\xff\xff\xcd"
        );
    }

    #[test]
    fn the_last_table_has_no_upper_bound() {
        let Bounds::Range { upper, .. } = bounds(TableId(u32::MAX), &KeyRange::all()) else { panic!("a range") };
        assert_eq!(upper, None);
    }

    fn user_key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn round_trip_and_order(a in (0u32..3, user_key(), 0u64..4), b in (0u32..3, user_key(), 0u64..4)) {
            let x = encoded(TableId(a.0), &a.1, Version(a.2));
            let y = encoded(TableId(b.0), &b.1, Version(b.2));
            let newest_first = |k: &(u32, Vec<u8>, u64)| (k.0, k.1.clone(), !k.2);
            prop_assert_eq!(newest_first(&a).cmp(&newest_first(&b)), x.cmp(&y));
            let (prefix, version) = split(&x).unwrap();
            prop_assert_eq!(version, Version(a.2));
            prop_assert_eq!(decode_prefix(prefix), Ok((TableId(a.0), a.1)));
            prop_assert_eq!(super::prefix(&x), prefix);
        }

        #[test]
        fn bounds_hold_the_range_and_nothing_else(
            table in 0u32..3, start in user_key(), end in proptest::option::of(user_key()), key in user_key(), version: u64, other in 0u32..3,
        ) {
            if let Ok(range) = KeyRange::new(start, end) {
                let Bounds::Range { lower, upper } = bounds(TableId(table), &range) else { unreachable!("a range") };
                let record = encoded(TableId(other), &key, Version(version));
                let inside = record >= lower && upper.is_none_or(|upper| record < upper);
                prop_assert_eq!(inside, table == other && range.contains(&key));
            }
        }

        #[test]
        fn any_input_is_decoded_or_refused(input: Vec<u8>) {
            if let Ok((prefix, _)) = split(&input) {
                let _ = decode_prefix(prefix);
            }
        }
    }
}
