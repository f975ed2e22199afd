//! Snapshots, and how far history goes back.

use std::collections::BTreeMap;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, MetaCommand, MetaOutcome, Pin, PinKind, PinSpan};
use lentic_net::Address;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_runtime::spawn;
use lentic_types::{ErrorKind, KeyRange, PinId, TableId, Version};
use tokio::time::{Instant, timeout_at};

use super::Gateway;
use super::catalog::no_table;
use super::forward::Lane;
use super::pipe::Caller;
use crate::failure;
use crate::shard::replica::Replica;

/// How often a snapshot is tried with a fresh version: in between, the clock must have leapt.
pub(super) const ATTEMPTS_MAX: usize = 3;
/// How long another node may take to say how far the history of its shards goes back.
const NODE_WITHIN: Duration = Duration::from_secs(2);

impl<S: Portable> Gateway<S> {
    /// How long the history of a table is kept, in milliseconds; `None` if this node knows of no such table.
    pub(crate) fn retention_ms(&self, table: TableId) -> Option<u64> {
        let catalog = self.meta.catalog();
        catalog.tables.get(&table).map(|table| self.retention_of(table.options.retention_ms))
    }

    fn retention_of(&self, asked_ms: u64) -> u64 {
        let by_default = u64::try_from(self.options.retention.as_millis()).unwrap_or(u64::MAX);
        if asked_ms == 0 { by_default } else { asked_ms }
    }

