//! Owners of the fake cluster: by the machines of its shards.

use std::collections::BTreeSet;

use bytes::Bytes;
use lentic_machine::shard::{Action, Back, Release, Take, Token};
use lentic_machine::{Outcome, Refusal, Request};
use lentic_proto::v1::back::To;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_types::{ErrorKind, KeyRange, Limits, TableId, Version};

use super::answer::{self, failure, no_table};
use super::world::World;

/// A checkpoint that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    table: u32,
    owner: String,
    number: u64,
    range: KeyRange,
    version: Version,
}

impl World {
    /// Takes a range: as one request where it has one shard, as a transaction elsewhere.
    pub(super) fn take(&mut self, node: u64, request: v1::TakeRequest) -> Result<Response, Failure> {
        let key = request.key.as_ref().map(answer::request_key);
        self.at_shard(node, &request.table, None, &request.start)?;
        let range = lentic_proto::key_range(request.start, request.end)?;
        let table = self.tables.get(&request.table).ok_or_else(|| no_table(&request.table))?.id;
        let back = |back: v1::Back| {
            let to = match back.to.ok_or_else(|| Failure::invalid("back to what"))? {
                To::Version(version) => Version(version),
                To::Checkpoint(token) => version_of(table, &token)?,
            };
            Ok(Back { range: lentic_proto::key_range(back.start, back.end)?, to })
        };
        let back = request.back.into_iter().map(back).collect::<Result<Vec<_>, Failure>>()?;
        let whole = Take { range: range.clone(), owner: request.owner.into(), force: request.force, back };
        let request = Request { version: Version::MAX, key, action: Action::Take(whole.clone()) };
        request.check(&Limits::default()).map_err(|refusal| failure(&refusal))?;
        let (mut order, mut takes) = (Vec::new(), Vec::new());
        for (id, part) in self.parts(table, &range) {
            let back = |back: &Back| Some(Back { range: back.range.intersection(&part)?, to: back.to });
            let back = whole.back.iter().filter_map(back).collect();
            order.push(id);
            takes.push((Vec::new(), Some(Take { range: part.clone(), back, ..whole.clone() })));
        }
        if let [id] = order[..] {
            let take = takes.remove(0).1.expect("it takes");
            return match self.apply(id, key, Action::Take(take))? {
                Outcome::Taken { token: Token(version) } | Outcome::Committed { version } => Ok(taken(version)),
                Outcome::Refused(refusal) => Err(failure(&refusal)),
                other => panic!("a take has another outcome: {other:?}"),
            };
        }
        let anchor = (range.start().clone(), TableId(table));
        match self.commit(node, key, anchor, &order, takes)? {
            Ok(version) => Ok(taken(version)),
            Err((_, refusal)) => Err(failure(&refusal)),
        }
    }

    pub(super) fn release(&mut self, request: &v1::ReleaseRequest) -> Result<Response, Failure> {
        let range = lentic_proto::key_range(request.start.clone(), request.end.clone())?;
        let table = self.tables.get(&request.table).ok_or_else(|| no_table(&request.table))?.id;
        for (id, range) in self.parts(table, &range) {
            let release = Release { range, token: Token(Version(request.fence)) };
            match self.apply(id, None, Action::Release(release))? {
                Outcome::Released | Outcome::Refused(Refusal::Fenced { .. }) => {}
                other => panic!("a release has another outcome: {other:?}"),
            }
        }
        Ok(Response::Release(v1::ReleaseResponse {}))
    }

    pub(super) fn checkpoint(&mut self, request: &v1::CheckpointRequest) -> Result<Response, Failure> {
        let version = self.next_tick();
        let range = lentic_proto::key_range(request.start.clone(), request.end.clone())?;
        let table = self.tables.get(&request.table).ok_or_else(|| no_table(&request.table))?.id;
        for (id, part) in self.parts(table, &range) {
            let fences = self.shards[&id].machine.fences();
            if let Err(newest) = fences.check_range(&part, Some(Token(Version(request.fence)))) {
                return Err(failure(&Refusal::Fenced { newest }));
            }
        }
        let owner = self.parts(table, &range).first().and_then(|(id, part)| {
            let fences = self.shards[id].machine.fences();
            fences.of_range(part).next().map(|fence| String::from_utf8(fence.owner.to_vec()).expect("names are words"))
        });
        let owner = owner.expect("its fence owns all of it");
        self.checkpoints.push(Made { table, owner, number: request.number, range, version });
        let checkpoint = [&table.to_be_bytes()[..], &version.0.to_be_bytes()].concat().into();
        Ok(Response::Checkpoint(v1::CheckpointResponse { checkpoint, version: version.0, pin: 0 }))
    }

