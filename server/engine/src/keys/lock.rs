//! A lock's key: table and user key as in a data key, then the transaction's 24 bytes.
//!
//! So the locks of one user key lie together, by the age of their transactions, and the bounds of a range's records are
//! those of its locks too.

use lentic_types::codec::{DecodeError, Reader};
use lentic_types::{TableId, TxnId};

use super::data;

/// Appends the key of `txn`'s lock on `key`.
pub fn put(out: &mut Vec<u8>, table: TableId, key: &[u8], txn: TxnId) {
    data::put_prefix(out, table, key);
    out.extend_from_slice(&txn.to_bytes());
}

/// The user key and the transaction of a lock.
///
/// # Errors
/// It is no lock's key.
pub fn decode(key: &[u8]) -> Result<(TableId, Vec<u8>, TxnId), DecodeError> {
    let Some((prefix, txn)) = key.split_last_chunk::<{ TxnId::BYTES }>() else {
        return Err(DecodeError::Truncated { field: "lock key" });
    };
    let (table, user_key) = data::decode_prefix(prefix)?;
    Ok((table, user_key, TxnId::decode(&mut Reader::new(txn))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Bounds;
    use lentic_types::{KeyRange, NodeId, Version};
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let mut key = Vec::new();
        put(&mut key, TableId(7), b"a\0", TxnId { begun: Version(5), node: NodeId(2), number: 9 });
        assert_eq!(key, b"\x00\x00\x00\x07a\x00\xff\x00\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x09");
        assert!(decode(&key[..20]).is_err());
    }

    proptest! {
        #[test]
        fn keys_come_back_and_lie_where_their_records_do(
            user_key in proptest::collection::vec(any::<u8>(), 1..5), (begun, node, number) in any::<(u64, u64, u64)>(),
            start in proptest::collection::vec(any::<u8>(), 0..3), end in proptest::collection::vec(any::<u8>(), 1..4),
        ) {
            let txn = TxnId { begun: Version(begun), node: NodeId(node), number };
            let mut key = Vec::new();
            put(&mut key, TableId(3), &user_key, txn);
            prop_assert_eq!(decode(&key), Ok((TableId(3), user_key.clone(), txn)));
            if let Ok(range) = KeyRange::new(start, Some(end)) {
                let Bounds::Range { lower, upper } = data::bounds(TableId(3), &range) else { panic!("a range") };
                let inside = key >= lower && upper.is_none_or(|upper| key < upper);
                prop_assert_eq!(inside, range.contains(&user_key));
            }
        }
    }
}
