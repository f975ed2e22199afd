//! Transactions that read, think and write: at one version, without locks, validated when they commit.
//!
//! ```text
//!   begin ── reads, all at one version ── commit: has anything that was read changed since? ── done at a version
//!              writes wait here                                  │
//!                                                                └ yes: nothing is done; run again
//! ```

mod buffer;
mod places;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_proto::v1::Operation;
use lentic_types::{ErrorKind, Version};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::backoff;
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::sessions;
use crate::snapshot::Snapshot;
use crate::transaction::{self, Transaction};
use buffer::Buffer;
use places::Places;
pub use table::{TxnScan, TxnTable};

/// A transaction under way. Clones are the same transaction.
///
/// Reads see the state at the version of the first read, with the transaction's own writes on top. Nothing is sent of the
/// writes, and nothing is locked, before [`commit`](Self::commit). Dropped before, it leaves nothing.
#[derive(Clone)]
pub struct Txn(Arc<Inner>);

struct Inner {
    client: Client,
    deadline: Instant,
    /// The version that it reads at, once it has read.
    at: OnceCell<Version>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<String, Buffer>,
    is_committed: bool,
    /// How many conditions there are, over all tables.
    required: u32,
    /// How many writes there are, over all tables.
    written: u32,
}

impl State {
    fn buffer(&mut self, table: &str) -> &mut Buffer {
        if !self.tables.contains_key(table) {
            self.tables.insert(table.to_owned(), Buffer::default());
        }
        self.tables.get_mut(table).expect("it was inserted")
    }

    fn write(&mut self, table: &str, operation: Operation) {
        let place = self.written;
        self.written = place.saturating_add(1);
        self.buffer(table).write(operation, place);
    }

    fn require(&mut self, table: &str, conditions: WriteBatch) {
        for condition in conditions.conditions {
            let place = self.required;
            self.required = place.saturating_add(1);
            self.buffer(table).require(condition, place);
        }
    }
}

/// A table's name without the namespace that it has when it names none: both are the same table, and have one buffer.
fn short(name: &str) -> &str {
    name.strip_prefix("default.").filter(|rest| !rest.contains('.')).unwrap_or(name)
}

impl Txn {
    pub(crate) fn begin(client: Client, deadline: Instant) -> Self {
        Self(Arc::new(Inner { client, deadline, at: OnceCell::new(), state: Mutex::default() }))
    }

    /// A table, to read and write in this transaction.
    #[must_use]
    pub fn table(&self, name: &str) -> TxnTable {
        TxnTable::new(self.clone(), short(name))
    }

    /// The version that the transaction reads at: above every write acknowledged before its first read.
    ///
    /// # Errors
    /// The cluster could not be asked for one within the deadline.
    pub async fn version(&self) -> Result<Version, Error> {
        let fetch = || async {
            let progress = Progress::until(Effect::Reads, self.0.deadline);
            sessions::now(self.0.client.core(), progress).await.map(Version)
        };
        self.0.at.get_or_try_init(fetch).await.copied()
    }

    /// All tables at another version, to look at beside: what is read there is not validated.
    #[must_use]
    pub fn read_at(&self, version: Version) -> Snapshot {
        Snapshot::new(self.0.client.clone(), version)
    }

    /// Commits. Returns the version at which all of it took effect; of a transaction that has neither written nor required
    /// anything, the version that it has read at. There is nothing to send then: what was read at one version was true at
    /// one moment.
    ///
    /// # Errors
    /// Nothing was done: `Conflict` if something that was read has changed since: run it again. `ConditionFailed` if
    /// something that was required does not hold, and `WrongKind` or `TooLarge` if a write cannot be done: the position is
    /// that of the condition, or of the write, in the order in which the transaction had them. `Invalid` the second time.
    pub async fn commit(&self) -> Result<Version, Error> {
        let tables = {
            let mut state = self.state();
            if std::mem::replace(&mut state.is_committed, true) {
                return Err(Error::invalid("this transaction was committed before; begin another one"));
            }
            std::mem::take(&mut state.tables)
        };
        if tables.values().all(Buffer::is_read_only) {
            return self.version().await;
        }
        let at = self.0.at.get().copied();
        let (mut all, mut places) = (Transaction::new(), Places::default());
        for (table, buffer) in tables {
            all = all.with(&table, buffer.into_batch(at, &mut places));
        }
        let committed = transaction::commit(self.0.client.core(), all, self.0.deadline).await;
        committed.map_err(|error| places.placed(error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is buffered.
    ///
    /// # Errors
    /// The transaction is over.
    fn open(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        match state.is_committed {
            true => Err(Error::invalid("this transaction was committed before; begin another one")),
            false => Ok(state),
        }
    }

    /// Works on what is buffered of a table.
    ///
    /// # Errors
    /// The transaction is over.
    fn with_buffer<T>(&self, table: &str, work: impl FnOnce(&mut Buffer) -> T) -> Result<T, Error> {
        Ok(work(self.open()?.buffer(table)))
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn").field("at", &self.0.at.get()).finish_non_exhaustive()
    }
}

/// The longest pause before a transaction is run again.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Runs `body` and commits, again and again while others change what it has read.
pub(crate) async fn transact<T, E, F, Fut>(client: &Client, body: F) -> Result<(T, Version), E>
where
    E: From<Error>,
    F: Fn(Txn) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let core = client.core();
    let deadline = Instant::now() + core.options.deadline;
    let mut attempt = 0;
    loop {
        let txn = Txn::begin(client.clone(), deadline);
        let value = body(txn.clone()).await?;
        let error = match txn.commit().await {
            Ok(version) => return Ok((value, version)),
            Err(error) => error,
        };
        attempt += 1;
        let is_transient = error.is_conflict() || error.kind() == ErrorKind::Throttled;
        // Whoever was faster is done: a longer pause would only let others be faster again.
        let pause = backoff::pause(&core.options, attempt - 1, &core.random).min(PAUSE_MAX);
        if !is_transient || attempt >= core.options.txn_attempts_max || Instant::now() + pause >= deadline {
            return Err(error.into());
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_name_are_one() {
        assert_eq!(
            [short("t"), short("default.t"), short("jobs.t"), short("default.a.b")],
            ["t", "t", "jobs.t", "default.a.b"]
        );
    }
}
