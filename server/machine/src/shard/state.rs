//! A shard's replicated state, decoded.
//!
//! The truth is in the store, in family sys; a [`Shard`] is what [`Shard::load`] reads from there, kept in step by apply,
//! which changes both together. [`invariants::image_matches_store`](crate::invariants::image_matches_store) says so.

use std::collections::BTreeSet;

use bytes::Bytes;
use lentic_engine::gc::GcRules;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Cursor, Family, Layer, Mask, MaskSet, ReadAt, StoreError, View};
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::{Epoch, Expiry, GroupId, Index, KeyRange, TableId, Version};

use super::answers::{self, Answers};
use super::codec::{decode_range, encode_range};
use super::fences::{Fence, Fences, Token};
use super::heads::{Heads, HeadsOptions};
use super::locks::Locks;
use super::open_txns;
use super::origin::Origin;
use super::pins::Pins;
use super::riders::Riders;

/// What a shard is and how far its history goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The table.
    pub table: TableId,
    /// The keys.
    pub range: KeyRange,
    /// Counts changes of shape.
    pub epoch: Epoch,
    /// Below this version history may be gone.
    pub watermark: Version,
    /// How long a value lives whose writer does not say, in milliseconds from the version of its commit; 0: for ever. It is
    /// the table's, and never changes.
    pub ttl_ms: u64,
}

impl Descriptor {
    /// When a value ends that is written at `version` by a writer who asks for `expiry`.
    pub(super) fn expiry(&self, version: Version, expiry: Option<Expiry>) -> Option<Expiry> {
        let by_table = (self.ttl_ms > 0).then(|| Expiry(version.ms().saturating_add(self.ttl_ms)));
        expiry.or(by_table)
    }
}

/// The state machine of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(super) group: GroupId,
    /// The group whose log it has: its own, unless it is a branch's.
    pub(super) home: GroupId,
    pub(super) descriptor: Descriptor,
    pub(super) fences: Fences,
    pub(super) masks: MaskSet,
    pub(super) answers: Answers,
    pub(super) heads: Heads,
    pub(super) locks: Locks,
    pub(super) pins: Pins,
    /// Whose history it continues, if it is a branch's.
    pub(super) origin: Option<Origin>,
    pub(super) riders: Riders,
    /// The newest stamp seen, of any request.
    pub(super) newest: Version,
    pub(super) applied: Index,
    /// The entry of the last split that it came out of; 0 if there was none.
    pub(super) born: Index,
}

impl Shard {
    /// Adds a new shard to `batch`: what the first entry of its group is applied to.
    pub fn create(batch: &mut Batch, group: GroupId, descriptor: &Descriptor) {
        put_descriptor(batch, group, descriptor);
    }

    /// The shard of `group` as `view` has it; `None` if there is none.
    pub fn load(view: &impl View, group: GroupId, heads: &HeadsOptions) -> Result<Option<Self>, StoreError> {
        let Some(mut shard) = Self::load_alone(view, (group, group), heads)? else { return Ok(None) };
        shard.riders = Riders::load(view, group, heads)?;
        Ok(Some(shard))
    }

    /// The shard with the state of `group` that has the log of `home`, without what rides in that group.
    pub(super) fn load_alone(
        view: &impl View,
        (group, home): (GroupId, GroupId),
        heads: &HeadsOptions,
    ) -> Result<Option<Self>, StoreError> {
        let Some(descriptor) = descriptor_in(view, group)? else { return Ok(None) };
        let ttl_ms = if lentic_types::mutant!("ttl-not-loaded") { 0 } else { descriptor.ttl_ms };
        let descriptor = Descriptor { ttl_ms, ..descriptor };
        let Stamp { newest, horizon, age_ms } = load_stamp(view, group)?;
        let age_ms = if lentic_types::mutant!("age-not-loaded") { 0 } else { age_ms };
        let answers = load_answers(view, group, Answers::empty(horizon, age_ms))?;
        let locks = open_txns::load(view, group, &descriptor)?;
        Ok(Some(Self {
            group,
            home,
            descriptor,
            locks,
            fences: match lentic_types::mutant!("fences-not-loaded") {
                true => Fences::default(),
                false => load_all(view, group, SysKind::Fence, decode_fence)?.into_iter().collect(),
            },
            masks: load_all(view, group, SysKind::Mask, decode_mask)?.into_iter().collect(),
            answers,
            heads: Heads::new(heads),
            pins: Pins::load(view, group)?,
            origin: Origin::load(view, group)?,
            riders: if group == home { Riders::new(*heads) } else { Riders::beside(*heads) },
            newest,
            applied: sys::applied(view, group)?,
            born: load_born(view, group)?,
        }))
    }

