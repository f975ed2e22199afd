//! What clients want: random reads and changes of a few keys, spread over shards.

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_machine::shard::{Condition, Expected, Operation, RangeRead, RequestKey, Write};
use lentic_types::{Expiry, KeyRange, TableId, Version};

use super::luck::Luck;
use super::replica::Row;

/// Keys of a shard are single letters, so many of them.
const LETTERS: u8 = 3;

/// Where a shard lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) table: TableId,
    pub(crate) range: KeyRange,
    letters: [u8; LETTERS as usize],
}

/// Places of so many shards in two tables, side by side.
pub(crate) fn places(count: usize) -> Vec<Place> {
    let of_shard = |shard: u8| {
        let (table, nth) = (shard % 2, shard / 2);
        let first = b'a' + nth * LETTERS;
        let is_last = usize::from(shard) + 2 >= count;
        let start = if nth == 0 { Bytes::new() } else { Bytes::copy_from_slice(&[first]) };
        let end = (!is_last).then(|| Bytes::copy_from_slice(&[first + LETTERS]));
        let range = KeyRange::new(start, end).expect("in order");
        Place { table: TableId(1 + u32::from(table)), range, letters: [first, first + 1, first + 2] }
    };
    (0..u8::try_from(count).expect("few")).map(of_shard).collect()
}

impl Place {
    /// A key of the shard.
    pub(crate) fn anchor(&self) -> Bytes {
        Bytes::copy_from_slice(&self.letters[..1])
    }

    /// The first is used most.
    fn key(&self, luck: &mut Luck) -> Bytes {
        let nth = luck.pick(&[0, 0, 0, 1, 1, 2]);
        Bytes::copy_from_slice(&[self.letters[nth]])
    }

    fn some_range(&self, luck: &mut Luck) -> KeyRange {
        let (first, count) = (luck.below(2), luck.between(1, 2));
        let letter = |nth: u64| vec![self.letters[0] + u8::try_from(nth).expect("few")];
        KeyRange::new(letter(first), Some(letter(first + count))).expect("in order")
    }
}

/// The range of one key.
pub(crate) fn point(key: &Bytes) -> KeyRange {
    KeyRange::new(key.clone(), Some([&key[..], b"\0"].concat())).expect("in order")
}

/// The key, if the range is that of one.
pub(crate) fn point_of(range: &KeyRange) -> Option<&Bytes> {
    (range.end().map(|end| &end[..]) == Some(&[&range.start()[..], b"\0"].concat()[..])).then_some(range.start())
}

/// A read at a version, and what it found.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) group: usize,
    pub(crate) range: KeyRange,
    pub(crate) at: Version,
    pub(crate) rows: Option<Vec<Row>>,
}

/// How it went, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    /// All was read, and nothing was to be changed.
    Read,
    Committed(Version),
    /// It had no effect and will have none.
    Nothing,
    Unknown,
}

/// One thing that a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) client: usize,
    pub(crate) key: Option<RequestKey>,
    pub(crate) reads: Vec<Read>,
    /// Whether it reads at a tick fetched when it began.
    pub(crate) is_fresh: bool,
    /// What each shard is to do; the first is the anchor.
    pub(crate) shares: Vec<(usize, Write)>,
    /// Whether a shard's entry does it, without a prepare.
    pub(crate) is_single: bool,
    /// When it began and when its end was known, in steps of the run.
    pub(crate) began: u64,
    pub(crate) answered: u64,
    pub(crate) end: End,
}

/// What a client sees of the world before it decides what it wants.
pub(crate) struct Sight<'a> {
    pub(crate) places: &'a [Place],
    /// A tick fetched now.
    pub(crate) tick: Version,
    /// Of a thousand values that are put: they end.
    pub(crate) ends: u64,
    /// The newest value of a key of a shard.
    pub(crate) newest: &'a dyn Fn(usize, &Bytes) -> Option<Row>,
}

