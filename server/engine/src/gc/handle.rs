//! From the shards' rules to the filter of a compaction.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lentic_types::{GroupId, Index, KeyRange, TableId};

use super::GcRules;
use super::held::Held;
use super::key::{KeyJudge, Verdict};
use crate::keys::data;
use crate::masks::KeyMasks;
use crate::record::Record;

/// Rules of one shard that wait for their command to be durable: newer ones beyond this many replace the last.
const STAGED_PER_GROUP_MAX: usize = 16;

/// The rules of all shards on a node, shared between those who make them and the store that uses them.
///
/// A clone is another handle to the same rules. Rules are [staged](Self::stage) with the log index of the command that
/// made them, and [promoted](Self::promote) by the store once that index is durable.
#[derive(Clone, Debug, Default)]
pub struct GcHandle {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    active: BTreeMap<GroupId, Arc<GcRules>>,
    by_key: Arc<ByKey>,
    staged: BTreeMap<GroupId, VecDeque<Staged>>,
    held: BTreeMap<(TableId, Bytes), Held>,
}

/// Rules, or the end of a shard's rules, and the log index they wait for.
type Staged = (Index, Option<Arc<GcRules>>);

/// The active rules by table and start of range.
type ByKey = BTreeMap<(TableId, Bytes), Arc<GcRules>>;

impl GcHandle {
    /// No rules: everything is kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rules of the shard of `group` from log index `index` on; `None` if the shard has left this node.
    pub fn stage(&self, group: GroupId, index: Index, rules: Option<GcRules>) {
        let mut shared = self.lock();
        let staged = shared.staged.entry(group).or_default();
        if staged.len() == STAGED_PER_GROUP_MAX {
            staged.pop_back();
        }
        staged.push_back((index, rules.map(Arc::new)));
    }

    /// Makes rules active whose index is durable. The store calls it after each flush.
    pub fn promote<E>(&self, mut durable: impl FnMut(GroupId) -> Result<Index, E>) -> Result<(), E> {
        // The store is asked without the lock: a compaction that begins now must not wait for a read.
        let groups: Vec<_> = self.lock().staged.keys().copied().collect();
        for group in groups {
            let durable = durable(group)?;
            let mut guard = self.lock();
            let shared = &mut *guard;
            let Some(staged) = shared.staged.get_mut(&group) else { continue };
            while staged.front().is_some_and(|(index, _)| *index <= durable) {
                let (_, rules) = staged.pop_front().expect("there is a front");
                match rules {
                    Some(rules) => shared.active.insert(group, rules),
                    None => shared.active.remove(&group),
                };
            }
            if staged.is_empty() {
                shared.staged.remove(&group);
            }
            let rows = shared.active.values().map(|rules| ((rules.table, rules.range.start().clone()), rules.clone()));
            let by_key: ByKey = rows.collect();
            shared.held.retain(|shard, _| by_key.contains_key(shard));
            shared.by_key = Arc::new(by_key);
        }
        Ok(())
    }

    /// What collections have kept lately for pins alone, of the shard of a table that begins at `start`.
    #[must_use]
    pub fn held(&self, table: TableId, start: &Bytes) -> Held {
        self.lock().held.get(&(table, start.clone())).copied().unwrap_or_default()
    }

    /// The ranges that there are active rules for.
    #[must_use]
    pub fn ranges(&self) -> Vec<(TableId, KeyRange)> {
        self.lock().active.values().map(|rules| (rules.table, rules.range.clone())).collect()
    }

    /// A filter by the rules active now. It keeps to them while it lives: older rules only keep more.
    #[must_use]
    pub fn filter(&self) -> GcFilter {
        let by_key = Arc::clone(&self.lock().by_key);
        let handle = self.clone();
        GcFilter { by_key, current: None, judge: KeyJudge::default(), held: Held::default(), handle }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges records in the order of the store: key by key, newest first.
#[derive(Debug)]
pub struct GcFilter {
    by_key: Arc<ByKey>,
    current: Option<CurrentKey>,
    judge: KeyJudge,
    /// What it has counted of the shard of the current key, which is told to the handle without a lock per record.
    held: Held,
    handle: GcHandle,
}

#[derive(Debug)]
struct CurrentKey {
    prefix: Vec<u8>,
    user_key: Vec<u8>,
    /// `None`: no shard of this node holds the key.
    rules: Option<Arc<GcRules>>,
}

impl GcFilter {
    /// The verdict on one record of family data. What it does not understand, it keeps.
    pub fn judge(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let Ok((prefix, version)) = data::split(key) else { return Verdict::Keep };
        if self.current.as_ref().is_none_or(|current| current.prefix != prefix) && !self.begin(prefix) {
            return Verdict::Keep;
        }
        let Some(CurrentKey { user_key, rules: Some(rules), .. }) = &self.current else { return Verdict::Keep };
        let Ok(record) = Record::decode(value) else { return Verdict::Keep };
        let verdict = self.judge.judge(rules, masks_of(rules, user_key), version, &record);
        self.held.count(key.len() + value.len(), self.judge.is_pinned());
        verdict
    }

    /// Goes to the key with `prefix`. False if it is no user key.
    fn begin(&mut self, prefix: &[u8]) -> bool {
        let Ok((table, user_key)) = data::decode_prefix(prefix) else {
            self.tell_held();
            self.current = None;
            return false;
        };
        let known = self.current.as_ref().and_then(|current| current.rules.clone());
        let is_of = |rules: &Arc<GcRules>| rules.table == table && rules.range.contains(&user_key);
        let rules = if known.as_ref().is_some_and(is_of) {
            known
        } else {
            self.tell_held();
            self.rules_of(table, &user_key)
        };
        if let Some(rules) = &rules {
            self.judge.begin(rules, masks_of(rules, &user_key));
        }
        self.current = Some(CurrentKey { prefix: prefix.to_vec(), user_key, rules });
        true
    }

    /// Tells the handle what was counted of the current shard.
    fn tell_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let Some(rules) = self.current.as_ref().and_then(|current| current.rules.as_ref()) else { return };
        if held != Held::default() {
            let shard = (rules.table, rules.range.start().clone());
            self.handle.lock().held.entry(shard).or_default().add(held);
        }
    }

    fn rules_of(&self, table: TableId, user_key: &[u8]) -> Option<Arc<GcRules>> {
        let last = (table, Bytes::copy_from_slice(user_key));
        let (_, rules) = self.by_key.range((Bound::Unbounded, Bound::Included(last))).next_back()?;
        (rules.table == table && rules.range.contains(user_key)).then(|| Arc::clone(rules))
    }
}

impl Drop for GcFilter {
    fn drop(&mut self) {
        self.tell_held();
    }
}

fn masks_of<'a>(rules: &'a GcRules, user_key: &[u8]) -> KeyMasks<'a> {
    if rules.masks.is_empty() { KeyMasks::NONE } else { rules.masks.of_key(user_key) }
}
