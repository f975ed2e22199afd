//! A simulated host: a disk, a store, a clock, and the node on them while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lentic_engine::gc::GcHandle;
use lentic_engine::{Family, MemStore, Portable, Store as _};
use lentic_log::{Log, LogOptions, SimFs, SimOp};
use lentic_net::Address;
use lentic_node::{Identity, Node};
use lentic_runtime::{Scope, SimClock};
use lentic_types::NodeId;
use lentic_workloads::Dice;

use crate::disk::Pace;
use crate::watch::Watched;

/// A store that a simulated host can have.
pub trait SimStore: Portable + Sized {
    /// An empty one.
    fn fresh(gc: &GcHandle) -> Self;
    /// What a process finds after a crash: the store at some point since its last flush, and how many batches are gone.
    fn crash(&self, dice: &Dice, gc: &GcHandle) -> (Self, usize);
    /// Collects garbage, if the store does not by itself.
    fn collect(&self, gc: &GcHandle);
    /// This one is not used any more, though what has crashed may still hold it: what it keeps outside of memory goes.
    fn discard(&self);
    /// Every entry of `family`, in key order.
    fn entries(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)>;
}

impl SimStore for MemStore {
    fn fresh(_: &GcHandle) -> Self {
        Self::new()
    }

    fn crash(&self, dice: &Dice, _: &GcHandle) -> (Self, usize) {
        let unflushed = self.unflushed();
        let kept = dice.place(unflushed + 1);
        (self.crash(kept), unflushed - kept)
    }

    fn collect(&self, gc: &GcHandle) {
        // A store that has failed collects nothing.
        let promoted = gc.promote(|group| self.durable_applied(group));
        if promoted.is_ok() {
            gc.ranges().iter().for_each(|(table, range)| self.compact(*table, range, gc));
        }
    }

    fn discard(&self) {}

    fn entries(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.entries(family)
    }
}

/// A host.
pub(crate) struct Host<S: Portable> {
    pub(crate) address: Address,
    pub(crate) incarnation: [u8; 16],
    pub(crate) identity: Option<Identity>,
    pub(crate) peers: BTreeMap<NodeId, Address>,
    pub(crate) fs: SimFs,
    pub(crate) pace: Pace,
    pub(crate) store: Arc<S>,
    pub(crate) gc: GcHandle,
    pub(crate) clock: SimClock,
    pub(crate) running: Option<Running<S>>,
    pub(crate) damage: Option<Damage>,
    pub(crate) disk_fails: bool,
}

/// A node that runs.
pub(crate) struct Running<S: Portable> {
    pub(crate) scope: Scope,
    /// The log's writer: it outlives the node that stops as it should.
    pub(crate) writer: Scope,
    pub(crate) log: Log,
    pub(crate) node: Node<Watched<S>>,
    pub(crate) stands_still: bool,
}

/// A damaged log, and what it was before.
pub(crate) struct Damage {
    pub(crate) file: String,
    pub(crate) undamaged: SimFs,
}

impl<S: SimStore> Host<S> {
    pub(crate) fn new(number: usize, incarnation: [u8; 16], clock: SimClock) -> Self {
        let gc = GcHandle::new();
        Self {
            address: Address::from(&*format!("n{number}")),
            incarnation,
            identity: None,
            peers: BTreeMap::new(),
            fs: SimFs::new(),
            pace: Pace::new(),
            store: Arc::new(S::fresh(&gc)),
            gc,
            clock,
            running: None,
            damage: None,
            disk_fails: false,
        }
    }

    /// The store goes back to what a crash left of it. Returns how many batches are gone.
    pub(crate) fn crash_store(&mut self, dice: &Dice) -> usize {
        self.gc = GcHandle::new();
        let (store, lost) = self.store.crash(dice, &self.gc);
        self.store.discard();
        self.store = Arc::new(store);
        lost
    }

    /// Ends what is wrong with the disk: another one is in its place, with what was there before it failed.
    pub(crate) fn repair(&mut self) {
        self.fs.heal();
        self.disk_fails = false;
        if let Some(Damage { undamaged, .. }) = self.damage.take() {
            self.fs = undamaged;
        }
    }

    /// Flips bits of a byte in a closed segment of the log, if there is one. Nobody may have the log open.
    pub(crate) fn damage(&mut self, dice: &Dice, options: LogOptions) -> bool {
        let Some(cluster) = self.identity.as_ref().map(|identity| identity.cluster) else { return false };
        let undamaged = self.fs.copy();
        // What an opening reads to the end is in use; the last of it may have a torn end.
        let reads = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
        let (tried, counted) = (self.fs.copy(), Arc::clone(&reads));
        tried.set_hook(move |op, name| {
            if op == SimOp::Read {
                *counted.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default() += 1;
            }
        });
        if Log::open(Arc::new(tried), cluster, options, Box::new(|_| ())).is_err() {
            return false;
        }
        let reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used: Vec<&String> = reads.iter().filter(|(_, reads)| **reads > 1).map(|(name, _)| name).collect();
        used.pop();
        let Some(file) = used.get(dice.place(used.len())).copied().cloned() else { return false };
        let Some((offset, bytes)) = first_gather(&undamaged.bytes(&file).unwrap_or_default()) else { return false };
        let mask = u8::try_from(dice.between(1..=255)).unwrap_or(1);
        self.fs.flip(&file, offset + dice.place(bytes), mask);
        self.damage = Some(Damage { file, undamaged });
        true
    }
}

/// Where the first gather of a segment is, and how long it is with its records: see the log's `format`. Behind it there may
/// be those of an earlier life of the file.
fn first_gather(segment: &[u8]) -> Option<(usize, usize)> {
    const BLOCK_BYTES: usize = 4_096;
    const HEADER_BYTES: usize = 20;
    let header = segment.get(BLOCK_BYTES..BLOCK_BYTES + HEADER_BYTES).filter(|header| header.starts_with(b"GTHR"))?;
    let records = u32::from_be_bytes(*header[12..16].first_chunk()?);
    Some((BLOCK_BYTES, HEADER_BYTES + usize::try_from(records).ok()?))
}
