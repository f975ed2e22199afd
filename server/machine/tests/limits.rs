//! Limits of a shard's state that a script would be too long for.

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, MemStore, Store};
use lentic_machine::shard::{
    Action, Anchor, Back, Descriptor, HeadsOptions, Operation, Prepare, RangeRead, RequestKey, Take, TxnRef, Write,
};
use lentic_machine::{Command, Outcome, Refusal, Request, Shard, invariants};
use lentic_types::codec::{put_bytes, put_varint};
use lentic_types::limits::{
    ANSWERS_PER_CLIENT_MAX, ENDED_MAX, FENCES_MAX, HELD_RANGES_MAX, LOCKS_MAX, MASKS_MAX, RANGES_MAX, TXN_KEYS_MAX,
};
use lentic_types::{ClientId, Epoch, GroupId, KeyRange, NodeId, TableId, TxnId, Version};

const GROUP: GroupId = GroupId(3);

struct Replica {
    store: MemStore,
    shard: Shard,
    next: u64,
}

impl Replica {
    /// A shard whose state was written as the formats say: `state` adds to it, with stamps up to 5000.
    fn new(state: impl Fn(&mut Batch)) -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        let (table, range, epoch) = (TableId(7), KeyRange::all(), Epoch(1));
        Shard::create(&mut batch, GROUP, &Descriptor { table, range, epoch, watermark: Version::ZERO, ttl_ms: 0 });
        batch.put(Family::Sys, &sys::key(GROUP, SysKind::Stamp, &[]), b"\x88\x27\x00\x00");
        state(&mut batch);
        store.write(&batch).expect("the store works");
        let shard = Shard::load(&store, GROUP, &HeadsOptions::default()).expect("it loads").expect("it is there");
        invariants::check(&shard, &store).expect("the invariants hold");
        Self { store, shard, next: 5001 }
    }

    /// Applies an entry of one request each for `actions`, and says what they were told.
    fn apply(&mut self, actions: impl IntoIterator<Item = Action>) -> Vec<Outcome> {
        self.apply_keyed(actions.into_iter().map(|action| (None, action)))
    }

    fn apply_keyed(&mut self, actions: impl IntoIterator<Item = (Option<RequestKey>, Action)>) -> Vec<Outcome> {
        let stamped = (self.next..).zip(actions);
        let requests: Vec<_> =
            stamped.map(|(stamp, (key, action))| Request { version: Version(stamp), key, action }).collect();
        self.next += requests.len() as u64;
        let command = Command { epoch: Epoch(1), requests };
        let applied = self.shard.apply(self.shard.applied().next(), &command, &self.store).expect("it applies");
        self.store.write(&applied.batch).expect("the store works");
        invariants::check(&self.shard, &self.store).expect("the invariants hold");
        applied.replies
    }
}

fn key(number: usize) -> String {
    format!("{number:06}")
}

fn range(number: usize) -> KeyRange {
    KeyRange::new(key(number), Some(key(number + 1))).expect("in order")
}

fn acquire(range: KeyRange) -> Action {
    Action::Take(Take { range, owner: "job".into(), force: false, back: Vec::new() })
}

fn is_too_large(outcome: &Outcome) -> bool {
    *outcome == Outcome::Refused(Refusal::TooLarge { position: 0 })
}

#[test]
fn a_shard_full_of_fences_still_lets_owners_take_over() {
    let mut replica = Replica::new(|batch| {
        for number in 0..FENCES_MAX {
            let mut value = Vec::new();
            put_varint(&mut value, number as u64 + 1);
            put_bytes(&mut value, b"job");
            value.push(1);
            put_bytes(&mut value, key(number * 2).as_bytes());
            put_bytes(&mut value, key(number * 2 + 1).as_bytes());
            batch.put(Family::Sys, &sys::key(GROUP, SysKind::Fence, key(number * 2).as_bytes()), &value);
        }
    });
    assert_eq!(replica.shard.fences().len(), FENCES_MAX);
    let inside = KeyRange::new(format!("{}x", key(8)), Some(format!("{}y", key(8)))).expect("in order");
    let told = replica.apply([
        acquire(range(1)),
        acquire(inside.clone()),
        acquire(range(8)),
        acquire(KeyRange::new(key(0), Some(key(4))).expect("in order")),
        acquire(range(5)),
        acquire(inside),
    ]);
    assert!(is_too_large(&told[0]), "one more");
    assert!(is_too_large(&told[1]), "two more, of one cut in two");
    assert!(matches!(told[2], Outcome::Taken { .. }), "the same range again");
    assert!(matches!(told[3], Outcome::Taken { .. }), "one in place of two");
    assert!(matches!(told[4], Outcome::Taken { .. }), "the room that was made");
    assert!(is_too_large(&told[5]));
    assert_eq!(replica.shard.fences().len(), FENCES_MAX);
}