    /// The branch of `parent` that the entry at `index` makes with the stamp `version`.
    pub(super) fn branch(
        parent: &Self,
        (index, version): (Index, Version),
        group: GroupId,
        descriptor: Descriptor,
        origin: Origin,
    ) -> Self {
        let heads = *parent.riders.heads();
        Self {
            group,
            home: parent.home,
            descriptor,
            fences: Fences::default(),
            masks: MaskSet::new(),
            answers: Answers::empty(Version::ZERO, 0),
            heads: Heads::new(&heads),
            locks: Locks::default(),
            pins: Pins::default(),
            origin: Some(origin),
            riders: Riders::beside(heads),
            newest: version,
            applied: index,
            born: Index(0),
        }
    }

    /// The group of the shard's number. Its state lies there, and it is also the group that replicates it, unless the shard
    /// is a branch's: that [rides](Self::home) in another.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The group that replicates the shard.
    #[must_use]
    pub const fn home(&self) -> GroupId {
        self.home
    }

    /// What the shard is.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Who may write where.
    #[must_use]
    pub const fn fences(&self) -> &Fences {
        &self.fences
    }

    /// What rollbacks hide.
    #[must_use]
    pub const fn masks(&self) -> &MaskSet {
        &self.masks
    }

    /// What open transactions hold.
    #[must_use]
    pub const fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Which versions are kept although they may be below the watermark.
    #[must_use]
    pub const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The newest stamp seen. A leader stamps above it, and above every version it has read at.
    #[must_use]
    pub const fn newest(&self) -> Version {
        self.newest
    }

    /// The last entry applied.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// The entry of the last split that it came out of, as its parent or as its child: a replica that begins with nothing
    /// needs a snapshot from behind it. 0 if there was none.
    #[must_use]
    pub const fn born(&self) -> Index {
        self.born
    }

    /// A read of the shard's table at `version`. The caller has checked the version against watermark and
    /// pins.
    #[must_use]
    pub const fn read_at(&self, version: Version) -> ReadAt<'_> {
        ReadAt { table: self.descriptor.table, version, masks: &self.masks, layers: self.layers() }
    }

    /// What the shard reads through to: none, unless it is a branch's.
    #[must_use]
    pub const fn layers(&self) -> &[Layer] {
        match &self.origin {
            Some(origin) => origin.layers.as_slice(),
            None => &[],
        }
    }

    /// What GC must know.
    #[must_use]
    pub fn gc_rules(&self) -> GcRules {
        let Descriptor { table, range, watermark, .. } = self.descriptor.clone();
        let pins = if lentic_types::mutant!("gc-above-pin") { Vec::new() } else { self.pins.versions().to_vec() };
        GcRules { table, range, watermark, pins, masks: self.masks.clone(), is_branch: self.origin.is_some() }
    }

    /// Whether two images of one shard agree; the memo of heads is no part of the state.
    #[must_use]
    pub fn is_same_state(&self, other: &Self) -> bool {
        (self.group, self.home) == (other.group, other.home)
            && self.descriptor == other.descriptor
            && self.fences == other.fences
            && self.masks == other.masks
            && self.answers == other.answers
            && self.locks == other.locks
            && self.pins == other.pins
            && self.origin == other.origin
            && self.riders.is_same_state(&other.riders)
            && (self.newest, self.applied, self.born) == (other.newest, other.applied, other.born)
    }

    /// Writes what changed between `before` and the fences now.
    pub(super) fn put_fences(&self, batch: &mut Batch, before: &Fences) {
        let starts =
            |fences: &Fences, start: &Bytes| fences.of_key(start).is_some_and(|fence| fence.range.start() == start);
        for old in before.iter().filter(|old| !starts(&self.fences, old.range.start())) {
            batch.delete(Family::Sys, &sys::key(self.group, SysKind::Fence, old.range.start()));
        }
        for new in self.fences.iter().filter(|new| before.of_key(new.range.start()) != Some(*new)) {
            batch.put(Family::Sys, &sys::key(self.group, SysKind::Fence, new.range.start()), &encode_fence(new));
        }
    }

    pub(super) fn put_mask(&self, batch: &mut Batch, mask: &Mask) {
        // Several of one command have the same end, and are disjoint.
        let mut suffix = mask.end.0.to_be_bytes().to_vec();
        suffix.extend_from_slice(mask.range.start());
        let key = sys::key(self.group, SysKind::Mask, &suffix);
        let mut value = Vec::new();
        put_varint(&mut value, mask.from.0);
        encode_range(&mut value, &mask.range);
        batch.put(Family::Sys, &key, &value);
    }

    /// Removes masks that nobody uses.
    pub(super) fn remove_masks(&mut self, batch: &mut Batch, gone: &[Mask]) {
        self.masks.remove(gone);
        let left: BTreeSet<_> = self.masks.masks().iter().map(|mask| mask.end).collect();
        for mask in gone {
            let end = mask.end.0.to_be_bytes();
            let mut remove = |suffix: &[u8]| batch.delete(Family::Sys, &sys::key(self.group, SysKind::Mask, suffix));
            remove(&[&end[..], &mask.range.start()[..]].concat());
            // One that was written when a command had one mask at most has no first key in its name.
            if !mask.range.start().is_empty() && !left.contains(&mask.end) {
                remove(&end);
            }
        }
    }

    pub(super) fn put_descriptor(&self, batch: &mut Batch) {
        put_descriptor(batch, self.group, &self.descriptor);
    }

    /// Writes what the entry at `index` has kept of answers, and removes what is of no use any more.
    pub(super) fn put_answers(&mut self, batch: &mut Batch, index: Index) {
        for gone in self.answers.end_entry(index) {
            batch.delete(Family::Sys, &answers_key(self.group, gone));
        }
        if self.answers.has_page(index) {
            let key = answers_key(self.group, index);
            let answers = &self.answers;
            batch.put_with(Family::Sys, |out| out.extend_from_slice(&key), |out| answers.encode_page(index, out));
        }
    }

    pub(super) fn put_born(&self, batch: &mut Batch) {
        let mut value = Vec::new();
        put_varint(&mut value, self.born.0);
        batch.put(Family::Sys, &sys::key(self.group, SysKind::Born, &[]), &value);
    }

    /// Writes what changes with every entry: the newest stamp, the horizon, the age, the applied index.
    pub(super) fn put_progress(&self, batch: &mut Batch) {
        let mut value = Vec::with_capacity(30);
        put_varint(&mut value, self.newest.0);
        put_varint(&mut value, self.answers.horizon().0);
        put_varint(&mut value, self.answers.age_ms());
        batch.put(Family::Sys, &sys::key(self.group, SysKind::Stamp, &[]), &value);
        sys::put_applied(batch, self.group, self.applied);
    }
}

