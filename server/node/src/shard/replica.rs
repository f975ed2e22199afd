//! A replica of a shard on this node: with a group of its own, or riding in another's.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use lentic_engine::gc::GcHandle;
use lentic_engine::{Portable, Pressure};
use lentic_machine::meta::ShardPlace;
use lentic_machine::shard::{Descriptor, TxnRef};
use lentic_proto::v1::Failure;
use lentic_raft::{Group, Host, Status};
use lentic_runtime::spawn;
use lentic_types::{GroupId, Index, NodeId, ShardId, TableId, Version};
use tokio::sync::{mpsc, watch};

use super::begins::{Begins, MADE};
use super::blocked::Blocked;
use super::locked::Locked;
use super::machine::{Riding, ShardMachine, Shown};
use super::proposer::Proposer;
use super::queue::{Proposal, Queue, QueueLimits, Refused};
use super::reader::{Place, Reader};
use super::resolved::Resolved;
use super::stamps::Stamps;
use super::traffic::Traffic;
use super::windows::Windows;
use crate::failure::{self, StoreFailure};
use crate::options::NodeOptions;
use crate::ticks::TickSource;

/// How long a caller waits while the store catches up, in milliseconds.
const STORE_PAUSE_MS: u32 = 100;
/// How long a caller waits for the queue of a shard, in milliseconds.
const QUEUE_PAUSE_MS: u32 = 20;
/// While the store falls behind, this part of a queue may fill.
const SLOW_QUEUE_PART: usize = 8;

/// A replica of a shard.
pub(crate) struct Replica<S: Portable> {
    pub(crate) shard: ShardId,
    pub(crate) group: Group<ShardMachine<S>>,
    pub(crate) reader: Reader<S>,
    pub(super) store: Arc<S>,
    pub(super) failure: StoreFailure,
    pub(super) shown: Arc<Shown>,
    riding: Option<watch::Receiver<Arc<Riding>>>,
    queue: Arc<Queue>,
    gauges: Gauges,
    limits: QueueLimits,
}

/// How large and how busy a shard is where it is led.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Operations per second, on the average over some seconds.
    pub(crate) rate: AtomicU64,
    /// Bytes on disk.
    pub(crate) bytes: AtomicU64,
}

/// How far a shard's history goes back.
#[derive(Clone, Debug)]
pub(crate) struct ShownHistory {
    pub(crate) table: TableId,
    /// The first key.
    pub(crate) start: Bytes,
    pub(crate) watermark: Version,
    pub(crate) newest: Version,
    pub(crate) pins: Vec<Version>,
    pub(crate) masks: u32,
}

/// What every replica of a node shares.
pub(crate) struct Shared<S> {
    pub(crate) node: NodeId,
    pub(crate) host: Host,
    pub(crate) store: Arc<S>,
    pub(crate) failure: StoreFailure,
    pub(crate) gc: GcHandle,
    pub(crate) ticks: TickSource,
    /// Takes the transactions that somebody waits for.
    pub(crate) wanted: mpsc::Sender<TxnRef>,
    /// What feeds have found of older changes.
    pub(crate) windows: Arc<Windows>,
    pub(crate) options: NodeOptions,
}

impl<S: Portable> Replica<S> {
    /// Starts the replica as it begins here.
    pub(crate) async fn start(shared: &Shared<S>, place: &ShardPlace, begins: Begins) -> Result<Self, String> {
        let group = GroupId::from(place.shard);
        let (store, gc, heads) = (Arc::clone(&shared.store), shared.gc.clone(), shared.options.heads);
        let machine = ShardMachine::open(group, store, shared.failure.clone(), gc, heads);
        let machine = machine.map_err(|fault| fault.to_string())?;
        let (shown, riding) = (machine.shown(), machine.riding());
        let started = match begins {
            Begins::Known => shared.host.start(group, machine).await,
            Begins::New => shared.host.begin_behind(group, machine, MADE).await,
            Begins::Joins => shared.host.join(group, machine).await,
            Begins::Divided => shared.host.begin_behind(group, machine, place.shape.born).await,
        };
        let group = started.map_err(|error| error.to_string())?;
        Ok(Self::serve(shared, place.shard, group, shown, Some(riding)))
    }

    /// Starts the replica of a branch's shard, which rides in the group of `home`.
    pub(crate) fn ride(shared: &Shared<S>, shard: ShardId, home: &Self, shown: Arc<Shown>) -> Self {
        Self::serve(shared, shard, home.group.clone(), shown, None)
    }