    /// Of each number the newest that no rollback has undone, if together they have all that the job owns.
    pub(super) fn last_checkpoint(&mut self, request: &v1::LastCheckpointRequest) -> Result<Response, Failure> {
        let table = self.tables.get(&request.table).ok_or_else(|| no_table(&request.table))?.id;
        let none = || Failure::new(ErrorKind::NotFound, "no checkpoint is complete");
        let all = self.parts(table, &KeyRange::all());
        let is_undone = |made: &&Made| {
            let is_hidden = |(id, part): &(u64, KeyRange)| {
                let common = part.intersection(&made.range);
                common
                    .is_some_and(|common| self.shards[id].machine.masks().hides_in(&common, made.version, Version::MAX))
            };
            all.iter().any(is_hidden)
        };
        let of_job = |made: &&Made| made.table == table && made.owner == request.owner;
        let mut owned: Vec<KeyRange> = Vec::new();
        for (id, part) in &all {
            let fences = self.shards[id].machine.fences().of_range(part);
            owned.extend(
                fences.filter(|fence| fence.owner == request.owner.as_bytes()).map(|fence| fence.range.clone()),
            );
        }
        if owned.is_empty() {
            for made in self.checkpoints.iter().filter(of_job) {
                let without = |left: Vec<KeyRange>, known: &KeyRange| {
                    left.iter().flat_map(|range| range.without(known)).collect()
                };
                let new: Vec<KeyRange> = owned.iter().fold(vec![made.range.clone()], without);
                owned.extend(new);
            }
        }
        let numbers: BTreeSet<_> = self.checkpoints.iter().filter(of_job).map(|made| made.number).collect();
        for number in numbers.into_iter().rev() {
            let made = self.checkpoints.iter().rev().filter(of_job).filter(|made| made.number == number);
            let (mut left, mut parts) = (owned.clone(), Vec::new());
            for made in made.filter(|made| !is_undone(made)) {
                let common = left.iter().filter_map(|range| range.intersection(&made.range));
                parts.extend(common.map(|range| (range, made.version)));
                left = left.iter().flat_map(|range| range.without(&made.range)).collect();
            }
            parts.sort_by(|one, other| one.0.start().cmp(other.0.start()));
            if left.is_empty() {
                let part = |(range, version): (KeyRange, Version)| {
                    let (start, end) = (range.start().clone(), range.end().cloned());
                    v1::CheckpointPart { start, end, version: version.0, pin: 0 }
                };
                let parts = parts.into_iter().map(part).collect();
                return Ok(Response::LastCheckpoint(v1::LastCheckpointResponse { number, parts }));
            }
        }
        Err(none())
    }

    /// A page has the owners of one shard.
    pub(super) fn owned(&mut self, request: v1::OwnedRequest) -> Result<Response, Failure> {
        let range = lentic_proto::key_range(request.start, request.end)?;
        let table = self.tables.get(&request.table).ok_or_else(|| no_table(&request.table))?.id;
        let (id, part) = self.parts(table, &range).remove(0);
        let owned = self.shards[&id].machine.fences().of_range(&part).map(|fence| v1::Owned {
            start: fence.range.start().clone(),
            end: fence.range.end().cloned(),
            owner: String::from_utf8(fence.owner.to_vec()).expect("names are words"),
            fence: fence.token.0.0,
        });
        let owned = owned.collect();
        let rest = range.without(&part).into_iter().next_back().map(v1::Rest::from);
        Ok(Response::Owned(v1::OwnedResponse { owned, now: self.next_tick().0, rest, undone: false }))
    }

    /// The shards of a range and their parts of it, in key order.
    fn parts(&self, table: u32, range: &KeyRange) -> Vec<(u64, KeyRange)> {
        let part = |(id, place): (&u64, &super::world::Place)| {
            let descriptor = place.machine.descriptor();
            (descriptor.table.0 == table).then(|| Some((*id, descriptor.range.intersection(range)?))).flatten()
        };
        let mut parts: Vec<_> = self.shards.iter().filter_map(part).collect();
        parts.sort_by_key(|(_, part)| part.start().clone());
        parts
    }
}

fn taken(version: Version) -> Response {
    Response::Take(v1::TakeResponse { fence: version.0 })
}

fn version_of(table: u32, token: &Bytes) -> Result<Version, Failure> {
    match token.split_first_chunk::<4>() {
        Some((of, version)) if *of == table.to_be_bytes() => {
            let version = version.try_into().map_err(|_| Failure::invalid("no checkpoint"))?;
            Ok(Version(u64::from_be_bytes(version)))
        }
        _ => Err(Failure::invalid("a checkpoint of another table")),
    }
}
