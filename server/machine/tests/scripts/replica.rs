//! A replica as scripts have it: a store, and the shard twice, with and without the memo of heads.

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use lentic_engine::store::Change;
use lentic_engine::{Batch, Family, MemStore, Store};
use lentic_machine::shard::{Action, Applied, Descriptor, HeadsOptions};
use lentic_machine::{Command, Fatal, Outcome, Shard, invariants};
use lentic_types::{Epoch, GroupId, Index, ShardId, Version};

/// The group that every script's shard belongs to.
pub(crate) const GROUP: GroupId = GroupId(3);

/// A store and its shard, and those that came out of it by splits.
pub(crate) struct Replica {
    pub(crate) store: MemStore,
    shards: BTreeMap<GroupId, Twice>,
    /// The shard that the script is about.
    group: GroupId,
    /// Whether entries are shown as applied with the memo, or without.
    pub(crate) is_memo_shown: bool,
    /// The logs of all shards, in the order in which their entries were applied.
    log: Vec<Entry>,
}

/// A shard with the memo, and without it: both apply the same, and must do the same.
struct Twice {
    shard: Shard,
    plain: Shard,
}

/// An entry with what its requests were told.
struct Entry {
    group: GroupId,
    index: Index,
    bytes: Bytes,
    replies: Vec<Outcome>,
}

impl Twice {
    fn load(store: &MemStore, group: GroupId) -> Result<Self, Box<dyn Error>> {
        let load = |options: &HeadsOptions| -> Result<Shard, Box<dyn Error>> {
            Shard::load(store, group, options)?.ok_or_else(|| "there is no shard".into())
        };
        Ok(Self { shard: load(&HeadsOptions::default())?, plain: load(&HeadsOptions { bytes_max: 0, seed: 0 })? })
    }
}

impl Replica {
    /// A new shard.
    pub(crate) fn create(descriptor: &Descriptor) -> Result<Self, Box<dyn Error>> {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Shard::create(&mut batch, GROUP, descriptor);
        store.write(&batch)?;
        store.flush()?;
        let shards = BTreeMap::from([(GROUP, Twice::load(&store, GROUP)?)]);
        Ok(Self { store, shards, group: GROUP, is_memo_shown: true, log: Vec::new() })
    }

    /// The shard's state.
    pub(crate) fn shard(&self) -> &Shard {
        &self.shards[&self.group].shard
    }

    /// Turns to the shard of another group, which a split has made.
    pub(crate) fn turn(&mut self, group: GroupId) -> Result<(), Box<dyn Error>> {
        if !self.shards.contains_key(&group) {
            let made = Twice::load(&self.store, group)?;
            invariants::check(&made.shard, &self.store)?;
            self.shards.insert(group, made);
        }
        self.group = group;
        Ok(())
    }

    /// The same of a branch's shard that rides in the group.
    pub(crate) fn shard_of(&self, rider: Option<u64>) -> Result<&Shard, Box<dyn Error>> {
        let rider = rider.map(|rider| self.shard().rider(ShardId(rider)).ok_or("there is no such rider"));
        Ok(rider.transpose()?.unwrap_or(self.shard()))
    }

    /// The entry with a request stamped `version`, or the last one.
    pub(crate) fn entry(&self, version: Option<Version>) -> Result<(Option<ShardId>, Command), Box<dyn Error>> {
        for Entry { bytes, .. } in self.log.iter().rev() {
            let (rider, command) = Command::decode_for(bytes)?;
            if version.is_none_or(|version| command.requests.iter().any(|request| request.version == version)) {
                return Ok((rider, command));
            }
        }
        Err("there is no such entry".into())
    }

    /// The epoch of the shard, or of a rider; 1 if there is none.
    pub(crate) fn epoch_of(&self, rider: Option<ShardId>) -> Epoch {
        self.shard_of(rider.map(|rider| rider.0)).map_or(Epoch(1), |shard| shard.descriptor().epoch)
    }

    /// How many entries there are.
    pub(crate) const fn entries(&self) -> usize {
        self.log.len()
    }

