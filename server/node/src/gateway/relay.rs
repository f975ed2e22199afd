//! Requests that name a table and no route: this node finds the shard, here or at the node that leads it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::meta::ShardPlace;
use lentic_net::Address;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_types::{ErrorKind, KeyRange, limits};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Gateway;
use super::forward::Lane;
use super::kv::MULTI_GET_KEYS_MAX;
use super::pauses::{Pauses, Whom};
use super::pipe::Caller;
use crate::{convert, failure};

/// How long the news of a table may take to come from the meta group's leader, who knows it, to this node.
const NEWS_WITHIN: Duration = Duration::from_secs(2);

/// What is asked of the shard of a key.
pub(super) type Routed = dyn Fn(v1::Route) -> Request + Send + Sync;

impl<S: Portable> Gateway<S> {
    /// Answers a request by the name of its table.
    pub(super) async fn relay(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        match request {
            Request::Write(write) => {
                // Without a key nobody can tell whether a lost request had its effect: it is not sent twice.
                let (table, key, again) = (write.table.clone(), first_key(&write), write.key.is_some());
                let ask = move |route| Request::Write(v1::WriteRequest { route: Some(route), ..write.clone() });
                self.ask_shard(&table, &key, again, &ask, deadline).await
            }
            Request::Get(get) => {
                let (table, key) = (get.table.clone(), get.key.clone());
                let ask = move |route| Request::Get(v1::GetRequest { route: Some(route), ..get.clone() });
                self.ask_shard(&table, &key, true, &ask, deadline).await
            }
            Request::MultiGet(request) => self.relay_multi_get(request, deadline).await.map(Response::MultiGet),
            Request::Scan(request) => self.relay_page(request, deadline).await.map(Response::Scan),
            Request::Owned(request) => self.relay_owned(request, deadline).await.map(Response::Owned),
            Request::Feed(request) => self.relay_feed(request, deadline).await.map(Response::Feed),
            Request::Diff(request) => self.relay_diff(request, deadline).await.map(Response::Diff),
            _ => Err(failure::internal("this request is not about a table's keys")),
        }
    }

    async fn relay_multi_get(
        &self,
        request: v1::MultiGetRequest,
        deadline: Instant,
    ) -> Result<v1::MultiGetResponse, Failure> {
        if request.keys.len() > MULTI_GET_KEYS_MAX {
            return Err(failure::too_many_keys());
        }
        self.know(&request.table, deadline).await?;
        let any_replica = request.any_replica && request.at.is_some();
        let at = self.version_for(request.at).await?.0;
        let mut bytes = 0;
        let mut parts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (position, key) in request.keys.iter().enumerate() {
            parts.entry(self.place(&request.table, key)?.shard.0).or_default().push(position);
        }
        let mut values = vec![v1::GetResponse::default(); request.keys.len()];
        for positions in parts.values() {
            let keys: Vec<Bytes> = positions.iter().map(|position| request.keys[*position].clone()).collect();
            let first = keys.first().cloned().unwrap_or_default();
            let ask = move |route| {
                let (keys, table) = (keys.clone(), String::new());
                Request::MultiGet(v1::MultiGetRequest { table, route: Some(route), keys, at: Some(at), any_replica })
            };
            match self.ask_shard(&request.table, &first, true, &ask, deadline).await? {
                Response::MultiGet(part) => {
                    bytes += part.values.iter().map(value_bytes).sum::<usize>();
                    if bytes > limits::MULTI_GET_BYTES_MAX {
                        return Err(failure::too_many_bytes());
                    }
                    positions.iter().zip(part.values).for_each(|(position, value)| values[*position] = value);
                }
                _ => return Err(failure::internal("a multi-get was answered by something else")),
            }
        }
        Ok(v1::MultiGetResponse { values, at })
    }

    /// One page, of one shard; what is left of the whole range comes with it.
    async fn relay_page(&self, mut request: v1::ScanRequest, deadline: Instant) -> Result<v1::ScanResponse, Failure> {
        request.any_replica &= request.at.is_some();
        request.at = Some(self.version_for(request.at).await?.0);
        let wanted = convert::range(request.start.clone(), request.end.clone())?;
        self.know(&request.table, deadline).await?;
        let (part, beyond) = self.part_of(&request.table, &wanted, request.backward)?;
        (request.start, request.end) = (part.start().clone(), part.end().cloned());
        let (table, backward) = (request.table.clone(), request.backward);
        let ask = move |route| Request::Scan(v1::ScanRequest { route: Some(route), ..request.clone() });
        let Response::Scan(mut page) = self.ask_shard(&table, part.start(), true, &ask, deadline).await? else {
            return Err(failure::internal("a scan was answered by something else"));
        };
        page.rest = join(page.rest.take(), beyond, backward);
        Ok(page)
    }

