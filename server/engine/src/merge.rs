//! Merge operators: how an operand changes a value at the server, without a read by the client.
//!
//! | operator | value and operand | fold |
//! |---|---|---|
//! | add-i64 | 8 bytes, big endian, two's complement | sum, wrapping at 64 bits |
//! | add-f64 | 8 bytes, big endian, IEEE 754 | sum in log order, oldest first; every NaN becomes one NaN |
//! | min-i64, max-i64 | as add-i64 | the smaller, the larger |
//! | min-f64, max-f64 | as add-f64 | in IEEE 754 total order; NaN is the largest |
//! | min-bytes, max-bytes | any bytes | in byte order |
//! | append | any bytes | the operand behind the value |
//! | set-union | a [`set`]: byte strings, sorted, each once | union |
//!
//! Onto no value, the operand becomes the value. An operand, or a value, of another kind is refused with
//! [`MergeError::WrongKind`]; nothing of it is stored.
//!
//! Operators whose result does not grow (all but the last two) are folded when they are written, and stored as puts: a
//! read never pays for them. The two that grow are stored as operands in chains of bounded length
//! ([`crate::record`]), so that adding a little to a large value does not rewrite it each time.

pub mod set;

use std::borrow::Cow;
use std::cmp::{max_by, min_by};
use std::fmt;

use lentic_types::limits::{OPERAND_DEPTH_MAX, VALUE_BYTES_MAX};

use crate::read::Head;
use crate::record::Operand;

/// A growing value up to this size is rewritten by each merge rather than chained: reads then find it in one record,
/// for no more bytes than an operand and its key would take.
const REWRITE_BYTES_MAX: usize = 128;

/// How an operand is folded into a value. Numbers are part of the format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MergeOperator {
    /// Adds integers, wrapping.
    AddI64 = 0x01,
    /// Adds floats, in log order.
    AddF64 = 0x02,
    /// Keeps the smaller integer.
    MinI64 = 0x03,
    /// Keeps the larger integer.
    MaxI64 = 0x04,
    /// Keeps the smaller float.
    MinF64 = 0x05,
    /// Keeps the larger float.
    MaxF64 = 0x06,
    /// Appends bytes.
    Append = 0x07,
    /// Adds the members of a set.
    SetUnion = 0x08,
    /// Keeps the byte string that sorts first.
    MinBytes = 0x09,
    /// Keeps the byte string that sorts last.
    MaxBytes = 0x0a,
}

/// Why an operand cannot be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The operand or the value is not of the operator's kind.
    #[error("{what} is not of the kind {operator} folds; check the key and the operator")]
    WrongKind {
        /// The operator asked for.
        operator: MergeOperator,
        /// Which of the two: "operand" or "value".
        what: &'static str,
    },
    /// The value would grow above its limit.
    #[error(
        "the merged value would have {bytes} bytes, expected at most {VALUE_BYTES_MAX}; spread it over several keys"
    )]
    TooLarge {
        /// How large the value would be.
        bytes: usize,
    },
}

