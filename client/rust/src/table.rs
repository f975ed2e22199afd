//! A table: where keys are read and written.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_proto::v1::Operation;
use lentic_types::{KeyRange, Version};
use tokio::time::Instant;

use crate::batch::{self, WriteBatch};
use crate::catalog::Entry;
use crate::client::Client;
use crate::core::Core;
use crate::diff::DiffBuilder;
use crate::error::Error;
use crate::feed::{FeedBuilder, FeedToken};
use crate::merge::MergeOperator;
use crate::read::{self, Value};
use crate::replicas::ReadFrom;
use crate::routes::prefix_range;
use crate::scan::ScanBuilder;
use crate::write;

/// A table of the cluster. Clones are the same table; they cost little.
///
/// Writes are durable on a quorum when they return, reads see every write acknowledged before they began, and both go
/// on over changes of leaders until the deadline. Keys and values are bytes; keys are ordered as such.
///
/// # Errors
/// All operations fail with an [`Error`] that says what a caller can do. Of a write that failed,
/// [`Error::is_unknown`] says whether it may have had its effect all the same. An operation whose future is dropped may
/// have had its effect or not.
#[derive(Clone)]
pub struct Table {
    client: Client,
    entry: Arc<Entry>,
    deadline: Duration,
    read_from: ReadFrom,
}

impl Table {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        let entry = client.core().table(name);
        let (deadline, read_from) = (client.options().deadline, client.options().read_from);
        Self { client, entry, deadline, read_from }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// The client it belongs to.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The same table with another deadline for operations.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same table, whose reads at versions are answered by the leader, or by any node that has all up to the version.
    #[must_use]
    pub const fn read_from(mut self, read_from: ReadFrom) -> Self {
        self.read_from = read_from;
        self
    }

    /// Sets a value. Returns its version.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Version, Error> {
        self.point(batch::put(key.into(), value.into(), None)).await
    }

    /// Sets a value that ends at a time, in milliseconds since 1970, from 2020 to 2159. The end is judged against the
    /// versions of readers.
    pub async fn put_with(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        expires_unix_ms: u64,
    ) -> Result<Version, Error> {
        self.point(batch::put(key.into(), value.into(), Some(expires_unix_ms))).await
    }

    /// Removes a value, if there is one.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Version, Error> {
        self.point(batch::delete(key.into())).await
    }

    /// Removes the values of all keys in a range. The part of each shard is atomic, and limited to 10,000 keys that have
    /// a value: a larger one is refused as too large; delete smaller ranges then.
    pub async fn delete_range(&self, range: &KeyRange) -> Result<Version, Error> {
        self.write_in_parts(WriteBatch::new().delete_range(range)).await
    }

    /// Folds an operand into a value at the server.
    pub async fn merge(
        &self,
        key: impl Into<Bytes>,
        operator: MergeOperator,
        operand: impl Into<Bytes>,
    ) -> Result<Version, Error> {
        self.point(batch::merge(key.into(), operator, operand.into(), None)).await
    }

    /// Adds to an integer: [`MergeOperator::AddI64`].
    pub async fn add_i64(&self, key: impl Into<Bytes>, addend: i64) -> Result<Version, Error> {
        self.merge(key, MergeOperator::AddI64, addend.to_be_bytes().to_vec()).await
    }

    /// Writes a batch: all of it or nothing. Its keys must lie in one shard.
    ///
    /// # Errors
    /// `ConditionFailed` with the position of the condition that does not hold; `Invalid` if the keys lie in several
    /// shards, which [`write_in_parts`](Self::write_in_parts) is for.
    pub async fn write(&self, batch: WriteBatch) -> Result<Version, Error> {
        write::whole(self.core(), &self.entry, batch, self.deadline()).await
    }

    /// Writes a batch without conditions whose keys may lie in several shards: the operations of one shard together or
    /// not at all, in their order; those of different shards in parallel and **independently**. Returns the newest of
    /// the versions.
    ///
    /// # Errors
    /// Other parts may have had their effect when one failed; the message says how many. To write the batch once more
    /// is right if its operations can be repeated (puts and deletes can, merges cannot).
    pub async fn write_in_parts(&self, batch: WriteBatch) -> Result<Version, Error> {
        write::in_parts(self.core(), &self.entry, batch, self.deadline()).await
    }

    /// The value of a key, `None` if it has none.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Value>, Error> {
        read::get(self.core(), &self.entry, key.into(), None, self.read_from, self.deadline()).await
    }

    /// The value that a key had at `version`.
    ///
    /// # Errors
    /// `VersionTooOld` if history does not go back that far, `VersionTooNew` for a version from the future.
    pub async fn get_at(&self, key: impl Into<Bytes>, version: Version) -> Result<Option<Value>, Error> {
        read::get(self.core(), &self.entry, key.into(), Some(version), self.read_from, self.deadline()).await
    }

    /// The values of keys, in the order of the keys, all at one version, whatever their shards.
    pub async fn multi_get<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>, Error> {
        let keys: Vec<Bytes> = keys.into_iter().map(Into::into).collect();
        read::multi_get(self.core(), &self.entry, &keys, None, self.read_from, self.deadline()).await
    }

    /// The values that keys had at `version`.
    ///
    /// # Errors
    /// As for [`get_at`](Self::get_at).
    pub async fn multi_get_at<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        version: Version,
    ) -> Result<Vec<Option<Value>>, Error> {
        let keys: Vec<Bytes> = keys.into_iter().map(Into::into).collect();
        read::multi_get(self.core(), &self.entry, &keys, Some(version), self.read_from, self.deadline()).await
    }

    /// The rows of a range, in the order of the keys, all at one version.
    pub fn scan(&self, range: KeyRange) -> ScanBuilder {
        ScanBuilder::new(self.clone(), range)
    }

    /// The rows whose keys begin with `prefix`.
    pub fn scan_prefix(&self, prefix: impl Into<Bytes>) -> ScanBuilder {
        self.scan(prefix_range(prefix))
    }

    /// What is read differently in a range at two versions, in the order of the keys: at `from`, and at `to`, which may be
    /// the earlier one.
    pub fn diff(&self, range: KeyRange, from: Version, to: Version) -> DiffBuilder {
        DiffBuilder::new(self.clone(), range, from, to)
    }

    /// What is committed to a range, in the order of versions: of the past from a version on, and then as it happens.
    pub fn subscribe(&self, range: KeyRange) -> FeedBuilder {
        FeedBuilder::new(self.clone(), range)
    }

    /// A feed that goes on where another one was, with all of its range.
    pub fn resume(&self, token: FeedToken) -> FeedBuilder {
        FeedBuilder::resume(self.clone(), token)
    }

    async fn point(&self, operation: Operation) -> Result<Version, Error> {
        let core = self.core();
        if core.options.linger.is_zero() {
            let batch = WriteBatch { operations: vec![operation], ..WriteBatch::default() };
            return write::whole(core, &self.entry, batch, self.deadline()).await;
        }
        core.batcher.write(core, &self.entry, operation, self.deadline()).await
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.client.core()
    }

    pub(crate) const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Who answers reads at versions.
    pub(crate) const fn reads_from(&self) -> ReadFrom {
        self.read_from
    }

    /// When an operation that begins now must end.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.deadline
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.entry.name).finish_non_exhaustive()
    }
}
