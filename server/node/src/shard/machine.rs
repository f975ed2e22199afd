//! A group's state machine as replication sees it: a shard, and those of its branches, which ride in the group.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_engine::gc::{GcHandle, GcRules};
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Family, Layer, MaskSet, Portable};
use lentic_machine::shard::{Descriptor, Gone, HeadsOptions, LockChanges, Pins};
use lentic_machine::{Command, Event, Fatal, Outcome, Overlay, Shard};
use lentic_raft::{Committed, Fault, Machine, Transfer};
use lentic_runtime::{blocking, spawn};
use lentic_types::{GroupId, Index, ShardId, Version};
use tokio::sync::watch;

use super::followed::Followed;
use super::locked::Locked;
use super::resolved::Resolved;
use super::whole::Whole;
use crate::failure::{StoreFailure, fault};
use crate::transfer::StoreTransfer;

/// From this size a run of entries is applied as blocking work: below it, handing the thread over costs more.
const BLOCKING_BYTES_MIN: usize = 64 << 10;

/// A shard over a store.
pub(crate) struct ShardMachine<S> {
    group: GroupId,
    store: Arc<S>,
    failure: StoreFailure,
    gc: GcHandle,
    heads: HeadsOptions,
    shard: Shard,
    shown: Arc<Shown>,
    riding: watch::Sender<Arc<Riding>>,
}

/// The shards of branches that ride in a group, as of an entry whose batch is written.
#[derive(Debug, Default)]
pub(crate) struct Riding {
    /// Those that ride there, with the revision of a catalog that each is in.
    pub(crate) here: BTreeMap<ShardId, (Arc<Shown>, u64)>,
    /// Those that were dropped.
    pub(crate) gone: BTreeMap<ShardId, Gone>,
}

/// What a run of entries changed of one shard.
#[derive(Default)]
struct Changed {
    rules: Option<(Index, GcRules)>,
    locks: Vec<LockChanges>,
}

/// What readers see of a shard: always as of an entry whose batch is written.
#[derive(Debug)]
pub(crate) struct Shown {
    rules: Mutex<Arc<Rules>>,
    newest: AtomicU64,
    left: watch::Sender<bool>,
    pub(crate) locked: Locked,
    pub(crate) followed: Followed,
    pub(crate) resolved: Resolved,
    pub(crate) whole: Arc<Whole>,
}

/// What a read must know. Records of later entries do no harm to it, for it reads at a version.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) descriptor: Descriptor,
    pub(crate) masks: MaskSet,
    pub(crate) pins: Pins,
    pub(crate) layers: Vec<Layer>,
    /// The entry that has cut it, or cut it off, last; 0 if it is as it was made.
    pub(crate) born: Index,
}

impl Shown {
    /// `whole` is the group's.
    fn new(shard: &Shard, whole: Arc<Whole>) -> Self {
        let locked = Locked::default();
        locked.reset(shard);
        let (rules, newest) = (Mutex::new(Arc::new(Rules::of(shard))), shard.newest());
        let followed = Followed::new(shard.descriptor().table, newest);
        let (resolved, left) = (Resolved::new(shard.applied()), watch::Sender::new(false));
        Self { rules, newest: AtomicU64::new(newest.0), left, locked, followed, resolved, whole }
    }

    /// Begins anew with all that a shard has: it was replaced.
    fn reset(&self, shard: &Shard) {
        self.show_rules(shard);
        self.followed.reset(shard.newest());
        self.locked.reset(shard);
        self.show_newest(shard);
    }

    /// Whether the shard is no more in its group, or the group no more on this node.
    pub(crate) fn has_left(&self) -> bool {
        *self.left.borrow()
    }

    /// Completes when it is no more.
    pub(crate) async fn left(&self) {
        // Who holds this holds the sender.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    /// Tells all who work for the shard here that it is no more.
    pub(crate) fn leave(&self) {
        self.left.send_replace(true);
    }

    /// The rules now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest stamp applied.
    pub(crate) fn newest(&self) -> Version {
        Version(self.newest.load(Ordering::Acquire))
    }

    /// Up to where all is here that there will ever be, when all up to `settled` is but for what locks hold.
    pub(crate) fn below_locks(&self, settled: Version) -> Version {
        match self.locked.oldest() {
            Some(oldest) if oldest <= settled => Version(oldest.0.saturating_sub(1)),
            _ => settled,
        }
    }

    /// Up to where all is here that there will ever be, as far as this replica knows without asking anyone.
    pub(crate) fn resolved_here(&self) -> Version {
        // In this order: see `followed.rs`.
        let newest = self.newest();
        let own = if lentic_types::mutant!("follower-past-locks") { newest } else { self.below_locks(newest) };
        own.max(self.resolved.up_to())
    }

    fn show_rules(&self, shard: &Shard) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rules::of(shard));
    }

    fn show_newest(&self, shard: &Shard) {
        self.newest.store(shard.newest().0, Ordering::Release);
        self.followed.wake();
    }
}

