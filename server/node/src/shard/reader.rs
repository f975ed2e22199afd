//! Reads of a shard at its leader.
//!
//! A read of the newest state: confirm that this node leads by a round begun after the read arrived, wait for transactions
//! that hold the key, then read. A read at a version T: raise the floor of stamps to T, wait for what was stamped at or
//! below T, confirm, wait for transactions prepared at or below T that hold a key of it, then read; nothing at or below T
//! can appear afterwards, here or on a later leader (rules R and F).
//!
//! At a version up to which a replica has all, nobody need be asked: the leader answers at once, and so may any other
//! replica, which says who leads for those above: see `resolved.rs`.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::{Direction, Found, MaskSet, Portable, ReadAt, ReadError, ReadStats, ScanLimits, ScanPage};
use lentic_machine::Refusal;
use lentic_machine::shard::{self, Fence};
use lentic_proto::v1::Failure;
use lentic_raft::{Group, ReadError as LostLead};
use lentic_runtime::{blocking, hesitate, spawn};
use lentic_types::{Epoch, GroupId, KeyRange, Version, limits};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::locked::Locked;
use super::machine::{Rules, ShardMachine, Shown};
use super::queue::Queue;
use super::resolved::Settled;
use super::stamps::Stamps;
use super::whole::Seen;
use super::windows::Windows;
use crate::failure::{self, StoreFailure};
use crate::ticks::{TickSource, last_of};

/// Point reads that wait for a round; beyond it a caller is asked to come again.
const WAITING_MAX: usize = 16_384;
/// Bytes of owners that one page tells of.
const OWNED_BYTES_MAX: usize = 1 << 20;
/// From so many keys on a read is blocking work.
const BLOCKING_KEYS_MIN: usize = 64;

/// Reads of one shard. Clones read the same shard.
pub(crate) struct Reader<S: Portable> {
    pub(super) at: Arc<Place<S>>,
    newest: mpsc::Sender<PointRead>,
}

impl<S: Portable> Clone for Reader<S> {
    fn clone(&self) -> Self {
        Self { at: Arc::clone(&self.at), newest: self.newest.clone() }
    }
}

/// Where reads are done.
pub(crate) struct Place<S: Portable> {
    pub(crate) group: Group<ShardMachine<S>>,
    pub(crate) store: Arc<S>,
    pub(crate) failure: StoreFailure,
    pub(crate) group_id: GroupId,
    pub(crate) shown: Arc<Shown>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) ticks: TickSource,
    pub(crate) windows: Arc<Windows>,
    /// How far the shard was resolved, and when that was found out, if this node leads it.
    pub(super) settled: tokio::sync::Mutex<Option<(Instant, Settled)>>,
}

/// A read of the newest value of a key.
pub(crate) struct PointRead {
    pub(crate) epoch: Epoch,
    pub(crate) key: Bytes,
    pub(crate) reply: Box<dyn FnOnce(Result<Option<Found>, Failure>) + Send>,
}

/// Who may answer a read at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    /// The leader.
    Leader,
    /// Any replica that has all up to the version; the leader has.
    Any,
}

/// A part of a range to read.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) range: KeyRange,
    pub(crate) direction: Direction,
    pub(crate) limits: ScanLimits,
}

impl<S: Portable> Reader<S> {
    /// Starts the task that gathers point reads; it ends with the last clone.
    pub(crate) fn start(at: Place<S>) -> Self {
        let at = Arc::new(at);
        let (newest, waiting) = mpsc::channel(WAITING_MAX);
        spawn(serve(Arc::clone(&at), waiting));
        Self { at, newest }
    }

    /// Queues a read of the newest value; all that wait share a round.
    pub(crate) fn get(&self, read: PointRead) {
        self.at.queue.traffic().count(1, |_| Some(read.key.clone()));
        if let Err(error) = self.newest.try_send(read) {
            let read = error.into_inner();
            (read.reply)(Err(failure::throttled("too many reads wait for this shard; send again", 10)));
        }
    }

