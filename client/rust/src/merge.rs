//! Merge operators, as the server knows them.

use std::fmt;

use bytes::Bytes;
use lentic_proto::v1;
use lentic_types::codec::{Reader, put_bytes};

/// How an operand is folded into a value at the server. Onto no value, the operand becomes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MergeOperator {
    /// Adds integers of 8 bytes, big endian, wrapping.
    AddI64,
    /// Adds floats of 8 bytes, big endian, in the order of commits.
    AddF64,
    /// Keeps the smaller integer.
    MinI64,
    /// Keeps the larger integer.
    MaxI64,
    /// Keeps the smaller float, in IEEE 754 total order; NaN is the largest.
    MinF64,
    /// Keeps the larger float.
    MaxF64,
    /// Appends bytes.
    Append,
    /// Adds the members of a set ([`encode_set`]).
    SetUnion,
    /// Keeps the byte string that sorts first.
    MinBytes,
    /// Keeps the byte string that sorts last.
    MaxBytes,
}

impl MergeOperator {
    /// Every operator with its name on the command line and in JSON.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::AddI64, "add-i64"),
        (Self::AddF64, "add-f64"),
        (Self::MinI64, "min-i64"),
        (Self::MaxI64, "max-i64"),
        (Self::MinF64, "min-f64"),
        (Self::MaxF64, "max-f64"),
        (Self::MinBytes, "min-bytes"),
        (Self::MaxBytes, "max-bytes"),
        (Self::Append, "append"),
        (Self::SetUnion, "set-union"),
    ];

    /// The operator with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(operator, _)| operator)
    }

    /// The operator's name on the command line and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(operator, _)| *operator == self).expect("every operator is listed").1
    }

    pub(crate) const fn wire(self) -> v1::MergeOperator {
        match self {
            Self::AddI64 => v1::MergeOperator::AddI64,
            Self::AddF64 => v1::MergeOperator::AddF64,
            Self::MinI64 => v1::MergeOperator::MinI64,
            Self::MaxI64 => v1::MergeOperator::MaxI64,
            Self::MinF64 => v1::MergeOperator::MinF64,
            Self::MaxF64 => v1::MergeOperator::MaxF64,
            Self::Append => v1::MergeOperator::Append,
            Self::SetUnion => v1::MergeOperator::SetUnion,
            Self::MinBytes => v1::MergeOperator::MinBytes,
            Self::MaxBytes => v1::MergeOperator::MaxBytes,
        }
    }
}

impl fmt::Display for MergeOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set as [`MergeOperator::SetUnion`] wants it, whatever the order of `members` and however often each occurs: byte
/// strings in byte order, each once, each with its length before it as a varint.
#[must_use]
pub fn encode_set<'a>(members: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    let mut out = Vec::new();
    members.into_iter().for_each(|member| put_bytes(&mut out, member));
    out.into()
}

/// The members of a set, in order, or `None` if `set` is none.
#[must_use]
pub fn decode_set(set: &[u8]) -> Option<Vec<&[u8]>> {
    let mut members: Vec<&[u8]> = Vec::new();
    let mut reader = Reader::new(set);
    while !reader.rest().is_empty() {
        let member = reader.bytes("set member").ok()?;
        if members.last().is_some_and(|last| *last >= member) {
            return None;
        }
        members.push(member);
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_engine::merge::{MergeOperator as Stored, set};
    use proptest::prelude::*;

    #[test]
    fn names_and_numbers_are_those_of_the_engine() {
        for (operator, name) in MergeOperator::ALL {
            assert_eq!(MergeOperator::from_name(name), Some(operator));
            let stored = Stored::from_name(name).expect("the engine has it");
            assert_eq!(operator.wire() as i32, i32::from(stored as u8), "{operator}");
        }
        assert_eq!(MergeOperator::ALL.len(), Stored::ALL.len());
    }

    #[test]
    fn a_length_in_a_longer_form_is_no_set() {
        let input = [&[0xbb, 0][..], &[0; 59]].concat();
        assert_eq!(decode_set(&input), None, "59 in two bytes");
        assert_eq!(set::members(&input), None, "and the engine agrees");
    }

    proptest! {
        #[test]
        fn sets_are_those_of_the_engine(members: Vec<Vec<u8>>) {
            let members = || members.iter().map(|member| &member[..]);
            let encoded = encode_set(members());
            prop_assert_eq!(&encoded[..], set::encode(members()));
            prop_assert_eq!(decode_set(&encoded), set::members(&encoded));
        }

        #[test]
        fn any_bytes_are_a_set_or_none(input: Vec<u8>) {
            prop_assert_eq!(decode_set(&input), set::members(&input));
        }
    }
}
