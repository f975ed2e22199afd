//! Tables.

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::meta::{Catalog, MetaCommand, MetaOutcome, Table, TableOptions};
use lentic_proto::v1::{self, Failure};
use lentic_types::{NodeId, Version};

use super::Gateway;
use crate::failure;

/// How often a branch of now is tried.
const ATTEMPTS_MAX: u32 = 4;

impl<S: Portable> Gateway<S> {
    /// A table and its shards, as this node knows them.
    pub(crate) fn describe_table(
        &self,
        request: &v1::DescribeTableRequest,
    ) -> Result<v1::DescribeTableResponse, Failure> {
        let catalog = self.meta.catalog();
        let table = catalog.table_named(&request.name).ok_or_else(|| no_table(&request.name))?;
        Ok(v1::DescribeTableResponse { table: Some(message(&catalog, table)), shards: self.shards_of(&catalog, table) })
    }

    /// All tables; this node has confirmed that it leads the meta group.
    pub(crate) fn list_tables(&self) -> v1::ListTablesResponse {
        let catalog = self.meta.catalog();
        v1::ListTablesResponse { tables: catalog.tables.values().map(|table| message(&catalog, table)).collect() }
    }

    /// Makes a table; this node leads the meta group.
    pub(crate) async fn create_table(
        &self,
        request: v1::CreateTableRequest,
    ) -> Result<v1::CreateTableResponse, Failure> {
        let options = request.options.unwrap_or_default();
        let options = TableOptions {
            shards: options.shards,
            split_points: options.split_points,
            retention_ms: options.retention_ms,
            replicas: options.replicas,
            ttl_ms: options.ttl_ms,
        };
        let alive = self.meta.alive();
        let avoid: Vec<NodeId> = alive.iter().filter(|(_, (alive, _))| !alive).map(|(node, _)| *node).collect();
        let command = MetaCommand::CreateTable { name: request.name.clone(), options, avoid };
        let MetaOutcome::Table { table, .. } = self.meta.propose(&command).await? else {
            return Err(failure::internal("the meta group answered something else"));
        };
        let catalog = self.meta.catalog_after_apply();
        let table = catalog.tables.get(&table).ok_or_else(|| no_table(&request.name))?;
        Ok(v1::CreateTableResponse { table: Some(message(&catalog, table)), shards: self.shards_of(&catalog, table) })
    }

    /// Makes a branch of a table; this node leads the meta group.
    pub(crate) async fn create_branch(&self, request: v1::BranchRequest) -> Result<v1::BranchResponse, Failure> {
        let nonce = <[u8; 16]>::try_from(&request.nonce[..]).map_err(|_| failure::invalid("a nonce has 16 bytes"))?;
        let v1::BranchRequest { name, of, at, .. } = request;
        let mut attempt = 0;
        let table = loop {
            attempt += 1;
            let now = Version(self.now().await?.version);
            let (name, of, version) = (name.clone(), of.clone(), at.map_or(now, Version));
            match self.meta.propose(&MetaCommand::CreateBranch { name, of, version, now, nonce }).await {
                Ok(MetaOutcome::Table { table, .. }) => break table,
                Ok(_) => return Err(failure::internal("the meta group answered something else")),
                // It took longer than the grace: the floor has passed the tick.
                Err(failure) if at.is_none() && attempt < ATTEMPTS_MAX && is_too_old(&failure) => {}
                Err(failure) => return Err(failure),
            }
        };
        let catalog = self.meta.catalog_after_apply();
        let table = catalog.tables.get(&table).ok_or_else(|| no_table(&name))?;
        let (shards, table) = (self.shards_of(&catalog, table), message(&catalog, table));
        Ok(v1::BranchResponse { table: Some(table), shards })
    }

    /// Removes a table; this node leads the meta group. All nodes that are up know that it is gone when this is answered.
    pub(crate) async fn drop_table(&self, request: v1::DropTableRequest) -> Result<v1::DropTableResponse, Failure> {
        let dropped = self.meta.propose(&MetaCommand::DropTable { name: request.name }).await;
        // Who finds that it is gone may ask for the second time, and not have been answered when it was dropped.
        if dropped.as_ref().err().is_none_or(failure::is_not_found) {
            self.meta.spread().await?;
        }
        dropped.map(|_| v1::DropTableResponse {})
    }

    fn shards_of(&self, catalog: &Catalog, table: &Table) -> Vec<v1::Shard> {
        catalog.shards_of(table.table).map(|place| self.routes.shard(catalog, place)).collect()
    }
}

fn is_too_old(failure: &Failure) -> bool {
    failure.kind() == v1::ErrorKind::VersionTooOld
}

fn message(catalog: &Catalog, table: &Table) -> v1::Table {
    let origin = catalog.branches.get(&table.table);
    let branch_of = origin.and_then(|origin| {
        let name = catalog.tables.get(&origin.table)?.name.clone();
        Some(v1::BranchOf { name, version: origin.version.0 })
    });
    let options = &table.options;
    let split_points: Vec<Bytes> = options.split_points.clone();
    v1::Table {
        table: table.table.0,
        name: table.name.clone(),
        options: Some(v1::TableOptions {
            shards: options.shards,
            split_points,
            retention_ms: options.retention_ms,
            replicas: options.replicas,
            ttl_ms: options.ttl_ms,
        }),
        branch_of,
    }
}

pub(super) fn no_table(name: &str) -> Failure {
    failure::not_found(format!("there is no table {name}; create it, or check the name"))
}