    /// The values of keys at `at`, from any replica that has them or only from the leader.
    pub(crate) async fn multi_get(
        &self,
        epoch: Epoch,
        keys: Vec<Bytes>,
        at: Version,
        from: ReadFrom,
    ) -> Result<Vec<Option<Found>>, Failure> {
        let place = &self.at;
        place.queue.traffic().count(keys.len(), |position| keys.get(position).cloned());
        let seen = place.stand(at, from, |locked| locked.holds(&keys, at)).await?;
        let rules = place.rules(epoch, at)?;
        if !keys.iter().all(|key| rules.descriptor.range.contains(key)) && asks_for_shape() {
            return Err(failure::of_refusal(&Refusal::OutOfRange));
        }
        let found = place.read(&rules, at, keys.len(), |read, stats| {
            read.multi_get_within(&*place.store, &keys, limits::MULTI_GET_BYTES_MAX, stats)
        })?;
        place.rules(epoch, at)?;
        place.stands(seen)?;
        if found.len() < keys.len() {
            return Err(failure::too_many_bytes());
        }
        Ok(found)
    }

    /// The owned parts of a range, as of now: a page of them, and what is left of the range. And whether a rollback has
    /// undone what some key of the range was at a version.
    pub(crate) async fn owned(
        &self,
        epoch: Epoch,
        range: &KeyRange,
        seen_at: Option<Version>,
    ) -> Result<(Vec<Fence>, Option<KeyRange>, bool), Failure> {
        let place = &self.at;
        if !place.queue.is_open() {
            return Err(failure::not_leader());
        }
        place.confirm().await?;
        // What a transaction takes may be its owner's already: its client was told when all shards were prepared.
        place.wait_while(|locked| locked.takes_in(range)).await?;
        let rules = place.rules(epoch, Version::MAX)?;
        if !rules.descriptor.range.covers(range) {
            return Err(failure::of_refusal(&Refusal::OutOfRange));
        }
        let found = blocking(|| shard::owned(&*place.store, place.group_id, range, OWNED_BYTES_MAX));
        let (owned, rest) = found.map_err(|error| place.failure.of_read(&ReadError::Store(error)))?;
        let is_undone = seen_at.is_some_and(|seen_at| rules.masks.hides_in(range, seen_at, Version::MAX));
        Ok((owned, rest, is_undone))
    }

    /// A page of a range at `at`, from any replica that has it or only from the leader.
    pub(crate) async fn scan(
        &self,
        epoch: Epoch,
        scan: Scan,
        at: Version,
        from: ReadFrom,
    ) -> Result<ScanPage, Failure> {
        let place = &self.at;
        let seen = place.stand(at, from, |locked| locked.holds_in(&scan.range, at)).await?;
        let rules = place.rules(epoch, at)?;
        if !rules.descriptor.range.covers(&scan.range) && asks_for_shape() {
            return Err(failure::of_refusal(&Refusal::OutOfRange));
        }
        let Scan { range, direction, limits } = scan;
        let page = place
            .read(&rules, at, usize::MAX, |read, stats| read.scan(&*place.store, &range, direction, &limits, stats));
        place.rules(epoch, at)?;
        place.stands(seen)?;
        let rows = page.as_ref().map_or(&[][..], |page| &page.rows);
        place.queue.traffic().count(rows.len().max(1), |position| rows.get(position).map(|row| row.key.clone()));
        page
    }
}

/// Whether a read is asked by which shape of the shard it was routed, and whether its keys are there.
fn asks_for_shape() -> bool {
    !lentic_types::mutant!("no-shape-check-on-read")
}

async fn serve<S: Portable>(at: Arc<Place<S>>, mut waiting: mpsc::Receiver<PointRead>) {
    let mut reads = Vec::new();
    while waiting.recv_many(&mut reads, WAITING_MAX).await > 0 {
        let confirmed = at.confirm().await;
        let together = std::mem::take(&mut reads);
        match confirmed {
            Ok(()) => {
                // What a transaction holds may have been committed already: it is waited for, and others are not kept.
                let is_held = |read: &PointRead| at.shown.locked.holds(&[&read.key], Version::MAX);
                let (held, free): (Vec<_>, Vec<_>) = together.into_iter().partition(is_held);
                for read in held {
                    let at = Arc::clone(&at);
                    spawn(async move {
                        match at.wait_while(|locked| locked.holds(&[&read.key], Version::MAX)).await {
                            Ok(()) => at.answer(vec![read]).await,
                            Err(failure) => (read.reply)(Err(failure)),
                        }
                    });
                }
                at.answer(free).await;
            }
            Err(failure) => together.into_iter().for_each(|read| (read.reply)(Err(failure.clone()))),
        }
    }
}

