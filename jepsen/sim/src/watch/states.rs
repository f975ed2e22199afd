//! What replicas have applied: the same index, the same state.
//!
//! The digest of a group's state is a sum over its entries, so a write changes it by what it changes, in any order:
//!
//! ```text
//!   digest  =  h(key, value) + h(key, value) + …          put: − h(key, old) + h(key, new)
//! ```
//!
//! Records at or below a shard's watermark are no part of it: each store collects them when it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};

use lentic_engine::keys::data;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::store::Change;
use lentic_engine::{Batch, Bounds, Cursor as _, Family, Span, View};
use lentic_machine::invariants;
use lentic_machine::meta::{self, Meta};
use lentic_machine::shard::{Descriptor, HeadsOptions, riders_in, spans};
use lentic_machine::{Shard, meta::Catalog};
use lentic_types::codec::Reader;
use lentic_types::{GroupId, Index, Version};
use tokio::time::Instant;

use super::said::Verdict;

/// One in so many writes of a replica has its whole state looked at: that costs more than the write.
const LOOKED_AT_ONE_IN: u64 = 32;

/// What was applied where.
#[derive(Debug, Default)]
pub(super) struct States {
    replicas: BTreeMap<(usize, GroupId), Replica>,
    groups: BTreeMap<GroupId, Group>,
}

/// A group's state in the store of one host.
#[derive(Debug, Default)]
struct Replica {
    digest: u64,
    applied: Index,
    writes: u64,
    /// Transactions that are not done with, and since when they stand here.
    open: BTreeMap<Vec<u8>, Instant>,
}

/// What is known of a group, by whomever.
#[derive(Debug, Default)]
struct Group {
    /// The digest at an applied index, and the host that had it first.
    digests: BTreeMap<Index, (u64, usize)>,
    /// The newest state that was looked at.
    newest: Option<Newest>,
}

#[derive(Debug)]
enum Newest {
    Shard { applied: Index, newest: Version, descriptor: Descriptor },
    Meta(Box<Meta>),
}

/// What a batch does to the digest of a group that it is of.
#[derive(Debug)]
pub(super) struct Effect {
    group: GroupId,
    change: u64,
    applied: Option<Index>,
    /// Records of transactions that come, and that go.
    txns: Vec<(Vec<u8>, bool)>,
    /// Shards of branches that ride there no more.
    gone: Vec<GroupId>,
    /// The watermark rises, or the group is cut: what is counted is another part of the state.
    raises: bool,
}

impl States {
    /// What `batch` will do to the state of its group, and to that of each shard that rides there, by what `view` holds
    /// before. Nothing, if it is of no group.
    pub(super) fn effects(view: &impl View, batch: &Batch) -> Result<Vec<Effect>, String> {
        // The last change of a key wins.
        let mut changes: Changes<'_> = BTreeMap::new();
        for change in batch.iter() {
            match change {
                Change::Put(family, key, value) => changes.insert((family, key), Some(value)),
                Change::Delete(family, key) => changes.insert((family, key), None),
            };
        }
        let of_sys = changes.keys().filter(|(family, _)| *family == Family::Sys);
        let groups: BTreeSet<GroupId> = of_sys.filter_map(|(_, key)| group_of(key)).collect();
        // A rider has a higher number than the shard in whose group it rides.
        let Some(home) = groups.first().copied() else { return Ok(Vec::new()) };
        let (mut effects, mut is_divided) = (Vec::new(), false);
        // The group's own is the last: it says who is gone.
        for group in groups.iter().rev() {
            let is_child = *group != home && is_born(view, &changes, home, *group)?;
            if *group != home && !is_child && !rides(view, &changes, home, *group)? {
                return Err(format!("a batch is of {home} and of {group}"));
            }
            is_divided |= is_child;
            let descriptor = row(view, &changes, &descriptor_key(*group))?;
            let table = if groups.len() == 1 { None } else { descriptor.as_deref().map(table_in).transpose()? };
            effects.push(Effect::of(view, &changes, *group, table)?);
        }
        // Where a group lies is another place then.
        effects.iter_mut().for_each(|effect| effect.raises |= is_divided);
        Ok(effects)
    }

