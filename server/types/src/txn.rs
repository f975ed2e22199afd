//! Transactions: what names one.

use std::fmt;

use crate::codec::{DecodeError, Reader};
use crate::{NodeId, Version};

/// One attempt to commit a transaction. Ids sort by age, the oldest first: who waits for whom follows from it.
///
/// It is unique: a node takes a tick when it starts, and counts the attempts that it coordinates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId {
    /// A tick that its coordinator had seen when the transaction began. A further attempt keeps it, and so its age.
    pub begun: Version,
    /// The node that coordinates it.
    pub node: NodeId,
    /// The coordinator's count.
    pub number: u64,
}

impl TxnId {
    /// Bytes of an id in a key.
    pub const BYTES: usize = 24;

    /// The id's bytes, which sort as ids do.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.begun.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.node.0.to_be_bytes());
        out[16..].copy_from_slice(&self.number.to_be_bytes());
        out
    }

    /// Reads an id's bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let begun = Version(reader.u64_be("begin of transaction")?);
        let node = NodeId(reader.u64_be("coordinator of transaction")?);
        Ok(Self { begun, node, number: reader.u64_be("number of transaction")? })
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}.{}.{}", self.begun.0, self.node.0, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = TxnId> {
        any::<(u64, u64, u64)>().prop_map(|(begun, node, number)| TxnId {
            begun: Version(begun),
            node: NodeId(node),
            number,
        })
    }

    proptest! {
        #[test]
        fn ids_come_back_and_sort_by_age(one in id(), other in id()) {
            prop_assert_eq!(TxnId::decode(&mut Reader::new(&one.to_bytes())), Ok(one));
            prop_assert_eq!(one.to_bytes().cmp(&other.to_bytes()), one.cmp(&other));
            prop_assert_eq!(one.begun < other.begun, one < other && one.begun != other.begun);
        }
    }
}