#[test]
fn a_shard_full_of_masks_refuses_a_rollback_without_a_trace() {
    let mut replica = Replica::new(|batch| {
        for end in 2..=MASKS_MAX as u64 {
            batch.put(Family::Sys, &sys::key(GROUP, SysKind::Mask, &end.to_be_bytes()), b"\x01\x00\x00");
        }
    });
    let back = vec![Back { range: KeyRange::all(), to: Version(1) }];
    let take = Take { range: KeyRange::all(), owner: "job".into(), force: false, back };
    let rollback = || Action::Take(take.clone());
    let told = replica.apply([rollback(), rollback()]);
    assert!(matches!(told[0], Outcome::Taken { .. }));
    assert!(is_too_large(&told[1]));
    assert_eq!(replica.shard.masks().masks().len(), MASKS_MAX);
    assert!(replica.shard.fences().iter().all(|fence| fence.token.0 == Version(5001)), "the first one's");
}

#[test]
fn a_client_with_too_many_answers_keeps_what_the_store_keeps() {
    let mut replica = Replica::new(|_| ());
    let key =
        |client, sequence| RequestKey { client: ClientId(client), sequence, acked_below: 0, issued: Version(5000) };
    let write = |key| (Some(key), Action::Write(Write::default()));
    let most = ANSWERS_PER_CLIENT_MAX as u64;
    // The last request has the lowest number: of all answers its own would be the first to go.
    let told = replica.apply_keyed((0..=most).rev().map(|sequence| write(key(1, sequence))));
    assert!(told[..ANSWERS_PER_CLIENT_MAX].iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })));
    assert_eq!(told.last(), Some(&Outcome::Refused(Refusal::AnswerForgotten)));
    // Above them all there is room, at the cost of the lowest; other clients do not notice.
    let told = replica.apply_keyed([key(1, most + 1), key(1, 1), key(1, 2), key(2, 1)].map(write));
    let is_committed = |outcome: &Outcome| matches!(outcome, Outcome::Committed { .. });
    assert_eq!(told.iter().map(is_committed).collect::<Vec<_>>(), [true, false, true, true]);
}

fn txn(number: u64, until: Version) -> TxnRef {
    let id = TxnId { begun: Version(9), node: NodeId(1), number };
    TxnRef { id, anchor: Anchor { table: TableId(9), key: "a".into() }, until }
}

fn prepare(number: u64, keys: &[&str]) -> Action {
    let delete = |key: &&str| Operation::Delete { key: key.as_bytes().to_vec().into() };
    let part = Write { operations: keys.iter().map(delete).collect(), ..Write::default() };
    Action::Prepare(Prepare { txn: txn(number, Version(9_000)), participants: vec![], parts: vec![part], take: None })
}

fn is_full(outcome: &Outcome) -> bool {
    *outcome == Outcome::Refused(Refusal::LocksFull)
}

