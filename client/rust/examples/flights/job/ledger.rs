//! The ledger: how many aircraft each airport has gained, and how many are in the air. Two jobs change it.
//!
//! It is nobody's own, so no checkpoint takes it back. That each flight is in it once, marks see to: how far in each
//! partition a job's moves are in the ledger. A transaction has moves, marks and a proof that the task is still the owner
//! of its key groups; it takes place as a whole or not at all, and a restored task leaves out what is before the marks.

use std::collections::BTreeMap;

use lentic_client::state::{KeyGroup, Task};
use lentic_client::{Client, KeyRange, MergeOperator, Transaction, WriteBatch};

use super::failure::Failure;
use super::source::Side;

pub(super) const TABLE: &str = "flights-ledger";
/// The place of an aircraft that has departed and not landed.
pub(super) const AIR: &str = "air";
/// Events after which the moves are sent: one transaction has them all.
const EVENTS_MAX: usize = 250;

pub(super) fn place_key(place: &str) -> String {
    format!("aircraft/{place}")
}

pub(super) fn mark_key(side: Side, partition: KeyGroup) -> String {
    format!("mark/{}/{:05}", side.name(), partition.0)
}

/// A task's moves that are not in the ledger yet.
pub(super) struct Ledger {
    client: Client,
    side: Side,
    marks: BTreeMap<KeyGroup, Mark>,
    moves: BTreeMap<String, i64>,
    events: usize,
    /// Transactions that took effect.
    commits: usize,
}

struct Mark {
    /// As it is in the table, `None` if it is not.
    saved: Option<i64>,
    /// Up to where moves are here, too.
    next: i64,
}

impl Ledger {
    /// Reads the marks of a task's partitions.
    pub(super) async fn open(client: &Client, side: Side, task: &Task) -> Result<Self, Failure> {
        let partitions: Vec<KeyGroup> = task.groups().iter().collect();
        let keys = partitions.iter().map(|partition| mark_key(side, *partition));
        let found = client.table(TABLE).multi_get(keys).await?;
        let saved = found.into_iter().map(|mark| mark.and_then(|mark| mark.as_i64()));
        let marks = saved.map(|saved| Mark { saved, next: saved.unwrap_or(0) });
        let marks = partitions.into_iter().zip(marks).collect();
        Ok(Self { client: client.clone(), side, marks, moves: BTreeMap::new(), events: 0, commits: 0 })
    }

    /// Moves an aircraft, for the event at an offset, unless that was done in an attempt before.
    pub(super) fn shift(&mut self, partition: KeyGroup, offset: i64, from: &str, to: &str) {
        let mark = self.marks.get_mut(&partition).expect("it is one of the task's");
        if offset < mark.next {
            return;
        }
        mark.next = offset + 1;
        *self.moves.entry(place_key(from)).or_default() -= 1;
        *self.moves.entry(place_key(to)).or_default() += 1;
        self.events += 1;
    }

    pub(super) const fn is_full(&self) -> bool {
        self.events >= EVENTS_MAX
    }

    /// How many transactions took effect.
    pub(super) const fn commits(&self) -> usize {
        self.commits
    }

    /// Puts the moves into the ledger. After an error nobody here knows whether they are: end the task.
    pub(super) async fn settle(&mut self, task: &Task) -> Result<(), Failure> {
        if self.events == 0 {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        for (partition, mark) in self.marks.iter().filter(|(_, mark)| mark.next != mark.saved.unwrap_or(0)) {
            let key = mark_key(self.side, *partition);
            batch = match mark.saved {
                Some(saved) => batch.if_value(key.clone(), saved.to_be_bytes().to_vec()),
                None => batch.if_absent(key.clone()),
            };
            batch = batch.put(key, mark.next.to_be_bytes().to_vec());
        }
        for (place, change) in std::mem::take(&mut self.moves) {
            batch = batch.merge(place, MergeOperator::AddI64, change.to_be_bytes().to_vec());
        }
        // No state has a row under a key group alone: it is written for the fence to be judged.
        let own = task.groups().first().0.to_be_bytes().to_vec();
        let proof = WriteBatch::new().fence(task.fence()).delete(own);
        self.client.commit(Transaction::new().with(TABLE, batch).with(self.side.name(), proof)).await?;
        self.marks.values_mut().filter(|mark| mark.next > 0).for_each(|mark| mark.saved = Some(mark.next));
        self.events = 0;
        self.commits += 1;
        Ok(())
    }
}

/// At every version the ledger's total is what it was at the start: nothing.
pub(super) async fn check_total(client: &Client) -> Result<(), Failure> {
    let range = KeyRange::new(place_key("").into_bytes(), Some(place_key("\u{7f}").into_bytes()));
    let mut scan = client.table(TABLE).scan(range.expect("the end is behind the start")).start();
    let mut total = 0;
    while let Some(row) = scan.next().await {
        let row = row?;
        total += row.as_i64().ok_or_else(|| Failure::Wrong(format!("{:?} of the ledger is no number", row.key)))?;
    }
    match total {
        0 => Ok(()),
        total => Err(Failure::Wrong(format!("the ledger's total is {total} at {:?}, expected 0", scan.version()))),
    }
}