    /// A batch with this effect was written on a host.
    pub(super) fn wrote(&mut self, host: usize, effect: Effect, view: &impl View) -> Verdict {
        let Effect { group, change, applied, txns, gone, raises } = effect;
        // What they held is let go of when that is durable.
        gone.iter().for_each(|rider| drop(self.replicas.remove(&(host, *rider))));
        let replica = self.replicas.entry((host, group)).or_default();
        replica.digest = if raises { scan(view, group)?.digest } else { replica.digest.wrapping_add(change) };
        replica.writes += 1;
        for (key, is_open) in txns {
            match is_open {
                true => drop(replica.open.entry(key).or_insert_with(Instant::now)),
                false => drop(replica.open.remove(&key)),
            }
        }
        let looks = replica.writes.is_multiple_of(LOOKED_AT_ONE_IN);
        if let Some(applied) = applied {
            if applied <= replica.applied {
                let before = replica.applied;
                return Err(format!("{group} on host {}: applied goes from {before} to {applied}", host + 1));
            }
            replica.applied = applied;
            let digest = replica.digest;
            self.groups.entry(group).or_default().states_agree(host, applied, digest).map_err(of(group))?;
        }
        if looks { self.look(group, view) } else { Ok(()) }
    }

    /// The store of a host is another one now, or a group's state in it was replaced, and all that rides there: it is
    /// looked at anew.
    pub(super) fn found(&mut self, host: usize, group: GroupId, view: &impl View) -> Verdict {
        self.replicas.remove(&(host, group));
        if group != meta::GROUP {
            for (rider, _) in riders_in(view, group).map_err(|error| error.to_string())? {
                self.found_alone(host, rider, view)?;
            }
        }
        self.found_alone(host, group, view)
    }

    /// Whether the store of a host has a state of a group.
    pub(super) fn has(&self, host: usize, group: GroupId) -> bool {
        self.replicas.contains_key(&(host, group))
    }

    fn found_alone(&mut self, host: usize, group: GroupId, view: &impl View) -> Verdict {
        self.replicas.remove(&(host, group));
        if spans_of(view, group)?.is_none() {
            return Ok(());
        }
        let replica = scan(view, group)?;
        let (applied, digest) = (replica.applied, replica.digest);
        self.replicas.insert((host, group), replica);
        self.groups.entry(group).or_default().states_agree(host, applied, digest).map_err(of(group))?;
        self.look(group, view)
    }

    /// All groups of a store that a host starts with.
    pub(super) fn started(&mut self, host: usize, view: &impl View) -> Verdict {
        self.replicas.retain(|(of, _), _| *of != host);
        groups_in(view)?.into_iter().try_for_each(|group| self.found(host, group, view))
    }

    /// A transaction that stands somewhere for longer than `age` allows.
    pub(super) fn oldest_open(&self) -> Option<(usize, GroupId, Instant)> {
        let open = self.replicas.iter().filter_map(|((host, group), replica)| {
            let since = replica.open.values().min()?;
            Some((*host, *group, *since))
        });
        open.min_by_key(|(_, _, since)| *since)
    }

    /// Looks at the whole state of a group as a store has it.
    fn look(&mut self, group: GroupId, view: &impl View) -> Verdict {
        let known = self.groups.entry(group).or_default();
        let words = |error: lentic_engine::StoreError| error.to_string();
        if group == meta::GROUP {
            let Some(found) = Meta::load(view).map_err(words)? else { return Ok(()) };
            return known.meta_moves_on(found);
        }
        let heads = HeadsOptions { bytes_max: 0, seed: 0 };
        let Some(shard) = Shard::load(view, group, &heads).map_err(words)? else { return Ok(()) };
        invariants::check(&shard, view)?;
        known.shard_moves_on(&shard).map_err(of(group))
    }
}

