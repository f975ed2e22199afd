//! Transactions of the fake cluster: prepared, decided and resolved in one go, by the machines of its shards.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_engine::Store as _;
use lentic_machine::shard::{
    Action, Anchor, Decide, Decision, Operation, Participant, Prepare, Resolve, Take, Token, TxnRef, Write, decision_of,
};
use lentic_machine::{Command, Outcome, Refusal, Request};
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_types::{KeyRange, Limits, NodeId, TableId, TxnId, Version};

use super::answer::{self, failure, no_table};
use super::world::World;

/// A shard's share, with the places of its reads and operations in the transaction.
#[derive(Default)]
struct Share {
    parts: Vec<Write>,
    reads: Vec<usize>,
    operations: Vec<usize>,
}

impl World {
    /// Commits a transaction that came to `node`.
    pub(super) fn transact(&mut self, node: u64, request: v1::TransactRequest) -> Result<Response, Failure> {
        let key = request.key.as_ref().map(answer::request_key);
        let (shares, order, anchor) = self.cut(request.parts)?;
        let Some(anchor) = anchor else { return Err(Failure::invalid("an empty transaction")) };
        self.at_shard(node, &anchor.0, None, &anchor.1)?;
        let anchor = (anchor.1, participant(self, order[0]).table);
        let prepares: Vec<_> = order.iter().map(|shard| (shares[shard].parts.clone(), None)).collect();
        match self.commit(node, key, anchor, &order, prepares)? {
            Ok(version) => Ok(done(version)),
            Err((position, refusal)) => Err(placed(&shares[&order[position]], &refusal)),
        }
    }

    /// Prepares, decides and resolves. The inner error names the shard that refused, by its place.
    pub(super) fn commit(
        &mut self,
        node: u64,
        key: Option<lentic_machine::shard::RequestKey>,
        (anchor, table): (Bytes, TableId),
        order: &[u64],
        prepares: Vec<(Vec<Write>, Option<Take>)>,
    ) -> Result<Result<Version, (usize, Refusal)>, Failure> {
        let number = self.next_id();
        let begun = self.next_tick();
        let until = Version::tick(begun.ms() + 5_000, 0).expect("within the bits");
        let id = TxnId { begun, node: NodeId(node), number };
        let all: Vec<_> = order.iter().map(|id| participant(self, *id)).collect();
        let txn = TxnRef { id, anchor: Anchor { table, key: anchor }, until };
        let (mut prepared, mut refused) = (Vec::new(), None);
        for (position, (shard, (parts, take))) in order.iter().zip(prepares).enumerate() {
            let (participants, key) = if position == 0 { (all.clone(), key) } else { (Vec::new(), None) };
            let prepare = Prepare { txn: txn.clone(), participants, parts, take: take.map(Box::new) };
            match self.apply(*shard, key, Action::Prepare(prepare))? {
                Outcome::Prepared(one) => prepared.push(one),
                // The request was answered before.
                Outcome::Committed { version } => return Ok(Ok(version)),
                Outcome::Refused(refusal) => {
                    refused = Some((position, refusal));
                    break;
                }
                other => panic!("a prepare has another outcome: {other:?}"),
            }
        }
        let decision = if refused.is_some() { Decision::Abort } else { decision_of(prepared) };
        self.apply(order[0], None, Action::Decide(Decide { txn: txn.clone(), decision }))?;
        for shard in order.iter().rev() {
            self.apply(*shard, None, Action::Resolve(Resolve { txn: txn.clone(), decision }))?;
        }
        match (refused, decision) {
            (Some(refused), _) => Ok(Err(refused)),
            (None, Decision::Commit(version)) => Ok(Ok(version)),
            (None, Decision::Abort) => Err(failure(&Refusal::TxnEnded)),
        }
    }

    /// Has a shard apply a command, which none of its clients sent.
    pub(crate) fn apply(
        &mut self,
        shard: u64,
        key: Option<lentic_machine::shard::RequestKey>,
        action: Action,
    ) -> Result<Outcome, Failure> {
        let version = self.next_tick();
        let place = self.shards.get_mut(&shard).expect("it was found");
        let request = Request { version, key, action };
        request.check(&Limits::default()).map_err(|refusal| failure(&refusal))?;
        let command = Command { epoch: place.epoch(), requests: vec![request] };
        let index = place.machine.applied().next();
        let mut applied = place.machine.apply(index, &command, &place.store).expect("the machine is sound");
        place.store.write(&applied.batch).expect("a store in memory works");
        Ok(applied.replies.remove(0))
    }