impl Rules {
    fn of(shard: &Shard) -> Self {
        Self {
            descriptor: shard.descriptor().clone(),
            masks: shard.masks().clone(),
            pins: shard.pins().clone(),
            layers: shard.layers().to_vec(),
            born: shard.born(),
        }
    }

    /// Whether all that a read at `at` sees is kept: from the watermark on, and at pins.
    pub(crate) fn keeps(&self, at: Version) -> bool {
        at >= self.descriptor.watermark || self.pins.holds(at)
    }
}

impl<S: Portable> ShardMachine<S> {
    /// The shard of `group` as the store has it.
    pub(crate) fn open(
        group: GroupId,
        store: Arc<S>,
        failure: StoreFailure,
        gc: GcHandle,
        heads: HeadsOptions,
    ) -> Result<Self, Fault> {
        let shard = Shard::load(&*store, group, &heads).map_err(fault)?;
        let lost = "the log has entries of the shard and the store has nothing of it; give the node an empty directory";
        let shard = shard.ok_or_else(|| Fault::new(lost))?;
        gc.stage(group, shard.applied(), Some(shard.gc_rules()));
        let shown = Arc::new(Shown::new(&shard, Arc::default()));
        let machine =
            Self { group, store, failure, gc, heads, shard, shown, riding: watch::Sender::new(Arc::default()) };
        machine.show_riders(true);
        Ok(machine)
    }

    /// What rides in the group.
    pub(crate) fn riding(&self) -> watch::Receiver<Arc<Riding>> {
        self.riding.subscribe()
    }

    /// Shows who rides in the group now: `anew`, if all of them were loaded.
    fn show_riders(&self, anew: bool) {
        let before = Arc::clone(&self.riding.borrow());
        let mut now = Riding::default();
        for (rider, revision) in self.shard.riders() {
            let id = ShardId::from(rider.group());
            let known = before.here.get(&id).map(|(shown, _)| Arc::clone(shown));
            if anew || known.is_none() {
                self.gc.stage(rider.group(), rider.applied(), Some(rider.gc_rules()));
            }
            let shown = match known {
                Some(shown) if anew => {
                    shown.reset(rider);
                    shown
                }
                Some(shown) => shown,
                None => Arc::new(Shown::new(rider, Arc::clone(&self.shown.whole))),
            };
            now.here.insert(id, (shown, revision));
        }
        now.gone.extend(self.shard.gone_riders().map(|(id, gone)| (id, gone.clone())));
        for (id, (shown, _)) in before.here.iter().filter(|(id, _)| !now.here.contains_key(id)) {
            shown.leave();
            self.gc.stage(GroupId::from(*id), Index(0), None);
        }
        self.riding.send_replace(Arc::new(now));
    }

    /// What the group has applied is in the store, and readers see the rules of it, of what rides here too.
    fn show_applied(&self) {
        let applied = self.shard.applied();
        self.shown.resolved.show_applied(applied);
        self.riding.borrow().here.values().for_each(|(shown, _)| shown.resolved.show_applied(applied));
    }

    /// A shard of the group, with what readers see of it; `None` for the group's own.
    fn shard_of(&self, rider: Option<ShardId>) -> Option<(&Shard, Arc<Shown>)> {
        match rider {
            None => Some((&self.shard, Arc::clone(&self.shown))),
            Some(rider) => {
                let riding = self.riding.borrow();
                Some((self.shard.rider(rider)?, Arc::clone(&riding.here.get(&rider)?.0)))
            }
        }
    }

    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// A shard that was cut off begins when what was made of it is on disk. It is not waited for: the other goes on.
    fn flush_soon(&self) {
        let (store, failure) = (Arc::clone(&self.store), self.failure.clone());
        spawn(async move {
            if let Err(error) = blocking(|| store.request_flush()) {
                failure.note(&error);
            }
        });
    }