    /// Names a version of tables; this node leads the meta group. The version is fresh: it sees every write acknowledged
    /// before the request came.
    pub(crate) async fn create_snapshot(
        &self,
        request: v1::CreateSnapshotRequest,
    ) -> Result<v1::CreateSnapshotResponse, Failure> {
        self.meta.confirm().await?;
        let catalog = self.meta.catalog_after_apply();
        let spans = spans(&catalog, &request.tables)?;
        let nonce = <[u8; 16]>::try_from(&request.nonce[..]).map_err(|_| failure::invalid("a nonce has 16 bytes"))?;
        let v1::CreateSnapshotRequest { name, owner, lease_ms, .. } = request;
        for attempt in 1.. {
            let version = Version(self.now().await?.version);
            let pin = Pin {
                pin: PinId(0),
                kind: PinKind::Snapshot,
                name: name.clone(),
                owner: owner.clone(),
                nonce,
                spans: spans.clone(),
                version,
                created: version,
                expires: None,
            };
            match self.meta.propose(&MetaCommand::CreatePin { pin, lease_ms }).await {
                Ok(MetaOutcome::Pinned { pin, .. }) => {
                    let pin = self.meta.pin_after_apply(pin).ok_or_else(|| no_snapshot(&name))?;
                    return Ok(v1::CreateSnapshotResponse { snapshot: Some(message(&catalog, &pin)) });
                }
                Ok(_) => break,
                // The floor has overtaken the version; nothing was done.
                Err(failure) if failure.error_kind() == ErrorKind::VersionTooOld && attempt < ATTEMPTS_MAX => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(failure::internal("the meta group answered something else"))
    }

    /// The pins; this node has confirmed that it leads the meta group.
    pub(crate) fn list_pins(&self, request: &v1::ListPinsRequest) -> Result<v1::ListPinsResponse, Failure> {
        let (catalog, pins) = (self.meta.catalog_after_apply(), self.meta.pins_after_apply());
        let table = match &*request.table {
            "" => None,
            name => Some(catalog.table_named(name).ok_or_else(|| no_table(name))?.table),
        };
        let is_asked = |pin: &&Pin| {
            (pin.kind == PinKind::Snapshot || request.all_kinds)
                && table.is_none_or(|table| pin.spans.iter().any(|span| span.table == table))
        };
        let pins = pins.iter().filter(is_asked).map(|pin| message(&catalog, pin)).collect();
        Ok(v1::ListPinsResponse { pins })
    }

    /// A snapshot by its name; this node has confirmed that it leads the meta group.
    pub(crate) fn show_snapshot(&self, request: &v1::ShowSnapshotRequest) -> Result<v1::ShowSnapshotResponse, Failure> {
        let (catalog, pins) = (self.meta.catalog_after_apply(), self.meta.pins_after_apply());
        let pin = pins.snapshot(&request.name).ok_or_else(|| no_snapshot(&request.name))?;
        Ok(v1::ShowSnapshotResponse { snapshot: Some(message(&catalog, pin)) })
    }

    /// Lets go of a snapshot, or of another pin; this node leads the meta group.
    pub(crate) async fn drop_pin(&self, request: v1::DropPinRequest) -> Result<v1::DropPinResponse, Failure> {
        let pin = self.pin_of(&request.name, request.pin).await?;
        self.meta.propose(&MetaCommand::ReleasePin { pin }).await?;
        Ok(v1::DropPinResponse {})
    }

    /// Begins the lease of a pin anew; this node leads the meta group.
    pub(crate) async fn renew_pin(&self, request: v1::RenewPinRequest) -> Result<v1::RenewPinResponse, Failure> {
        let pin = self.pin_of(&request.name, request.pin).await?;
        let now = Version(self.now().await?.version);
        self.meta.propose(&MetaCommand::RenewPin { pin, now, lease_ms: request.lease_ms }).await?;
        let renewed =
            self.meta.pin_after_apply(pin).ok_or_else(|| failure::not_found("the pin was dropped meanwhile"))?;
        Ok(v1::RenewPinResponse { pin: Some(message(&self.meta.catalog_after_apply(), &renewed)) })
    }

    /// The pin that is meant: a snapshot by its name, any by its id.
    async fn pin_of(&self, name: &str, pin: u64) -> Result<PinId, Failure> {
        if name.is_empty() {
            return Ok(PinId(pin));
        }
        self.meta.confirm().await?;
        self.meta.pins_after_apply().snapshot(name).map(|pin| pin.pin).ok_or_else(|| no_snapshot(name))
    }

    /// How far the history of shards goes back. A node tells of the replicas that it has; for a client all nodes are
    /// asked, and of each shard the replica is told that has applied most.
    pub(crate) async fn history(
        &self,
        request: v1::HistoryRequest,
        caller: Caller,
        deadline: Instant,
    ) -> Result<v1::HistoryResponse, Failure> {
        let catalog = self.meta.catalog();
        let table = match &*request.table {
            "" => None,
            name => Some(catalog.table_named(name).ok_or_else(|| no_table(name))?.table),
        };
        let mut newest = BTreeMap::new();
        for replica in self.shards.all() {
            let row = self.history_of(&catalog, &replica);
            add(&mut newest, row.filter(|row| table.is_none_or(|table| table.0 == row.table)));
        }
        if caller == Caller::Client {
            let deadline = deadline.min(Instant::now() + NODE_WITHIN);
            let others = catalog.nodes.iter().filter(|(node, _)| **node != self.meta.node);
            let asked = others.map(|(_, node)| {
                let (gateway, address, request) = (self.clone(), Address::from(&*node.address), request.clone());
                spawn(async move { gateway.history_on(address, request, deadline).await })
            });
            // All are asked before the first is waited for.
            for rows in asked.collect::<Vec<_>>() {
                rows.await.into_iter().flatten().for_each(|row| add(&mut newest, Some(row)));
            }
        }
        Ok(v1::HistoryResponse { shards: newest.into_values().collect() })
    }

    /// What another node tells; nothing if it is not reached.
    async fn history_on(
        &self,
        address: Address,
        request: v1::HistoryRequest,
        deadline: Instant,
    ) -> Vec<v1::ShardHistory> {
        let asked = self.forwarder.ask(&address, Lane::NeverWaits, Request::History(request), deadline);
        match timeout_at(deadline, asked).await {
            Ok(Ok(Response::History(history))) => history.shards,
            _ => Vec::new(),
        }
    }

    fn history_of(&self, catalog: &Catalog, replica: &Replica<S>) -> Option<v1::ShardHistory> {
        let shown = replica.shown_history();
        let table = catalog.tables.get(&shown.table)?;
        Some(v1::ShardHistory {
            shard: replica.shard.0,
            table: table.table.0,
            table_name: table.name.clone(),
            node: self.meta.node.0,
            watermark: shown.watermark.0,
            newest: shown.newest.0,
            pins: shown.pins.iter().map(|pin| pin.0).collect(),
            retention_ms: self.retention_of(table.options.retention_ms),
            masks: shown.masks,
            pinned_permille: self.shards.shared.gc.held(shown.table, &shown.start).permille(),
        })
    }
}

/// Keeps what the replica tells that has applied most.
fn add(newest: &mut BTreeMap<u64, v1::ShardHistory>, row: Option<v1::ShardHistory>) {
    let Some(row) = row else { return };
    if newest.get(&row.shard).is_none_or(|known| known.newest < row.newest) {
        newest.insert(row.shard, row);
    }
}

/// Whole tables, in order.
fn spans(catalog: &Catalog, names: &[String]) -> Result<Vec<PinSpan>, Failure> {
    let table = |name: &String| catalog.table_named(name).map(|table| table.table).ok_or_else(|| no_table(name));
    let mut tables = names.iter().map(table).collect::<Result<Vec<_>, _>>()?;
    tables.sort_unstable();
    Ok(tables.into_iter().map(|table| PinSpan { table, range: KeyRange::all() }).collect())
}

fn message(catalog: &Catalog, pin: &Pin) -> v1::Pin {
    let span = |span: &PinSpan| v1::PinSpan {
        table: catalog.tables.get(&span.table).map_or_else(|| span.table.to_string(), |table| table.name.clone()),
        start: span.range.start().clone(),
        end: span.range.end().cloned(),
    };
    let kind = match pin.kind {
        PinKind::Snapshot => v1::PinKind::Snapshot,
        PinKind::Checkpoint => v1::PinKind::Checkpoint,
        PinKind::Branch => v1::PinKind::Branch,
    };
    v1::Pin {
        pin: pin.pin.0,
        kind: kind.into(),
        name: pin.name.clone(),
        owner: pin.owner.clone(),
        spans: pin.spans.iter().map(span).collect(),
        version: pin.version.0,
        created: pin.created.0,
        expires: pin.expires.map(|Version(expires)| expires),
    }
}

fn no_snapshot(name: &str) -> Failure {
    failure::not_found(format!("there is no snapshot {name}; list those that there are"))
}