    /// Logs an entry and applies it. It is not logged if it ends the group.
    pub(crate) fn apply(
        &mut self,
        rider: Option<ShardId>,
        index: Option<Index>,
        command: &Command,
    ) -> Result<Result<Applied, Fatal>, Box<dyn Error>> {
        let (bytes, group) = (Bytes::from(command.encode_for(rider)), self.group);
        let index = index.unwrap_or(self.shard().applied().next());
        let applied = self.apply_bytes(index, &bytes)?;
        if let Ok(applied) = &applied {
            self.log.push(Entry { group, index, bytes, replies: applied.replies.clone() });
        }
        Ok(applied)
    }

    fn apply_bytes(&mut self, index: Index, bytes: &Bytes) -> Result<Result<Applied, Fatal>, Box<dyn Error>> {
        let (rider, command) = Command::decode_for(bytes)?;
        let Twice { shard, plain } = self.shards.get_mut(&self.group).ok_or("there is no shard")?;
        let applied = shard.apply_for(rider, index, &command, &self.store);
        let without = plain.apply_for(rider, index, &command, &self.store);
        let (applied, without) = match (applied, without) {
            (Ok(applied), Ok(without)) => (applied, without),
            (Err(fatal), Err(other)) if fatal == other => return Ok(Err(fatal)),
            (one, other) => return Err(format!("the memo decides: {one:?} with it, {other:?} without").into()),
        };
        assert_eq!(applied.replies, without.replies, "the memo changes no reply");
        assert_eq!(applied.batch, without.batch, "the memo changes no byte");
        assert_eq!(applied.events, without.events, "the memo changes no event");
        assert_eq!(applied.replies.len(), command.requests.len(), "each request has its reply");
        if applied.replies.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))) {
            let may_close = command.requests.iter().any(|request| matches!(request.action, Action::Prepare(_)));
            let traces = traces(&applied.batch, may_close);
            assert_eq!(traces, 0, "refused requests leave nothing but their answers, and prepares that they are over");
            assert_eq!(applied.events, [], "refused requests are not heard of");
        }
        self.store.write(&applied.batch)?;
        invariants::check(shard, &self.store)?;
        invariants::check(plain, &self.store)?;
        Ok(Ok(if self.is_memo_shown { applied } else { without }))
    }

    /// Loads the shard anew. Returns whether it is the one that was.
    pub(crate) fn reload(&mut self) -> Result<bool, Box<dyn Error>> {
        let loaded = Twice::load(&self.store, self.group)?;
        let before = self.shards.insert(self.group, loaded).ok_or("there was no shard")?;
        Ok(self.shard().is_same_state(&before.shard))
    }

    /// Crashes, keeping `batches` of what was not flushed, and applies the rest of the logs again: of a shard that a split
    /// made, once it is made again. Returns the index it came back at.
    pub(crate) fn crash(&mut self, batches: usize) -> Result<Index, Box<dyn Error>> {
        let (before, group) = (self.store.entries(Family::Data), self.group);
        self.store = self.store.crash(batches);
        self.shards = BTreeMap::from([(GROUP, Twice::load(&self.store, GROUP)?)]);
        let back = self.shards[&GROUP].shard.applied();
        for Entry { group, index, bytes, replies } in std::mem::take(&mut self.log) {
            self.turn(group)?;
            if index > self.shard().applied() {
                let applied = self.apply_bytes(index, &bytes)??;
                assert_eq!(applied.replies, replies, "a replay tells the same");
            }
            self.log.push(Entry { group, index, bytes, replies });
        }
        self.turn(group)?;
        assert_eq!(self.store.entries(Family::Data), before, "a replay writes the same");
        Ok(back)
    }
}

/// Changes that are not answers or progress, nor forget what has ended. With `may_close`, nor close a transaction.
fn traces(batch: &Batch, may_close: bool) -> usize {
    let is_trace = |change: Change<'_>| match change {
        Change::Put(Family::Sys, key, _) => match key.get(8) {
            Some(0x01 | 0x06 | 0x0a) => false,
            Some(0x0c) => !may_close,
            _ => true,
        },
        Change::Delete(Family::Sys, key) => !matches!(key.get(8), Some(0x01 | 0x06 | 0x0a | 0x0c)),
        Change::Put(..) | Change::Delete(..) => true,
    };
    batch.iter().filter(|change| is_trace(*change)).count()
}
