//! Create table: a name, ids that were never used, and a place for each shard.
//!
//! Placement is decided here, from the catalog and from which nodes the leader believed dead, and is the same on every
//! replica: [`placement`] says how.

use lentic_types::limits::NODES_MAX;
use lentic_types::{Epoch, NodeId};

use super::catalog::{Shape, ShardPlace, Table};
use super::name::canonical_name;
use super::options::TableOptions;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};
use crate::placement;

/// Creates a table; answers with the one that is there if it has the same options, and is no branch.
pub(super) fn apply(
    meta: &mut Meta,
    name: &str,
    options: &TableOptions,
    avoid: &[NodeId],
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let name = canonical_name(name)?;
    let options = options.clone().normal()?;
    if avoid.len() > NODES_MAX {
        return Err(MetaRefusal::Invalid("more nodes are to be avoided than a cluster has; name each once".into()));
    }
    let catalog = &meta.catalog;
    if let Some(Table { table, options: existing, .. }) = catalog.table_named(&name) {
        let table = *table;
        return if *existing == options && !catalog.branches.contains_key(&table) {
            Ok(MetaOutcome::Table { table, created: false })
        } else {
            Err(MetaRefusal::TableExists { name, table })
        };
    }
    let mut counters = meta.counters;
    if counters.table == u32::MAX {
        return Err(MetaRefusal::TooMany { of: "tables in its whole life".into(), most: u64::from(u32::MAX) - 1 });
    }
    let replicas = if options.replicas == 0 { catalog.replicas } else { options.replicas };
    let places = placement::place(&placement::loads(catalog), options.shards, replicas, avoid)
        .map_err(|placement::NoNodes| MetaRefusal::NoNodes)?;
    let table = counters.take_table();
    let shards: Vec<_> = options
        .ranges()
        .into_iter()
        .zip(places)
        .map(|(range, replicas)| {
            let (shard, shape) = (counters.take_shard(), Shape::default());
            ShardPlace { shard, table, range, epoch: Epoch(1), replicas, shape }
        })
        .collect();
    let row = Table { table, name, options };
    catalog.check_room_for_table(&row, &shards)?;
    meta.put_counters(counters, change);
    meta.put_table(row, change);
    shards.into_iter().for_each(|place| meta.put_shard(place, change));
    Ok(MetaOutcome::Table { table, created: true })
}