    /// The shares by shard, the shards in the order in which they are met, and the first key with its table.
    #[expect(clippy::type_complexity, reason = "it is taken apart where it is called")]
    fn cut(
        &self,
        parts: Vec<v1::TransactPart>,
    ) -> Result<(BTreeMap<u64, Share>, Vec<u64>, Option<(String, Bytes)>), Failure> {
        let (mut shares, mut order, mut anchor) = (BTreeMap::<u64, Share>::new(), Vec::new(), None);
        let (mut read, mut written) = (0, 0);
        for part in parts {
            let table = self.tables.get(&part.table).ok_or_else(|| no_table(&part.table))?;
            let (table, fence) = (TableId(table.id), part.fence.map(|token| Token(Version(token))));
            let write = answer::decode(v1::WriteRequest {
                fence: part.fence,
                conditions: part.conditions,
                operations: part.operations,
                ..v1::WriteRequest::default()
            })?;
            let mut add = |range: &KeyRange, add: &mut dyn FnMut(&mut Share, KeyRange)| {
                anchor.get_or_insert_with(|| (part.table.clone(), range.start().clone()));
                for (id, place) in &self.shards {
                    let descriptor = place.machine.descriptor();
                    let here = (descriptor.table == table).then(|| descriptor.range.intersection(range)).flatten();
                    if let Some(here) = here {
                        let share = shares.entry(*id).or_insert_with(|| {
                            order.push(*id);
                            Share::default()
                        });
                        add(share, here);
                    }
                }
            };
            for condition in write.conditions {
                add(&one(&condition.key), &mut |share, _| {
                    share.part(fence).conditions.push(condition.clone());
                    share.reads.push(read);
                });
                read += 1;
            }
            for range in part.ranges {
                let since = Version(range.since);
                add(&lentic_proto::key_range(range.start, range.end)?, &mut |share, range| {
                    share.parts.push(Write { fence, ..Write::default() });
                    share.part(fence).ranges.push(lentic_machine::shard::RangeRead { range, since });
                    share.parts.push(Write { fence, ..Write::default() });
                    share.reads.push(read);
                });
                read += 1;
            }
            for operation in write.operations {
                let range = match &operation {
                    Operation::DeleteRange { range } => range.clone(),
                    Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => one(key),
                };
                add(&range, &mut |share, range| {
                    let operation = match &operation {
                        Operation::DeleteRange { .. } => Operation::DeleteRange { range },
                        other => other.clone(),
                    };
                    share.part(fence).operations.push(operation);
                    share.operations.push(written);
                });
                written += 1;
            }
        }
        Ok((shares, order, anchor))
    }
}

impl Share {
    /// The last part, or a new one for another fence.
    fn part(&mut self, fence: Option<Token>) -> &mut Write {
        if self.parts.last().is_none_or(|part| part.fence != fence) {
            self.parts.push(Write { fence, ..Write::default() });
        }
        self.parts.last_mut().expect("there is one")
    }
}

fn participant(world: &World, id: u64) -> Participant {
    let descriptor = world.shards[&id].machine.descriptor();
    Participant { table: descriptor.table, range: descriptor.range.clone() }
}

fn one(key: &Bytes) -> KeyRange {
    KeyRange::new(key.clone(), Some([&key[..], &[0]].concat())).expect("a key and the next one")
}

fn done(version: Version) -> Response {
    Response::Transact(v1::TransactResponse { version: version.0 })
}

fn placed(share: &Share, refusal: &Refusal) -> Failure {
    let is_about_reads = matches!(refusal, Refusal::ConditionFailed { .. } | Refusal::Conflict { .. });
    let failure = failure(refusal);
    let places = if is_about_reads { &share.reads } else { &share.operations };
    let at = failure.position.and_then(|position| places.get(position as usize)).copied();
    at.map_or(failure.clone(), |at| failure.at_position(at))
}
