//! A range of one family.

use lentic_engine::{Bounds, Family};

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

    /// Whether `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.lower.as_slice() && self.upper.as_deref().is_none_or(|upper| key < upper)
    }

    /// Whether every key of it comes before every key of `other`, in the order of family and key.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.family < other.family
            || self.family == other.family && self.upper.as_ref().is_some_and(|upper| *upper <= other.lower)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds::Range { lower: self.lower.clone(), upper: self.upper.clone() }
    }
}
