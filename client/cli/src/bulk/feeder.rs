//! Rows on their way into a table: read ahead, many in flight, in the file's order for each key.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Error, Table};
use lentic_runtime::{blocking, spawn};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::acknowledged::Acknowledged;
use super::record::{Record, RecordError, Records};
use super::source::Position;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, RowsStep};
use crate::session::Session;

/// Rows that are sent and not acknowledged, at most. Fewer would leave a cluster idle between answers; more only wait.
const ROWS_IN_FLIGHT_MAX: usize = 8_192;
/// Bytes of rows that are sent and not acknowledged, at most; one row alone may have more.
const BYTES_IN_FLIGHT_MAX: usize = 32 << 20;
/// Rows that are read at a time.
const ROWS_PER_READING: usize = 512;
/// Bytes of rows that are read at a time; one row alone may have more.
const BYTES_PER_READING: usize = 1 << 20;
/// Readings that wait to be sent.
const READINGS: usize = 4;

/// Sends rows and waits for their answers.
pub(super) struct Feeder {
    table: Table,
    progress: Progress,
    interrupt: Interrupt,
    in_flight: JoinSet<Answered>,
    /// Keys in flight. A row whose key is among them waits, or it could be overtaken.
    keys: BTreeSet<Bytes>,
    bytes_in_flight: usize,
    acknowledged: Acknowledged,
    /// The row that was sent last.
    sent: u64,
    tally: Tally,
    first_failed: Option<u64>,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rows that were acknowledged.
    pub(super) rows: u64,
    /// All rows up to this one are acknowledged, or were skipped.
    pub(super) through: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
    /// Why the first row failed that did.
    pub(super) failure: Option<Failure>,
}

/// How the feeding ended.
#[derive(Debug)]
pub(super) enum Fed {
    /// All rows were sent, or one failed.
    All,
    /// Somebody asked to stop.
    Interrupted,
    /// The file cannot be read further.
    Unreadable(RecordError),
}

struct Answered {
    row: u64,
    line: u64,
    key: Bytes,
    bytes: usize,
    result: Result<(), Error>,
}

/// Some records, and how the file ended if it did.
struct Reading {
    records: Vec<Record>,
    end: Option<Result<(), RecordError>>,
}

impl Feeder {
    /// How long a row waits for others of its shard, to go as one request.
    pub(super) const LINGER: Duration = Duration::from_millis(2);

    /// Begins after `skipped` rows.
    pub(super) fn new(session: &Session, table: Table, skipped: u64) -> Result<Self, Failure> {
        Ok(Self {
            table,
            progress: Progress::new(session),
            interrupt: Interrupt::listen()?,
            in_flight: JoinSet::new(),
            keys: BTreeSet::new(),
            bytes_in_flight: 0,
            acknowledged: Acknowledged::through_row(skipped),
            sent: skipped,
            tally: Tally::default(),
            first_failed: None,
        })
    }

    /// Sends all records, until one fails.
    pub(super) async fn feed(&mut self, records: Records, position: &Position) -> Fed {
        let mut readings = read_ahead(records);
        loop {
            let reading = tokio::select! {
                biased;
                () = self.interrupt.asked() => return Fed::Interrupted,
                reading = readings.recv() => reading,
            };
            let Some(Reading { records, end }) = reading else { return Fed::All };
            for record in records {
                self.make_room(&record).await;
                if self.interrupt.is_asked() {
                    return Fed::Interrupted;
                }
                if self.first_failed.is_some() {
                    return Fed::All;
                }
                self.send(record);
            }
            self.progress.show(&RowsStep {
                rows: self.tally.rows,
                bytes: position.read_bytes(),
                bytes_total: position.total_bytes,
            });
            match end {
                Some(Err(error)) => return Fed::Unreadable(error),
                Some(Ok(())) => return Fed::All,
                None => {}
            }
        }
    }

    /// Waits for what is in flight.
    pub(super) async fn finish(mut self) -> Tally {
        while self.await_one().await {}
        self.progress.clear();
        self.tally.through = self.acknowledged.through();
        self.tally.elapsed = self.progress.elapsed();
        self.tally
    }

    /// Waits until `record` may be sent, or must not be.
    async fn make_room(&mut self, record: &Record) {
        while let Some(answered) = self.in_flight.try_join_next() {
            self.take(answered.expect("a task that puts a row does not panic"));
        }
        while !self.has_room(record) && self.first_failed.is_none() && !self.interrupt.is_asked() {
            self.await_one().await;
        }
    }

    fn has_room(&self, record: &Record) -> bool {
        self.in_flight.is_empty()
            || self.in_flight.len() < ROWS_IN_FLIGHT_MAX
                && self.bytes_in_flight + record.bytes() <= BYTES_IN_FLIGHT_MAX
                && !self.keys.contains(&record.key)
    }

    fn send(&mut self, record: Record) {
        let bytes = record.bytes();
        let Record { line, key, value, expires_unix_ms } = record;
        self.sent += 1;
        self.bytes_in_flight += bytes;
        self.keys.insert(key.clone());
        let (table, row) = (self.table.clone(), self.sent);
        self.in_flight.spawn(async move {
            let result = match expires_unix_ms {
                Some(end) => table.put_with(key.clone(), value, end).await,
                None => table.put(key.clone(), value).await,
            };
            Answered { row, line, key, bytes, result: result.map(drop) }
        });
    }

    /// Waits for one answer. Whether there was one to wait for.
    async fn await_one(&mut self) -> bool {
        match self.in_flight.join_next().await {
            Some(answered) => self.take(answered.expect("a task that puts a row does not panic")),
            None => return false,
        }
        true
    }

    fn take(&mut self, answered: Answered) {
        let Answered { row, line, key, bytes, result } = answered;
        self.keys.remove(&key);
        self.bytes_in_flight -= bytes;
        match result {
            Ok(()) => {
                self.tally.rows += 1;
                self.acknowledged.add(row);
            }
            Err(error) if self.first_failed.is_none_or(|first| row < first) => {
                self.first_failed = Some(row);
                self.tally.failure = Some(Failure::from(error).in_front(&format!("row {row}, on line {line}: ")));
            }
            Err(_) => {}
        }
    }
}

/// Reads records in a task of its own, a few readings ahead.
fn read_ahead(mut records: Records) -> mpsc::Receiver<Reading> {
    let (sender, receiver) = mpsc::channel(READINGS);
    spawn(async move {
        loop {
            let reading = blocking(|| read_some(&mut records));
            let is_last = reading.end.is_some();
            if sender.send(reading).await.is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn read_some(records: &mut Records) -> Reading {
    let (mut read, mut bytes) = (Vec::new(), 0);
    while read.len() < ROWS_PER_READING && bytes < BYTES_PER_READING {
        match records.next() {
            Ok(Some(record)) => {
                bytes += record.bytes();
                read.push(record);
            }
            Ok(None) => return Reading { records: read, end: Some(Ok(())) },
            Err(error) => return Reading { records: read, end: Some(Err(error)) },
        }
    }
    Reading { records: read, end: None }
}
