//! Keys and values at the shards of this node.

use lentic_engine::Portable;
use lentic_engine::{Direction, ScanLimits};
use lentic_machine::shard::{Action, Operation};
use lentic_machine::{Outcome, Refusal, Request};
use lentic_proto::v1::{self, Failure};
use lentic_types::{Epoch, ShardId, Version, limits};
use std::sync::Arc;
use tokio::time::Instant;

use super::Gateway;
use super::relay::first_key;
use crate::shard::diff::Compare;
use crate::shard::queue::{Cost, Proposal, Reply};
use crate::shard::reader::{PointRead, ReadFrom, Scan};
use crate::shard::replica::Replica;
use crate::shard::weight::Heavy;
use crate::{convert, failure};

/// Bytes of a page of a scan that asks for none.
const PAGE_BYTES: usize = 1 << 20;
/// A delete-range takes the room of an operation in its entry for so many records that it looks at.
const RECORDS_PER_OPERATION: usize = 12;
/// Most keys of one multi-get.
pub(super) const MULTI_GET_KEYS_MAX: usize = 100_000;

impl<S: Portable> Gateway<S> {
    /// Writes to a shard of this node.
    pub(crate) fn write(
        &self,
        request: v1::WriteRequest,
        deadline: Instant,
        answer: impl FnOnce(Result<v1::WriteResponse, Failure>) + Send + 'static,
    ) {
        let (replica, epoch) = match self.replica(request.route) {
            Ok(found) => found,
            Err(failure) => return answer(Err(failure)),
        };
        let first = first_key(&request);
        let (key, write, mut cost) = match convert::write(request) {
            Ok(converted) => converted,
            Err(failure) => return answer(Err(failure)),
        };
        // Checked as it will be in apply, but against this node's limits, and before any work is done.
        let request = Request { version: Version::MAX, key, action: Action::Write(write) };
        if let Err(refusal) = request.check(&self.options.limits) {
            return answer(Err(failure::of_refusal(&refusal)));
        }
        let (routes, shard) = (Arc::clone(&self.routes), replica.shard);
        let reply = Reply::new(move |result| {
            let result = match result {
                Ok(Outcome::Committed { version }) => Ok(v1::WriteResponse { version: version.0 }),
                Ok(Outcome::Refused(refusal)) => Err(failure::of_refusal(&refusal)),
                Ok(outcome) => Err(failure::internal(format!("a write was answered by {outcome:?}"))),
                Err(failure) => Err(failure),
            };
            routes.answer(shard, first, result, answer);
        });
        let Action::Write(write) = &request.action else { unreachable!("it was made a write above") };
        if !write.operations.iter().any(|operation| matches!(operation, Operation::DeleteRange { .. })) {
            return replica.propose(Proposal {
                epoch,
                key,
                action: request.action,
                cost,
                deadline,
                rides: false,
                reply,
            });
        }
        // Looking at what a range holds is work: it has a task of its own.
        lentic_runtime::spawn(async move {
            let Action::Write(write) = &request.action else { unreachable!("it was made a write above") };
            let action = match replica.weigh(epoch, &write.operations) {
                Ok(records) => {
                    cost.operations += records / RECORDS_PER_OPERATION;
                    request.action
                }
                Err(Heavy::Failed(failure)) => return reply.send(Err(failure)),
                // A copy of the request may have been lighter, and have had its effect: only the log can tell.
                Err(Heavy::At(position)) if key.is_some() => {
                    // The answer that is kept under the key has not the words for it.
                    let told = reply;
                    let reply = Reply::new(move |result| {
                        let declined = Ok(Outcome::Refused(Refusal::TooLarge { position }));
                        told.send(if result == declined { Err(failure::too_many_records(position)) } else { result });
                    });
                    let action = Action::Decline(Refusal::TooLarge { position });
                    return replica.propose(Proposal {
                        epoch,
                        key,
                        action,
                        cost: Cost::default(),
                        deadline,
                        rides: false,
                        reply,
                    });
                }
                Err(Heavy::At(position)) => return reply.send(Err(failure::too_many_records(position))),
            };
            replica.propose(Proposal { epoch, key, action, cost, deadline, rides: false, reply });
        });
    }

    /// Reads a key of a shard of this node.
    pub(crate) fn get(
        &self,
        request: v1::GetRequest,
        deadline: Instant,
        answer: impl FnOnce(Result<v1::GetResponse, Failure>) + Send + 'static,
    ) {
        let (replica, epoch) = match self.replica(request.route) {
            Ok(found) => found,
            Err(failure) => return answer(Err(failure)),
        };
        let (routes, shard, key) = (Arc::clone(&self.routes), replica.shard, request.key.clone());
        let reply = move |result: Result<Option<_>, Failure>| {
            let result = result.map(|found| v1::GetResponse { value: found.map(convert::value) });
            routes.answer(shard, key, result, answer);
        };
        match request.at {
            None => replica.reader.get(PointRead { epoch, key: request.key, reply: Box::new(reply) }),
            Some(at) => {
                let (reader, from) = (replica.reader.clone(), read_from(request.any_replica));
                lentic_runtime::spawn(async move {
                    let read = reader.multi_get(epoch, vec![request.key], Version(at), from);
                    let found = tokio::time::timeout_at(deadline, read).await;
                    let found = found.unwrap_or_else(|_| Err(failure::throttled("the deadline passed", 0)));
                    reply(found.map(|mut values| values.pop().flatten()));
                });
            }
        }
    }

