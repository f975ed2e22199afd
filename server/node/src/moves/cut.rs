//! Where a shard is best cut in two: by what its keys hold, or by what comes to them.

use bytes::Bytes;
use lentic_engine::keys::data;
use lentic_engine::{Bounds, Cursor as _, Family, Portable, Span, StoreError};
use lentic_machine::shard::Descriptor;
use lentic_types::{KeyRange, TableId};

/// The smaller part has at least one in so many of the whole: else a cut is not worth it.
const PART_MIN: u64 = 5;
/// A cut by bytes is good enough if the parts differ by less than one in so many of the whole.
const EVEN_ENOUGH: u64 = 16;
/// Fewer keys than these say nothing of where load is.
const SAMPLES_MIN: usize = 64;

/// The key that has about half of what comes to a shard on either side, by the keys of some operations; `None` if they are
/// few, or one key has nearly all. It is the key of an operation.
pub(super) fn by_load(mut samples: Vec<Bytes>) -> Option<Bytes> {
    if samples.len() < SAMPLES_MIN {
        return None;
    }
    samples.sort_unstable();
    let whole = samples.len();
    // A cut is in front of the first of equals.
    let cuts = (1..whole).filter(|at| samples[at - 1] != samples[*at]);
    let best = cuts.min_by_key(|at| at.abs_diff(whole / 2))?;
    is_worth_it(best as u64, whole as u64).then(|| samples.swap_remove(best))
}

/// A short key that has about half of a shard's bytes on either side, as far as they are on disk; `None` if there is none,
/// as where one key has nearly all. No record needs to have this key.
pub(super) fn by_bytes<S: Portable>(store: &S, shard: &Descriptor) -> Result<Option<Bytes>, StoreError> {
    let Some((first, last)) = ends(store, shard)? else { return Ok(None) };
    let whole = bytes_of(store, shard.table, &shard.range)?;
    let mut between = Between::new(&first, &last);
    let mut best: Option<(u64, Bytes)> = None;
    while let Some((number, at)) = between.shortest() {
        let below = below(store, shard, &at)?;
        let above = whole.saturating_sub(below);
        let apart = below.abs_diff(above);
        if is_worth_it(below, whole)
            && is_inside(&shard.range, &at)
            && best.as_ref().is_none_or(|(best, _)| apart < *best)
        {
            best = Some((apart, at));
        }
        if apart <= whole / EVEN_ENOUGH {
            break;
        }
        match below < above {
            true => between.low = number,
            false => between.high = number - 1,
        }
    }
    Ok(best.map(|(_, at)| at))
}

fn is_worth_it(part: u64, whole: u64) -> bool {
    whole > 0 && part.min(whole.saturating_sub(part)) >= whole.div_ceil(PART_MIN)
}

fn is_inside(range: &KeyRange, key: &Bytes) -> bool {
    range.contains(key) && range.start() != key
}

fn below<S: Portable>(store: &S, shard: &Descriptor, at: &Bytes) -> Result<u64, StoreError> {
    match KeyRange::new(shard.range.start().clone(), Some(at.clone())) {
        Ok(range) => bytes_of(store, shard.table, &range),
        Err(_) => Ok(0),
    }
}

/// About how many bytes a range of a table takes on disk.
pub(super) fn bytes_of<S: Portable>(store: &S, table: TableId, range: &KeyRange) -> Result<u64, StoreError> {
    let span = Span::new(Family::Data, data::bounds(table, range));
    Ok(store.disk_bytes(&[span])?.iter().sum())
}

type Ends = (Vec<u8>, Vec<u8>);

/// The first and the last key of a shard that have records.
fn ends<S: Portable>(store: &S, shard: &Descriptor) -> Result<Option<Ends>, StoreError> {
    let bounds: Bounds = data::bounds(shard.table, &shard.range);
    let mut cursor = store.cursor(Family::Data, bounds)?;
    let key_of = |entry: Option<(&[u8], &[u8])>| {
        let Some((stored, _)) = entry else { return Ok(None) };
        let damaged = |reason| StoreError::damaged(Family::Data, stored, reason);
        let (prefix, _) = data::split(stored).map_err(damaged)?;
        let (_, key) = data::decode_prefix(prefix).map_err(damaged)?;
        Ok(Some(key))
    };
    cursor.seek(b"")?;
    let first = key_of(cursor.entry())?;
    // It stands for the upper bound.
    cursor.seek_back(&[u8::MAX; 16])?;
    let last = key_of(cursor.entry())?;
    Ok(first.zip(last))
}

