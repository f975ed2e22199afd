//! A table in a transaction.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use lentic_proto::v1::Operation;
use lentic_types::limits::TXN_KEYS_MAX;
use lentic_types::{ErrorKind, KeyRange, Version};
use tokio::time::Instant;

use super::Txn;
use crate::batch::{self, WriteBatch};
use crate::error::Error;
use crate::merge::MergeOperator;
use crate::owners::Fence;
use crate::read::Value;
use crate::routes::prefix_range;
use crate::scan::{Row, Scan};
use crate::table::Table;

/// A table in a transaction. Clones are the same.
///
/// Reads are as of the transaction's version, with its own writes on top; a value of its own has the version
/// [`Version::MAX`]. What is read is validated at commit. Writes wait for the commit, where they can be refused as those of
/// [`Table`] can.
#[derive(Clone)]
pub struct TxnTable {
    txn: Txn,
    name: String,
}

impl TxnTable {
    pub(super) fn new(txn: Txn, name: &str) -> Self {
        Self { txn, name: name.to_owned() }
    }

    /// The value of a key.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Value>, Error> {
        let values = self.multi_get([key.into()]).await?;
        Ok(values.into_iter().next().flatten())
    }

    /// The values of keys, in the order of the keys.
    pub async fn multi_get<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>, Error> {
        let keys: Vec<Bytes> = keys.into_iter().map(Into::into).collect();
        // What the transaction has set itself it need not read, and does not depend on.
        let is_set: Vec<bool> = self.txn.with_buffer(&self.name, |buffer| {
            let is_set: Vec<bool> = keys.iter().map(|key| buffer.is_set(key)).collect();
            keys.iter().zip(&is_set).filter(|(_, is_set)| !**is_set).for_each(|(key, _)| buffer.read(key));
            is_set
        })?;
        let asked: Vec<Bytes> =
            keys.iter().zip(&is_set).filter(|(_, is_set)| !**is_set).map(|(key, _)| key.clone()).collect();
        let found = match asked.is_empty() {
            true => Vec::new(),
            false => self.stored()?.multi_get_at(asked, self.txn.version().await?).await?,
        };
        let mut found = found.into_iter();
        let stored: Vec<Option<Value>> =
            is_set.iter().map(|is_set| if *is_set { None } else { found.next().flatten() }).collect();
        self.txn.with_buffer(&self.name, |buffer| {
            keys.iter().zip(stored).map(|(key, stored)| buffer.apply(key, stored)).collect()
        })?
    }

    /// The rows of a range. The range is validated at commit: no row of it may have come, gone or changed.
    pub fn scan(&self, range: KeyRange) -> TxnScan {
        TxnScan { table: self.clone(), range, is_backward: false, limit: TXN_KEYS_MAX }
    }

    /// The rows whose keys begin with `prefix`.
    pub fn scan_prefix(&self, prefix: impl Into<Bytes>) -> TxnScan {
        self.scan(prefix_range(prefix))
    }

    /// Sets a value.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<(), Error> {
        self.write(batch::put(key.into(), value.into(), None))
    }

    /// Sets a value that ends at a time, in milliseconds since 1970, from 2020 to 2159.
    pub fn put_with(&self, key: impl Into<Bytes>, value: impl Into<Bytes>, expires_unix_ms: u64) -> Result<(), Error> {
        self.write(batch::put(key.into(), value.into(), Some(expires_unix_ms)))
    }

    /// Removes a value, if there is one.
    pub fn delete(&self, key: impl Into<Bytes>) -> Result<(), Error> {
        self.write(batch::delete(key.into()))
    }

    /// Removes the values of all keys in a range: at most 10,000 in each shard.
    pub fn delete_range(&self, range: &KeyRange) -> Result<(), Error> {
        self.write(batch::delete_range(range))
    }

    /// Folds an operand into a value at the server. Without a read of the key, it conflicts with no other such merge.
    pub fn merge(
        &self,
        key: impl Into<Bytes>,
        operator: MergeOperator,
        operand: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.write(batch::merge(key.into(), operator, operand.into(), None))
    }

    /// Folds an operand into a value at the server, and sets when the value ends, in milliseconds since 1970.
    pub fn merge_with(
        &self,
        key: impl Into<Bytes>,
        operator: MergeOperator,
        operand: impl Into<Bytes>,
        expires_unix_ms: u64,
    ) -> Result<(), Error> {
        self.write(batch::merge(key.into(), operator, operand.into(), Some(expires_unix_ms)))
    }

    /// Adds to an integer: [`MergeOperator::AddI64`].
    pub fn add_i64(&self, key: impl Into<Bytes>, addend: i64) -> Result<(), Error> {
        self.merge(key, MergeOperator::AddI64, addend.to_be_bytes().to_vec())
    }

    /// Shows the fence under which the writer owns all keys that it writes in this table.
    pub fn fence(&self, fence: impl Into<Fence>) -> Result<(), Error> {
        self.txn.with_buffer(&self.name, |buffer| buffer.fence = Some(fence.into().0))
    }

    /// Requires the conditions of a batch that has nothing else, as in `require(WriteBatch::new().if_absent("lock"))`. They
    /// are judged when the transaction commits, on what is stored just before: its own writes do not count. To require
    /// something of a key is not to read it, so a change of the key that keeps to it is no conflict.
    ///
    /// # Errors
    /// `Invalid` if the batch has operations, ranges or a token.
    pub fn require(&self, conditions: WriteBatch) -> Result<(), Error> {
        let WriteBatch { fence, ranges, operations, .. } = &conditions;
        if fence.is_some() || !ranges.is_empty() || !operations.is_empty() {
            return Err(Error::invalid(
                "a transaction requires conditions on keys alone; write and read with its tables",
            ));
        }
        self.txn.open()?.require(&self.name, conditions);
        Ok(())
    }

    fn write(&self, operation: Operation) -> Result<(), Error> {
        self.txn.open()?.write(&self.name, operation);
        Ok(())
    }

    /// The table, with what is left of the transaction's time.
    fn stored(&self) -> Result<Table, Error> {
        let left = self.txn.0.deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(Error::unavailable("the transaction's deadline has passed; nothing was done"));
        }
        Ok(self.txn.0.client.table(&self.name).with_deadline(left))
    }
}