/// What a batch changes, in the order of a store.
type Changes<'a> = BTreeMap<(Family, &'a [u8]), Option<&'a [u8]>>;

/// A row of family sys after a batch.
fn row(view: &impl View, changes: &Changes<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
    match changes.get(&(Family::Sys, key)) {
        Some(value) => Ok(value.map(<[u8]>::to_vec)),
        None => view.get(Family::Sys, key).map_err(|error| error.to_string()),
    }
}

/// Whether a branch's shard rides in a group, or did.
fn rides(view: &impl View, changes: &Changes<'_>, home: GroupId, rider: GroupId) -> Result<bool, String> {
    let key = sys::key(home, SysKind::Rider, &rider.0.to_be_bytes());
    Ok(row(view, changes, &key)?.is_some())
}

/// Whether a group is cut off another one by these changes: it is not there yet, and both come out of a split. The other may
/// have been cut again since.
fn is_born(view: &impl View, changes: &Changes<'_>, home: GroupId, child: GroupId) -> Result<bool, String> {
    let is_new = view.get(Family::Sys, &descriptor_key(child)).map_err(|error| error.to_string())?.is_none();
    let is_cut = |group| Ok::<_, String>(row(view, changes, &sys::key(group, SysKind::Born, &[]))?.is_some());
    Ok(is_new && is_cut(child)? && is_cut(home)?)
}

impl Effect {
    /// The effect of changes on the state of one group, or of one rider: of records and locks those of `table` are its own,
    /// or all.
    fn of(view: &impl View, changes: &Changes<'_>, group: GroupId, table: Option<u32>) -> Result<Self, String> {
        let watermark = watermark_of(view, group)?;
        let mut effect = Self { group, change: 0, applied: None, txns: Vec::new(), gone: Vec::new(), raises: false };
        let is_own = |family: Family, key: &[u8]| match family {
            Family::Sys => group_of(key) == Some(group),
            Family::Data | Family::Lock => table.is_none_or(|table| key.starts_with(&table.to_be_bytes())),
        };
        for ((family, key), value) in changes.iter().filter(|((family, key), _)| is_own(*family, key)) {
            if *family == Family::Sys {
                effect.see(key, *value)?;
            }
            if let (true, Some(value)) = (*family == Family::Sys && *key == descriptor_key(group), value) {
                effect.raises |= watermark_in(value)? != watermark;
            }
            if !is_state(*family, key, watermark) {
                continue;
            }
            let old = view.get(*family, key).map_err(|error| error.to_string())?;
            let minus = old.map_or(0, |old| entry_digest(*family, key, &old));
            let plus = value.map_or(0, |new| entry_digest(*family, key, new));
            effect.change = effect.change.wrapping_sub(minus).wrapping_add(plus);
        }
        Ok(effect)
    }

    fn see(&mut self, key: &[u8], value: Option<&[u8]>) -> Verdict {
        match (kind_of(key), value) {
            (Some(SysKind::Applied), Some(value)) => {
                self.applied = Some(sys::decode_applied(value).map_err(|error| error.to_string())?);
            }
            (Some(SysKind::Txn), value) => self.txns.push((key.to_vec(), value.is_some())),
            // The row of one that was dropped: see docs/formats.md.
            (Some(SysKind::Rider), Some([0x01, ..])) => self.gone.extend(key.get(9..).and_then(group_of)),
            _ => {}
        }
        Ok(())
    }
}

impl Group {
    /// State-machine safety: whoever has applied up to an index has the same state.
    fn states_agree(&mut self, host: usize, applied: Index, digest: u64) -> Verdict {
        if applied == Index(0) {
            return Ok(());
        }
        let (known, first) = *self.digests.entry(applied).or_insert((digest, host));
        match known == digest {
            true => Ok(()),
            false => Err(format!(
                "host {} has applied up to {applied} and has another state than host {} had there",
                host + 1,
                first + 1
            )),
        }
    }

