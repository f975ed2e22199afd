//! Drop table: its name is free, its ids stay taken. What pins keep of it goes with it.
//!
//! Nodes that hold a replica of a shard that is no longer in the catalog clear it by themselves. A table that has branches
//! stays: they read what it held. When a branch goes, what it kept of its parent may.

use super::name::canonical_name;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Removes a table and its shards from the catalog.
pub(super) fn apply(meta: &mut Meta, name: &str, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    let name = canonical_name(name)?;
    let Some(table) = meta.catalog.table_named(&name).map(|table| table.table) else {
        return Err(MetaRefusal::NoSuchTable { name });
    };
    if let Some(branch) = meta.catalog.branches_of(table).next() {
        let branch = meta.catalog.tables.get(&branch).map_or_else(|| branch.to_string(), |branch| branch.name.clone());
        return Err(MetaRefusal::HasBranch { name, branch });
    }
    // The child is nowhere to be found yet: nobody would clear what it keeps.
    if let Some(place) = meta.catalog.shards_of(table).find(|place| place.shape.splitting.is_some()) {
        return Err(MetaRefusal::UnderWay { shard: place.shard });
    }
    if let Some(origin) = meta.catalog.branches.get(&table).copied() {
        meta.remove_pin(origin.pin, change);
    }
    let shards: Vec<_> = meta.catalog.shards_of(table).map(|place| place.shard).collect();
    shards.iter().for_each(|shard| meta.remove_shard(*shard, change));
    meta.forget_pins_of(table, change);
    meta.remove_table(table, change);
    Ok(MetaOutcome::Dropped { table, shards })
}