#[test]
fn a_shard_full_of_locks_has_prepares_wait() {
    let mut replica = Replica::new(|batch| {
        // One that has locked all but two, as if it had come in parts.
        let TxnRef { id, .. } = txn(1, Version(0));
        let mut value = vec![0x02];
        value.extend_from_slice(&id.to_bytes());
        value.extend_from_slice(b"\xa8\x46\x09\x01a\x88\x27\x00\x00\x00\x00\x00\x00\x00");
        batch.put(Family::Sys, &sys::key(GROUP, SysKind::Txn, &id.to_bytes()), &value);
        for number in 0..LOCKS_MAX - 2 {
            let put_key =
                |out: &mut Vec<u8>| lentic_engine::keys::lock::put(out, TableId(7), key(number).as_bytes(), id);
            batch.put_with(Family::Lock, put_key, |out| out.extend_from_slice(b"\x00\x88\x27\x00"));
        }
    });
    assert_eq!(replica.shard.locks().len(), LOCKS_MAX - 2);
    let blind = Write { operations: vec![Operation::Delete { key: "d".into() }], ..Write::default() };
    let told = replica.apply([
        prepare(2, &["a", "b", "c"]),
        prepare(2, &["a", "b"]),
        prepare(3, &["c"]),
        prepare(2, &["a", "b"]),
        Action::Write(blind),
    ]);
    assert!(is_full(&told[0]) && is_full(&told[2]), "{told:?}");
    assert!(matches!(told[1], Outcome::Prepared(_)), "what fits, also after it did not: it was no refusal for good");
    assert!(told[3] == told[1] && matches!(told[4], Outcome::Committed { .. }), "what needs no locks goes on");
    assert_eq!(replica.shard.locks().len(), LOCKS_MAX);
}

#[test]
fn a_shard_that_holds_many_ranges_has_prepares_wait() {
    let mut replica = Replica::new(|_| ());
    let reads = |first: usize, count: usize| Write {
        ranges: (first..first + count).map(|at| RangeRead { range: range(at), since: Version(5_000) }).collect(),
        ..Write::default()
    };
    let deletes = |first: usize, count: usize| Write {
        operations: (first..first + count).map(|at| Operation::DeleteRange { range: range(at) }).collect(),
        ..Write::default()
    };
    let prepare = |number, part| {
        Action::Prepare(Prepare {
            txn: txn(number, Version(9_000)),
            participants: vec![],
            parts: vec![part],
            take: None,
        })
    };
    let most = HELD_RANGES_MAX - RANGES_MAX - 1;
    let told = replica.apply([
        prepare(1, reads(0, RANGES_MAX)),
        prepare(2, deletes(RANGES_MAX, most)),
        prepare(3, reads(0, 2)),
        prepare(4, deletes(9_000, 2)),
        prepare(3, reads(0, 1)),
        prepare(4, deletes(9_000, 1)),
        prepare(5, Write::default()),
    ]);
    assert!(matches!(told[..2], [Outcome::Prepared(_), Outcome::Prepared(_)]), "{told:?}");
    assert!(is_full(&told[2]) && is_full(&told[3]), "what a delete-range holds is held, too");
    assert!(matches!(told[4], Outcome::Prepared(_)), "it was no refusal for good");
    assert!(is_full(&told[5]));
    assert!(matches!(told[6], Outcome::Prepared(_)), "what holds no range goes on");
    assert_eq!(replica.shard.locks().len(), HELD_RANGES_MAX);
}

#[test]
fn a_transaction_of_too_many_ranges_is_refused() {
    let mut replica = Replica::new(|_| ());
    let part = |deletes: usize| Write {
        operations: (0..deletes).map(|at| Operation::DeleteRange { range: range(at) }).collect(),
        ranges: vec![RangeRead { range: range(9_000), since: Version(5_000) }],
        ..Write::default()
    };
    let prepare = |part| {
        Action::Prepare(Prepare { txn: txn(1, Version(9_000)), participants: vec![], parts: vec![part], take: None })
    };
    let told = replica.apply([prepare(part(RANGES_MAX)), prepare(part(RANGES_MAX - 1))]);
    assert!(matches!(told[0], Outcome::Refused(Refusal::Invalid(_))), "it could never be held");
    assert!(matches!(told[1], Outcome::Prepared(_)));
}