    /// A shard keeps its table; its epoch, its watermark and its newest stamp never go down.
    fn shard_moves_on(&mut self, shard: &Shard) -> Verdict {
        let (applied, newest, descriptor) = (shard.applied(), shard.newest(), shard.descriptor());
        if let Some(Newest::Shard { applied: before, newest: stamp, descriptor: old }) = &self.newest {
            if applied < *before {
                return Ok(());
            }
            let moves_on = newest >= *stamp
                && descriptor.table == old.table
                && descriptor.epoch >= old.epoch
                && descriptor.watermark >= old.watermark;
            if !moves_on {
                return Err(format!(
                    "from {before} to {applied}, {old:?} at {stamp} becomes {descriptor:?} at {newest}"
                ));
            }
        }
        self.newest = Some(Newest::Shard { applied, newest, descriptor: descriptor.clone() });
        Ok(())
    }

    /// The catalog covers each table once, and nothing that the meta group counts goes down.
    fn meta_moves_on(&mut self, found: Meta) -> Verdict {
        if !invariants::catalog_is_sound(&found) {
            let Catalog { revision, .. } = *found.catalog();
            return Err(format!("the catalog of revision {revision} does not cover its tables once"));
        }
        if let Some(Newest::Meta(before)) = &self.newest {
            if found.applied() < before.applied() {
                return Ok(());
            }
            if !invariants::meta_only_moves_on(before, &found) {
                return Err(format!("the meta group goes back from {before:?} to {found:?}"));
            }
        }
        self.newest = Some(Newest::Meta(Box::new(found)));
        Ok(())
    }
}

/// A group's state in a store, from all of its entries.
fn scan(view: &impl View, group: GroupId) -> Result<Replica, String> {
    let words = |error: lentic_engine::StoreError| error.to_string();
    let watermark = watermark_of(view, group)?;
    let mut replica = Replica { applied: sys::applied(view, group).map_err(words)?, ..Replica::default() };
    for Span { family, lower, upper } in spans_of(view, group)?.unwrap_or_default() {
        let mut cursor = view.cursor(family, Bounds::Range { lower, upper }).map_err(words)?;
        cursor.seek(&[]).map_err(words)?;
        while let Some((key, value)) = cursor.entry() {
            if is_state(family, key, watermark) {
                replica.digest = replica.digest.wrapping_add(entry_digest(family, key, value));
            }
            if family == Family::Sys && kind_of(key) == Some(SysKind::Txn) {
                replica.open.insert(key.to_vec(), Instant::now());
            }
            cursor.next().map_err(words)?;
        }
    }
    Ok(replica)
}

fn descriptor_key(group: GroupId) -> Vec<u8> {
    sys::key(group, SysKind::Descriptor, &[])
}

/// A shard's watermark; of what is no shard, version 0.
fn watermark_of(view: &impl View, group: GroupId) -> Result<Version, String> {
    let value = view.get(Family::Sys, &descriptor_key(group)).map_err(|error| error.to_string())?;
    value.map_or(Ok(Version::ZERO), |value| watermark_in(&value))
}

/// The watermark in a shard's descriptor: see docs/formats.md.
fn watermark_in(value: &[u8]) -> Result<Version, String> {
    let mut reader = Reader::new(value);
    let mut next = || reader.varint("descriptor");
    next().and_then(|_table| next()).and_then(|_epoch| next()).map(Version).map_err(|error| error.to_string())
}

/// The table in a shard's descriptor.
fn table_in(value: &[u8]) -> Result<u32, String> {
    let table = Reader::new(value).varint("descriptor").map_err(|error| error.to_string())?;
    u32::try_from(table).map_err(|error| error.to_string())
}

fn of(group: GroupId) -> impl Fn(String) -> String {
    move |words| format!("{group}: {words}")
}

fn entry_digest(family: Family, key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(family as u8);
    hasher.write_usize(key.len());
    hasher.write(key);
    hasher.write(value);
    hasher.finish()
}

