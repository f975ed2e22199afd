//! Asking the leader of a shard for a step of a transaction, wherever it is, until it answers.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::meta::ShardPlace;
use lentic_machine::shard::{Action, Back, Decide, Decision, Operation, RequestKey, Resolve, TxnStatus, Write};
use lentic_machine::{Outcome, Refusal, Request};
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure, pipe_request};
use lentic_types::{Epoch, KeyRange, ShardId, TableId, Version};
use tokio::time::Instant;

use crate::convert::{HEAD_BYTES, OPERATION_BYTES};
use crate::failure;
use crate::gateway::{Gateway, Lane, Pauses, Whom};
use crate::shard::queue::{Cost, Proposal, Reply};
use crate::shard::replica::Replica;
use crate::shard::weight::Heavy;

/// A validation takes the room of an operation in its entry for so many records that it looks at.
const RECORDS_PER_OPERATION: usize = 12;

/// The shard that is asked: that of a key, as it is then, or in one shape alone.
#[derive(Clone, Copy)]
struct To<'a> {
    table: TableId,
    key: &'a [u8],
    shape: Option<(ShardId, Epoch)>,
}

/// What is asked of a shard. Asked twice, it is done once.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) key: Option<RequestKey>,
    pub(crate) action: Action,
}

impl<S: Portable> Gateway<S> {
    /// Asks the leader of the shard of `key` until the deadline.
    ///
    /// # Errors
    /// The shard is gone, the deadline passed, or the request is refused for its form.
    pub(crate) async fn ask_step(
        &self,
        table: TableId,
        key: &[u8],
        step: &Step,
        deadline: Instant,
    ) -> Result<Outcome, Failure> {
        self.ask_shape(To { table, key, shape: None }, step, deadline).await.map(|(outcome, _)| outcome)
    }

    /// Asks the shard that a share was cut for, as it was then.
    ///
    /// # Errors
    /// As of [`Self::ask_step`]; or the shard has another shape, and it has to be cut anew.
    pub(crate) async fn ask_cut(
        &self,
        place: &ShardPlace,
        key: &[u8],
        step: &Step,
        deadline: Instant,
    ) -> Result<Outcome, Failure> {
        let to = To { table: place.table, key, shape: Some((place.shard, place.epoch)) };
        self.ask_shape(to, step, deadline).await.map(|(outcome, _)| outcome)
    }