impl<S: Portable> Place<S> {
    /// This node leads, and everything acknowledged before is applied.
    async fn confirm(&self) -> Result<(), Failure> {
        if lentic_types::mutant!("no-read-index") && self.group.status().is_leader {
            return Ok(());
        }
        match self.group.read_index().await {
            Ok(_) => Ok(()),
            // Nothing was read: another node may answer it. Why a group has stopped, the gateway adds.
            Err(LostLead::NotLeader { .. } | LostLead::NotConfirmed | LostLead::Stopped(_)) => {
                Err(failure::not_leader())
            }
        }
    }

    /// Waits for transactions that hold what is read, as long as this node leads: a leader has them decided.
    async fn wait_while(&self, is_held: impl Fn(&Locked) -> bool) -> Result<(), Failure> {
        if !is_held(&self.shown.locked) || lentic_types::mutant!("read-past-locks") {
            return Ok(());
        }
        let mut status = self.group.watch();
        self.queue.hurry();
        let free = self.shown.locked.wait_while(is_held);
        tokio::select! {
            biased;
            () = free => Ok(()),
            _ = status.wait_for(|status| !status.is_leader) => Err(failure::not_leader()),
        }
    }

    /// All that there will ever be at or below `at` is here, but for what is written to keys other than those of the read: any
    /// replica may know that, and needs nobody then; else it takes the leader, and a quorum. The state that was seen, to be
    /// looked at again after the read.
    pub(super) async fn stand(
        &self,
        at: Version,
        from: ReadFrom,
        is_held: impl Fn(&Locked) -> bool,
    ) -> Result<Seen, Failure> {
        let leads = self.queue.is_open();
        if from == ReadFrom::Any || leads {
            let seen = self.shown.whole.see();
            match seen.filter(|_| at <= self.shown.resolved_here() && self.group.status().fault.is_none()) {
                Some(seen) => {
                    if from == ReadFrom::Any {
                        self.shown.resolved.serve();
                    }
                    hesitate().await;
                    return Ok(seen);
                }
                None if !leads => {
                    self.shown.resolved.want();
                    return Err(failure::unresolved(at, self.shown.resolved_here()));
                }
                None => {}
            }
        }
        self.settle(at).await?;
        self.wait_while(is_held).await?;
        self.shown.whole.see().ok_or_else(failure::not_leader)
    }

    /// What was read is all of the state that was seen.
    pub(super) fn stands(&self, seen: Seen) -> Result<(), Failure> {
        if self.shown.whole.is_still(seen) { Ok(()) } else { Err(failure::not_leader()) }
    }

    /// Nothing at or below `at` can appear any more, but by transactions that hold a key.
    pub(super) async fn settle(&self, at: Version) -> Result<(), Failure> {
        // Before a leader has fetched its first tick it may not promise anything about versions.
        if !self.queue.is_open() {
            return Err(failure::not_leader());
        }
        if at > self.ticks.newest() {
            let now = self.ticks.fetch(1).await.map_err(|_| failure::not_leader())?;
            if at > last_of(now) {
                return Err(failure::of_refusal(&Refusal::VersionTooNew { newest: last_of(now) }));
            }
        }
        self.stamps.read_at(at).await;
        self.confirm().await?;
        hesitate().await;
        // A leader that lost its term and won another meanwhile has a new floor, above `at`.
        if self.queue.is_open() { Ok(()) } else { Err(failure::not_leader()) }
    }

    /// The rules for a read at `at`, unless it may not be read. Asked before a read and again after it: the watermark
    /// may have risen or a pin gone meanwhile, and then the answer may have holes.
    pub(super) fn rules(&self, epoch: Epoch, at: Version) -> Result<Arc<Rules>, Failure> {
        let rules = self.shown.rules();
        // What a branch that was dropped kept is on its way out.
        if self.shown.has_left() {
            return Err(failure::of_refusal(&Refusal::OutOfRange));
        }
        if rules.descriptor.epoch != epoch && asks_for_shape() {
            return Err(failure::of_refusal(&Refusal::WrongEpoch { epoch: rules.descriptor.epoch }));
        }
        if !rules.keeps(at) {
            return Err(failure::of_refusal(&Refusal::VersionTooOld { watermark: rules.descriptor.watermark }));
        }
        Ok(rules)
    }