    /// A page of the feed of the range's first shard; which part of the range it says nothing about comes with it.
    async fn relay_feed(&self, mut request: v1::FeedRequest, deadline: Instant) -> Result<v1::FeedResponse, Failure> {
        let wanted = convert::range(request.start.clone(), request.end.clone())?;
        self.know(&request.table, deadline).await?;
        let (part, beyond) = self.part_of(&request.table, &wanted, false)?;
        (request.start, request.end) = (part.start().clone(), part.end().cloned());
        let table = request.table.clone();
        let ask = move |route| Request::Feed(v1::FeedRequest { route: Some(route), ..request.clone() });
        let Response::Feed(mut page) = self.ask_shard(&table, part.start(), true, &ask, deadline).await? else {
            return Err(failure::internal("a feed was answered by something else"));
        };
        page.rest = beyond;
        Ok(page)
    }

    /// One page, of one shard; what is left of the whole range comes with it.
    async fn relay_diff(&self, mut request: v1::DiffRequest, deadline: Instant) -> Result<v1::DiffResponse, Failure> {
        let wanted = convert::range(request.start.clone(), request.end.clone())?;
        self.know(&request.table, deadline).await?;
        let (part, beyond) = self.part_of(&request.table, &wanted, false)?;
        (request.start, request.end) = (part.start().clone(), part.end().cloned());
        let table = request.table.clone();
        let ask = move |route| Request::Diff(v1::DiffRequest { route: Some(route), ..request.clone() });
        let Response::Diff(mut page) = self.ask_shard(&table, part.start(), true, &ask, deadline).await? else {
            return Err(failure::internal("a comparison was answered by something else"));
        };
        page.rest = join(page.rest.take(), beyond, false);
        Ok(page)
    }

    /// Asks the leader of the shard of `key`, looking for it until the deadline.
    pub(super) async fn ask_shard(
        &self,
        table: &str,
        key: &[u8],
        again: bool,
        ask: &Routed,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let mut pauses = Pauses::new(&self.meta.catalog, deadline);
        loop {
            match self.ask_once(table, key, pauses.whom(), ask, deadline).await {
                Ok(response) => return Ok(response),
                Err(failure) => pauses.after(failure, again).await?,
            }
        }
    }

    async fn ask_once(
        &self,
        table: &str,
        key: &[u8],
        whom: Whom,
        ask: &Routed,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        self.know(table, deadline).await?;
        let place = self.place(table, key)?;
        let route = v1::Route { shard: place.shard.0, epoch: place.epoch.0 };
        self.ask_place(&place, whom, ask(route), deadline).await
    }

