//! A transaction cut by shard.

use std::collections::BTreeMap;

use bytes::Bytes;

use lentic_machine::Refusal;
use lentic_machine::meta::{Catalog, ShardPlace};
use lentic_machine::shard::{Action, Back, Operation, Participant, RangeRead, Take, Write};
use lentic_proto::v1::Failure;
use lentic_types::{KeyRange, ShardId, TableId};

use crate::failure;

/// One shard's share of a transaction.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) place: ShardPlace,
    pub(super) parts: Vec<Write>,
    /// What it takes instead.
    pub(super) take: Option<Take>,
    /// Where each condition and range of the share stands in the transaction, and each operation.
    reads: Vec<u32>,
    operations: Vec<u32>,
    /// Which part of the transaction the last of `parts` is of.
    part: usize,
}

/// A part of a transaction, with its table.
pub(super) type Part = (TableId, Write);

impl Share {
    fn new(place: &ShardPlace) -> Self {
        Self {
            place: place.clone(),
            parts: Vec::new(),
            take: None,
            reads: Vec::new(),
            operations: Vec::new(),
            part: usize::MAX,
        }
    }

    /// The share's part of a part of the transaction.
    fn part(&mut self, number: usize, write: &Write) -> &mut Write {
        if self.part != number {
            self.part = number;
            self.parts.push(Write { fence: write.fence, ..Write::default() });
        }
        self.parts.last_mut().expect("one was pushed")
    }

    pub(super) fn participant(&self) -> Participant {
        Participant { table: self.place.table, range: self.place.range.clone() }
    }

    /// A key of the share: the first that it names.
    pub(super) fn first_key(&self) -> Option<Bytes> {
        let taken = self.take.as_ref().map(|take| take.range.start().clone());
        taken.or_else(|| self.parts.iter().find_map(first_key))
    }

    /// The share as one action, if it takes a range, or if its parts have the same token.
    pub(super) fn single(&self) -> Option<Action> {
        if let Some(take) = &self.take {
            return Some(Action::Take(take.clone()));
        }
        let fence = self.parts.first()?.fence;
        if self.parts.iter().any(|part| part.fence != fence) {
            return None;
        }
        let mut all = Write { fence, ..Write::default() };
        for part in &self.parts {
            all.conditions.extend(part.conditions.iter().cloned());
            all.ranges.extend(part.ranges.iter().cloned());
            all.operations.extend(part.operations.iter().cloned());
        }
        Some(Action::Write(all))
    }

    /// The refusal with the position in the transaction instead of that in the share.
    pub(super) fn placed_refusal(&self, refusal: &Refusal) -> Refusal {
        let place = |positions: &[u32], position: u32| {
            usize::try_from(position).ok().and_then(|at| positions.get(at)).copied().unwrap_or(position)
        };
        match refusal {
            Refusal::ConditionFailed { position, found } => {
                Refusal::ConditionFailed { position: place(&self.reads, *position), found: *found }
            }
            Refusal::Conflict { position } => Refusal::Conflict { position: place(&self.reads, *position) },
            Refusal::WrongKind { position } => Refusal::WrongKind { position: place(&self.operations, *position) },
            Refusal::TooLarge { position } => Refusal::TooLarge { position: place(&self.operations, *position) },
            other => other.clone(),
        }
    }

    /// The positions of a share whose parts were made one write: conditions of all parts, then ranges of all parts.
    pub(super) fn in_order_of_single(&mut self) {
        let (mut conditions, mut ranges, mut from) = (Vec::new(), Vec::new(), 0);
        for part in &self.parts {
            let between = from + part.conditions.len();
            let end = between + part.ranges.len();
            conditions.extend_from_slice(&self.reads[from..between]);
            ranges.extend_from_slice(&self.reads[between..end]);
            from = end;
        }
        conditions.append(&mut ranges);
        self.reads = conditions;
    }
}

