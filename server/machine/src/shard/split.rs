//! Split: the keys from one on become another shard's.
//!
//! ```text
//!   entry            s - 1      s          s + 1
//!   parent  [a, e)   ───────── split ───── [a, k), epoch + 1          its log goes on
//!   child                       └───────── [k, e), epoch + 1          its own log, which begins behind index s
//! ```
//!
//! No data moves, for its keys carry no shard. What the parent knows is divided by key: fences, masks, locks. What cannot be
//! divided goes to both: answers, for a retry may come to either; transactions that have ended, or are open, for whoever ends
//! them asks both; pins and the watermark, for they are the table's; the newest stamp. See
//! docs/decisions/0023-a-split-is-an-entry.md.

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, Mask, MaskSet, View};
use lentic_types::limits::REPLICAS_MAX;
use lentic_types::{Epoch, GroupId, Index, KeyRange, mutant};

use super::answers::Answers;
use super::apply::{Context, Fatal};
use super::command::Split;
use super::fences::{Fence, Fences};
use super::heads::{Heads, HeadsOptions};
use super::outcome::{Outcome, Refusal};
use super::pins::Pins;
use super::riders::Riders;
use super::state::Shard;
use crate::overlay::Overlay;

/// Judges a split. It is carried out at the end of its entry: what the entry's other requests did is divided too, and those
/// behind it are of another shape.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    version: lentic_types::Version,
    split: &Split,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    if let Err(refusal) = check(shard, split) {
        return refusal.into();
    }
    shard.descriptor.epoch = Epoch(shard.descriptor.epoch.0 + 1);
    *context.split = Some(split.clone());
    Outcome::Committed { version }
}

fn check(shard: &Shard, Split { at, child, voters }: &Split) -> Result<(), Refusal> {
    let range = &shard.descriptor.range;
    if *at == *range.start() || !range.contains(at) {
        return Err(Refusal::OutOfRange);
    }
    if shard.home != shard.group || shard.origin.is_some() || shard.riders().next().is_some() {
        return Err(Refusal::Invalid(
            "a shard that is a branch's or has branches is not split; drop the branches first",
        ));
    }
    if child.0 <= shard.group.0 {
        return Err(Refusal::Invalid("the child of a split has a higher number than its parent"));
    }
    if voters.is_empty() || voters.len() > REPLICAS_MAX || !voters.is_sorted_by(|one, next| one < next) {
        return Err(Refusal::Invalid("the child of a split begins with 1 to 9 voters, told in order, each once"));
    }
    Ok(())
}

impl Shard {
    /// Divides the shard at the end of the entry that says so, which is otherwise written. Afterwards it is the part below
    /// the key, and the batch makes the other.
    pub(super) fn divide<V: View>(
        &mut self,
        index: Index,
        Split { at, child, .. }: &Split,
        overlay: &mut Overlay<'_, V>,
    ) -> Result<(), Fatal> {
        const RANGES: Fatal = Fatal::Invariant("a split lies within the shard");
        let at = Bytes::copy_from_slice(at);
        let range = &self.descriptor.range;
        let below = KeyRange::new(range.start().clone(), Some(at.clone())).map_err(|_| RANGES)?;
        let above = KeyRange::new(at, range.end().cloned()).map_err(|_| RANGES)?;
        let mut pages = rows_of(overlay, self.group, SysKind::Answers)?;
        if mutant!("answers-lost-at-split") {
            pages.clear();
        }
        let mut child = self.part(GroupId::from(*child), &above, index);
        if mutant!("fence-lost-at-split") {
            child.fences = Fences::default();
        }
        if mutant!("mask-lost-at-split") {
            child.masks = MaskSet::default();
        }
        let batch = overlay.batch();
        for (suffix, value) in pages {
            batch.put(Family::Sys, &sys::key(child.group, SysKind::Answers, &suffix), &value);
        }
        child.put_all(batch);
        self.shrink(below, index, batch);
        Ok(())
    }