/// The group whose state has this key, or bound.
pub(super) fn group_of(key: &[u8]) -> Option<GroupId> {
    Some(GroupId(u64::from_be_bytes(*key.first_chunk()?)))
}

/// The kind of a sys key, of those that are looked at.
fn kind_of(key: &[u8]) -> Option<SysKind> {
    let kinds = [SysKind::Applied, SysKind::Replica, SysKind::Txn, SysKind::Rider];
    kinds.into_iter().find(|kind| key.get(8) == Some(&(*kind as u8)))
}

/// Whether an entry is part of what replicas have in common: where replication stands is not, nor what may be collected.
fn is_state(family: Family, key: &[u8], watermark: Version) -> bool {
    match family {
        Family::Data => data::split(key).map_or(true, |(_, version)| version > watermark),
        Family::Sys => kind_of(key) != Some(SysKind::Replica),
        Family::Lock => true,
    }
}

/// Where a store keeps what it has of a group, if it has it.
fn spans_of(view: &impl View, group: GroupId) -> Result<Option<Vec<Span>>, String> {
    if group == meta::GROUP {
        return Ok(Some(vec![Span::of_group(group)]));
    }
    let shard = Shard::load(view, group, &HeadsOptions { bytes_max: 0, seed: 0 }).map_err(|error| error.to_string())?;
    Ok(shard.map(|shard| spans(group, shard.descriptor())))
}