/// The keys between two, as numbers: behind what both begin with, sixteen bytes.
struct Between {
    prefix: Vec<u8>,
    low: u128,
    high: u128,
}

impl Between {
    fn new(first: &[u8], last: &[u8]) -> Self {
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let number = |key: &[u8]| {
            let mut bytes = [0; 16];
            let rest = key.len().min(shared + bytes.len());
            bytes[..rest - shared].copy_from_slice(&key[shared..rest]);
            u128::from_be_bytes(bytes)
        };
        Self { prefix: first[..shared].to_vec(), low: number(first), high: number(last) }
    }

    /// Of the numbers above `low`, up to `high`, the one with the most zeros at its end, and its key, which ends before
    /// them. It is taken at most once for each bit.
    fn shortest(&self) -> Option<(u128, Bytes)> {
        let bit = (self.low < self.high).then(|| (self.low ^ self.high).ilog2())?;
        let number = self.high >> bit << bit;
        let bytes = number.to_be_bytes();
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some((number, [&self.prefix[..], &bytes[..length]].concat().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_engine::{Batch, MemStore, Store as _};
    use lentic_types::{Epoch, Version};

    /// A shard of these keys, each with so many bytes.
    fn shard(range: KeyRange, rows: impl IntoIterator<Item = (String, usize)>) -> (MemStore, Descriptor) {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        for (key, bytes) in rows {
            let mut record = Vec::new();
            data::put(&mut record, TableId(7), key.as_bytes(), Version(3));
            batch.put(Family::Data, &record, &vec![0; bytes]);
        }
        store.write(&batch).unwrap();
        let descriptor = Descriptor { table: TableId(7), range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 };
        (store, descriptor)
    }

    /// Where it is cut, and what part of it in a hundred lies below.
    fn cut(range: KeyRange, rows: impl IntoIterator<Item = (String, usize)>) -> Option<(String, u64)> {
        let (store, descriptor) = shard(range, rows);
        let at = by_bytes(&store, &descriptor).unwrap()?;
        let whole = bytes_of(&store, TableId(7), &descriptor.range).unwrap();
        let part = below(&store, &descriptor, &at).unwrap() * 100 / whole;
        Some((String::from_utf8_lossy(&at).into_owned(), part))
    }

    #[test]
    fn bytes_are_halved_by_a_short_key() {
        let numbered = |bytes: fn(u32) -> usize| (0..1_000).map(move |n| (format!("order-{n:06}"), bytes(n)));
        assert_eq!(cut(KeyRange::all(), numbered(|_| 100)), Some(("order-0005".to_owned(), 50)));
        // The last tenth has more than all others.
        let (at, part) = cut(KeyRange::all(), numbered(|n| if n < 900 { 100 } else { 2_000 })).unwrap();
        assert!((45..=55).contains(&part) && at.starts_with("order-0009"), "{at}: {part}");
        let within = KeyRange::new("order-0002", Some("order-0006")).unwrap();
        let (at, part) = cut(within.clone(), numbered(|_| 100)).unwrap();
        assert!((45..=55).contains(&part) && within.contains(at.as_bytes()), "{at}: {part}");
    }

    #[test]
    fn what_cannot_be_halved_is_not_cut() {
        assert_eq!(cut(KeyRange::all(), []), None);
        assert_eq!(cut(KeyRange::all(), [("a".to_owned(), 9_000)]), None, "one key");
        let one_has_all = (0..100).map(|n| (format!("{n:03}"), if n == 40 { 100_000 } else { 10 }));
        assert_eq!(cut(KeyRange::all(), one_has_all), None);
        // Keys that differ behind more bytes than are looked at.
        let alike = (0..10).map(|n| (format!("a{}{n}", "\0".repeat(40)), 100)).chain([("b".to_owned(), 10)]);
        assert_eq!(cut(KeyRange::all(), alike), None);
    }

    #[test]
    fn load_is_halved_in_front_of_a_key() {
        let keys = |of: &[(&'static str, usize)]| {
            let some = |(key, times): &(&'static str, usize)| vec![Bytes::from_static(key.as_bytes()); *times];
            by_load(of.iter().rev().flat_map(some).collect())
        };
        assert_eq!(keys(&[("a", 50), ("b", 50)]), Some("b".into()));
        assert_eq!(keys(&[("a", 30), ("b", 60), ("c", 30)]), Some("b".into()), "or c");
        assert_eq!(keys(&[("a", 10), ("b", 80), ("c", 10)]), None, "one key has nearly all");
        assert_eq!(keys(&[("a", 1_000)]), None);
        assert_eq!(keys(&[("a", 10), ("b", 10)]), None, "too few to say");
    }
}
