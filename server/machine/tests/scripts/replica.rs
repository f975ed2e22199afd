//! A replica as scripts have it: a store, and the shard twice, with and without the memo of heads.

use std::error::Error;

use bytes::Bytes;
use lentic_engine::store::Change;
use lentic_engine::{Batch, Family, MemStore, Store};
use lentic_machine::shard::{Action, Applied, Descriptor, HeadsOptions};
use lentic_machine::{Command, Fatal, Outcome, Shard, invariants};
use lentic_types::{Epoch, GroupId, Index, ShardId, Version};

/// The group that every script's shard belongs to.
pub(crate) const GROUP: GroupId = GroupId(3);

/// A store and its shard.
pub(crate) struct Replica {
    pub(crate) store: MemStore,
    /// With the memo.
    shard: Shard,
    /// Without it: applies the same, and must do the same.
    plain: Shard,
    /// Whether entries are shown as `shard` applied them, or as `plain` did.
    pub(crate) is_memo_shown: bool,
    /// The log, from index 1, with what each entry's requests were told.
    log: Vec<(Bytes, Vec<Outcome>)>,
}

fn load(store: &MemStore) -> Result<(Shard, Shard), Box<dyn Error>> {
    let load = |options: &HeadsOptions| Shard::load(store, GROUP, options)?.ok_or("there is no shard".into());
    let load = |options: &HeadsOptions| -> Result<Shard, Box<dyn Error>> { load(options) };
    Ok((load(&HeadsOptions::default())?, load(&HeadsOptions { bytes_max: 0, seed: 0 })?))
}

impl Replica {
    /// A new shard.
    pub(crate) fn create(descriptor: &Descriptor) -> Result<Self, Box<dyn Error>> {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Shard::create(&mut batch, GROUP, descriptor);
        store.write(&batch)?;
        store.flush()?;
        let (shard, plain) = load(&store)?;
        Ok(Self { store, shard, plain, is_memo_shown: true, log: Vec::new() })
    }

    /// The shard's state.
    pub(crate) const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// The same of a branch's shard that rides in the group.
    pub(crate) fn shard_of(&self, rider: Option<u64>) -> Result<&Shard, Box<dyn Error>> {
        let rider = rider.map(|rider| self.shard.rider(ShardId(rider)).ok_or("there is no such rider"));
        Ok(rider.transpose()?.unwrap_or(&self.shard))
    }

    /// The entry with a request stamped `version`, or the last one.
    pub(crate) fn entry(&self, version: Option<Version>) -> Result<(Option<ShardId>, Command), Box<dyn Error>> {
        for (bytes, _) in self.log.iter().rev() {
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
        let bytes = Bytes::from(command.encode_for(rider));
        let index = index.unwrap_or(self.shard.applied().next());
        let applied = self.apply_bytes(index, &bytes)?;
        if let Ok(applied) = &applied {
            self.log.push((bytes, applied.replies.clone()));
        }
        Ok(applied)
    }

    fn apply_bytes(&mut self, index: Index, bytes: &Bytes) -> Result<Result<Applied, Fatal>, Box<dyn Error>> {
        let (rider, command) = Command::decode_for(bytes)?;
        let applied = self.shard.apply_for(rider, index, &command, &self.store);
        let plain = self.plain.apply_for(rider, index, &command, &self.store);
        let (applied, plain) = match (applied, plain) {
            (Ok(applied), Ok(plain)) => (applied, plain),
            (Err(fatal), Err(other)) if fatal == other => return Ok(Err(fatal)),
            (one, other) => return Err(format!("the memo decides: {one:?} with it, {other:?} without").into()),
        };
        assert_eq!(applied.replies, plain.replies, "the memo changes no reply");
        assert_eq!(applied.batch, plain.batch, "the memo changes no byte");
        assert_eq!(applied.events, plain.events, "the memo changes no event");
        assert_eq!(applied.replies.len(), command.requests.len(), "each request has its reply");
        if applied.replies.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))) {
            let may_close = command.requests.iter().any(|request| matches!(request.action, Action::Prepare(_)));
            let traces = traces(&applied.batch, may_close);
            assert_eq!(traces, 0, "refused requests leave nothing but their answers, and prepares that they are over");
            assert_eq!(applied.events, [], "refused requests are not heard of");
        }
        self.store.write(&applied.batch)?;
        invariants::check(&self.shard, &self.store)?;
        invariants::check(&self.plain, &self.store)?;
        Ok(Ok(if self.is_memo_shown { applied } else { plain }))
    }

    /// Loads the shard anew. Returns whether it is the one that was.
    pub(crate) fn reload(&mut self) -> Result<bool, Box<dyn Error>> {
        let (shard, plain) = load(&self.store)?;
        let before = std::mem::replace(&mut self.shard, shard);
        self.plain = plain;
        Ok(self.shard.is_same_state(&before))
    }

    /// Crashes, keeping `batches` of what was not flushed, and applies the rest of the log again. Returns the index it
    /// came back at.
    pub(crate) fn crash(&mut self, batches: usize) -> Result<Index, Box<dyn Error>> {
        let before = self.store.entries(Family::Data);
        self.store = self.store.crash(batches);
        self.reload()?;
        let back = self.shard.applied();
        let log = std::mem::take(&mut self.log);
        for (position, (bytes, replies)) in log.iter().enumerate().skip(usize::try_from(back.0)?) {
            let applied = self.apply_bytes(Index(position as u64 + 1), bytes)??;
            assert_eq!(applied.replies, *replies, "a replay tells the same");
        }
        self.log = log;
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