    /// Waits until the catalog here knows a table, if there is one of this name. A table may have been made a moment ago
    /// by way of another node, so that only the meta group's leader can say that there is none.
    pub(crate) async fn know(&self, table: &str, deadline: Instant) -> Result<(), Failure> {
        let mut catalog = self.meta.catalog.subscribe();
        if catalog.borrow_and_update().table_named(table).is_some() {
            return Ok(());
        }
        let describe = Request::DescribeTable(v1::DescribeTableRequest { name: table.to_owned() });
        self.ask_meta(describe, Caller::Client, deadline).await?;
        let news = catalog.wait_for(|catalog| catalog.table_named(table).is_some());
        match timeout(NEWS_WITHIN, news).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(failure::unknown("the node is stopping")),
            Err(_) => Err(failure::throttled("the news of this table has not come to this node yet; ask again", 50)),
        }
    }

    async fn ask_place(
        &self,
        place: &ShardPlace,
        whom: Whom,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        self.shards.soon.over(place.shard).await;
        let replica = self.shards.get(place.shard);
        if replica.as_ref().is_some_and(|replica| replica.serves()) {
            return self.answer_here(request, deadline).await;
        }
        if replica.is_some() && may_be_any(&request) {
            match self.answer_here(request.clone(), deadline).await {
                Err(failure) if matches!(failure.error_kind(), ErrorKind::NotLeader | ErrorKind::WrongEpoch) => {}
                answer => return answer,
            }
        }
        match self.leader_of(place, whom) {
            Some(address) => self.forwarder.ask(&address, Lane::MayWait, request, deadline).await,
            None => Err(failure::not_leader()),
        }
    }

    /// Where the leader of a shard is spoken to that this node does not lead, as far as it knows or was told.
    pub(crate) fn leader_of(&self, place: &ShardPlace, whom: Whom) -> Option<Address> {
        let catalog = self.meta.catalog();
        let known = self
            .routes
            .leader_in_turn(place, whom.turn)
            .filter(|leader| *leader != self.meta.node)
            .and_then(|leader| catalog.nodes.get(&leader));
        let known = known.map(|node| Address::from(&*node.address));
        whom.hint.filter(|hint| !hint.0.is_empty()).or(known)
    }

    /// Answers a request for a shard of this node.
    pub(super) async fn answer_here(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        let lost = || failure::unknown("the node is stopping");
        match request {
            Request::Write(write) => {
                let (reply, answer) = oneshot::channel();
                // Who no longer waits needs no answer.
                self.write(write, deadline, move |result| drop(reply.send(result)));
                answer.await.map_err(|_| lost())?.map(Response::Write)
            }
            Request::Get(get) => {
                let (reply, answer) = oneshot::channel();
                self.get(get, deadline, move |result| drop(reply.send(result)));
                answer.await.map_err(|_| lost())?.map(Response::Get)
            }
            other => Box::pin(self.answer(other, Caller::Node, deadline)).await,
        }
    }

    fn place(&self, table: &str, key: &[u8]) -> Result<ShardPlace, Failure> {
        let catalog = self.meta.catalog();
        let table =
            catalog.table_named(table).ok_or_else(|| failure::not_found(format!("there is no table {table}")))?;
        let place = catalog.shard_for(table.table, key).ok_or_else(|| failure::internal("no shard has the key"))?;
        Ok(place.clone())
    }

    /// The part of a range that lies in its first shard (its last one, backward), and what is beyond.
    pub(super) fn part_of(
        &self,
        table: &str,
        wanted: &KeyRange,
        backward: bool,
    ) -> Result<(KeyRange, Option<v1::Rest>), Failure> {
        let catalog = self.meta.catalog();
        let table =
            catalog.table_named(table).ok_or_else(|| failure::not_found(format!("there is no table {table}")))?;
        let mut places = catalog.shards_of(table.table).filter(|place| place.range.overlaps(wanted));
        let place = if backward { places.next_back() } else { places.next() };
        let place = place.ok_or_else(|| failure::internal("no shard has the range"))?;
        let part = place.range.intersection(wanted).ok_or_else(|| failure::internal("no shard has the range"))?;
        let rest = |range: &KeyRange| v1::Rest { start: range.start().clone(), end: range.end().cloned() };
        let others = wanted.without(&part);
        let beyond = others.iter().find(|other| (other.start() < part.start()) == backward);
        let beyond = beyond.map(rest);
        Ok((part, beyond))
    }
}

/// What is left: the rest of a page, and what lies beyond its shard.
pub(super) fn join(page: Option<v1::Rest>, beyond: Option<v1::Rest>, backward: bool) -> Option<v1::Rest> {
    match (page, beyond) {
        (Some(page), Some(beyond)) if backward => Some(v1::Rest { start: beyond.start, end: page.end }),
        (Some(page), Some(beyond)) => Some(v1::Rest { start: page.start, end: beyond.end }),
        (page, beyond) => page.or(beyond),
    }
}

/// Whether any replica may answer that has what is asked for.
fn may_be_any(request: &Request) -> bool {
    match request {
        Request::Get(request) => request.any_replica && request.at.is_some(),
        Request::MultiGet(request) => request.any_replica,
        Request::Scan(request) => request.any_replica,
        Request::Diff(request) => request.any_replica,
        _ => false,
    }
}

fn value_bytes(found: &v1::GetResponse) -> usize {
    found.value.as_ref().map_or(0, |value| value.value.len())
}

pub(super) fn first_key(write: &v1::WriteRequest) -> Bytes {
    use v1::operation::Operation;
    let operation = write.operations.first().and_then(|operation| operation.operation.as_ref());
    let condition = || write.conditions.first().map_or_else(Bytes::new, |condition| condition.key.clone());
    operation.map_or_else(condition, |operation| match operation {
        Operation::Put(put) => put.key.clone(),
        Operation::Delete(delete) => delete.key.clone(),
        Operation::DeleteRange(range) => range.start.clone(),
        Operation::Merge(merge) => merge.key.clone(),
    })
}
