//! Owned ranges: who may write where.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Cursor as _, Family, StoreError, View};
use lentic_types::{GroupId, KeyRange, Version};

use super::state::decode_fence;

/// Proves ownership of a range: the version of the command that gave it, so tokens rise and no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub Version);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}", self.0.0)
    }
}

/// One owned range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The keys.
    pub range: KeyRange,
    /// The owner's name.
    pub owner: Bytes,
    /// What each write must carry.
    pub token: Token,
}

/// All owned ranges of a shard. Invariant: they are disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    by_start: BTreeMap<Bytes, Fence>,
}

impl Fences {
    /// Whether no range is owned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// How many ranges are owned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// The owned ranges, in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Fence> {
        self.by_start.values()
    }

    /// The fence that holds `key`.
    #[must_use]
    pub fn of_key(&self, key: &[u8]) -> Option<&Fence> {
        let (_, fence) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        fence.range.contains(key).then_some(fence)
    }

    /// The fences that share keys with `range`, in key order.
    pub fn of_range<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Fence> {
        let first = self.of_key(range.start()).map_or(range.start(), |fence| fence.range.start());
        self.by_start.range::<Bytes, _>(first..).map(|(_, fence)| fence).take_while(|fence| fence.range.overlaps(range))
    }

    /// Checks that a writer with `token` may write `key`. The error carries the token of the key's owner, if any.
    pub fn check_key(&self, key: &[u8], token: Option<Token>) -> Result<(), Option<Token>> {
        let owner = self.of_key(key).map(|fence| fence.token);
        if owner == token { Ok(()) } else { Err(owner) }
    }

    /// Checks that a writer with `token` may write every key of `range`.
    pub fn check_range(&self, range: &KeyRange, token: Option<Token>) -> Result<(), Option<Token>> {
        let mut rest = Some(range.clone());
        for fence in self.of_range(range) {
            if Some(fence.token) != token {
                return Err(Some(fence.token));
            }
            // Owned parts must join without a gap from the start of the range on.
            rest = rest.and_then(|rest| match &rest.without(&fence.range)[..] {
                [] => None,
                [after] if after.start() != rest.start() => Some(after.clone()),
                _ => Some(rest),
            });
        }
        if token.is_some() && rest.is_some() { Err(None) } else { Ok(()) }
    }

    /// How many ranges would be owned with a fence over `range`: one more, one less for each that it covers, and one more
    /// for one that it cuts in two.
    #[must_use]
    pub fn len_with(&self, range: &KeyRange) -> usize {
        let (below, parts) = self
            .of_range(range)
            .fold((0, 0), |(below, parts), fence| (below + 1, parts + fence.range.without(range).len()));
        self.len() - below + parts + 1
    }

    /// Puts `fence` over whatever was there: older fences keep the parts that lie outside it.
    pub fn insert(&mut self, fence: Fence) {
        let below: Vec<Fence> = self.of_range(&fence.range).cloned().collect();
        for old in below {
            self.by_start.remove(old.range.start());
            for range in old.range.without(&fence.range) {
                self.by_start.insert(range.start().clone(), Fence { range, ..old.clone() });
            }
        }
        self.by_start.insert(fence.range.start().clone(), fence);
    }

    /// Removes what `token` owns of `range`: its fences keep the parts that lie outside. False if it owns nothing there.
    pub fn release(&mut self, range: &KeyRange, token: Token) -> bool {
        let of_token: Vec<Fence> = self.of_range(range).filter(|fence| fence.token == token).cloned().collect();
        for old in &of_token {
            self.by_start.remove(old.range.start());
            for part in old.range.without(range) {
                self.by_start.insert(part.start().clone(), Fence { range: part, ..old.clone() });
            }
        }
        !of_token.is_empty()
    }
}

/// The fences of a shard that share keys with `range`, in key order, from its store: at most so many bytes of names and
/// keys, and then what is left of the range.
///
/// # Errors
/// The store failed or is damaged.
pub fn owned<V: View>(
    view: &V,
    group: GroupId,
    range: &KeyRange,
    bytes_max: usize,
) -> Result<(Vec<Fence>, Option<KeyRange>), StoreError> {
    let prefix_bytes = sys::key(group, SysKind::Fence, &[]).len();
    let mut cursor = view.cursor(Family::Sys, sys::bounds(group, SysKind::Fence))?;
    cursor.seek(&[])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some((key, value)) = cursor.entry() {
        let damaged = |reason| StoreError::damaged(Family::Sys, key, reason);
        let fence = decode_fence(&key[prefix_bytes..], value).map_err(damaged)?;
        if range.end().is_some_and(|end| fence.range.start() >= end) {
            break;
        }
        if fence.range.overlaps(range) {
            if bytes > bytes_max {
                let start = fence.range.start().clone().max(range.start().clone());
                return Ok((found, KeyRange::new(start, range.end().cloned()).ok()));
            }
            bytes += key.len() + value.len();
            found.push(fence);
        }
        cursor.next()?;
    }
    Ok((found, None))
}

impl FromIterator<Fence> for Fences {
    fn from_iter<I: IntoIterator<Item = Fence>>(fences: I) -> Self {
        Self { by_start: fences.into_iter().map(|fence| (fence.range.start().clone(), fence)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = KeyRange> {
        (0u8..8, proptest::option::of(1u8..9))
            .prop_filter_map("inside out", |(start, end)| KeyRange::new(vec![start], end.map(|end| vec![end])).ok())
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_of_keys(steps in proptest::collection::vec((range(), 0u64..6, any::<bool>()), 1..12), query in range()) {
            let mut fences = Fences::default();
            let mut model = [None; 12];
            for (version, (range, old, is_insert)) in (10u64..).zip(steps) {
                if is_insert {
                    let token = Token(Version(version));
                    let expected = fences.len_with(&range);
                    fences.insert(Fence { range: range.clone(), owner: Bytes::new(), token });
                    prop_assert_eq!(fences.len(), expected);
                    for (key, owner) in (0u8..).zip(&mut model) {
                        *owner = if range.contains(&[key]) { Some(token) } else { *owner };
                    }
                } else {
                    let token = Token(Version(10 + old));
                    let mut is_owner = false;
                    for (_, owner) in (0u8..).zip(&mut model).filter(|(key, _)| range.contains(&[*key])) {
                        is_owner |= *owner == Some(token);
                        *owner = owner.filter(|owner| *owner != token);
                    }
                    prop_assert_eq!(fences.release(&range, token), is_owner);
                }
            }
            prop_assert!(crate::invariants::fences_are_disjoint(&fences));
            for (key, owner) in (0u8..).zip(model) {
                prop_assert_eq!(fences.of_key(&[key]).map(|fence| fence.token), owner);
            }
            // Keys of one byte stand for the gaps too: ranges begin and end at them. 11 lies behind every end.
            let owners: Vec<_> = (0u8..).zip(model).filter(|(key, _)| query.contains(&[*key])).map(|(_, owner)| owner).collect();
            for token in model.into_iter().chain([None, Some(Token(Version(1)))]) {
                prop_assert_eq!(fences.check_range(&query, token).is_ok(), owners.iter().all(|owner| *owner == token));
            }
        }
    }
}
