//! The shard in small answers as the real one does: over all short logs, as an anchor and as another participant.

use bytes::Bytes;
use lentic_engine::{Batch, Direction, MemStore, MergeOperator, ReadStats, ScanLimits, Store};
use lentic_machine::shard::{
    Action, Anchor, Decide, Decision, Descriptor, HeadsOptions, Operation, Prepare, Request, Resolve, TxnRef, Write,
};
use lentic_machine::{Command, Outcome, Shard};
use lentic_types::{Epoch, GroupId, Index, KeyRange, TableId, Version};

use super::setup::{LATE, Off, UNTIL, tick};
use super::shard::{Message, Shard as Small, Terms, Txn, id_of, participant_of};

const GROUP: GroupId = GroupId(7);
const KEY: &[u8] = b"k";
/// Above the stamps of the first two entries, below that of the third.
const COMMIT: u16 = 25;

/// One entry of a log.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Message(Message),
    /// The stamps of this entry and of those behind it are late.
    Late(Message),
}

/// What all logs are made of.
fn entries() -> Vec<Entry> {
    let commit = Decision::Commit(tick(COMMIT));
    let messages = [
        Message::Write(0),
        Message::Prepare(0),
        Message::Prepare(1),
        Message::Decide(0, commit),
        Message::Decide(0, Decision::Abort),
        Message::Resolve(0, commit),
        Message::Resolve(0, Decision::Abort),
        Message::Resolve(1, commit),
        Message::Status(0),
    ];
    let late = [
        Message::Prepare(0),
        Message::Decide(0, Decision::Abort),
        Message::Resolve(0, commit),
        Message::Resolve(0, Decision::Abort),
    ];
    messages.map(Entry::Message).into_iter().chain(late.map(Entry::Late)).collect()
}

/// A real shard, whose place in the setup is 0.
struct Real {
    store: MemStore,
    shard: Shard,
    is_anchor: bool,
    exclusive: bool,
}

impl Real {
    fn new(is_anchor: bool, exclusive: bool) -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        let descriptor = Descriptor {
            table: TableId(0),
            range: KeyRange::all(),
            epoch: Epoch(1),
            watermark: Version::ZERO,
            ttl_ms: 0,
        };
        Shard::create(&mut batch, GROUP, &descriptor);
        store.write(&batch).expect("the store works");
        let shard = Shard::load(&store, GROUP, &HeadsOptions { bytes_max: 0, seed: 1 });
        Self { shard: shard.expect("the store works").expect("the shard is there"), store, is_anchor, exclusive }
    }

    /// Applies a message; `None` if the group stops.
    fn apply(&mut self, version: Version, message: Message) -> Option<Outcome> {
        let request = Request { version, key: None, action: self.action_of(message) };
        let command = Command { epoch: Epoch(1), requests: vec![request] };
        let index = Index(self.shard.applied().0 + 1);
        let mut applied = self.shard.apply(index, &command, &self.store).ok()?;
        self.store.write(&applied.batch).expect("the store works");
        applied.replies.pop()
    }

    fn action_of(&self, message: Message) -> Action {
        let key = Bytes::from_static(KEY);
        let value = Bytes::from_static(b"v");
        let operation = match self.exclusive {
            true => Operation::Merge { key, operator: MergeOperator::Append, operand: value, expiry: None },
            false => Operation::Put { key, value, expiry: None },
        };
        let write = Write { operations: vec![operation], ..Write::default() };
        match message {
            Message::Write(_) => Action::Write(write),
            Message::Prepare(txn) => {
                let participants = vec![participant_of(0), participant_of(1)];
                Action::Prepare(Prepare { txn: self.txn(txn), participants, parts: vec![write], take: None })
            }
            Message::Decide(txn, decision) => Action::Decide(Decide { txn: self.txn(txn), decision }),
            Message::Resolve(txn, decision) => Action::Resolve(Resolve { txn: self.txn(txn), decision }),
            Message::Status(txn) => Action::Status(self.txn(txn)),
        }
    }

    fn txn(&self, txn: Txn) -> TxnRef {
        let table = TableId(u32::from(!self.is_anchor));
        TxnRef { id: id_of(txn), anchor: Anchor { table, key: Bytes::from_static(KEY) }, until: UNTIL }
    }

    /// The version of the key's value.
    fn newest(&self) -> Option<Version> {
        let (at, limits) = (self.shard.read_at(Version::MAX), ScanLimits::default());
        let page = at.scan(&self.store, &KeyRange::all(), Direction::Forward, &limits, &mut ReadStats::default());
        page.expect("the store works").rows.first().map(|row| row.found.version)
    }

    fn assert_is(&self, small: &Small, log: &[Entry]) {
        assert_eq!(self.newest(), small.written.last().map(|(version, _)| *version), "{log:?}");
        let ended: Vec<_> = self.shard.locks().all_ended().map(|(txn, _, decision)| (txn, decision)).collect();
        let expected: Vec<_> = small.ended.iter().map(|(txn, decision)| (id_of(*txn), *decision)).collect();
        assert_eq!(ended, expected, "{log:?}");
        let real = self.shard.locks().open().map(|open| {
            let holds = self.shard.locks().locks_of(open.txn.id).next().is_some();
            (open.txn.id, open.version, open.decision, open.is_resolved, holds)
        });
        let expected = small
            .open
            .iter()
            .map(|(txn, open)| (id_of(*txn), open.prepared, open.decision, open.is_resolved, open.holds));
        assert_eq!(real.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{log:?}");
    }
}

/// Applies a log to both. Returns whether neither has stopped.
fn run(log: &[Entry], is_anchor: bool, exclusive: bool) -> bool {
    let participants: Option<&[usize]> = if is_anchor { Some(&[0, 1]) } else { None };
    let terms = Terms { participants, exclusive, off: Off::Nothing };
    let (mut real, mut small) = (Real::new(is_anchor, exclusive), Small::default());
    let mut late = 0;
    for (place, entry) in (1..).zip(log) {
        let message = match entry {
            Entry::Message(message) => *message,
            Entry::Late(message) => {
                late = LATE;
                *message
            }
        };
        let stamp = tick(10 * place + late);
        let expected = match (message, is_anchor) {
            // Asked by mistake.
            (Message::Decide(..), false) => Some(lentic_machine::Refusal::OutOfRange.into()),
            _ => small.apply(stamp, message, &terms).ok(),
        };
        assert_eq!(real.apply(stamp, message), expected, "{log:?}");
        if expected.is_none() {
            return false;
        }
        if stamp >= UNTIL {
            small.forget(false);
        }
    }
    real.assert_is(&small, log);
    true
}

/// All logs that begin with `log` and have so many entries more. Returns how many there are.
fn run_all(log: &mut Vec<Entry>, more: usize, is_anchor: bool, exclusive: bool) -> usize {
    if !run(log, is_anchor, exclusive) || more == 0 {
        return 1;
    }
    let mut logs = 1;
    for entry in entries() {
        log.push(entry);
        logs += run_all(log, more - 1, is_anchor, exclusive);
        log.pop();
    }
    logs
}

/// Compares the two over all logs of up to `entries_max` entries.
pub(crate) fn compare(entries_max: usize) -> usize {
    let roles = [(true, false), (true, true), (false, false), (false, true)];
    roles.into_iter().map(|(is_anchor, exclusive)| run_all(&mut Vec::new(), entries_max, is_anchor, exclusive)).sum()
}
