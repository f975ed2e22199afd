//! openraft's state machine on a [`Machine`](crate::Machine).
//!
//! "Snapshot" here means "flushed up to X": building one moves no bytes, it only tells openraft how far the log may be
//! purged. Bytes are made when a follower needs them, by [`Transfer`].

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use lentic_runtime::blocking;
use lentic_types::Index;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::oneshot;

use crate::erased::{Erased, guard};
use crate::format::Replica;
use crate::log_store::LogStore;
use crate::machine::{Committed, Fault, FileInfo, Import, Transfer};
use crate::types::{Clid, Entry, LogId, Reply, SnapshotMeta, StoredMembership, Types};

/// Bytes of commands that are given to the machine at once. More makes larger batches, and replies wait for each other.
const APPLY_BYTES: usize = 4 << 20;
/// Entries that are given to the machine at once.
const APPLY_ENTRIES: usize = 1_024;

/// What openraft passes on as the contents of a snapshot.
pub(crate) enum SnapshotData {
    /// To be exported by whoever sends it: its state is that of the moment of export, at or after the snapshot's.
    Outgoing(Arc<dyn Transfer>),
    /// Received whole, to be installed.
    Incoming { import: Box<dyn Import>, files: Vec<FileInfo> },
}

/// The machine of one group with its place in the log.
pub(crate) struct Store {
    machine: Box<dyn Erased>,
    log: LogStore,
    applied: Option<LogId>,
    /// Memberships by entry, rising: from the one that is in force at the durable index to the newest.
    memberships: VecDeque<StoredMembership>,
    /// Dropped with the store: then nobody works on the machine any more.
    _gone: oneshot::Sender<()>,
}

impl Store {
    /// The store as the machine has it, and what tells that it is gone.
    pub(crate) fn open(machine: Box<dyn Erased>, log: LogStore) -> Result<(Self, oneshot::Receiver<()>), Fault> {
        let (gone, is_gone) = oneshot::channel();
        let mut store = Self { machine, log, applied: None, memberships: VecDeque::new(), _gone: gone };
        store.load()?;
        Ok((store, is_gone))
    }

    /// Takes over what the machine's store holds.
    fn load(&mut self) -> Result<(), Fault> {
        let replica = self.machine.replica()?.map(|bytes| Replica::decode(&bytes)).transpose();
        let replica = replica.map_err(|error| {
            Fault::new(format!("the replica state in the store cannot be read: {error}; replace this replica"))
        })?;
        self.applied = replica.as_ref().map(|replica| replica.applied);
        self.memberships = replica.into_iter().map(|replica| replica.membership).collect();
        Ok(())
    }

    /// The applied index that survives a crash now.
    pub(crate) fn durable(&self) -> Result<Index, Fault> {
        if lentic_types::mutant!("purge-undurable") {
            return Ok(Index(self.applied.map_or(0, |applied| applied.index)));
        }
        self.machine.durable()
    }

    /// Asks the machine for durability.
    pub(crate) fn request_flush(&self) -> Result<(), Fault> {
        self.machine.request_flush()
    }

    /// The machine's handle for moving its state.
    pub(crate) fn transfer(&self) -> Arc<dyn Transfer> {
        self.machine.transfer()
    }

    /// What is durable, as openraft's idea of a snapshot; none if nothing is.
    fn flushed(&mut self) -> io::Result<Option<SnapshotMeta>> {
        let durable = self.durable().map_err(io::Error::other)?;
        let Some(applied) = self.applied.filter(|_| durable.0 > 0) else { return Ok(None) };
        if durable.0 > applied.index {
            let applied = applied.index;
            return Err(io::Error::other(Fault::new(format!(
                "the store says that {durable} is durable, but only {applied} is applied; replace this replica"
            ))));
        }
        let last = match durable.0 == applied.index {
            true => Some(applied),
            false => self.log.log_id(durable.0)?,
        };
        let last = last.ok_or_else(|| {
            io::Error::other(format!("entry {durable} is durable in the store, but the log does not have it any more"))
        })?;
        while self.memberships.get(1).is_some_and(|next| next.log_id().is_some_and(|id| id.index <= durable.0)) {
            self.memberships.pop_front();
        }
        let last_membership = self.memberships.front().cloned().unwrap_or_default();
        Ok(Some(SnapshotMeta { last_log_id: Some(last), last_membership }))
    }

    fn newest_membership(&self) -> StoredMembership {
        self.memberships.back().cloned().unwrap_or_default()
    }