pub(super) fn put_descriptor(batch: &mut Batch, group: GroupId, descriptor: &Descriptor) {
    let mut value = Vec::new();
    put_varint(&mut value, u64::from(descriptor.table.0));
    put_varint(&mut value, descriptor.epoch.0);
    put_varint(&mut value, descriptor.watermark.0);
    encode_range(&mut value, &descriptor.range);
    if descriptor.ttl_ms > 0 {
        put_varint(&mut value, descriptor.ttl_ms);
    }
    batch.put(Family::Sys, &sys::key(group, SysKind::Descriptor, &[]), &value);
}

/// What the shard of `group` is, as `view` has it; `None` if there is none.
///
/// # Errors
/// The store failed or is damaged.
pub fn descriptor_in(view: &impl View, group: GroupId) -> Result<Option<Descriptor>, StoreError> {
    let key = descriptor_key(group);
    let Some(value) = view.get(Family::Sys, &key)? else { return Ok(None) };
    decode_descriptor(&value).map(Some).map_err(|reason| StoreError::damaged(Family::Sys, &key, reason))
}

/// The key of the row that says what the shard of a group is.
#[must_use]
pub fn descriptor_key(group: GroupId) -> Vec<u8> {
    sys::key(group, SysKind::Descriptor, &[])
}

fn decode_descriptor(value: &[u8]) -> Result<Descriptor, DecodeError> {
    let mut reader = Reader::new(value);
    let table = u32::try_from(reader.varint("table")?).map_err(|_| DecodeError::Invalid { field: "table" })?;
    let epoch = Epoch(reader.varint("epoch")?);
    let watermark = Version(reader.varint("watermark")?);
    let range = decode_range(&mut reader)?;
    let ttl_ms = match reader.rest() {
        [] => 0,
        // One form: what there is none of is not written.
        _ => match reader.varint("ttl of table")? {
            0 => return Err(DecodeError::Invalid { field: "ttl of table" }),
            ttl_ms => ttl_ms,
        },
    };
    reader.finish("shard descriptor")?;
    Ok(Descriptor { table: TableId(table), range, epoch, watermark, ttl_ms })
}

