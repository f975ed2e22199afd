//! Where a job's state is.

use bytes::Bytes;
use lentic_client::state::{Job, MaxParallelism, Start, StateOptions, Task};
use lentic_client::{Client, Table, TableOptions};
use tempfile::TempDir;

use crate::cluster::Lentic;

/// Key groups of all jobs here: as many as Flink has by default.
pub(crate) const KEY_GROUPS: u16 = 128;
/// Shards of a table on the cluster, one for each node to lead.
const SHARDS: u16 = 3;

/// A place for jobs' state.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    shards: u16,
    _directory: Option<TempDir>,
}

impl Place {
    /// A node in this process.
    pub(crate) async fn embedded() -> Self {
        let directory = tempfile::tempdir_in("target").expect("target is writable");
        let client = Client::embedded(directory.path()).await.expect("a new directory opens");
        Self { name: "embedded", client, shards: 1, _directory: Some(directory) }
    }

    /// Three processes.
    pub(crate) async fn cluster(lentic: &Lentic) -> Self {
        Self { name: "cluster", client: lentic.client().await, shards: SHARDS, _directory: None }
    }

    /// A new table, cut between key groups.
    pub(crate) async fn table(&self, name: &str) -> Table {
        let cut = |shard: u16| Bytes::copy_from_slice(&(KEY_GROUPS * shard / self.shards).to_be_bytes());
        let options = TableOptions { split_points: (1..self.shards).map(cut).collect(), ..TableOptions::default() };
        self.client.create_table(name, options).await.expect("the table is made");
        self.client.table(name)
    }

    /// The only task of a job whose state is in `table`.
    pub(crate) async fn task(&self, table: &Table, cache_bytes: usize) -> Task {
        let groups = MaxParallelism::new(KEY_GROUPS.into()).expect("Flink's default");
        let options = StateOptions { cache_bytes, ..StateOptions::default() };
        let job = Job::new(table.clone(), "bench", groups).with_options(options);
        job.start(0, 1, Start::Fresh).await.expect("the table is new")
    }
}