/// Cuts a transaction by shard. The first share is that of its first key: the anchor.
///
/// # Errors
/// A table is gone.
pub(super) fn cut(catalog: &Catalog, parts: &[Part]) -> Result<Vec<Share>, Failure> {
    let mut shares = Shares { catalog, by_shard: BTreeMap::new(), shares: Vec::new() };
    let (mut read, mut written) = (0_u32, 0_u32);
    for (number, (table, write)) in parts.iter().enumerate() {
        for condition in &write.conditions {
            let share = shares.of_key(*table, &condition.key)?;
            share.part(number, write).conditions.push(condition.clone());
            share.reads.push(read);
            read += 1;
        }
        for RangeRead { range, since } in &write.ranges {
            for (share, range) in shares.of_range(*table, range)? {
                let share = &mut shares.shares[share];
                share.part(number, write).ranges.push(RangeRead { range, since: *since });
                share.reads.push(read);
            }
            read += 1;
        }
        for operation in &write.operations {
            shares.operate(*table, number, write, operation, written)?;
            written += 1;
        }
    }
    Ok(shares.shares)
}

/// Cuts the taking of a range by shard. The first share is that of its first key: the anchor.
///
/// # Errors
/// The table is gone.
pub(super) fn cut_take(catalog: &Catalog, table: TableId, take: &Take) -> Result<Vec<Share>, Failure> {
    let mut shares = Shares { catalog, by_shard: BTreeMap::new(), shares: Vec::new() };
    for (share, range) in shares.of_range(table, &take.range)? {
        let back = |back: &Back| Some(Back { range: back.range.intersection(&range)?, to: back.to });
        let back = take.back.iter().filter_map(back).collect();
        shares.shares[share].take = Some(Take { range: range.clone(), back, ..take.clone() });
    }
    Ok(shares.shares)
}

struct Shares<'a> {
    catalog: &'a Catalog,
    by_shard: BTreeMap<ShardId, usize>,
    shares: Vec<Share>,
}

impl Shares<'_> {
    fn operate(
        &mut self,
        table: TableId,
        number: usize,
        write: &Write,
        operation: &Operation,
        position: u32,
    ) -> Result<(), Failure> {
        match operation {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => {
                let share = self.of_key(table, key)?;
                share.part(number, write).operations.push(operation.clone());
                share.operations.push(position);
            }
            Operation::DeleteRange { range } => {
                for (share, range) in self.of_range(table, range)? {
                    let share = &mut self.shares[share];
                    share.part(number, write).operations.push(Operation::DeleteRange { range });
                    share.operations.push(position);
                }
            }
        }
        Ok(())
    }

    fn of_key(&mut self, table: TableId, key: &[u8]) -> Result<&mut Share, Failure> {
        let place = self.catalog.shard_for(table, key).ok_or_else(gone)?;
        let share = self.of_place(place);
        Ok(&mut self.shares[share])
    }

    fn of_range(&mut self, table: TableId, range: &KeyRange) -> Result<Vec<(usize, KeyRange)>, Failure> {
        let catalog = self.catalog;
        let mut parts = Vec::new();
        for place in catalog.shards_of(table) {
            if let Some(part) = place.range.intersection(range) {
                parts.push((self.of_place(place), part));
            }
        }
        if parts.is_empty() { Err(gone()) } else { Ok(parts) }
    }

    fn of_place(&mut self, place: &ShardPlace) -> usize {
        let next = self.shares.len();
        let share = *self.by_shard.entry(place.shard).or_insert(next);
        if share == next {
            self.shares.push(Share::new(place));
        }
        share
    }
}

fn first_key(write: &Write) -> Option<Bytes> {
    let condition = write.conditions.first().map(|condition| condition.key.clone());
    let range = || write.ranges.first().map(|read| read.range.start().clone());
    let operation = || {
        write.operations.first().map(|operation| match operation {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => key.clone(),
            Operation::DeleteRange { range } => range.start().clone(),
        })
    };
    condition.or_else(range).or_else(operation)
}

fn gone() -> Failure {
    failure::not_found("a table of the transaction is gone")
}

/// How many keys and ranges a part has.
pub(super) const fn keys(write: &Write) -> usize {
    write.conditions.len() + write.ranges.len() + write.operations.len()
}

#[cfg(test)]
mod tests {
    use lentic_machine::meta::Shape;