    /// Reads keys of a shard of this node, all at one version.
    pub(crate) async fn multi_get(&self, request: v1::MultiGetRequest) -> Result<v1::MultiGetResponse, Failure> {
        if request.keys.len() > MULTI_GET_KEYS_MAX {
            return Err(failure::too_many_keys());
        }
        let (replica, epoch) = self.replica(request.route)?;
        let from = read_from(request.any_replica && request.at.is_some());
        let at = self.version_for(request.at).await?;
        let first = request.keys.first().cloned();
        let found = replica.reader.multi_get(epoch, request.keys, at, from).await;
        let found = found.map_err(|failure| self.routes.add_to(failure, replica.shard, first.as_deref()))?;
        let values = found.into_iter().map(|found| v1::GetResponse { value: found.map(convert::value) }).collect();
        Ok(v1::MultiGetResponse { values, at: at.0 })
    }

    /// Reads a page of a range of a shard of this node.
    pub(crate) async fn scan(&self, request: v1::ScanRequest) -> Result<v1::ScanResponse, Failure> {
        let (replica, epoch) = self.replica(request.route)?;
        let range = convert::range(request.start, request.end)?;
        let from = read_from(request.any_replica && request.at.is_some());
        let at = self.version_for(request.at).await?;
        let limits = page_limits(request.limit, request.page_bytes);
        let direction = if request.backward { Direction::Reverse } else { Direction::Forward };
        let (first, scan) = (range.start().clone(), Scan { range, direction, limits });
        let page = replica.reader.scan(epoch, scan, at, from).await;
        let page = page.map_err(|failure| self.routes.add_to(failure, replica.shard, Some(&first)))?;
        let rows = page.rows.into_iter().map(|row| v1::Row { key: row.key, value: Some(convert::value(row.found)) });
        let rest = page.rest.map(|rest| v1::Rest { start: rest.start().clone(), end: rest.end().cloned() });
        Ok(v1::ScanResponse { rows: rows.collect(), at: at.0, rest })
    }

    /// Reads a page of what is read differently in a range of a shard of this node.
    pub(crate) async fn diff(&self, request: v1::DiffRequest) -> Result<v1::DiffResponse, Failure> {
        let (replica, epoch) = self.replica(request.route)?;
        let range = convert::range(request.start, request.end)?;
        let limits = page_limits(request.limit.into(), request.page_bytes);
        let first = range.start().clone();
        let compare = Compare { range, from: Version(request.from), to: Version(request.to), limits };
        let page = replica.reader.diff(epoch, compare, read_from(request.any_replica)).await;
        let page = page.map_err(|failure| self.routes.add_to(failure, replica.shard, Some(&first)))?;
        let rows = page.rows.into_iter().map(|row| v1::DiffRow {
            key: row.key,
            from: row.from.map(convert::value),
            to: row.to.map(convert::value),
        });
        let rest = page.rest.map(|rest| v1::Rest { start: rest.start().clone(), end: rest.end().cloned() });
        Ok(v1::DiffResponse { rows: rows.collect(), rest })
    }

    /// Reads a page of the feed of a range of a shard of this node.
    pub(crate) async fn feed(&self, request: v1::FeedRequest) -> Result<v1::FeedResponse, Failure> {
        let (replica, epoch) = self.replica(request.route)?;
        let (first, poll) = (request.start.clone(), convert::poll(request)?);
        let page = replica.reader.feed(epoch, poll).await;
        page.map(convert::feed_page).map_err(|failure| self.routes.add_to(failure, replica.shard, Some(&first)))
    }

    /// The version asked for, or a fresh one.
    pub(super) async fn version_for(&self, at: Option<u64>) -> Result<Version, Failure> {
        match at {
            Some(at) => Ok(Version(at)),
            None => Ok(Version(self.now().await?.version)),
        }
    }

    /// The replica that a route names. One whose table is gone answers nobody any more, though it may still be on its way out.
    pub(crate) fn replica(&self, route: Option<v1::Route>) -> Result<(Arc<Replica<S>>, Epoch), Failure> {
        let route =
            route.ok_or_else(|| failure::invalid("requests of a pipe carry a route; ask for the table's shards"))?;
        let shard = ShardId(route.shard);
        match self.shards.get(shard).filter(|_| self.meta.catalog.borrow().shards.contains_key(&shard)) {
            Some(replica) => Ok((replica, Epoch(route.epoch))),
            None => Err(self.routes.add_to(self.routes.elsewhere(shard), shard, None)),
        }
    }
}

/// How large a page may be that was asked for so; 0: as usual.
fn page_limits(rows: u64, page_bytes: u32) -> ScanLimits {
    let bytes_max = match usize::try_from(page_bytes).unwrap_or(usize::MAX) {
        0 => PAGE_BYTES,
        bytes => bytes.min(limits::SCAN_BYTES_MAX),
    };
    let rows_max = match usize::try_from(rows).unwrap_or(usize::MAX) {
        0 => limits::SCAN_ROWS_MAX,
        rows => rows.min(limits::SCAN_ROWS_MAX),
    };
    ScanLimits { rows_max, bytes_max, ..ScanLimits::default() }
}

const fn read_from(any_replica: bool) -> ReadFrom {
    if any_replica { ReadFrom::Any } else { ReadFrom::Leader }
}