#[test]
fn a_shard_that_keeps_too_many_ends_in_mind_refuses_what_could_be_one_of_them() {
    let mut replica = Replica::new(|batch| {
        for number in 0..ENDED_MAX as u64 {
            let mut suffix = (8_000 + number).to_be_bytes().to_vec();
            suffix.extend_from_slice(&txn(number, Version(0)).id.to_bytes());
            batch.put(Family::Sys, &sys::key(GROUP, SysKind::Ended, &suffix), b"\x02");
        }
    });
    let new = |number| txn(ENDED_MAX as u64 + number, Version(90_000));
    let prepare = |txn| Action::Prepare(Prepare { txn, participants: vec![], parts: vec![], take: None });
    let until = |number, until| TxnRef { until: Version(until), ..new(number) };
    // Two too many: the two go of which a prepare can come for the shortest time.
    replica.apply([Action::Status(new(0)), Action::Status(new(1))]);
    assert_eq!(replica.shard.locks().horizon(), Version(8_001));
    let told = replica.apply([
        prepare(txn(1, Version(8_001))),
        prepare(until(2, 8_001)),
        prepare(until(3, 8_002)),
        prepare(new(0)),
        Action::Status(until(4, 8_001)),
    ]);
    let ended = Outcome::Refused(Refusal::TxnEnded);
    assert_eq!(told[..2], [ended.clone(), ended.clone()], "nobody knows any more whether they have ended");
    assert!(matches!(told[2], Outcome::Prepared(_)));
    assert_eq!(told[3], ended);
    assert_eq!(replica.shard.locks().all_ended().count(), ENDED_MAX, "of what is late nothing is kept");
    replica.shard =
        Shard::load(&replica.store, GROUP, &HeadsOptions::default()).expect("it loads").expect("it is there");
    assert_eq!(replica.apply([prepare(until(2, 8_001))]), [ended], "after a restart too");
}

#[test]
fn a_transaction_of_too_many_keys_is_refused() {
    let mut replica = Replica::new(|_| ());
    let part = |keys: usize| {
        let conditions = (0..keys).map(|number| lentic_machine::shard::Condition {
            key: key(number).into(),
            expected: lentic_machine::shard::Expected::Absent,
        });
        Write { conditions: conditions.collect(), ..Write::default() }
    };
    let prepare = |number, parts| {
        Action::Prepare(Prepare { txn: txn(number, Version(9_000)), participants: vec![], parts, take: None })
    };
    let told = replica.apply([
        prepare(1, vec![part(TXN_KEYS_MAX / 2), part(TXN_KEYS_MAX / 2 + 1)]),
        prepare(1, vec![part(TXN_KEYS_MAX / 2), part(TXN_KEYS_MAX / 2)]),
    ]);
    assert!(matches!(told[0], Outcome::Refused(Refusal::Invalid(_))));
    assert!(matches!(told[1], Outcome::Prepared(_)));
}

#[test]
fn delete_ranges_of_a_transaction_do_not_lock_more_than_it_may() {
    let each = lentic_types::limits::DELETE_RANGE_KEYS_MAX as usize;
    let ranges = TXN_KEYS_MAX / each + 1;
    let mut replica = Replica::new(|batch| {
        for number in 0..ranges * each {
            let put = lentic_engine::Record::Put { value: b"1", expiry: None };
            lentic_engine::write::record(batch, TableId(7), key(number).as_bytes(), Version(1), &put);
        }
    });
    let prepare = |number, ranges: usize| {
        let delete = |at: usize| Operation::DeleteRange {
            range: KeyRange::new(format!("{:06}", at * each), Some(format!("{:06}", (at + 1) * each)))
                .expect("in order"),
        };
        let part = Write { operations: (0..ranges).map(delete).collect(), ..Write::default() };
        Action::Prepare(Prepare {
            txn: txn(number, Version(9_000)),
            participants: vec![],
            parts: vec![part],
            take: None,
        })
    };
    let told = replica.apply([prepare(1, ranges), prepare(2, ranges - 1)]);
    assert_eq!(told[0], Outcome::Refused(Refusal::TooLarge { position: 10 }));
    assert!(matches!(told[1], Outcome::Prepared(_)));
    assert_eq!(replica.shard.locks().len(), TXN_KEYS_MAX + ranges - 1);
}
