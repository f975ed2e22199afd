//! The keys of a job's table. The format is in docs/formats.md, "State of jobs".
//!
//! ```text
//!   group (u16) │ state id (u32) │ key, escaped │ rest: nothing, or the key within a map     values, lists, maps …
//!   group (u16) │ state id (u32) │ time (i64, sign inverted) │ key                           timers
//!   group (u16) │ state id (u32) │ key                                                       broadcast states
//! ```

use bytes::Bytes;
use lentic_engine::keys::escape;
use lentic_types::KeyRange;
use lentic_types::codec::{DecodeError, Reader};

use super::data::{Key, KeyBytes, put_escaped};
use super::key_group::KeyGroup;
use crate::routes::prefix_range;

/// Bytes before a key: its group and its state's id.
pub(super) const HEAD_BYTES: usize = 6;
/// The id under which a task describes its states: no state has it.
pub(super) const STATES: u32 = 0;

/// The id of a state: the CRC-32 (IEEE) of its name.
pub(super) fn state_id(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

/// Begins a key anew: group and state.
pub(super) fn put_head(out: &mut Vec<u8>, group: KeyGroup, state: u32) {
    out.clear();
    out.extend_from_slice(&group.0.to_be_bytes());
    out.extend_from_slice(&state.to_be_bytes());
}

/// Writes all of a key but what is behind the user's key.
pub(super) fn put_keyed(out: &mut Vec<u8>, group: KeyGroup, state: u32, key: &(impl KeyBytes + ?Sized)) {
    put_head(out, group, state);
    put_escaped(out, key);
}

/// What is behind the user's key.
pub(super) fn rest_of(table_key: &[u8]) -> Result<&[u8], DecodeError> {
    let keyed = table_key.get(HEAD_BYTES..).ok_or(DecodeError::Truncated { field: "state key" })?;
    escape::split(keyed).map(|(_, rest)| rest)
}

/// A time as it sorts.
pub(super) fn put_time(out: &mut Vec<u8>, time: i64) {
    time.put_key(out);
}

/// A timer's time and key, from what is behind the head.
pub(super) fn timer_of<K: Key>(tail: &[u8]) -> Result<(i64, K), DecodeError> {
    let mut reader = Reader::new(tail);
    let time = i64::from_key(reader.take(8, "time of a timer")?)?;
    Ok((time, K::from_key(reader.rest())?))
}

/// All of a state in one key group.
pub(super) fn range_of(group: KeyGroup, state: u32) -> KeyRange {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    put_head(&mut head, group, state);
    prefix_range(head)
}

/// The first key behind `key`.
pub(super) fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// What is left of a range from `next` on, if anything is.
pub(super) fn range_from(next: Option<Bytes>, range: &KeyRange) -> Option<KeyRange> {
    KeyRange::new(next?, range.end().cloned()).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use super::super::data::{Data, Windowed};
    use super::*;
    use proptest::prelude::*;

    fn keyed(key: &(impl KeyBytes + ?Sized), rest: &impl KeyBytes) -> Vec<u8> {
        let mut out = Vec::new();
        put_keyed(&mut out, KeyGroup(0x0102), 0x0a0b_0c0d, key);
        rest.put_key(&mut out);
        out
    }

    fn value(value: &impl Data) -> Vec<u8> {
        let mut out = vec![];
        value.put(&mut out);
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_keys() {
        let head = "01020a0b0c0d";
        assert_eq!(hex(&keyed("EWR", &String::new())), format!("{head}4557520001"));
        assert_eq!(hex(&keyed(&1i64, &"x".to_owned())), format!("{head}8000ff00ff00ff00ff00ff00ff01000178"));
        assert_eq!(hex(&keyed(&-1i64, &true)), format!("{head}7fffffffffffffff000101"));
        assert_eq!(hex(&keyed(&0i32, &-2i32)), format!("{head}8000ff00ff00ff00017ffffffe"));
        assert_eq!(hex(&keyed(&b"\x00"[..], &vec![0u8])), format!("{head}00ff000100"));
        let pair = ("a".to_owned(), "b".to_owned());
        assert_eq!(hex(&keyed(&pair, &String::new())), format!("{head}6100ff01620001"));
        let windowed = Windowed { key: "a".to_owned(), window: -1 };
        assert_eq!(hex(&keyed(&windowed, &String::new())), format!("{head}6100ff017fffffffffffffff0001"));
        let mut timer = Vec::new();
        put_head(&mut timer, KeyGroup(7), state_id("close"));
        put_time(&mut timer, 1_357_000_000_000);
        "EWR".put_key(&mut timer);
        assert_eq!(hex(&timer), "0007130181c48000013bf380c200455752");
        assert_eq!(
            range_of(KeyGroup(7), STATES).to_string(),
            "[\\x00\\x07\\x00\\x00\\x00\\x00, \\x00\\x07\\x00\\x00\\x00\\x01)"
        );
    }

    #[test]
    fn golden_values() {
        assert_eq!(hex(&value(&-2i64)), "fffffffffffffffe");
        assert_eq!(hex(&value(&258i32)), "00000102");
        assert_eq!(hex(&value(&1.5f64)), "3ff8000000000000");
        assert_eq!(hex(&value(&-f64::NAN)), "7ff8000000000000");
        assert_eq!(hex(&value(&"z\u{fc}".to_owned())), "7ac3bc");
        assert_eq!(hex(&value(&(1i32, vec![7u8]))), "040000000107");
        assert_eq!(hex(&value(&true)), "01");
        assert_eq!(value(&()), []);
        assert_eq!(hex(&value(&BTreeSet::from([b"b".to_vec(), b"a".to_vec()]))), "01610162");
    }

    #[test]
    fn what_no_state_has_written_is_refused() {
        assert!(i64::from_data(&[1; 7]).is_err() && i32::from_key(&[1; 5]).is_err() && f64::from_data(&[]).is_err());
        assert!(bool::from_data(&[2]).is_err() && bool::from_data(&[1, 1]).is_err() && <()>::from_data(&[0]).is_err());
        assert!(String::from_data(&[0xff]).is_err() && BTreeSet::from_data(b"\x01b\x01a").is_err());
        assert!(<(i64, i64)>::from_data(&[9, 1]).is_err() && <(String, String)>::from_key(b"a").is_err());
        assert!(rest_of(b"short").is_err() && rest_of(b"headerno end").is_err());
        assert!(timer_of::<i64>(&[0; 15]).is_err() && timer_of::<String>(&[0; 7]).is_err());
    }

    fn round_trip<K: Key + Data + PartialEq + Debug>(key: &K) {
        let mut bytes = Vec::new();
        key.put_key(&mut bytes);
        assert_eq!(K::from_key(&bytes).as_ref(), Ok(key));
        assert_eq!(K::from_data(&value(key)).as_ref(), Ok(key));
    }

    proptest! {
        #[test]
        fn keys_come_back_and_sort(a: (i64, Vec<u8>, String), b: (i64, Vec<u8>, String)) {
            round_trip(&a.0);
            round_trip(&a.1);
            round_trip(&a.2);
            round_trip(&(a.0, a.1.clone()));
            round_trip(&(a.1.clone(), (a.0, a.2.clone())));
            prop_assert_eq!(keyed(&a.0, &a.2).cmp(&keyed(&b.0, &b.2)), (a.0, &a.2).cmp(&(b.0, &b.2)));
            prop_assert_eq!(keyed(&a.1, &a.0).cmp(&keyed(&b.1, &b.0)), (&a.1, a.0).cmp(&(&b.1, b.0)));
            let (pair_a, pair_b) = ((a.1.clone(), a.2.clone()), (b.1.clone(), b.2.clone()));
            prop_assert_eq!(keyed(&pair_a, &a.0).cmp(&keyed(&pair_b, &b.0)), (&pair_a, a.0).cmp(&(&pair_b, b.0)));
            let table_key = keyed(&pair_a, &a.2);
            prop_assert_eq!(rest_of(&table_key), Ok(a.2.as_bytes()));
            let windowed = Windowed { key: a.1.clone(), window: a.0 };
            let mut bytes = Vec::new();
            windowed.put_key(&mut bytes);
            prop_assert_eq!(Windowed::from_key(&bytes), Ok(windowed));
        }

        #[test]
        fn timers_come_back_and_sort(a: (i64, Vec<u8>), b: (i64, Vec<u8>)) {
            let tail = |timer: &(i64, Vec<u8>)| {
                let mut out = Vec::new();
                put_time(&mut out, timer.0);
                timer.1.put_key(&mut out);
                out
            };
            prop_assert_eq!(timer_of(&tail(&a)), Ok(a.clone()));
            prop_assert_eq!(tail(&a).cmp(&tail(&b)), a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (i64::from_key(&bytes), String::from_key(&bytes), <(String, i64)>::from_key(&bytes));
            let _ = (<(String, i64)>::from_data(&bytes), BTreeSet::<Vec<u8>>::from_data(&bytes), rest_of(&bytes));
            let _ = timer_of::<(Vec<u8>, Vec<u8>)>(&bytes);
        }
    }
}