/// How an operand is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged<'a> {
    /// As a put of the folded value.
    Put(Cow<'a, [u8]>),
    /// As an operand above the head.
    Operand(Operand<'a>),
    /// As a put, but the value must be read first: [`MergeOperator::fold_to_put`] it.
    NeedsValue,
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

    /// The operator with this number, if there is one.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().map(|(operator, _)| operator).find(|operator| *operator as u8 == tag)
    }

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

    /// Whether folding makes values larger, so that operands are stored as they are.
    #[must_use]
    pub const fn grows(self) -> bool {
        matches!(self, Self::Append | Self::SetUnion)
    }

    /// Checks that `operand` is of the operator's kind.
    pub fn check_operand(self, operand: &[u8]) -> Result<(), MergeError> {
        self.check(operand, "operand")
    }

    /// Checks that `value` is of the operator's kind.
    pub fn check_value(self, value: &[u8]) -> Result<(), MergeError> {
        self.check(value, "value")
    }

    fn check(self, bytes: &[u8], what: &'static str) -> Result<(), MergeError> {
        let is_of_kind = match self {
            Self::AddI64 | Self::MinI64 | Self::MaxI64 | Self::AddF64 | Self::MinF64 | Self::MaxF64 => bytes.len() == 8,
            Self::Append | Self::MinBytes | Self::MaxBytes => true,
            Self::SetUnion => set::members(bytes).is_some(),
        };
        if is_of_kind { Ok(()) } else { Err(MergeError::WrongKind { operator: self, what }) }
    }

    /// How `operand` is stored above `head`, or why it is refused.
    pub fn place<'a>(self, head: &Head, operand: &'a [u8]) -> Result<Merged<'a>, MergeError> {
        self.check_operand(operand)?;
        match head {
            Head::Absent => Ok(Merged::Put(self.canonical(operand))),
            Head::Put { value, .. } => {
                let folded_bytes = value.len() + operand.len();
                if !self.grows() || folded_bytes <= REWRITE_BYTES_MAX || folded_bytes > VALUE_BYTES_MAX {
                    return self.fold_to_put(value, operand);
                }
                self.check_value(value)?;
                Ok(Merged::Operand(Operand {
                    operator: self,
                    depth: 1,
                    folded_bytes: folded_bytes as u64,
                    bytes: operand,
                }))
            }
            Head::Operand { operator, depth, folded_bytes, .. } => {
                let folded_bytes = folded_bytes + operand.len() as u64;
                if *operator != self || *depth == OPERAND_DEPTH_MAX || folded_bytes > VALUE_BYTES_MAX as u64 {
                    return Ok(Merged::NeedsValue);
                }
                Ok(Merged::Operand(Operand { operator: self, depth: depth + 1, folded_bytes, bytes: operand }))
            }
        }
    }

    /// Folds `operand` into `value` for a put.
    pub fn fold_to_put<'a>(self, value: &[u8], operand: &[u8]) -> Result<Merged<'a>, MergeError> {
        let folded = self.fold(Some(value), [operand])?;
        if folded.len() > VALUE_BYTES_MAX {
            return Err(MergeError::TooLarge { bytes: folded.len() });
        }
        Ok(Merged::Put(Cow::Owned(folded)))
    }

    /// Folds `operands`, oldest first, into `value`.
    pub fn fold<'a>(
        self,
        value: Option<&'a [u8]>,
        operands: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<u8>, MergeError> {
        let mut operands = operands.into_iter();
        let mut folded = match value {
            Some(value) => {
                self.check_value(value)?;
                value.to_vec()
            }
            None => {
                let first = operands.next().unwrap_or_default();
                self.check_operand(first)?;
                self.canonical(first).into_owned()
            }
        };
        for operand in operands {
            self.check_operand(operand)?;
            self.fold_one(&mut folded, operand);
        }
        Ok(folded)
    }

    /// Folds one operand in; both are of the operator's kind.
    fn fold_one(self, value: &mut Vec<u8>, operand: &[u8]) {
        match self {
            Self::AddI64 => *value = i64_of(value).wrapping_add(i64_of(operand)).to_be_bytes().to_vec(),
            Self::MinI64 => *value = i64_of(value).min(i64_of(operand)).to_be_bytes().to_vec(),
            Self::MaxI64 => *value = i64_of(value).max(i64_of(operand)).to_be_bytes().to_vec(),
            Self::AddF64 => *value = f64_bytes(f64_of(value) + f64_of(operand)).to_vec(),
            Self::MinF64 => *value = f64_bytes(min_by(f64_of(value), f64_of(operand), f64::total_cmp)).to_vec(),
            Self::MaxF64 => *value = f64_bytes(max_by(f64_of(value), f64_of(operand), f64::total_cmp)).to_vec(),
            Self::MinBytes if operand < value.as_slice() => *value = operand.to_vec(),
            Self::MaxBytes if operand > value.as_slice() => *value = operand.to_vec(),
            Self::MinBytes | Self::MaxBytes => {}
            Self::Append => value.extend_from_slice(operand),
            Self::SetUnion => *value = set::union(value, operand).expect("both are sets"),
        }
    }

    /// The operand as a value of its own.
    fn canonical(self, operand: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::AddF64 | Self::MinF64 | Self::MaxF64 => Cow::Owned(f64_bytes(f64_of(operand)).to_vec()),
            _ => Cow::Borrowed(operand),
        }
    }
}