/// The groups of which a store has anything.
fn groups_in(view: &impl View) -> Result<Vec<GroupId>, String> {
    let words = |error: lentic_engine::StoreError| error.to_string();
    let all = Bounds::Range { lower: Vec::new(), upper: None };
    let mut cursor = view.cursor(Family::Sys, all).map_err(words)?;
    let (mut groups, mut next) = (Vec::new(), Some(GroupId(0)));
    while let Some(GroupId(from)) = next {
        cursor.seek(&from.to_be_bytes()).map_err(words)?;
        let found = cursor.key().and_then(group_of);
        groups.extend(found);
        next = found.and_then(|group| group.0.checked_add(1)).map(GroupId);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use lentic_engine::{MemStore, Store as _};
    use lentic_types::codec::put_varint;
    use lentic_types::{Epoch, KeyRange, TableId};

    use super::*;

    const GROUP: GroupId = GroupId(5);

    fn descriptor(watermark: u64) -> Descriptor {
        let range = KeyRange::new("", None::<&str>).expect("all keys");
        Descriptor { table: TableId(1), range, epoch: Epoch(1), watermark: Version(watermark), ttl_ms: 0 }
    }

    /// A batch of a shard: a value, where the shard stands, the applied index.
    fn batch(index: u64, value: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(Family::Data, b"\0\0\0\x01key", value.as_bytes());
        let mut stamp = Vec::new();
        [index * 10, 0, 0].into_iter().for_each(|field| put_varint(&mut stamp, field));
        batch.put(Family::Sys, &sys::key(GROUP, SysKind::Stamp, &[]), &stamp);
        sys::put_applied(&mut batch, GROUP, Index(index));
        batch
    }

    fn write(states: &mut States, host: usize, store: &MemStore, batch: &Batch) -> Verdict {
        let effects = States::effects(store, batch)?;
        assert!(!effects.is_empty(), "it is of a group");
        store.write(batch).expect("a store in memory does not fail");
        effects.into_iter().try_for_each(|effect| states.wrote(host, effect, store))
    }

    fn store(states: &mut States, host: usize) -> MemStore {
        let store = MemStore::new();
        let mut created = Batch::new();
        Shard::create(&mut created, GROUP, &descriptor(0));
        write(states, host, &store, &created).unwrap();
        store
    }

    fn assert_says(verdict: Verdict, words: &str) {
        let said = verdict.expect_err("it does not hold");
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn replicas_agree_however_their_batches_are_cut() {
        let mut states = States::default();
        let (one, other) = (store(&mut states, 0), store(&mut states, 1));
        write(&mut states, 0, &one, &batch(1, "a")).unwrap();
        write(&mut states, 0, &one, &batch(2, "b")).unwrap();
        let mut both = batch(1, "a");
        both.append(&batch(2, "b"));
        write(&mut states, 1, &other, &both).unwrap();
        // What a crash comes back with is known by its index.
        let after = one.crash(2);
        states.started(0, &after).unwrap();
        write(&mut states, 0, &after, &batch(2, "b")).unwrap();
    }

    #[test]
    fn another_state_at_the_same_index_is_found() {
        let mut states = States::default();
        let (one, other) = (store(&mut states, 0), store(&mut states, 1));
        write(&mut states, 0, &one, &batch(1, "a")).unwrap();
        assert_says(write(&mut states, 1, &other, &batch(1, "b")), "has another state than host 1 had");
        // And when the store of a host is another one.
        let lost = MemStore::new();
        let mut part = batch(1, "a");
        part.delete(Family::Data, b"\0\0\0\x01key");
        Shard::create(&mut part, GROUP, &descriptor(0));
        lost.write(&part).unwrap();
        assert_says(states.started(0, &lost), "has another state than host 1 had");
    }

    #[test]
    fn an_index_that_is_applied_twice_is_found() {
        let mut states = States::default();
        let one = store(&mut states, 0);
        write(&mut states, 0, &one, &batch(1, "a")).unwrap();
        assert_says(write(&mut states, 0, &one, &batch(1, "a")), "applied goes from i1 to i1");
    }

    #[test]
    fn a_batch_of_two_groups_is_found() {
        let mut two = batch(1, "a");
        sys::put_applied(&mut two, GroupId(6), Index(1));
        assert!(States::effects(&MemStore::new(), &two).is_err());
    }

    #[test]
    fn a_watermark_that_goes_down_is_found() {
        let mut group = Group::default();
        let shard = |index, watermark| {
            let store = MemStore::new();
            let mut all = batch(index, "a");
            Shard::create(&mut all, GROUP, &descriptor(watermark));
            store.write(&all).unwrap();
            Shard::load(&store, GROUP, &HeadsOptions { bytes_max: 0, seed: 0 }).unwrap().expect("it is there")
        };
        group.shard_moves_on(&shard(1, 5)).unwrap();
        group.shard_moves_on(&shard(2, 7)).unwrap();
        group.shard_moves_on(&shard(1, 5)).unwrap();
        assert_says(group.shard_moves_on(&shard(3, 6)), "becomes");
    }

    #[test]
    fn an_oracle_that_goes_back_is_found() {
        let meta = |index: u64, window: u64| {
            let store = MemStore::new();
            let mut batch = Batch::new();
            Meta::create(&mut batch, lentic_types::ClusterId::default());
            let mut end = Vec::new();
            put_varint(&mut end, window);
            batch.put(Family::Sys, &sys::key(meta::GROUP, SysKind::Meta, &[0x03]), &end);
            sys::put_applied(&mut batch, meta::GROUP, Index(index));
            store.write(&batch).unwrap();
            Meta::load(&store).unwrap().expect("it is there")
        };
        let mut group = Group::default();
        group.meta_moves_on(meta(1, 5)).unwrap();
        assert_says(group.meta_moves_on(meta(2, 4)), "the meta group goes back");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_transaction_is_known_until_it_is_done_with() {
        let mut states = States::default();
        let one = store(&mut states, 0);
        let key = sys::key(GROUP, SysKind::Txn, b"t");
        let mut opens = Batch::new();
        opens.put(Family::Sys, &key, b"");
        write(&mut states, 0, &one, &opens).unwrap();
        assert_eq!(states.oldest_open(), Some((0, GROUP, Instant::now())));
        let mut ends = Batch::new();
        ends.delete(Family::Sys, &key);
        write(&mut states, 0, &one, &ends).unwrap();
        assert_eq!(states.oldest_open(), None);
    }
}
