//! Key ranges: half open, never inside out.

use std::fmt;

use bytes::Bytes;

/// The keys from `start` on, up to but without `end`; no end means the rest of the table.
///
/// Invariant: `start < end`, so a range holds at least one possible key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    start: Bytes,
    end: Option<Bytes>,
}

/// Why two keys make no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("range ends at or before its start; swap the bounds, or leave the end out to mean the rest of the table")]
pub struct RangeError;

impl KeyRange {
    /// The range `[start, end)`. [`RangeError`] if that holds no key.
    pub fn new(start: impl Into<Bytes>, end: Option<impl Into<Bytes>>) -> Result<Self, RangeError> {
        let (start, end) = (start.into(), end.map(Into::into));
        if end.as_ref().is_some_and(|end| *end <= start) {
            return Err(RangeError);
        }
        Ok(Self { start, end })
    }

    /// All keys of a table.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// The first key, inclusive.
    #[must_use]
    pub const fn start(&self) -> &Bytes {
        &self.start
    }

    /// The key after the last, or `None` for the rest of the table.
    #[must_use]
    pub const fn end(&self) -> Option<&Bytes> {
        self.end.as_ref()
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// Whether every key of `other` lies in this range.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && end_order(other.end()) <= end_order(self.end())
    }

    /// Whether some key lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.intersection(other).is_some()
    }

    /// The keys that lie in both ranges.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let start = self.start.clone().max(other.start.clone());
        let end = if end_order(self.end()) <= end_order(other.end()) { self.end() } else { other.end() };
        Self::new(start, end.cloned()).ok()
    }

    /// What is left of this range without `other`: nothing, one part, or the parts before and after it.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<Self> {
        let Some(gap) = self.intersection(other) else { return vec![self.clone()] };
        let before = Self::new(self.start.clone(), Some(gap.start.clone())).ok();
        let after = gap.end.and_then(|end| Self::new(end, self.end.clone()).ok());
        before.into_iter().chain(after).collect()
    }
}

/// Orders ends so that "no end" is the last of all.
fn end_order(end: Option<&Bytes>) -> (bool, Option<&Bytes>) {
    (end.is_none(), end)
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, ", self.start.escape_ascii())?;
        match &self.end {
            Some(end) => write!(f, "{})", end.escape_ascii()),
            None => write!(f, "..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = KeyRange> {
        let key = || proptest::collection::vec(0u8..4, 0..3);
        (key(), proptest::option::of(key()))
            .prop_filter_map("inside out", |(start, end)| KeyRange::new(start, end).ok())
    }

    #[test]
    fn inside_out_is_refused() {
        assert_eq!(KeyRange::new("b", Some("b")), Err(RangeError));
        assert_eq!(KeyRange::new("b", Some("a")), Err(RangeError));
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_membership(a in range(), b in range(), key in proptest::collection::vec(0u8..5, 0..4)) {
            let both = a.contains(&key) && b.contains(&key);
            prop_assert_eq!(a.intersection(&b).is_some_and(|i| i.contains(&key)), both);
            let rest = a.without(&b);
            prop_assert_eq!(rest.iter().any(|r| r.contains(&key)), a.contains(&key) && !b.contains(&key));
            if a.covers(&b) {
                prop_assert!(b.without(&a).is_empty());
                prop_assert!(!b.contains(&key) || a.contains(&key));
            } else {
                prop_assert!(!b.without(&a).is_empty());
            }
        }
    }
}
