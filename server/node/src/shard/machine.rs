//! A shard's state machine as replication sees it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_engine::gc::GcHandle;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, MaskSet, Portable};
use lentic_machine::shard::{Descriptor, HeadsOptions, Pins};
use lentic_machine::{Command, Event, Fatal, Outcome, Overlay, Shard};
use lentic_raft::{Committed, Fault, Machine, Transfer};
use lentic_types::{GroupId, Index, Version};

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
}

/// What readers see of a shard: always as of an entry whose batch is written.
#[derive(Debug)]
pub(crate) struct Shown {
    rules: Mutex<Arc<Rules>>,
    newest: AtomicU64,
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
}

impl Shown {
    fn new(shard: &Shard) -> Self {
        let locked = Locked::default();
        locked.reset(shard);
        let (rules, newest) = (Mutex::new(Arc::new(Rules::of(shard))), shard.newest());
        let (followed, resolved) = (Followed::new(newest), Resolved::new(shard.applied()));
        Self { rules, newest: AtomicU64::new(newest.0), locked, followed, resolved, whole: Arc::default() }
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
        Self { descriptor: shard.descriptor().clone(), masks: shard.masks().clone(), pins: shard.pins().clone() }
    }

    /// Whether all that a read at `at` sees is kept: from the watermark on, and at pins.
    pub(crate) fn keeps(&self, at: Version) -> bool {
        at >= self.descriptor.watermark || self.pins.holds(at)
    }
}

impl<S: Portable> ShardMachine<S> {
    /// The shard of `group` as the store has it, or a new one of the shape of `descriptor`.
    pub(crate) fn open(
        group: GroupId,
        descriptor: &Descriptor,
        store: Arc<S>,
        failure: StoreFailure,
        gc: GcHandle,
        heads: HeadsOptions,
    ) -> Result<Self, Fault> {
        let shard = match Shard::load(&*store, group, &heads).map_err(fault)? {
            Some(shard) => shard,
            None => {
                let mut batch = Batch::new();
                Shard::create(&mut batch, group, descriptor);
                store.write(&batch).map_err(fault)?;
                Shard::load(&*store, group, &heads)
                    .map_err(fault)?
                    .ok_or_else(|| Fault::new("the store lost a shard that was just created"))?
            }
        };
        gc.stage(group, shard.applied(), Some(shard.gc_rules()));
        let shown = Arc::new(Shown::new(&shard));
        Ok(Self { group, store, failure, gc, heads, shard, shown })
    }

    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    fn apply_all(&mut self, entries: &[Committed], replica: &[u8]) -> Result<Vec<Vec<Outcome>>, Fault> {
        let store = Arc::clone(&self.store);
        let mut overlay = Overlay::new(&*store);
        let (mut replies, mut rules, mut locks) = (Vec::with_capacity(entries.len()), None, Vec::new());
        for entry in entries {
            let command = match &entry.command {
                Some(bytes) => Command::decode(bytes).map_err(fault)?,
                None => Command { epoch: self.shard.descriptor().epoch, requests: Vec::new() },
            };
            let applied = self.shard.apply(entry.index, &command, &overlay).map_err(|fatal| {
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
                    Event::GcRulesChanged(changed) => rules = Some((entry.index, changed)),
                    Event::LocksChanged(changes) => locks.push(changes),
                }
            }
        }
        let mut batch = overlay.into_batch();
        if lentic_types::mutant!("applied-not-atomic") {
            self.store.write(&std::mem::take(&mut batch)).map_err(fault)?;
        }
        batch.put(Family::Sys, &sys::key(self.group, SysKind::Replica, &[]), replica);
        self.store.write(&batch).map_err(|error| self.failure.fault(&error))?;
        // Who waited for a range that goes back reads it by the new rules; and who finds a prepare's version finds its locks.
        if rules.is_some() {
            self.shown.show_rules(&self.shard);
        }
        self.shown.resolved.show_applied(self.shard.applied());
        self.shown.followed.note(&batch, self.shard.newest()).map_err(fault)?;
        locks.into_iter().for_each(|changes| self.shown.locked.apply(changes));
        self.shown.show_newest(&self.shard);
        if let Some((index, rules)) = rules {
            self.gc.stage(self.group, index, Some(rules));
        }
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
        lentic_runtime::blocking(|| self.apply_all(&entries, &replica))
    }

    fn durable(&self) -> Result<Index, Fault> {
        self.store.durable_applied(self.group).map_err(|error| self.failure.fault(&error))
    }

    fn request_flush(&self) -> Result<(), Fault> {
        self.store.request_flush().map_err(|error| self.failure.fault(&error))
    }

    fn transfer(&self) -> Arc<dyn Transfer> {
        let spans = lentic_machine::shard::spans(self.group, self.shard.descriptor());
        Arc::new(StoreTransfer::new(self.group, Arc::clone(&self.store), spans, Arc::clone(&self.shown.whole)))
    }

    fn reload(&mut self) -> Result<(), Fault> {
        self.shard = Shard::load(&*self.store, self.group, &self.heads)
            .map_err(fault)?
            .ok_or_else(|| Fault::new("the snapshot that was installed holds no shard"))?;
        self.gc.stage(self.group, self.shard.applied(), Some(self.shard.gc_rules()));
        self.shown.show_rules(&self.shard);
        self.shown.resolved.show_applied(self.shard.applied());
        self.shown.followed.reset(self.shard.newest());
        self.shown.locked.reset(&self.shard);
        self.shown.show_newest(&self.shard);
        self.shown.whole.mended();
        Ok(())
    }
}