impl fmt::Display for MergeOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn i64_of(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("checked to be eight bytes"))
}

/// Reads a float; every NaN is the same one, so that comparing and storing see the same.
fn f64_of(bytes: &[u8]) -> f64 {
    let value = f64::from_be_bytes(bytes.try_into().expect("checked to be eight bytes"));
    if value.is_nan() { f64::NAN } else { value }
}

/// The bits of a NaN depend on the processor; replicas must agree, so there is one.
fn f64_bytes(value: f64) -> [u8; 8] {
    if value.is_nan() { f64::NAN.to_be_bytes() } else { value.to_be_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_types::Version;
    use proptest::prelude::*;

    fn i(value: i64) -> [u8; 8] {
        value.to_be_bytes()
    }

    fn f(value: f64) -> [u8; 8] {
        value.to_be_bytes()
    }

    #[test]
    fn names_and_numbers_lead_back() {
        for (operator, name) in MergeOperator::ALL {
            assert_eq!(MergeOperator::from_name(name), Some(operator));
            assert_eq!(MergeOperator::from_tag(operator as u8), Some(operator));
            assert_eq!(operator.to_string(), name);
        }
        assert_eq!(MergeOperator::from_name("add"), None);
        assert_eq!(MergeOperator::from_tag(0), None);
    }

    #[test]
    fn folds() {
        type Row = (MergeOperator, Vec<u8>, Vec<u8>, Vec<u8>);
        let set = |members: &[&[u8]]| set::encode(members.iter().copied());
        let rows: Vec<Row> = vec![
            (MergeOperator::AddI64, i(40).into(), i(2).into(), i(42).into()),
            (MergeOperator::AddI64, i(i64::MAX).into(), i(1).into(), i(i64::MIN).into()),
            (MergeOperator::AddF64, f(0.5).into(), f(0.25).into(), f(0.75).into()),
            (MergeOperator::AddF64, f(f64::INFINITY).into(), f(f64::NEG_INFINITY).into(), f(f64::NAN).into()),
            (MergeOperator::MinI64, i(-1).into(), i(1).into(), i(-1).into()),
            (MergeOperator::MaxI64, i(-1).into(), i(1).into(), i(1).into()),
            (MergeOperator::MinF64, f(0.0).into(), f(-0.0).into(), f(-0.0).into()),
            (MergeOperator::MaxF64, f(-1.0).into(), f(3.0).into(), f(3.0).into()),
            (MergeOperator::MinBytes, b"b".into(), b"a".into(), b"a".into()),
            (MergeOperator::MaxBytes, b"b".into(), b"ba".into(), b"ba".into()),
            (MergeOperator::Append, b"ab".into(), b"c".into(), b"abc".into()),
            (MergeOperator::SetUnion, set(&[b"a", b"c"]), set(&[b"b", b"c"]), set(&[b"a", b"b", b"c"])),
        ];
        for (operator, value, operand, expected) in rows {
            let folded = operator.fold(Some(&value), [&operand[..]]);
            assert_eq!(folded.as_deref(), Ok(&expected[..]), "{operator:?}");
            let alone = operator.fold(None, [&operand[..]]);
            assert_eq!(alone.as_deref(), Ok(&operand[..]), "{operator:?} onto nothing");
        }
    }

    #[test]
    fn a_chain_is_bounded_in_length_and_bytes() {
        let operand = [b'x'; REWRITE_BYTES_MAX + 1];
        let mut head = Head::Absent;
        for depth in 0..=OPERAND_DEPTH_MAX {
            head = match MergeOperator::Append.place(&head, &operand).unwrap() {
                Merged::Put(value) => {
                    assert_eq!(depth, 0, "only the first is a put");
                    Head::Put { version: Version(1), value: value.into_owned().into(), expiry: None }
                }
                Merged::Operand(placed) => {
                    assert_eq!((placed.depth, placed.folded_bytes), (depth, (u64::from(depth) + 1) * 129));
                    let (depth, folded_bytes) = (placed.depth, placed.folded_bytes);
                    Head::Operand {
                        version: Version(1),
                        operator: MergeOperator::Append,
                        depth,
                        folded_bytes,
                        expiry: None,
                    }
                }
                Merged::NeedsValue => panic!("depth {depth} is within the bound"),
            };
        }
        assert_eq!(MergeOperator::Append.place(&head, &operand), Ok(Merged::NeedsValue), "the chain is full");
        assert_eq!(MergeOperator::AddI64.place(&head, &i(1)), Ok(Merged::NeedsValue), "another operator");
        let full = vec![b'x'; VALUE_BYTES_MAX];
        let head = Head::Put { version: Version(1), value: full.into(), expiry: None };
        assert_eq!(MergeOperator::Append.place(&head, b"x"), Err(MergeError::TooLarge { bytes: VALUE_BYTES_MAX + 1 }));
    }

    #[test]
    fn other_kinds_are_refused() {
        let wrong = |operator, what| Err(MergeError::WrongKind { operator, what });
        assert_eq!(MergeOperator::AddI64.fold(Some(b"1"), [&i(1)[..]]), wrong(MergeOperator::AddI64, "value"));
        assert_eq!(MergeOperator::AddI64.fold(Some(&i(1)), [&b"1"[..]]), wrong(MergeOperator::AddI64, "operand"));
        assert_eq!(MergeOperator::SetUnion.fold(None, [&b"\xff"[..]]), wrong(MergeOperator::SetUnion, "operand"));
    }

    #[test]
    fn every_nan_is_the_same() {
        let odd = f64::from_bits(0xfff8_0000_0000_1234).to_be_bytes();
        assert_eq!(MergeOperator::AddF64.fold(None, [&odd[..]]).as_deref(), Ok(&f(f64::NAN)[..]));
        assert_eq!(MergeOperator::AddF64.fold(Some(&f(1.0)), [&odd[..]]).as_deref(), Ok(&f(f64::NAN)[..]));
        let least = [&odd[..], &f(f64::NEG_INFINITY)[..], &odd[..]];
        assert_eq!(MergeOperator::MinF64.fold(None, least).as_deref(), Ok(&f(f64::NEG_INFINITY)[..]));
        assert_eq!(MergeOperator::MaxF64.fold(Some(&odd), [&f(1.0)[..]]).as_deref(), Ok(&f(f64::NAN)[..]));
    }

    proptest! {
        #[test]
        fn floats_fold_in_order(values in proptest::collection::vec(any::<f64>(), 1..20)) {
            let operands: Vec<_> = values.iter().map(|value| f(*value)).collect();
            let folded = MergeOperator::AddF64.fold(None, operands.iter().map(|o| &o[..])).unwrap();
            let expected = values[1..].iter().fold(values[0], |sum, value| sum + value);
            prop_assert_eq!(folded, f64_bytes(expected));
        }

        #[test]
        fn any_operand_is_folded_or_refused(value: Vec<u8>, operand: Vec<u8>) {
            for (operator, _) in MergeOperator::ALL {
                let folded = operator.fold(Some(&value), [&operand[..]]);
                let both_fit = operator.check_value(&value).is_ok() && operator.check_operand(&operand).is_ok();
                prop_assert_eq!(folded.is_ok(), both_fit);
                if let Ok(folded) = folded {
                    prop_assert!(operator.check_value(&folded).is_ok());
                    prop_assert!(folded.len() <= value.len() + operand.len());
                }
            }
        }
    }
}