fn load_born(view: &impl View, group: GroupId) -> Result<Index, StoreError> {
    let key = sys::key(group, SysKind::Born, &[]);
    let Some(value) = view.get(Family::Sys, &key)? else { return Ok(Index(0)) };
    let decode = || {
        let mut reader = Reader::new(&value);
        let born = Index(reader.varint("entry of split")?);
        reader.finish("entry of split")?;
        // One form: what there was none of is not written.
        if born == Index(0) { Err(DecodeError::Invalid { field: "entry of split" }) } else { Ok(born) }
    };
    decode().map_err(|reason| StoreError::damaged(Family::Sys, &key, reason))
}

/// What changes with every entry.
#[derive(Debug, Default)]
struct Stamp {
    newest: Version,
    horizon: Version,
    age_ms: u64,
}

fn load_stamp(view: &impl View, group: GroupId) -> Result<Stamp, StoreError> {
    let key = sys::key(group, SysKind::Stamp, &[]);
    let Some(value) = view.get(Family::Sys, &key)? else { return Ok(Stamp::default()) };
    let decode = || {
        let mut reader = Reader::new(&value);
        let (newest, horizon) = (Version(reader.varint("newest stamp")?), Version(reader.varint("horizon")?));
        let age_ms = reader.varint("age of shard")?;
        reader.finish("stamps").map(|()| Stamp { newest, horizon, age_ms })
    };
    decode().map_err(|reason: DecodeError| StoreError::damaged(Family::Sys, &key, reason))
}

fn encode_fence(fence: &Fence) -> Vec<u8> {
    let mut value = Vec::new();
    put_varint(&mut value, fence.token.0.0);
    put_bytes(&mut value, &fence.owner);
    encode_range(&mut value, &fence.range);
    value
}

pub(super) fn decode_fence(suffix: &[u8], value: &[u8]) -> Result<Fence, DecodeError> {
    let mut reader = Reader::new(value);
    let token = Token(Version(reader.varint("token")?));
    let owner = Bytes::copy_from_slice(reader.bytes("owner")?);
    let range = decode_range(&mut reader)?;
    reader.finish("fence")?;
    if *range.start() != suffix {
        return Err(DecodeError::Invalid { field: "fence under this key" });
    }
    Ok(Fence { range, owner, token })
}

pub(super) fn decode_mask(suffix: &[u8], value: &[u8]) -> Result<Mask, DecodeError> {
    let mut reader = Reader::new(suffix);
    let end = Version(reader.u64_be("end of mask")?);
    let start = reader.rest();
    let mut reader = Reader::new(value);
    let from = Version(reader.varint("start of mask")?);
    let range = decode_range(&mut reader)?;
    reader.finish("mask")?;
    // Without a start, it was written when a command had one mask at most.
    if from >= end || !start.is_empty() && range.start() != start {
        return Err(DecodeError::Invalid { field: "mask" });
    }
    Ok(Mask { range, from, end })
}

fn answers_key(group: GroupId, index: Index) -> Vec<u8> {
    sys::key(group, SysKind::Answers, &index.0.to_be_bytes())
}

/// The pages of answers, from the oldest on.
fn load_answers(view: &impl View, group: GroupId, mut answers: Answers) -> Result<Answers, StoreError> {
    let decode = |suffix: &[u8], value: &[u8]| {
        let mut reader = Reader::new(suffix);
        let index = Index(reader.u64_be("entry of answers")?);
        reader.finish("key of answers")?;
        Ok((index, answers::decode_page(value)?))
    };
    let mut pages = load_all(view, group, SysKind::Answers, decode)?;
    if lentic_types::mutant!("answers-not-loaded") {
        pages.clear();
    }
    for (index, page) in pages {
        let damaged = |reason| StoreError::damaged(Family::Sys, &answers_key(group, index), reason);
        answers.add_page(index, page).map_err(damaged)?;
    }
    Ok(answers.loaded())
}

/// All of `group`'s state of one kind; `decode` gets what follows the kind in the key, and the value.
pub(crate) fn load_all<T>(
    view: &impl View,
    group: GroupId,
    kind: SysKind,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, DecodeError>,
) -> Result<Vec<T>, StoreError> {
    let prefix_bytes = sys::key(group, kind, &[]).len();
    let mut cursor = view.cursor(Family::Sys, sys::bounds(group, kind))?;
    cursor.seek(&[])?;
    let mut all = Vec::new();
    while let Some((key, value)) = cursor.entry() {
        let one =
            decode(&key[prefix_bytes..], value).map_err(|reason| StoreError::damaged(Family::Sys, key, reason))?;
        all.push(one);
        cursor.next()?;
    }
    Ok(all)
}
