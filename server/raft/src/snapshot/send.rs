//! The sending side: exports once, and goes on where a broken link left it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lentic_net::Class;
use lentic_proto::internal as wire;
use lentic_runtime::blocking;
use lentic_types::{GroupId, NodeId};
use openraft::storage::Snapshot;
use rand::Rng as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wire::message::Body;
use wire::snapshot_reply::Reply;

use super::PART_BYTES;
use crate::erased::guard;
use crate::machine::Export;
use crate::options::Options;
use crate::peers::lane::CallError;
use crate::peers::messages::{vote_from_wire, vote_to_wire};
use crate::peers::peer::{Called, Peers};
use crate::stats::add;
use crate::store::SnapshotData;
use crate::types::{Clid, Vote};

/// Parts under way at once: one is written there while one is on the link and one is read here.
const PARTS_IN_FLIGHT: usize = 3;
/// Offers in a row that get no further before the sender gives up. openraft then asks for a newer snapshot.
const ATTEMPTS: u32 = 20;
/// How long to wait before another offer.
const RETRY: Duration = Duration::from_millis(200);
/// How long to wait while the receiver is busy with another snapshot.
const BUSY: Duration = Duration::from_millis(100);
/// Longest wait for the reply to an offer or a part. The receiver may have to remove what an earlier import left.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for the installation.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(3_600);

/// What sends the snapshots of a node: one at a time, at a bounded rate.
pub(crate) struct Senders {
    turn: Semaphore,
    bytes_per_second: u64,
    /// When the next part may go.
    next_at: Mutex<Option<Instant>>,
    /// How far those are that were begun.
    under_way: std::sync::Mutex<BTreeMap<(GroupId, NodeId), Progress>>,
}

/// How far a snapshot is that is being sent.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes that the receiver has.
    pub sent: u64,
    /// Bytes of all of it.
    pub bytes: u64,
    /// When it was begun.
    pub since: Instant,
}

/// Why an attempt ended.
enum Stopped {
    /// A new offer may get further.
    Broken(String),
    /// The receiver has another snapshot.
    Busy,
    /// It is of no use to try again.
    Failed(String),
}

/// One snapshot on its way to one node.
struct Sending<'a> {
    senders: &'a Senders,
    peers: &'a Arc<Peers>,
    group: GroupId,
    node: NodeId,
    export: &'a dyn Export,
    offer: wire::SnapshotOffer,
    /// How far the receiver has got, as it said last.
    position: wire::SnapshotPosition,
    since: Instant,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.senders.note(self.group, self.node, None);
    }
}

impl Senders {
    pub(crate) fn new(options: &Options) -> Self {
        let bytes_per_second = options.snapshot_bytes_per_second.max(1);
        Self {
            turn: Semaphore::new(1),
            bytes_per_second,
            next_at: Mutex::new(None),
            under_way: std::sync::Mutex::default(),
        }
    }

    /// Sends a state of this moment or later to `node`, and waits until it is installed. Returns the receiver's vote.
    pub(crate) async fn send(
        &self,
        peers: &Arc<Peers>,
        group: GroupId,
        node: NodeId,
        vote: Vote,
        snapshot: Snapshot<Clid, u64, (), SnapshotData>,
    ) -> Result<Vote, String> {
        let SnapshotData::Outgoing(transfer) = snapshot.snapshot else {
            return Err("a snapshot that was received is to be sent; this is a bug".to_owned());
        };
        let mut turn = self.turn().await;
        let export = blocking(|| guard(|| transfer.export())).map_err(|fault| fault.to_string())?;
        let files = export.files().iter().map(|file| wire::SnapshotFile {
            name: file.name.clone(),
            bytes: file.bytes,
            crc32: file.crc32,
        });
        let offer = wire::SnapshotOffer {
            vote: Some(vote_to_wire(&vote)),
            snapshot: lentic_runtime::rng().next_u64(),
            replica: export.replica(),
            files: files.collect(),
        };
        let position = wire::SnapshotPosition::default();
        let mut sending =
            Sending { senders: self, peers, group, node, export: &*export, offer, position, since: Instant::now() };
        let mut attempts = 0;
        loop {
            let before = sending.position;
            match sending.attempt().await {
                Ok(vote) => {
                    add(&peers.counters.snapshots_sent, 1);
                    return Ok(vote);
                }
                Err(Stopped::Failed(reason)) => return Err(reason),
                Err(Stopped::Broken(reason)) => {
                    attempts = if sending.position == before { attempts + 1 } else { 1 };
                    if attempts >= ATTEMPTS {
                        return Err(reason);
                    }
                    sleep(RETRY).await;
                }
                Err(Stopped::Busy) => {
                    // Meanwhile another may be sent elsewhere.
                    drop(turn);
                    sleep(BUSY).await;
                    turn = self.turn().await;
                }
            }
        }
    }

