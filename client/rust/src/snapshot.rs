//! Reads of any tables at one version: a transaction that only reads.

use bytes::Bytes;
use lentic_types::{KeyRange, Version};

use crate::client::Client;
use crate::error::Error;
use crate::read::Value;
use crate::replicas::ReadFrom;
use crate::scan::ScanBuilder;
use crate::table::Table;

/// All tables as they were at one version. Reads take no locks, leave nothing behind, and may go on for as long as history
/// goes back.
#[derive(Clone, Debug)]
pub struct Snapshot {
    client: Client,
    version: Version,
}

impl Snapshot {
    pub(crate) const fn new(client: Client, version: Version) -> Self {
        Self { client, version }
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// A table at the version.
    #[must_use]
    pub fn table(&self, name: &str) -> SnapshotTable {
        SnapshotTable { table: self.client.table(name), version: self.version }
    }
}

/// A table at a version.
///
/// # Errors
/// All reads fail with `VersionTooOld` if history does not go back that far, and with `VersionTooNew` for a version from
/// the future.
#[derive(Clone, Debug)]
pub struct SnapshotTable {
    table: Table,
    version: Version,
}

impl SnapshotTable {
    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The same table, read from the leader, or from any node that has all up to the version.
    #[must_use]
    pub fn read_from(mut self, read_from: ReadFrom) -> Self {
        self.table = self.table.read_from(read_from);
        self
    }

    /// The value that a key had.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Value>, Error> {
        self.table.get_at(key, self.version).await
    }

    /// The values that keys had, in the order of the keys.
    pub async fn multi_get<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>, Error> {
        self.table.multi_get_at(keys, self.version).await
    }

    /// The rows of a range.
    pub fn scan(&self, range: KeyRange) -> ScanBuilder {
        self.table.scan(range).at(self.version)
    }

    /// The rows whose keys begin with `prefix`.
    pub fn scan_prefix(&self, prefix: impl Into<Bytes>) -> ScanBuilder {
        self.table.scan_prefix(prefix).at(self.version)
    }
}
