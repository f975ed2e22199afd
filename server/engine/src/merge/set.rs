//! Sets as values: byte strings in byte order, each once, each with a varint length before it.
//!
//! ```text
//! 00  01 'a'  02 'b' 'c'        the set of "", "a" and "bc"; no bytes at all are the empty set
//! ```

use std::cmp::Ordering;

use lentic_types::codec::{Reader, put_bytes};

/// The members of an encoded set, in order, or `None` if `input` is no set.
#[must_use]
pub fn members(input: &[u8]) -> Option<Vec<&[u8]>> {
    let mut members: Vec<&[u8]> = Vec::new();
    let mut reader = Reader::new(input);
    while !reader.rest().is_empty() {
        let member = reader.bytes("set member").ok()?;
        if members.last().is_some_and(|last| *last >= member) {
            return None;
        }
        members.push(member);
    }
    Some(members)
}

/// Encodes a set, whatever the order of `members` and however often each occurs.
pub fn encode<'a>(members: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    let mut out = Vec::new();
    members.into_iter().for_each(|member| put_bytes(&mut out, member));
    out
}

/// The union of two encoded sets, or `None` if either is no set.
#[must_use]
pub fn union(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let (a_members, b_members) = (members(a)?, members(b)?);
    let (mut a_rest, mut b_rest) = (&a_members[..], &b_members[..]);
    let mut out = Vec::with_capacity(a.len() + b.len());
    while let ([x, a_tail @ ..], [y, b_tail @ ..]) = (a_rest, b_rest) {
        let order = x.cmp(y);
        put_bytes(&mut out, if order == Ordering::Greater { y } else { x });
        a_rest = if order == Ordering::Greater { a_rest } else { a_tail };
        b_rest = if order == Ordering::Less { b_rest } else { b_tail };
    }
    a_rest.iter().chain(b_rest).for_each(|member| put_bytes(&mut out, member));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn golden_bytes() {
        assert_eq!(encode([&b"bc"[..], b"a", b"", b"a"]), b"\x00\x01a\x02bc");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for (input, name) in [
            (&b"\x01b\x01a"[..], "not in order"),
            (b"\x01a\x01a", "twice"),
            (b"\x05a", "cut off"),
            (b"\x81\x00a", "a length in a longer form"),
        ] {
            assert_eq!(members(input), None, "{name}");
        }
        assert_eq!(members(b""), Some(vec![]));
    }

    proptest! {
        #[test]
        fn union_agrees_with_btreeset(a: BTreeSet<Vec<u8>>, b: BTreeSet<Vec<u8>>) {
            let encoded = |set: &BTreeSet<Vec<u8>>| encode(set.iter().map(Vec::as_slice));
            let both = a.union(&b).cloned().collect();
            prop_assert_eq!(union(&encoded(&a), &encoded(&b)), Some(encoded(&both)));
        }
    }
}