    /// The shard of the keys of `range`, with a group of its own. Of its answers it has how far they go back.
    fn part(&self, group: GroupId, range: &KeyRange, index: Index) -> Self {
        let heads = HeadsOptions { bytes_max: 0, seed: 0 };
        Self {
            group,
            home: group,
            descriptor: super::state::Descriptor { range: range.clone(), ..self.descriptor.clone() },
            fences: fences_in(&self.fences, range),
            masks: masks_in(&self.masks, range),
            answers: Answers::empty(self.answers.horizon(), self.answers.age_ms()),
            heads: Heads::new(&heads),
            locks: self.locks.part(range, self.is_anchor_in(range)),
            pins: self.pins.clone(),
            origin: None,
            riders: Riders::new(heads),
            newest: self.newest,
            applied: index,
            born: index,
        }
    }

    /// Writes all of the shard, but for its answers and for locks, which no split moves.
    fn put_all(&self, batch: &mut Batch) {
        self.put_descriptor(batch);
        self.put_fences(batch, &Fences::default());
        self.masks.masks().iter().for_each(|mask| self.put_mask(batch, mask));
        // One form: what there is none of is not written.
        if self.pins != Pins::default() {
            self.pins.put(batch, self.group);
        }
        self.put_locks(batch);
        self.put_born(batch);
        self.put_progress(batch);
    }

    /// Keeps the keys of `range` alone.
    fn shrink(&mut self, range: KeyRange, index: Index, batch: &mut Batch) {
        let fences = fences_in(&self.fences, &range);
        let before = std::mem::replace(&mut self.fences, fences);
        self.put_fences(batch, &before);
        let masks = masks_in(&self.masks, &range);
        let changed: Vec<Mask> = self.masks.masks().iter().filter(|mask| !range.covers(&mask.range)).cloned().collect();
        self.remove_masks(batch, &changed);
        self.masks = masks;
        let cut = self.masks.masks().iter().filter(|mask| changed.iter().any(|one| one.end == mask.end));
        cut.for_each(|mask| self.put_mask(batch, mask));
        let locks = self.locks.part(&range, self.is_anchor_in(&range));
        let ids: Vec<_> = self.locks.open().map(|open| open.txn.id).collect();
        for id in ids.into_iter().filter(|id| locks.get(*id).is_none()) {
            batch.delete(Family::Sys, &sys::key(self.group, SysKind::Txn, &id.to_bytes()));
        }
        self.locks = locks;
        self.put_locks(batch);
        self.descriptor.range = range;
        self.put_descriptor(batch);
        self.born = index;
        self.put_born(batch);
        self.heads.clear();
    }

    fn is_anchor_in(&self, range: &KeyRange) -> impl Fn(&super::command::TxnRef) -> bool {
        let (table, range) = (self.descriptor.table, range.clone());
        move |txn| txn.anchor.table == table && range.contains(&txn.anchor.key)
    }
}

fn fences_in(fences: &Fences, range: &KeyRange) -> Fences {
    let cut = |fence: &Fence| Some(Fence { range: fence.range.intersection(range)?, ..fence.clone() });
    fences.iter().filter_map(cut).collect()
}

fn masks_in(masks: &MaskSet, range: &KeyRange) -> MaskSet {
    let cut = |mask: &Mask| Some(Mask { range: mask.range.intersection(range)?, ..mask.clone() });
    masks.masks().iter().filter_map(cut).collect()
}

/// What follows the kind in a row's key, and the row's value.
type Row = (Vec<u8>, Vec<u8>);

/// All rows of a kind, each with what follows the kind in its key.
fn rows_of(view: &impl View, group: GroupId, kind: SysKind) -> Result<Vec<Row>, Fatal> {
    let row = |suffix: &[u8], value: &[u8]| Ok((suffix.to_vec(), value.to_vec()));
    Ok(super::state::load_all(view, group, kind, row)?)
}