    /// Asks every shard that has keys of `range` now, one after the other, that with the key of `anchor` at last: what was one
    /// shard may be several. The outcomes, in that order.
    ///
    /// # Errors
    /// As of [`Self::ask_step`].
    pub(crate) async fn ask_all(
        &self,
        (table, range): (TableId, &KeyRange),
        anchor: Option<&[u8]>,
        step: &Step,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Failure> {
        let (mut outcomes, mut at, mut left_out) = (Vec::new(), Some(range.start().clone()), None);
        while let Some(key) = at.filter(|key| range.contains(key)) {
            let catalog = self.meta.catalog();
            let gone = || failure::not_found("the shard's table is gone");
            let place = catalog.shard_for(table, &key).ok_or_else(gone)?;
            if anchor.is_some_and(|anchor| place.range.contains(anchor)) {
                at = place.range.end().cloned();
                left_out = Some(place.range.clone());
                continue;
            }
            let (outcome, asked) = self.ask_shape(To { table, key: &key, shape: None }, step, deadline).await?;
            outcomes.push(outcome);
            at = asked.end().cloned();
        }
        if let (Some(anchor), Some(left_out)) = (anchor, left_out) {
            let (outcome, asked) = self.ask_shape(To { table, key: anchor, shape: None }, step, deadline).await?;
            outcomes.push(outcome);
            // It may have been cut since the others were asked.
            for part in around(&left_out, &asked) {
                outcomes.extend(Box::pin(self.ask_all((table, &part), None, step, deadline)).await?);
            }
        }
        Ok(outcomes)
    }

    /// The outcome, and the keys of the shard that was asked.
    async fn ask_shape(&self, to: To<'_>, step: &Step, deadline: Instant) -> Result<(Outcome, KeyRange), Failure> {
        let (mut pauses, mut bytes) = (Pauses::new(&self.meta.catalog, deadline), None);
        let again = step.key.is_some() || !matches!(step.action, Action::Write(_));
        loop {
            let failure = match self.ask_step_once(to, step, pauses.whom(), &mut bytes, deadline).await {
                Ok(told) => return Ok(told),
                Err(failure) => failure,
            };
            if to.shape.is_some() && failure.kind() == v1::ErrorKind::WrongEpoch {
                return Err(failure);
            }
            pauses.after(failure, again).await?;
        }
    }

    async fn ask_step_once(
        &self,
        To { table, key, shape }: To<'_>,
        step: &Step,
        whom: Whom,
        bytes: &mut Option<Bytes>,
        deadline: Instant,
    ) -> Result<(Outcome, KeyRange), Failure> {
        let catalog = self.meta.catalog();
        let place = catalog.shard_for(table, key).ok_or_else(|| failure::not_found("the shard's table is gone"))?;
        if shape.is_some_and(|shape| shape != (place.shard, place.epoch)) {
            return Err(failure::of_refusal(&Refusal::WrongEpoch { epoch: place.epoch }));
        }
        let told = self.step_at(place, step, whom, bytes, deadline).await?;
        Ok((told, place.range.clone()))
    }

    async fn step_at(
        &self,
        place: &ShardPlace,
        step: &Step,
        whom: Whom,
        bytes: &mut Option<Bytes>,
        deadline: Instant,
    ) -> Result<Outcome, Failure> {
        self.shards.soon.over(place.shard).await;
        if let Some(replica) = self.shards.get(place.shard).filter(|replica| replica.serves()) {
            return self.step_here(&replica, place.epoch, step.key, step.action.clone(), deadline).await;
        }
        let address = self.leader_of(place, whom).ok_or_else(failure::not_leader)?;
        let route = Some(v1::Route::to(place.shard, place.epoch));
        let bytes = bytes.get_or_insert_with(|| step.action.to_step(step.key.as_ref())).clone();
        let request = pipe_request::Request::Step(v1::StepRequest { route, step: bytes });
        let lane = if step.action.is_ending() { Lane::NeverWaits } else { Lane::MayWait };
        match self.forwarder.ask(&address, lane, request, deadline).await? {
            Response::Step(response) => Outcome::from_told(&response.told)
                .map_err(|error| failure::internal(format!("a node answered a step by what is none: {error}"))),
            _ => Err(failure::internal("a step was answered by something else")),
        }
    }

    /// Does a step that another node asks for at a shard of this node.
    pub(crate) async fn step(&self, request: v1::StepRequest, deadline: Instant) -> Result<v1::StepResponse, Failure> {
        let (replica, epoch) = self.replica(request.route)?;
        if request.step.is_empty() {
            replica.hurry();
            return Ok(v1::StepResponse::default());
        }
        let (key, action) = Action::from_step(&request.step).map_err(|error| {
            failure::invalid(format!("the step cannot be read: {error}; are all nodes of one release?"))
        })?;
        if matches!(action, Action::Split(_)) {
            return Err(failure::invalid("a split is no step of a transaction; nodes do not ask each other for one"));
        }
        let outcome = self.step_here(&replica, epoch, key, action, deadline).await;
        let outcome = outcome.map_err(|failure| self.routes.add_to(failure, replica.shard, None))?;
        match (outcome.to_told(), outcome) {
            (Some(told), _) => Ok(v1::StepResponse { told }),
            (None, Outcome::Refused(refusal)) => {
                Err(self.routes.add_to(failure::of_refusal(&refusal), replica.shard, None))
            }
            (None, outcome) => Err(failure::internal(format!("a step was answered by {outcome:?}"))),
        }
    }

    /// Does a step at a shard that this node leads. Refusals that are about routes are failures.
    async fn step_here(
        &self,
        replica: &Arc<Replica<S>>,
        epoch: Epoch,
        key: Option<RequestKey>,
        action: Action,
        deadline: Instant,
    ) -> Result<Outcome, Failure> {
        // As apply will, but with this node's limits, and before any work is done.
        let request = Request { version: Version::MAX, key, action };
        if let Err(refusal) = request.check(&self.options.limits) {
            return Err(failure::of_refusal(&refusal));
        }
        let cost = match cost(replica, epoch, &request.action) {
            Ok(cost) => cost,
            Err(Heavy::At(position)) => {
                let instead = instead_of(&request.action, position);
                let told = Box::pin(self.step_here(replica, epoch, key, instead, deadline)).await?;
                return Ok(match told {
                    Outcome::Status(TxnStatus::Prepared { prepared, .. }) => Outcome::Prepared(prepared),
                    Outcome::Status(_) => Outcome::Refused(Refusal::TooLarge { position }),
                    told => told,
                });
            }
            Err(Heavy::Failed(failure)) => return Err(failure),
        };
        let (reply, answer) = Reply::awaited();
        let action = request.action;
        // Its client was answered; unless others wait for the keys, there is time.
        let rides = is_commit(&action) && !replica.locked().is_waited_for();
        replica.propose(Proposal { epoch, key, action, cost, deadline, rides, reply });
        match answer.await? {
            Outcome::Refused(refusal @ (Refusal::WrongEpoch { .. } | Refusal::OutOfRange | Refusal::Invalid(_))) => {
                Err(failure::of_refusal(&refusal))
            }
            outcome => Ok(outcome),
        }
    }
}

/// What lies in `range` on both sides of a part of it.
fn around(range: &KeyRange, part: &KeyRange) -> Vec<KeyRange> {
    let below = KeyRange::new(range.start().clone(), Some(part.start().clone()));
    let above = part.end().and_then(|end| KeyRange::new(end.clone(), range.end().cloned()).ok());
    below.ok().into_iter().chain(above).collect()
}

/// What is proposed in the place of what is too heavy: a copy of it may have been lighter, and only the log can tell.
fn instead_of(action: &Action, position: u32) -> Action {
    match action {
        Action::Prepare(prepare) => Action::Status(prepare.txn.clone()),
        _ => Action::Decline(Refusal::TooLarge { position }),
    }
}

/// Whether it carries out what a client was told.
const fn is_commit(action: &Action) -> bool {
    matches!(
        action,
        Action::Decide(Decide { decision: Decision::Commit(_), .. })
            | Action::Resolve(Resolve { decision: Decision::Commit(_), .. })
    )
}

/// What a step costs an entry.
///
/// # Errors
/// Its ranges hold more than apply may look at.
fn cost<S: Portable>(replica: &Replica<S>, epoch: Epoch, action: &Action) -> Result<Cost, Heavy> {
    let take = match action {
        Action::Take(take) => Some(take),
        Action::Prepare(prepare) => prepare.take.as_deref(),
        _ => None,
    };
    let parts: &[Write] = match action {
        Action::Write(write) => std::slice::from_ref(write),
        Action::Prepare(prepare) => &prepare.parts,
        _ => &[],
    };
    let (mut cost, mut before) = (Cost { bytes: HEAD_BYTES, operations: 1 }, 0);
    for Back { range, .. } in take.iter().flat_map(|take| &take.back) {
        cost.operations += 1;
        cost.bytes += OPERATION_BYTES + range.start().len() + range.end().map_or(0, Bytes::len);
    }
    for part in parts {
        cost.operations += part.operations.len() + part.conditions.len();
        cost.bytes += part.operations.iter().map(|operation| OPERATION_BYTES + operation.bytes()).sum::<usize>();
        cost.bytes += part.conditions.iter().map(|condition| OPERATION_BYTES + condition.key.len()).sum::<usize>();
        cost.operations += weigh(replica, epoch, part, before)? / RECORDS_PER_OPERATION;
        before += part.operations.len();
    }
    Ok(cost)
}

/// How many records the delete-ranges and the validated ranges of a part look at.
fn weigh<S: Portable>(replica: &Replica<S>, epoch: Epoch, part: &Write, before: usize) -> Result<usize, Heavy> {
    let mut records = 0;
    if part.operations.iter().any(|operation| matches!(operation, Operation::DeleteRange { .. })) {
        records += replica.weigh(epoch, &part.operations).map_err(|heavy| match heavy {
            Heavy::At(position) => Heavy::At(position.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))),
            failed @ Heavy::Failed(_) => failed,
        })?;
    }
    if !part.ranges.is_empty() {
        records += replica.weigh_reads(&part.ranges)?;
    }
    Ok(records)
}