    fn read<T>(
        &self,
        rules: &Rules,
        at: Version,
        keys: usize,
        read: impl FnOnce(&ReadAt<'_>, &mut ReadStats) -> Result<T, ReadError>,
    ) -> Result<T, Failure> {
        static NONE: MaskSet = MaskSet::new();
        let is_ignored = lentic_types::mutant!("mask-ignored") && keys < usize::MAX;
        let masks = if is_ignored { &NONE } else { &rules.masks };
        let read_at = ReadAt { table: rules.descriptor.table, version: at, masks, layers: &rules.layers };
        let mut stats = ReadStats::default();
        let found =
            if keys < BLOCKING_KEYS_MIN { read(&read_at, &mut stats) } else { blocking(|| read(&read_at, &mut stats)) };
        found.map_err(|error| self.failure.of_read(&error))
    }

    /// Answers point reads with what was found. Where it ends some time, a tick that is fetched now says whether it has: one
    /// that was fetched before may be old, on a node that has had nothing else to do.
    async fn answer_found(&self, found: Vec<(PointRead, Option<Found>)>) {
        let ends = |found: &Option<Found>| found.as_ref().and_then(|found| found.expiry);
        let is_ending =
            found.iter().any(|(_, found)| ends(found).is_some()) && !lentic_types::mutant!("get-at-old-tick");
        let now = if is_ending { self.ticks.fetch(1).await.map(last_of).ok() } else { Some(Version::ZERO) };
        for (read, found) in found {
            match (ends(&found), now) {
                (Some(_), None) => (read.reply)(Err(failure::not_leader())),
                // It may have been written again before its end.
                (Some(ends), Some(now)) if ends.is_over_at(now) => {
                    let found = self.read_settled(read.epoch, &read.key, now).await;
                    (read.reply)(found);
                }
                _ => (read.reply)(Ok(found)),
            }
        }
    }

    /// The value of a key at a version of now.
    async fn read_settled(&self, epoch: Epoch, key: &Bytes, at: Version) -> Result<Option<Found>, Failure> {
        self.settle(at).await?;
        self.wait_while(|locked| locked.holds(&[key], at)).await?;
        let rules = self.rules(epoch, at)?;
        let mut found = self.read(&rules, at, 1, |read, stats| read.multi_get(&*self.store, &[key], stats))?;
        Ok(found.pop().flatten())
    }

    /// Answers point reads with the newest values.
    async fn answer(&self, reads: Vec<PointRead>) {
        let rules = self.shown.rules();
        let (epoch, range) = (rules.descriptor.epoch, &rules.descriptor.range);
        // Time goes on without writes: what has ended by the newest tick is over. There may be newer ones elsewhere.
        let at = self.shown.newest().max(self.ticks.newest());
        let fits = |read: &PointRead| read.epoch == epoch && range.contains(&read.key) || !asks_for_shape();
        let (good, bad): (Vec<_>, Vec<_>) = reads.into_iter().partition(fits);
        for read in bad {
            let refusal = if read.epoch == epoch { Refusal::OutOfRange } else { Refusal::WrongEpoch { epoch } };
            (read.reply)(Err(failure::of_refusal(&refusal)));
        }
        let mut good = good;
        good.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let mut keys: Vec<Bytes> = good.iter().map(|read| read.key.clone()).collect();
        // Many large values that are asked for together are not all in memory at once.
        while !good.is_empty() {
            let found = self.read(&rules, at, keys.len(), |read, stats| {
                read.multi_get_within(&*self.store, &keys, limits::MULTI_GET_BYTES_MAX, stats)
            });
            match found {
                Ok(found) => {
                    let count = found.len();
                    keys.drain(..count);
                    self.answer_found(good.drain(..count).zip(found).collect()).await;
                    // Those who were answered look whether there is room for it, before there is more.
                    if !good.is_empty() {
                        tokio::task::yield_now().await;
                    }
                }
                Err(failure) => good.drain(..).for_each(|read| (read.reply)(Err(failure.clone()))),
            }
        }
    }
}