    fn serve(
        shared: &Shared<S>,
        shard: ShardId,
        group: Group<ShardMachine<S>>,
        shown: Arc<Shown>,
        riding: Option<watch::Receiver<Arc<Riding>>>,
    ) -> Self {
        shown.locked.tell(shared.wanted.clone());
        let (options, store) = (&shared.options, Arc::clone(&shared.store));
        let limits = QueueLimits {
            waiting_bytes_max: options.queue_bytes_max,
            entry_bytes_max: options.entry_bytes_max,
            entry_operations_max: options.entry_operations_max,
            beside_bytes_min: options.entry_beside_bytes_min,
        };
        let queue = Queue::new(Traffic::new(options.split_operations));
        let (queue, stamps) = (Arc::new(queue), Arc::new(Stamps::default()));
        let proposer = Proposer {
            group: group.clone(),
            rider: riding.is_none().then_some(shard),
            shown: Arc::clone(&shown),
            queue: Arc::clone(&queue),
            stamps: Arc::clone(&stamps),
            blocked: Blocked::new(Arc::clone(&shown), Arc::clone(&queue), limits),
            ticks: shared.ticks.clone(),
            limits,
            entries_in_flight_max: options.entries_in_flight_max,
        };
        spawn(proposer.run());
        let reader = Reader::start(Place {
            group: group.clone(),
            store: Arc::clone(&store),
            failure: shared.failure.clone(),
            group_id: GroupId::from(shard),
            shown: Arc::clone(&shown),
            queue: Arc::clone(&queue),
            stamps,
            ticks: shared.ticks.clone(),
            windows: Arc::clone(&shared.windows),
            settled: tokio::sync::Mutex::default(),
        });
        let failure = shared.failure.clone();
        Self { shard, group, reader, store, failure, shown, riding, queue, gauges: Gauges::default(), limits }
    }

    /// What rides in its group; `None` for a replica that itself rides in another's.
    pub(crate) fn riding(&self) -> Option<watch::Receiver<Arc<Riding>>> {
        self.riding.clone()
    }

    /// Whether it rides in the group of another shard.
    pub(crate) const fn is_rider(&self) -> bool {
        self.riding.is_none()
    }

    /// What others on this node see of the shard.
    pub(crate) const fn shown(&self) -> &Arc<Shown> {
        &self.shown
    }

    /// Queues a request, or refuses it before any work is done.
    pub(crate) fn propose(&self, proposal: Proposal) {
        let pressure = self.store.pressure();
        if pressure == Pressure::Stop {
            return proposal.reply.send(Err(failure::throttled("the store is catching up", STORE_PAUSE_MS)));
        }
        let mut limits = self.limits;
        if pressure == Pressure::Slow {
            limits.waiting_bytes_max /= SLOW_QUEUE_PART;
        }
        if let Err(refused) = self.queue.offer(proposal, &limits) {
            let (proposal, refused) = *refused;
            let failure: Failure = match refused {
                Refused::NotLeader => failure::not_leader(),
                Refused::Full => failure::throttled("the shard's queue is full; nothing was done", QUEUE_PAUSE_MS),
            };
            proposal.reply.send(Err(failure));
        }
    }

    /// Somebody waits for what rides with other requests.
    pub(crate) fn hurry(&self) {
        self.queue.hurry();
    }

    /// What open transactions hold here.
    pub(crate) fn locked(&self) -> &Locked {
        &self.shown.locked
    }

    /// What it knows of where nothing is missing.
    pub(crate) fn resolved(&self) -> &Resolved {
        &self.shown.resolved
    }

    /// Up to where all is here that there will ever be, as far as this replica knows by itself.
    pub(crate) fn resolved_here(&self) -> Version {
        self.shown.resolved_here()
    }

    /// What it keeps is about to be cleared.
    pub(crate) fn leaves(&self) {
        self.shown.whole.broken();
    }

    /// Where its state is.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// Where replication stands.
    pub(crate) fn status(&self) -> Status {
        self.group.watch().borrow().clone()
    }

    /// What has come to it here.
    pub(crate) fn traffic(&self) -> &Traffic {
        self.queue.traffic()
    }

    /// How large it is and how busy, as it was seen last.
    pub(crate) const fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Whether this node leads the shard and takes requests.
    pub(crate) fn serves(&self) -> bool {
        self.queue.is_open()
    }

    /// How far its history goes back, as far as this node has applied.
    pub(crate) fn shown_history(&self) -> ShownHistory {
        let (rules, newest) = (self.shown.rules(), self.shown.newest());
        ShownHistory {
            table: rules.descriptor.table,
            start: rules.descriptor.range.start().clone(),
            watermark: rules.descriptor.watermark,
            newest,
            pins: rules.pins.versions().to_vec(),
            masks: u32::try_from(rules.masks.masks().len()).unwrap_or(u32::MAX),
        }
    }

    /// The entry that has cut the shard, or cut it off, last, as far as this node has applied; 0 if it is as it was made.
    pub(crate) fn born(&self) -> Index {
        self.shown.rules().born
    }

    /// What the shard is.
    pub(crate) fn descriptor(&self) -> Descriptor {
        self.shown.rules().descriptor.clone()
    }
}