    /// Gives a chunk of entries to the machine, and the replies to those who wait.
    fn apply_chunk(&mut self, chunk: Vec<EntryResponder<Types>>) -> Result<(), Fault> {
        let mut entries = Vec::with_capacity(chunk.len());
        let mut waiting = Vec::with_capacity(chunk.len());
        for (entry, responder) in chunk {
            let committed = self.accept(entry)?;
            waiting.push((committed.as_ref().is_some_and(|entry| entry.command.is_some()), responder));
            entries.extend(committed);
        }
        let commands = waiting.iter().filter(|(command, _)| *command).count();
        let mut replies = Vec::new();
        if let Some(applied) = self.applied.filter(|_| !entries.is_empty()) {
            let replica = Replica { applied, membership: self.newest_membership() };
            replies = self.machine.apply(entries, replica.encode())?;
        }
        if replies.len() != commands {
            let found = replies.len();
            return Err(Fault::new(format!("the machine gave {found} replies to {commands} commands; this is a bug")));
        }
        let mut replies = replies.into_iter();
        for (command, responder) in waiting {
            let reply = if command { replies.next() } else { None };
            if let Some(responder) = responder {
                responder.send(reply.unwrap_or(Reply(None)));
            }
        }
        Ok(())
    }

    /// Takes the next entry into the replica state. The very first one is not the machine's: it only says who begins.
    fn accept(&mut self, entry: Entry) -> Result<Option<Committed>, Fault> {
        let index = entry.log_id.index;
        let expected = self.applied.map_or(0, |applied| applied.index + 1);
        if index != expected {
            return Err(Fault::new(format!("entry {index} is to be applied, expected {expected}; this is a bug")));
        }
        self.applied = Some(entry.log_id);
        let command = match entry.payload {
            EntryPayload::Normal(command) => Some(command.0),
            EntryPayload::Blank => None,
            EntryPayload::Membership(membership) => {
                self.memberships.push_back(StoredMembership::new(Some(entry.log_id), membership));
                if index == 0 {
                    return Ok(None);
                }
                None
            }
        };
        if index == 0 {
            return Err(Fault::new(
                "entry 0 is not a membership; the log of this group is not one that was begun here",
            ));
        }
        Ok(Some(Committed { index: Index(index), command }))
    }

    /// Replaces the state by one that was received.
    fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), Fault> {
        let SnapshotData::Incoming { import, files } = data else {
            return Err(Fault::new("a snapshot that was made here is to be installed here; this is a bug"));
        };
        guard(|| import.finish(&files))?;
        self.machine.reload()?;
        self.load()?;
        if self.applied != meta.last_log_id {
            return Err(Fault::new(format!(
                "the installed snapshot is applied up to {:?}, expected {:?}; replace this replica",
                self.applied, meta.last_log_id
            )));
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for Store {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Flushed;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.newest_membership()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            if let EntryPayload::Normal(command) = &entry.payload {
                bytes += command.0.len();
            }
            chunk.push((entry, responder));
            if bytes >= APPLY_BYTES || chunk.len() >= APPLY_ENTRIES {
                self.apply_chunk(std::mem::take(&mut chunk)).map_err(io::Error::other)?;
                bytes = 0;
            }
        }
        match chunk.is_empty() {
            true => Ok(()),
            false => self.apply_chunk(chunk).map_err(io::Error::other),
        }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Flushed> {
        // Asked here, in the order of applies: openraft has not yet heard of an entry that is applied later.
        let flushed = self.flushed().map(|meta| meta.map(|meta| (meta, self.machine.transfer())));
        Some(Flushed(Some(flushed)))
    }

    async fn get_snapshot_builder(&mut self) -> Flushed {
        self.try_create_snapshot_builder(true).await.expect("there is always a builder")
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        blocking(|| self.install(meta, snapshot)).map_err(io::Error::other)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot<Clid, u64, (), SnapshotData>>> {
        let meta = self.flushed()?;
        Ok(meta.map(|meta| Snapshot { meta, snapshot: SnapshotData::Outgoing(self.machine.transfer()) }))
    }
}

/// What was durable when it was asked for: told once.
pub(crate) struct Flushed(Option<io::Result<Option<Outgoing>>>);

type Outgoing = (SnapshotMeta, Arc<dyn Transfer>);

impl RaftSnapshotBuilder<Types> for Flushed {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<Clid, u64, (), SnapshotData>> {
        match self.0.take() {
            Some(Ok(Some((meta, transfer)))) => Ok(Snapshot { meta, snapshot: SnapshotData::Outgoing(transfer) }),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => Err(io::Error::other("nothing of the group is durable yet")),
        }
    }
}
