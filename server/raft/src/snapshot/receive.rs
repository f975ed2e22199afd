//! The receiving side: one import at a time, kept when its link breaks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crc32fast::Hasher;
use lentic_proto::internal as wire;
use lentic_runtime::blocking;
use lentic_types::{GroupId, NodeId};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::storage::Snapshot;
use tokio::time::Instant;
use wire::message::Body;
use wire::snapshot_reply::Reply;

use super::send::skip_ended;
use super::{FILES_MAX, PART_BYTES};
use crate::erased::guard;
use crate::format::Replica;
use crate::group::Core;
use crate::host::Shared;
use crate::machine::{FileInfo, Import};
use crate::peers::messages::{vote_from_wire, vote_to_wire};
use crate::stats::add;
use crate::store::SnapshotData;
use crate::types::{SnapshotMeta, Vote, term_of};

/// An import that nobody has gone on with for so long makes room for another group's.
const STALE: Duration = Duration::from_secs(30);

/// What a node is receiving.
#[derive(Default)]
pub(crate) struct Receiver(Mutex<Slot>);

#[derive(Default)]
enum Slot {
    #[default]
    Free,
    /// Somebody works on it.
    Taken(Key),
    Waiting(Box<Receiving>),
}

/// Which snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    group: GroupId,
    from: NodeId,
    snapshot: u64,
}

struct Receiving {
    key: Key,
    vote: Vote,
    replica: Replica,
    files: Vec<FileInfo>,
    wire_files: Vec<wire::SnapshotFile>,
    import: Box<dyn Import>,
    /// Where the next part begins.
    position: wire::SnapshotPosition,
    /// Of the file at the position, up to there.
    checksum: Hasher,
    touched: Instant,
}

type Outcome = Result<Reply, String>;

impl Receiver {
    /// Takes an offer or a part.
    pub(crate) async fn handle(
        &self,
        shared: &Shared,
        from: NodeId,
        group: GroupId,
        body: Body,
    ) -> wire::SnapshotReply {
        let outcome = match (shared.core(group), body) {
            (None, _) => Err(format!("{group} is not on {}", shared.peers.node)),
            (Some(core), Body::SnapshotOffer(offer)) => self.offer(&core, from, offer).await,
            (Some(core), Body::SnapshotPart(part)) => self.part(shared, &core, from, part).await,
            (Some(_), _) => Err("expected an offer or a part of a snapshot".to_owned()),
        };
        wire::SnapshotReply { reply: Some(outcome.unwrap_or_else(Reply::Failed)) }
    }

    /// Drops what is received for a group.
    pub(crate) fn forget(&self, group: GroupId) {
        let mut slot = self.slot();
        if matches!(&*slot, Slot::Waiting(receiving) if receiving.key.group == group) {
            *slot = Slot::Free;
        }
    }

    async fn offer(&self, core: &Core, from: NodeId, offer: wire::SnapshotOffer) -> Outcome {
        let vote = vote_from_wire(offer.vote).map_err(|error| error.to_string())?;
        let replica = Replica::decode(&offer.replica).map_err(|error| error.to_string())?;
        if term_of(&replica.applied) > vote.leader_id.term {
            return Err("expected a snapshot of the leader's term or before, found one of a later term".to_owned());
        }
        if offer.files.len() > FILES_MAX {
            return Err(format!("the snapshot has {} files, expected at most {FILES_MAX}", offer.files.len()));
        }
        if let Some(reply) = not_needed(core, &vote, &replica).await? {
            return Ok(reply);
        }
        let key = Key { group: core.id, from, snapshot: offer.snapshot };
        if let Some(position) = self.resume(key) {
            return Ok(Reply::Next(position));
        }
        let Some(claim) = self.claim(key) else { return Ok(Reply::Busy(true)) };
        let transfer = core.raft.with_state_machine(|store| {
            let transfer = store.transfer();
            Box::pin(async move { transfer })
        });
        let transfer = transfer.await.map_err(|fatal| fatal.to_string())?;
        let import = blocking(|| guard(|| transfer.import())).map_err(|fault| fault.to_string())?;
        let info =
            |file: &wire::SnapshotFile| FileInfo { name: file.name.clone(), bytes: file.bytes, crc32: file.crc32 };
        let position = wire::SnapshotPosition::default();
        claim.put(Receiving {
            key,
            vote,
            replica,
            files: offer.files.iter().map(info).collect(),
            wire_files: offer.files,
            import,
            position,
            checksum: Hasher::new(),
            touched: Instant::now(),
        });
        Ok(Reply::Next(position))
    }

    async fn part(&self, shared: &Shared, core: &Core, from: NodeId, part: wire::SnapshotPart) -> Outcome {
        let key = Key { group: core.id, from, snapshot: part.snapshot };
        let Some((claim, mut receiving)) = self.take(key) else {
            return Err("this snapshot is not being received; offer it again".to_owned());
        };
        receiving.touched = Instant::now();
        if part.last {
            // After an installation that failed, all begins anew.
            return install(shared, core, *receiving).await;
        }
        let written = blocking(|| receiving.write(&part))?;
        let position = receiving.position;
        add(&shared.peers.counters.snapshot_bytes_received, written);
        claim.put(*receiving);
        Ok(Reply::Next(position))
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a snapshot that is here already goes on.
    fn resume(&self, key: Key) -> Option<wire::SnapshotPosition> {
        match &mut *self.slot() {
            Slot::Waiting(receiving) if receiving.key == key => {
                receiving.touched = Instant::now();
                Some(receiving.position)
            }
            _ => None,
        }
    }

    /// The slot for a new snapshot. One of the same group makes room: its leader has begun another.
    fn claim(&self, key: Key) -> Option<Claim<'_>> {
        let mut slot = self.slot();
        let free = match &*slot {
            Slot::Free => true,
            Slot::Taken(_) => false,
            Slot::Waiting(other) => other.key.group == key.group || other.touched.elapsed() > STALE,
        };
        free.then(|| {
            *slot = Slot::Taken(key);
            Claim { receiver: self, key }
        })
    }