impl Work {
    /// Draws what `client` wants, at a step.
    pub(crate) fn draw(luck: &mut Luck, client: usize, began: u64, sight: &Sight<'_>) -> Self {
        let mut groups: Vec<usize> = (0..sight.places.len()).collect();
        while groups.len() > 1 && luck.chance(450) || groups.len() > 3 {
            groups.remove(luck.index(groups.len()));
        }
        if luck.chance(500) {
            groups.reverse();
        }
        let (only_reads, also_reads) = (luck.chance(150), luck.chance(450));
        let is_fresh = !only_reads || luck.chance(700);
        let back = if is_fresh { 0 } else { luck.below(3000) };
        let at = if is_fresh {
            sight.tick
        } else {
            Version::tick(sight.tick.ms().saturating_sub(back), 0).expect("in bounds")
        };
        let mut work = Self {
            client,
            key: None,
            reads: Vec::new(),
            is_fresh,
            shares: Vec::new(),
            is_single: groups.len() == 1 && luck.chance(700),
            began,
            answered: 0,
            end: End::Open,
        };
        for group in groups {
            let place = &sight.places[group];
            if only_reads || also_reads && luck.chance(800) {
                for _ in 0..luck.between(1, 2) {
                    let key = place.key(luck);
                    let range = if luck.chance(300) { place.some_range(luck) } else { point(&key) };
                    work.reads.push(Read { group, range, at, rows: None });
                }
            }
            if !only_reads {
                let share = work.share(luck, group, sight);
                work.shares.push((group, share));
            }
        }
        work
    }

    /// One shard's share: what was read is validated.
    fn share(&self, luck: &mut Luck, group: usize, sight: &Sight<'_>) -> Write {
        let place = &sight.places[group];
        let mut share = Write::default();
        for read in self.reads.iter().filter(|read| read.group == group) {
            match point_of(&read.range) {
                Some(key) => {
                    let expected = Expected::UnchangedSince(read.at);
                    share.conditions.push(Condition { key: key.clone(), expected });
                }
                None => share.ranges.push(RangeRead { range: read.range.clone(), since: read.at }),
            }
        }
        if luck.chance(250) {
            let key = place.key(luck);
            let newest = (sight.newest)(group, &key);
            share.conditions.push(Condition { expected: expected(luck, newest), key });
        }
        // What will soon be gone.
        for letter in place.letters {
            let key = Bytes::copy_from_slice(&[letter]);
            let ends = (sight.newest)(group, &key).and_then(|(_, _, _, end)| end);
            if ends.is_some_and(|end| end.0 < sight.tick.ms() + 2000) && luck.chance(850) {
                share.conditions.push(Condition { key, expected: Expected::Exists });
            }
        }
        let least = u64::from(share.conditions.is_empty() && share.ranges.is_empty());
        for _ in 0..luck.between(least, 2) {
            share.operations.push(operation(luck, place, sight));
        }
        share
    }

    /// The same, in one part or in two.
    pub(crate) fn parts(luck: &mut Luck, share: &Write) -> Vec<Write> {
        let mut first = share.clone();
        if share.operations.len() < 2 || luck.chance(500) {
            return vec![first];
        }
        let operations = first.operations.split_off(1);
        let ranges = std::mem::take(&mut first.ranges);
        vec![first, Write { operations, ranges, ..Write::default() }]
    }
}

/// Half of what is expected of whether there is a value does not hold now; it may later.
fn expected(luck: &mut Luck, newest: Option<Row>) -> Expected {
    match (newest, luck.below(4)) {
        (Some((_, version, ..)), 0) => Expected::VersionIs(version),
        (Some((_, _, value, _)), 1) => Expected::ValueIs(value),
        (None, 0 | 1) | (_, 2) => Expected::Absent,
        _ => Expected::Exists,
    }
}

/// The last letter of a shard holds bytes, the others numbers; seldom otherwise.
fn operation(luck: &mut Luck, place: &Place, sight: &Sight<'_>) -> Operation {
    let key = place.key(luck);
    let is_number = (key[0] != place.letters[2]) != luck.chance(20);
    let number = i64::try_from(luck.below(1_000_000)).expect("small");
    let bytes = Bytes::copy_from_slice(&number.to_be_bytes());
    let expiry = luck.chance(sight.ends).then(|| Expiry(sight.tick.ms() + luck.pick(&[100, 300, 1000, 3000])));
    match luck.below(20) {
        0..5 => {
            let value = if is_number { bytes } else { bytes.slice(5..) };
            Operation::Put { key, value, expiry }
        }
        5..8 => Operation::Delete { key },
        8 => Operation::DeleteRange { range: place.some_range(luck) },
        _ => {
            let (operator, operand) = match is_number {
                true => (MergeOperator::AddI64, bytes),
                false => (MergeOperator::Append, bytes.slice(6..)),
            };
            let expiry = expiry.filter(|_| luck.chance(400));
            Operation::Merge { key, operator, operand, expiry }
        }
    }
}
