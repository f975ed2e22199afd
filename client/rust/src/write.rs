//! Writes: to one shard, or in parts to several.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{Operation, PipeRequest, WriteRequest};
use lentic_types::{ErrorKind, KeyRange, ShardId, Version};
use tokio::time::Instant;

use crate::batch::{self, Touched, WriteBatch, touched};
use crate::call::{ShardCall, Stop, unexpected};
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::routes::{Place, Route};

/// Writes a batch whose keys lie in one shard.
pub(crate) async fn whole(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    batch: WriteBatch,
    deadline: Instant,
) -> Result<Version, Error> {
    let condition = batch.conditions.first().map(|condition| &condition.key);
    let Some(first) = condition.or_else(|| batch.operations.first().map(|operation| key_of(&touched(operation))))
    else {
        return Err(Error::invalid("the batch is empty; add an operation"));
    };
    let place = Place::Key(first.clone());
    let WriteBatch { fence, conditions, ranges, operations } = batch;
    if !ranges.is_empty() {
        return Err(Error::invalid("reads of ranges are validated by transactions; use commit"));
    }
    let mut request = WriteRequest { fence, conditions, operations, ..WriteRequest::default() };
    match shard(core, entry, place, &mut request, deadline).await {
        Ok(version) => Ok(version),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Split) => Err(Error::invalid(format!(
            "the keys of the batch lie in several shards of table {}, and it would not take effect as one; write the keys of \
             each shard by themselves, or without conditions with write_in_parts, until there are transactions",
            entry.name
        ))),
    }
}

fn key_of<'a>(touched: &Touched<'a>) -> &'a bytes::Bytes {
    match touched {
        Touched::Key(key) => key,
        Touched::Range { start, .. } => start,
    }
}

/// Sends a write to the shard of `place`. The request comes back unchanged but for its key and route.
pub(crate) async fn shard(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    place: Place,
    write: &mut WriteRequest,
    deadline: Instant,
) -> Result<Version, Stop> {
    let mut progress = Progress::until(Effect::Writes, deadline);
    let request = PipeRequest { request: Some(Request::Write(std::mem::take(write))), ..PipeRequest::default() };
    let mut call = ShardCall { core, entry, place, request };
    let answer = tokio::time::timeout_at(deadline, send(&mut call, &mut progress)).await;
    if let Some(Request::Write(sent)) = call.request.request {
        *write = sent;
    }
    match answer {
        Ok(Ok(Response::Write(written))) => {
            core.newest.hear(written.version);
            Ok(Version(written.version))
        }
        Ok(Ok(_)) => Err(Stop::Failed(unexpected())),
        Ok(Err(stop)) => Err(stop),
        Err(_) => Err(Stop::Failed(progress.out_of_time())),
    }
}

async fn send(call: &mut ShardCall<'_>, progress: &mut Progress) -> Result<Response, Stop> {
    let ticket = call.core.sessions.ticket(call.core, progress).await.map_err(Stop::Failed)?;
    if let Some(Request::Write(write)) = &mut call.request.request {
        write.key = Some(ticket.key);
    }
    let fit = |route: &Route, request: &mut Request| match request {
        Request::Write(write) => lies_in(write, &route.range),
        _ => true,
    };
    // The ticket is held until the answer is here: it is what keeps the key from being acknowledged.
    let (response, _) = call.run(progress, fit).await?;
    drop(ticket);
    Ok(response)
}

fn lies_in(write: &WriteRequest, range: &KeyRange) -> bool {
    write.conditions.iter().all(|condition| range.contains(&condition.key))
        && write.operations.iter().all(|operation| touched(operation).lies_in(range))
}

/// The parts of a batch that were written.
#[derive(Default)]
struct Written {
    parts: usize,
    newest: Version,
    failed: Option<Error>,
}