/// A scan in a transaction, being described. [`rows`](Self::rows) reads it.
#[derive(Clone, Debug)]
#[must_use = "a scan does nothing until its rows are asked for"]
pub struct TxnScan {
    table: TxnTable,
    range: KeyRange,
    is_backward: bool,
    limit: usize,
}

impl TxnScan {
    /// Gives at most `rows` rows. Only what was looked at is validated.
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows.min(TXN_KEYS_MAX);
        self
    }

    /// Goes from the last key to the first.
    pub const fn reverse(mut self) -> Self {
        self.is_backward = true;
        self
    }

    /// The rows.
    ///
    /// # Errors
    /// `TooLarge` if there are more than 100,000 and no lower limit.
    pub async fn rows(self) -> Result<Vec<Row>, Error> {
        let Self { table, range, is_backward, limit } = self;
        let at = table.txn.version().await?;
        let mut written = table.txn.with_buffer(&table.name, |buffer| buffer.written_in(&range))?;
        if is_backward {
            written.reverse();
        }
        let scan = table.stored()?.scan(range.clone()).at(at);
        let stored = if is_backward { scan.reverse().start() } else { scan.start() };
        let merged = Merged { stored, ahead: None, written: written.into_iter().peekable(), is_backward };
        let (rows, is_whole) = collect(&table, merged, limit).await?;
        if !is_whole && rows.len() >= TXN_KEYS_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "a scan in a transaction has at most 100,000 rows; set a limit, or read parts of the range",
            ));
        }
        let seen = if is_whole { Some(range) } else { seen(&range, rows.last(), is_backward) };
        if let Some(seen) = seen {
            table.txn.with_buffer(&table.name, |buffer| buffer.read_range(seen))?;
        }
        Ok(rows)
    }
}

/// What was looked at of a range up to the last row.
fn seen(range: &KeyRange, last: Option<&Row>, is_backward: bool) -> Option<KeyRange> {
    let last = last?;
    match is_backward {
        true => KeyRange::new(last.key.clone(), range.end().cloned()).ok(),
        false => KeyRange::new(range.start().clone(), Some([&last.key[..], &[0]].concat())).ok(),
    }
}

/// Keys of stored rows and of the transaction's own writes, in order, each once.
struct Merged {
    stored: Scan,
    ahead: Option<Row>,
    written: std::iter::Peekable<std::vec::IntoIter<Bytes>>,
    is_backward: bool,
}

impl Merged {
    async fn next(&mut self) -> Result<Option<(Bytes, Option<Row>)>, Error> {
        if self.ahead.is_none() {
            self.ahead = self.stored.next().await.transpose()?;
        }
        let comes_first = |written: &Bytes| match &self.ahead {
            Some(row) if self.is_backward => *written >= row.key,
            Some(row) => *written <= row.key,
            None => true,
        };
        let written = self.written.next_if(comes_first);
        Ok(match written {
            Some(key) => {
                let stored = self.ahead.take_if(|row| row.key == key);
                Some((key, stored))
            }
            None => self.ahead.take().map(|row| (row.key.clone(), Some(row))),
        })
    }
}

/// The rows that a reader in the transaction sees, up to a limit, and whether they are all.
async fn collect(table: &TxnTable, mut merged: Merged, limit: usize) -> Result<(Vec<Row>, bool), Error> {
    let mut rows = Vec::new();
    while rows.len() < limit {
        let Some((key, stored)) = merged.next().await? else { return Ok((rows, true)) };
        let row = table.txn.with_buffer(&table.name, |buffer| match stored {
            Some(row) if !buffer.changes(&key) => Ok(Some(row)),
            stored => Ok(buffer.apply(&key, stored.map(value))?.map(|value| row(key, value))),
        })?;
        rows.extend(row?);
    }
    Ok((rows, false))
}

fn value(row: Row) -> Value {
    Value { value: row.value, version: row.version, expires_unix_ms: row.expires_unix_ms }
}

fn row(key: Bytes, value: Value) -> Row {
    let Value { value, version, expires_unix_ms } = value;
    Row { key, value, version, expires_unix_ms }
}

impl fmt::Debug for TxnTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxnTable").field("name", &self.name).field("txn", &self.txn).finish()
    }
}

const _: () = assert!(Version::MAX.0 == u64::MAX, "no stored value has the version of an own one");