    use super::*;
    use lentic_machine::shard::{Condition, Expected};
    use lentic_types::{Epoch, Version};

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new(lentic_types::ClusterId([7; 16]));
        let cuts: [&[u8]; 2] = [b"g", b"p"];
        let bounds = [Some(&b""[..]), Some(cuts[0]), Some(cuts[1]), None];
        for (shard, pair) in (1..).zip(bounds.windows(2)) {
            let start = Bytes::from_static(pair[0].expect("a bound"));
            let end = pair[1].map(Bytes::from_static);
            let place = ShardPlace {
                shard: ShardId(shard),
                table: TableId(1),
                range: KeyRange::new(start, end).unwrap(),
                epoch: Epoch(1),
                replicas: Vec::new(),
                shape: Shape::default(),
            };
            catalog.put_shard(place);
        }
        catalog
    }

    fn put(key: &'static str) -> Operation {
        Operation::Put { key: key.into(), value: "v".into(), expiry: None }
    }

    fn read(key: &'static str) -> Condition {
        Condition { key: key.into(), expected: Expected::UnchangedSince(Version(5)) }
    }

    #[test]
    fn each_shard_takes_its_part_and_goes_back_in_it() {
        let range = |start: &'static str, end: Option<&'static str>| KeyRange::new(start, end).unwrap();
        let back = vec![
            Back { range: range("c", Some("e")), to: Version(5) },
            Back { range: range("e", Some("q")), to: Version(7) },
        ];
        let take = Take { range: range("c", Some("z")), owner: "job".into(), force: true, back };
        let shares = cut_take(&catalog(), TableId(1), &take).unwrap();
        let taken: Vec<_> = shares.iter().map(|share| share.take.clone().unwrap()).collect();
        let ranges: Vec<_> = taken.iter().map(|take| take.range.clone()).collect();
        assert_eq!(ranges, [range("c", Some("g")), range("g", Some("p")), range("p", Some("z"))]);
        let back: Vec<Vec<_>> =
            taken.iter().map(|take| take.back.iter().map(|back| (back.range.clone(), back.to.0)).collect()).collect();
        assert_eq!(back[0], [(range("c", Some("e")), 5), (range("e", Some("g")), 7)]);
        assert_eq!(back[1], [(range("g", Some("p")), 7)]);
        assert_eq!(back[2], [(range("p", Some("q")), 7)]);
        assert!(taken.iter().all(|take| take.force && take.owner == "job"));
        assert!(cut_take(&catalog(), TableId(2), &take).is_err(), "the table is gone");
    }

    #[test]
    fn each_shard_gets_its_own_in_order_and_positions_come_back() {
        let range = |start: &'static str, end: &'static str| KeyRange::new(start, Some(end)).unwrap();
        let first = Write {
            conditions: vec![read("h"), read("a")],
            ranges: vec![RangeRead { range: range("b", "k"), since: Version(5) }],
            operations: vec![put("z"), Operation::DeleteRange { range: range("a", "h") }],
            fence: None,
        };
        let second = Write { conditions: vec![read("i")], operations: vec![put("h")], ..Write::default() };
        let shares = cut(&catalog(), &[(TableId(1), first), (TableId(1), second)]).unwrap();
        let shards: Vec<u64> = shares.iter().map(|share| share.place.shard.0).collect();
        assert_eq!(shards, [2, 1, 3], "the shard of the first key is the anchor");
        let mut anchor = shares.into_iter().next().unwrap();
        assert_eq!((anchor.reads.clone(), anchor.operations.clone()), (vec![0, 2, 3], vec![1, 2]));
        assert_eq!(anchor.parts.len(), 2);
        let Some(Action::Write(single)) = anchor.single() else { panic!("both parts are free for all") };
        assert_eq!((single.conditions.len(), single.ranges.len(), single.operations.len()), (2, 1, 2));
        anchor.in_order_of_single();
        assert_eq!(anchor.reads, [0, 3, 2], "conditions come before ranges in one write");
        assert_eq!(anchor.placed_refusal(&Refusal::Conflict { position: 1 }), Refusal::Conflict { position: 3 });
        assert_eq!(anchor.placed_refusal(&Refusal::TooLarge { position: 1 }), Refusal::TooLarge { position: 2 });
    }
}