    fn apply_all(&mut self, entries: &[Committed], replica: &[u8]) -> Result<Vec<Vec<Outcome>>, Fault> {
        let store = Arc::clone(&self.store);
        let mut overlay = Overlay::new(&*store);
        let mut replies = Vec::with_capacity(entries.len());
        let mut changed = BTreeMap::<Option<ShardId>, Changed>::new();
        let (mut riders_changed, mut is_divided) = (false, false);
        for entry in entries {
            let (rider, command) = match &entry.command {
                Some(bytes) => Command::decode_for(bytes).map_err(fault)?,
                None => (None, Command { epoch: self.shard.descriptor().epoch, requests: Vec::new() }),
            };
            let changed = changed.entry(rider).or_default();
            let applied = self.shard.apply_for(rider, entry.index, &command, &overlay).map_err(|fatal| {
                if let Fatal::Store(error) = &fatal {
                    self.failure.note(error);
                }
                fault(fatal)
            })?;
            overlay.batch().absorb(applied.batch);
            if entry.command.is_some() {
                replies.push(applied.replies);
            }
            for event in applied.events {
                match event {
                    Event::GcRulesChanged(rules) => changed.rules = Some((entry.index, rules)),
                    Event::LocksChanged(changes) => changed.locks.push(changes),
                    Event::RiderCame(_) | Event::RiderLeft(_) => riders_changed = true,
                    Event::Divided(split) => {
                        let key = sys::key(split.child.into(), SysKind::Replica, &[]);
                        overlay.batch().put(
                            Family::Sys,
                            &key,
                            &lentic_raft::replica_behind(entry.index, &split.voters),
                        );
                        is_divided = true;
                    }
                }
            }
        }
        let mut batch = overlay.into_batch();
        if lentic_types::mutant!("applied-not-atomic") {
            self.store.write(&std::mem::take(&mut batch)).map_err(fault)?;
        }
        batch.put(Family::Sys, &sys::key(self.group, SysKind::Replica, &[]), replica);
        self.store.write(&batch).map_err(|error| self.failure.fault(&error))?;
        if riders_changed {
            self.show_riders(false);
        }
        if is_divided {
            // All that the entries have changed of it is in what is left. The rules come first: who finds that a lock is gone
            // finds that its key is another shard's.
            changed.remove(&None);
            self.flush_soon();
            self.shown.reset(&self.shard);
            self.gc.stage(self.group, self.shard.applied(), Some(self.shard.gc_rules()));
        }
        for (rider, changed) in changed {
            // Of one that came and left at once there is nothing to show.
            let Some((shard, shown)) = self.shard_of(rider) else { continue };
            // Who waited for a range that goes back reads it by the new rules; and who finds a prepare's version finds its
            // locks.
            if changed.rules.is_some() {
                shown.show_rules(shard);
            }
            shown.followed.note(&batch, shard.newest()).map_err(fault)?;
            changed.locks.into_iter().for_each(|changes| shown.locked.apply(changes));
            shown.show_newest(shard);
            if let Some((index, rules)) = changed.rules {
                self.gc.stage(shard.group(), index, Some(rules));
            }
        }
        self.show_applied();
        Ok(replies)
    }
}

impl<S: Portable> Machine for ShardMachine<S> {
    type Reply = Vec<Outcome>;

    fn replica(&self) -> Result<Option<Bytes>, Fault> {
        let key = sys::key(self.group, SysKind::Replica, &[]);
        Ok(self.store.get(Family::Sys, &key).map_err(fault)?.map(Bytes::from))
    }

    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<Self::Reply>, Fault> {
        let bytes: usize = entries.iter().filter_map(|entry| entry.command.as_ref()).map(Bytes::len).sum();
        if bytes < BLOCKING_BYTES_MIN {
            return self.apply_all(&entries, &replica);
        }
        blocking(|| self.apply_all(&entries, &replica))
    }

    fn durable(&self) -> Result<Index, Fault> {
        self.store.durable_applied(self.group).map_err(|error| self.failure.fault(&error))
    }

    fn request_flush(&self) -> Result<(), Fault> {
        self.store.request_flush().map_err(|error| self.failure.fault(&error))
    }

    fn transfer(&self) -> Arc<dyn Transfer> {
        let (store, whole) = (Arc::clone(&self.store), Arc::clone(&self.shown.whole));
        Arc::new(StoreTransfer::of_shard(self.group, store, self.failure.clone(), whole))
    }

    fn reload(&mut self) -> Result<(), Fault> {
        self.shard = Shard::load(&*self.store, self.group, &self.heads)
            .map_err(fault)?
            .ok_or_else(|| Fault::new("the snapshot that was installed holds no shard"))?;
        self.gc.stage(self.group, self.shard.applied(), Some(self.shard.gc_rules()));
        self.shown.reset(&self.shard);
        self.show_riders(true);
        self.show_applied();
        self.shown.whole.mended();
        Ok(())
    }
}