    /// The snapshots that are being sent, by group and receiver.
    pub(crate) fn under_way(&self) -> Vec<(GroupId, NodeId, Progress)> {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.iter().map(|((group, node), progress)| (*group, *node, *progress)).collect()
    }

    /// Notes how far one is; `None`: it has ended.
    fn note(&self, group: GroupId, node: NodeId, progress: Option<Progress>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => drop(under_way.insert((group, node), progress)),
            None => drop(under_way.remove(&(group, node))),
        }
    }

    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.turn.acquire().await.ok()
    }

    /// Waits until so many bytes may go.
    async fn pace(&self, bytes: usize) {
        let at = {
            let mut next_at = self.next_at.lock().await;
            let now = Instant::now();
            let at = next_at.map_or(now, |next| next.max(now));
            *next_at = Some(at + Duration::from_secs(1).mul_f64(bytes as f64 / self.bytes_per_second as f64));
            at
        };
        sleep_until(at).await;
    }
}

impl Sending<'_> {
    /// Offers, sends what is missing, and waits for the installation.
    async fn attempt(&mut self) -> Result<Vote, Stopped> {
        let offered =
            self.peers.call(self.node, Class::Snapshot, self.group.0, Body::SnapshotOffer(self.offer.clone()));
        let reply = timeout(REPLY_TIMEOUT, offered).await.map_err(|_| timed_out("an offer"))?;
        if let Some(vote) = self.take(reply)? {
            return Ok(vote);
        }
        self.send_parts().await?;
        let installed = self.peers.call(self.node, Class::Snapshot, self.group.0, Body::SnapshotPart(self.last()));
        let reply = timeout(INSTALL_TIMEOUT, installed).await.map_err(|_| timed_out("the installation"))?;
        match self.take(reply)? {
            Some(vote) => Ok(vote),
            None => Err(Stopped::Broken("expected the snapshot to be installed, found parts missing".to_owned())),
        }
    }

    /// Sends all parts from the receiver's position on, a few at a time.
    async fn send_parts(&mut self) -> Result<(), Stopped> {
        let mut under_way: VecDeque<(wire::SnapshotPosition, Called)> = VecDeque::new();
        let mut next = self.position;
        loop {
            while under_way.len() < PARTS_IN_FLIGHT {
                let Some((part, after)) = self.read_part(next)? else { break };
                self.senders.pace(part.data.len()).await;
                add(&self.peers.counters.snapshot_bytes_sent, part.data.len());
                let sent = self.peers.send(self.node, Class::Snapshot, self.group.0, Body::SnapshotPart(part)).await;
                under_way.push_back((after, sent.map_err(failed)?));
                next = after;
            }
            let Some((expected, called)) = under_way.pop_front() else { return Ok(()) };
            let reply = timeout(REPLY_TIMEOUT, called).await.map_err(|_| timed_out("a part"))?;
            let reply = reply.unwrap_or_else(|_| Err(CallError::Lost("the link is gone".to_owned())));
            if self.take(reply)?.is_some() || self.position != expected {
                return Err(Stopped::Broken(format!("{} expects another part than it got", self.node)));
            }
        }
    }

    /// The part at a position and the position after it; none at the end.
    fn read_part(
        &self,
        from: wire::SnapshotPosition,
    ) -> Result<Option<(wire::SnapshotPart, wire::SnapshotPosition)>, Stopped> {
        let Some(at) = skip_ended(&self.offer.files, from) else { return Ok(None) };
        let file = at.file as usize;
        let read = blocking(|| guard(|| self.export.read(file, at.offset, PART_BYTES)));
        let data = read.map_err(|fault| Stopped::Failed(fault.to_string()))?;
        let left = self.offer.files[file].bytes - at.offset;
        if data.is_empty() || data.len() as u64 > left {
            let name = &self.offer.files[file].name;
            let found = data.len();
            return Err(Stopped::Failed(format!("{found} bytes of {name} were read, expected 1 to {left}")));
        }
        let crc32 = crc32fast::hash(&data);
        let after = wire::SnapshotPosition { file: at.file, offset: at.offset + data.len() as u64 };
        let snapshot = self.offer.snapshot;
        let part = wire::SnapshotPart { snapshot, file: at.file, offset: at.offset, data, crc32, last: false };
        Ok(Some((part, after)))
    }

    /// The part that says that nothing follows.
    fn last(&self) -> wire::SnapshotPart {
        wire::SnapshotPart { snapshot: self.offer.snapshot, last: true, ..wire::SnapshotPart::default() }
    }

    fn progress(&self) -> Progress {
        let bytes_of = |files: &[wire::SnapshotFile]| files.iter().map(|file| file.bytes).sum::<u64>();
        let (files, ended) = (&self.offer.files, self.position.file as usize);
        let sent = bytes_of(&files[..ended.min(files.len())]).saturating_add(self.position.offset);
        Progress { sent, bytes: bytes_of(files), since: self.since }
    }

    /// Notes what the receiver says; its vote, if it needs nothing more.
    fn take(&mut self, reply: Result<Body, CallError>) -> Result<Option<Vote>, Stopped> {
        let Body::SnapshotReply(reply) = reply.map_err(failed)? else {
            return Err(Stopped::Failed("expected a reply to a snapshot; all nodes run the same release".to_owned()));
        };
        match reply.reply {
            Some(Reply::Next(position)) => {
                self.position = position;
                self.senders.note(self.group, self.node, Some(self.progress()));
                Ok(None)
            }
            Some(Reply::Installed(vote)) => {
                vote_from_wire(Some(vote)).map(Some).map_err(|error| Stopped::Failed(error.to_string()))
            }
            Some(Reply::Failed(reason)) => Err(Stopped::Failed(format!("{}: {reason}", self.node))),
            Some(Reply::Busy(_)) => Err(Stopped::Busy),
            None => Err(Stopped::Failed("expected a reply that this release knows".to_owned())),
        }
    }
}

/// The same position, or the beginning of the next file that has bytes; none behind the last.
pub(super) fn skip_ended(
    files: &[wire::SnapshotFile],
    mut at: wire::SnapshotPosition,
) -> Option<wire::SnapshotPosition> {
    loop {
        let file = files.get(at.file as usize)?;
        if at.offset < file.bytes {
            return Some(at);
        }
        at = wire::SnapshotPosition { file: at.file + 1, offset: 0 };
    }
}

fn failed(error: CallError) -> Stopped {
    match error {
        CallError::Refused(reason) => Stopped::Failed(reason),
        CallError::Unreachable(reason) | CallError::Lost(reason) => Stopped::Broken(reason),
    }
}

fn timed_out(what: &str) -> Stopped {
    Stopped::Broken(format!("no reply to {what} in time"))
}