    /// Takes the snapshot out, to work on it.
    fn take(&self, key: Key) -> Option<(Claim<'_>, Box<Receiving>)> {
        let mut slot = self.slot();
        match std::mem::replace(&mut *slot, Slot::Taken(key)) {
            Slot::Waiting(receiving) if receiving.key == key => Some((Claim { receiver: self, key }, receiving)),
            other => {
                *slot = other;
                None
            }
        }
    }
}

/// The right to the slot. Dropped, it frees it.
struct Claim<'a> {
    receiver: &'a Receiver,
    key: Key,
}

impl Claim<'_> {
    /// Puts a snapshot down until its next part comes.
    fn put(self, receiving: Receiving) {
        let mut slot = self.receiver.slot();
        if matches!(&*slot, Slot::Taken(key) if *key == self.key) {
            *slot = Slot::Waiting(Box::new(receiving));
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut slot = self.receiver.slot();
        if matches!(&*slot, Slot::Taken(key) if *key == self.key) {
            *slot = Slot::Free;
        }
    }
}

/// What to answer if the snapshot is of no use: its entries are here, or a newer leader is known.
async fn not_needed(core: &Core, vote: &Vote, replica: &Replica) -> Result<Option<Reply>, String> {
    let metrics = core.raft.metrics().borrow_watched().clone();
    if metrics.current_term > vote.leader_id.term {
        // The newer vote may not be durable yet. An older one would say that the snapshot is installed.
        return match metrics.vote > *vote {
            true => Ok(Some(Reply::Installed(vote_to_wire(&metrics.vote)))),
            false => Err(format!("a leader of term {} is known here", metrics.current_term)),
        };
    }
    // What is on disk under this leader agrees with its log, and so does all before it. A leader that has started again in its
    // own term does not know how far its followers are, and openraft 0.10.0-alpha.37 expects nobody to be ahead of a snapshot
    // that it installs (`IOProgress::submit`).
    let flushed = core.raft.watch_log_progress().get();
    if flushed.is_some_and(|at| at.vote == *vote && at.last_log_id >= Some(replica.applied)) {
        return Ok(Some(Reply::Installed(vote_to_wire(&metrics.vote))));
    }
    if metrics.local_committed.is_none_or(|committed| committed < replica.applied) {
        return Ok(None);
    }
    // Entries that are here, but not on disk under this leader: an answer that they are would count them, and a crash may take
    // them. What is in a state on disk is there, whatever became of the log; if it is not yet, it will be when the leader asks
    // again.
    let durable = core.raft.with_state_machine(|store| {
        let durable = store.request_flush().and_then(|()| store.durable());
        Box::pin(async move { durable })
    });
    let durable = durable.await.map_err(|fatal| fatal.to_string())?.map_err(|fault| fault.to_string())?;
    Ok(Some(match durable.0 >= replica.applied.index {
        true => Reply::Installed(vote_to_wire(&metrics.vote)),
        false => Reply::Busy(true),
    }))
}

impl Receiving {
    /// Writes a part, if it is the next. Returns how many bytes were written; an error ends the import.
    fn write(&mut self, part: &wire::SnapshotPart) -> Result<usize, String> {
        let Some(next) = skip_ended(&self.wire_files, self.position) else {
            return Err("expected no more parts, found one".to_owned());
        };
        let found = (part.file, part.offset);
        let damaged = crc32fast::hash(&part.data) != part.crc32;
        // The sender is told where to go on.
        if found != (next.file, next.offset) || part.data.is_empty() || part.data.len() > PART_BYTES || damaged {
            return Ok(0);
        }
        let file = &self.files[next.file as usize];
        let end = next.offset + part.data.len() as u64;
        if end > file.bytes {
            return Err(format!("{} was offered with {} bytes, found {end}", file.name, file.bytes));
        }
        guard(|| self.import.write(file, next.offset, &part.data)).map_err(|fault| fault.to_string())?;
        self.checksum.update(&part.data);
        self.position = wire::SnapshotPosition { file: next.file, offset: end };
        if end == file.bytes {
            let found = std::mem::take(&mut self.checksum).finalize();
            if found != file.crc32 {
                let (name, expected) = (&file.name, file.crc32);
                return Err(format!("{name} has checksum {found:#010x}, expected {expected:#010x}; it is sent again"));
            }
        }
        Ok(part.data.len())
    }
}

/// Hands a snapshot that is here whole to openraft, and waits until it is installed.
async fn install(shared: &Shared, core: &Core, receiving: Receiving) -> Outcome {
    let Receiving { vote, replica, files, wire_files, import, position, .. } = receiving;
    if let Some(missing) = skip_ended(&wire_files, position) {
        let name = &wire_files[missing.file as usize].name;
        return Err(format!("expected {name} from {} on before the end; offer the snapshot again", missing.offset));
    }
    // It took its time.
    if let Some(reply) = not_needed(core, &vote, &replica).await? {
        return Ok(reply);
    }
    let meta = SnapshotMeta { last_log_id: Some(replica.applied), last_membership: replica.membership };
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Incoming { import, files } };
    let response = core.raft.install_full_snapshot(vote, snapshot).await.map_err(|fatal| fatal.to_string())?;
    add(&shared.peers.counters.snapshots_received, 1);
    Ok(Reply::Installed(vote_to_wire(&response.vote)))
}
