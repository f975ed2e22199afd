//! Where in a store a shard lies.

use lentic_engine::keys::data;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Family, Span};
use lentic_types::GroupId;

use super::state::Descriptor;

/// Everything of the shard of `group`, in a store's order: its records, the locks on its keys, its own state. No
/// other shard has anything there.
#[must_use]
pub fn spans(group: GroupId, descriptor: &Descriptor) -> Vec<Span> {
    // A lock's key is a record's without the version, so the same bounds hold both.
    let keys = data::bounds(descriptor.table, &descriptor.range);
    let mut spans = vec![Span::new(Family::Data, keys.clone()), Span::new(Family::Lock, keys), Span::of_group(group)];
    if lentic_types::mutant!("answers-not-in-snapshot") {
        // They are the last of a group's own state.
        spans[2].upper = Some(sys::key(group, SysKind::Answers, &[]));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_engine::keys::sys::key;
    use lentic_engine::store::portable::check_spans;
    use lentic_types::{Epoch, KeyRange, TableId, Version};

    #[test]
    fn a_shard_has_its_keys_and_no_others() {
        let range = KeyRange::new(&b"b"[..], Some(&b"d"[..])).unwrap();
        let descriptor = Descriptor { table: TableId(7), range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 };
        let spans = spans(GroupId(3), &descriptor);
        assert_eq!(check_spans(&spans), Ok(()));
        for (table, user_key) in
            [(7, &b"a\xff"[..]), (7, b"b"), (7, b"b\0"), (7, b"c"), (7, b"d"), (6, b"b"), (8, b"b")]
        {
            let inside = table == 7 && descriptor.range.contains(user_key);
            let (mut record, mut lock) = (Vec::new(), Vec::new());
            data::put(&mut record, TableId(table), user_key, Version(9));
            data::put_prefix(&mut lock, TableId(table), user_key);
            assert_eq!(spans[0].contains(&record), inside, "the record of {user_key:?} of {table}");
            assert_eq!(spans[1].contains(&lock), inside, "the lock of {user_key:?} of {table}");
        }
        assert!(spans[2].contains(&key(GroupId(3), SysKind::Fence, b"x")));
        assert!(!spans[2].contains(&key(GroupId(4), SysKind::Applied, b"")));
    }
}
