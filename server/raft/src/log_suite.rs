//! openraft's own suite for log storages, over a simulated disk.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use lentic_log::{Log, LogOptions, SimFs, WriterThread};
use lentic_types::{ClusterId, GroupId};
use openraft::entry::RaftPayload as _;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, RaftSnapshotBuilder, StorageError};

use crate::log_store::LogStore;
use crate::types::{Clid, LogId, Reply, SnapshotMeta, StoredMembership, Types};

/// A state machine in memory: the suite applies entries that no log has, which ours refuses.
#[derive(Clone, Default)]
struct Memory {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

impl RaftSnapshotBuilder<Types> for Memory {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<Clid, u64, (), ()>> {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        self.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

/// The machine with its builder sharing what was built last.
#[derive(Clone, Default)]
struct Shared(Arc<std::sync::Mutex<Memory>>);

impl RaftSnapshotBuilder<Types> for Shared {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<Clid, u64, (), ()>> {
        let mut memory = self.0.lock().unwrap().clone();
        let built = memory.build_snapshot().await;
        *self.0.lock().unwrap() = memory;
        built
    }
}

impl RaftStateMachine<Types> for Shared {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let memory = self.0.lock().unwrap();
        Ok((memory.applied, memory.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let mut memory = self.0.lock().unwrap();
            memory.applied = Some(entry.log_id);
            if let Some(membership) = entry.payload.get_membership() {
                memory.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            responder.into_iter().for_each(|responder| responder.send(Reply(None)));
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        memory.applied = meta.last_log_id;
        memory.membership = meta.last_membership.clone();
        memory.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot<Clid, u64, (), ()>>> {
        let snapshot = self.0.lock().unwrap().snapshot.clone();
        Ok(snapshot.map(|meta| Snapshot { meta, snapshot: () }))
    }
}

struct Builder;

impl StoreBuilder<Types, LogStore, Shared, WriterThread> for Builder {
    async fn build(&self) -> Result<(WriterThread, LogStore, Shared), StorageError<Types>> {
        let options = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
        let opened = Log::open(Arc::new(SimFs::new()), ClusterId([1; 16]), options, Box::new(|_| ()));
        let (log, writer) = opened.expect("an empty simulated disk opens");
        // Small enough that the suite's ten entries are more than one message.
        Ok((writer.spawn(), LogStore::new(log, GroupId(1), 64), Shared::default()))
    }
}

#[tokio::test]
async fn openrafts_suite_for_log_storages_passes() {
    Suite::test_all(Builder).await.unwrap();
}