/// Writes operations by shard, each shard's part atomically, the parts in parallel. Returns the newest of their versions.
pub(crate) async fn in_parts(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    batch: WriteBatch,
    deadline: Instant,
) -> Result<Version, Error> {
    if !batch.conditions.is_empty() || !batch.ranges.is_empty() {
        return Err(Error::invalid(
            "a batch with conditions cannot be written in parts, for they would not hold for all of it; use write, with keys \
             of one shard",
        ));
    }
    if batch.operations.is_empty() {
        return Err(Error::invalid("the batch is empty; add an operation"));
    }
    let (mut pending, mut written) = (batch.operations, Written::default());
    while !pending.is_empty() {
        let parts = cut_in_time(core, entry, pending, deadline).await.map_err(|error| partly(&written, 0, error))?;
        pending = Vec::new();
        let all = parts.len();
        let sent = parts.into_iter().map(|operations| async {
            let place = Place::Key(touched(&operations[0]).first().clone());
            let mut write = WriteRequest { fence: batch.fence, operations, ..WriteRequest::default() };
            let result = shard(core, entry, place, &mut write, deadline).await;
            (result, write.operations)
        });
        for (result, operations) in join_all(sent).await {
            match result {
                Ok(version) => {
                    written.parts += 1;
                    written.newest = written.newest.max(version);
                }
                Err(Stop::Split) => pending.extend(operations),
                Err(Stop::Failed(error)) => written.failed = Some(written.failed.take().unwrap_or(error)),
            }
        }
        if let Some(error) = written.failed.take() {
            return Err(partly(&written, all, error));
        }
    }
    Ok(written.newest)
}

fn partly(written: &Written, all: usize, error: Error) -> Error {
    match written.parts {
        0 => error,
        parts => {
            error.in_front(&format!("{parts} parts of the batch took effect, of {} or more: ", all.max(parts + 1)))
        }
    }
}

async fn cut_in_time(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    operations: Vec<Operation>,
    deadline: Instant,
) -> Result<Vec<Vec<Operation>>, Error> {
    let mut progress = Progress::until(Effect::Reads, deadline);
    let work = entry.known(core, &mut progress, |entry| cut(entry, &operations));
    match tokio::time::timeout_at(deadline, work).await {
        Ok(parts) => parts,
        Err(_) => Err(progress.out_of_time()),
    }
}

/// The operations by shard, in their order; `None` if some shard is not known.
fn cut(entry: &Entry, operations: &[Operation]) -> Option<Vec<Vec<Operation>>> {
    let mut parts: BTreeMap<ShardId, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        match touched(operation) {
            Touched::Key(key) => {
                let route = entry.route(&Place::Key(key.clone()))?;
                parts.entry(route.shard).or_default().push(operation.clone());
            }
            Touched::Range { start, end } => {
                let range = KeyRange::new(start.clone(), end.cloned()).ok()?;
                for (route, part) in entry.cut(&range)? {
                    parts.entry(route.shard).or_default().push(batch::delete_range(&part));
                }
            }
        }
    }
    Some(parts.into_values().collect())
}

/// Whether a batch's request was refused for what one of its operations is, so that the others may do without it.
pub(crate) fn is_refusal(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Internal) && !error.is_retryable()
}

/// Sends a batch of one shard twice with the same key: what a lost answer makes of a write.
#[cfg(feature = "testing")]
pub(crate) async fn twice(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    batch: WriteBatch,
    deadline: Instant,
) -> [Result<Version, Error>; 2] {
    let mut progress = Progress::until(Effect::Writes, deadline);
    let ticket = core.sessions.ticket(core, &mut progress).await.expect("the cluster issues client ids");
    let place = Place::Key(touched(&batch.operations[0]).first().clone());
    let WriteBatch { fence, conditions, ranges: _, operations } = batch;
    let write = WriteRequest { fence, conditions, operations, key: Some(ticket.key), ..WriteRequest::default() };
    let request = PipeRequest { request: Some(Request::Write(write)), ..PipeRequest::default() };
    let mut call = ShardCall { core, entry, place, request };
    let mut results = Vec::new();
    for _ in 0..2 {
        let answer = call.run(&mut progress, |_, _| true).await;
        results.push(match answer {
            Ok((Response::Write(written), _)) => Ok(Version(written.version)),
            Ok(_) | Err(Stop::Split) => Err(unexpected()),
            Err(Stop::Failed(error)) => Err(error),
        });
    }
    results.try_into().expect("two copies have two answers")
}
