//! A range of one family.

use lentic_types::GroupId;

use super::{Bounds, Family};
use crate::keys::sys;

/// The entries of a family from `lower` on, up to but without `upper`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The family.
    pub family: Family,
    /// The first key, inclusive.
    pub lower: Vec<u8>,
    /// The key after the last, or `None` for the rest of the family.
    pub upper: Option<Vec<u8>>,
}

impl Span {
    /// The span of `bounds` in `family`.
    ///
    /// # Panics
    /// If the bounds are [`Bounds::OneKey`], which is a way to read and not a range.
    #[must_use]
    pub fn new(family: Family, bounds: Bounds) -> Self {
        match bounds {
            Bounds::Range { lower, upper } => Self { family, lower, upper },
            Bounds::OneKey => panic!("a span is a range of keys"),
        }
    }

    /// Everything in `family`.
    #[must_use]
    pub const fn all(family: Family) -> Self {
        Self { family, lower: Vec::new(), upper: None }
    }

    /// All of `group`'s own state, in family sys.
    #[must_use]
    pub fn of_group(group: GroupId) -> Self {
        Self::new(Family::Sys, sys::group_bounds(group))
    }

    /// Whether `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.lower.as_slice() && self.upper.as_deref().is_none_or(|upper| key < upper)
    }

    /// Whether every key of it comes before every key of `other`, in the order of family and key.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        self.family < other.family
            || self.family == other.family && self.upper.as_ref().is_some_and(|upper| *upper <= other.lower)
    }

    /// Its bounds, for a cursor.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds::Range { lower: self.lower.clone(), upper: self.upper.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::sys::{SysKind, key};

    #[test]
    fn a_group_has_its_keys_and_no_others() {
        let span = Span::of_group(GroupId(7));
        assert!(span.contains(&key(GroupId(7), SysKind::Applied, b"")));
        assert!(span.contains(&key(GroupId(7), SysKind::Answers, &[0xff; 20])));
        assert!(!span.contains(&key(GroupId(6), SysKind::Answers, &[0xff; 20])));
        assert!(!span.contains(&key(GroupId(8), SysKind::Applied, b"")));
        assert_eq!(Span::of_group(GroupId(u64::MAX)).upper, None);
    }

    #[test]
    fn order_is_by_family_and_then_by_key() {
        let span = |family, lower: &[u8], upper: Option<&[u8]>| Span {
            family,
            lower: lower.to_vec(),
            upper: upper.map(<[u8]>::to_vec),
        };
        let first = span(Family::Data, b"a", Some(b"c"));
        assert!(first.is_before(&span(Family::Data, b"c", None)), "they may touch");
        assert!(!first.is_before(&span(Family::Data, b"b", None)));
        assert!(!first.is_before(&first));
        assert!(span(Family::Data, b"x", None).is_before(&span(Family::Lock, b"a", None)));
        assert!(!span(Family::Sys, b"a", None).is_before(&first));
    }
}
