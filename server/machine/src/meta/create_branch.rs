//! Create branch: a table whose history up to a version is another's.
//!
//! It costs rows here, and one in each group of the parent when that hears of it; nothing is copied. A pin of its own keeps
//! the version in the parent until the branch is dropped, so no shard refuses it later.

use lentic_types::limits::{BRANCH_DEPTH_MAX, BRANCHES_MAX};
use lentic_types::{Epoch, KeyRange, PinId, TableId, Version};

use super::catalog::{Origin, Shape, ShardPlace, Table};
use super::name::canonical_name;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::pins::{Pin, PinKind, PinSpan};
use super::state::{Change, Meta};

/// Creates a branch; answers with the one that an earlier copy of the command made.
pub(super) fn apply(
    meta: &mut Meta,
    (name, of): (&str, &str),
    version: Version,
    now: Version,
    nonce: &[u8; 16],
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let (name, of) = (canonical_name(name)?, canonical_name(of)?);
    let catalog = &meta.catalog;
    if let Some(existing) = catalog.table_named(&name) {
        let origin = catalog.branches.get(&existing.table);
        let is_copy = origin.is_some_and(|origin| meta.pins.of_nonce(nonce).is_some_and(|pin| pin.pin == origin.pin));
        return match is_copy {
            true => Ok(MetaOutcome::Table { table: existing.table, created: false }),
            false => Err(MetaRefusal::TableExists { name, table: existing.table }),
        };
    }
    if let Some(pin) = meta.pins.of_nonce(nonce) {
        return Err(MetaRefusal::PinExists { name: pin.name.clone(), pin: pin.pin });
    }
    let Some(parent) = catalog.table_named(&of) else { return Err(MetaRefusal::NoSuchTable { name: of }) };
    if let Some(place) = catalog.shards_of(parent.table).find(|place| place.shape.splitting.is_some()) {
        return Err(MetaRefusal::UnderWay { shard: place.shard });
    }
    let spans = vec![PinSpan { table: parent.table, range: KeyRange::all() }];
    check_version(meta, parent.table, &spans, version, now)?;
    check_room(meta, parent.table)?;

    let pin = Pin {
        pin: PinId(meta.pins.given() + 1),
        kind: PinKind::Branch,
        name: format!("branch/{}", meta.counters.table),
        owner: name.clone(),
        nonce: *nonce,
        spans,
        version,
        created: now,
        expires: None,
    };
    meta.pins.check_room(&pin)?;
    let origin = Origin { table: parent.table, version, pin: pin.pin };
    let (options, mut counters) = (parent.options.clone(), meta.counters);
    let table = counters.take_table();
    let shards: Vec<_> = catalog
        .shards_of(parent.table)
        .map(|place| {
            let shape = Shape { leaving: place.shape.leaving.clone(), ..Shape::default() };
            ShardPlace { shard: counters.take_shard(), table, epoch: Epoch(1), shape, ..place.clone() }
        })
        .collect();
    let row = Table { table, name, options };
    catalog.check_room_for_branch(&row, &origin, &shards)?;
    meta.put_counters(counters, change);
    meta.put_table(row, change);
    shards.into_iter().for_each(|place| meta.put_shard(place, change));
    meta.put_origin(table, origin, change);
    meta.put_pin(pin, change);
    Ok(MetaOutcome::Table { table, created: true })
}

/// Checks that the parent has all of its history at `version`, and that the version has come.
fn check_version(
    meta: &Meta,
    parent: TableId,
    spans: &[PinSpan],
    version: Version,
    now: Version,
) -> Result<(), MetaRefusal> {
    if now > meta.window_end {
        return Err(MetaRefusal::VersionAhead { newest: meta.window_end });
    }
    if version > now {
        return Err(MetaRefusal::VersionAhead { newest: now });
    }
    if version < meta.pins.floor() && !meta.pins.holds(version, spans) {
        return Err(MetaRefusal::PinTooOld { floor: meta.pins.floor() });
    }
    match meta.catalog.branches.get(&parent) {
        Some(origin) if version < origin.version => Err(MetaRefusal::PinTooOld { floor: origin.version }),
        _ => Ok(()),
    }
}

fn check_room(meta: &Meta, parent: TableId) -> Result<(), MetaRefusal> {
    let too_many = |of: &'static str, most: usize| MetaRefusal::TooMany { of: of.into(), most: most as u64 };
    let (catalog, root) = (&meta.catalog, meta.catalog.root_of(parent));
    if meta.counters.table == u32::MAX {
        return Err(too_many("tables in its whole life", u32::MAX as usize - 1));
    }
    if catalog.origins_of(parent).len() >= BRANCH_DEPTH_MAX {
        return Err(too_many("branches of branches one below the other", BRANCH_DEPTH_MAX));
    }
    let in_tree = catalog.branches.keys().filter(|branch| catalog.root_of(**branch) == root).count();
    if in_tree >= BRANCHES_MAX {
        return Err(too_many("branches of one table and its branches", BRANCHES_MAX));
    }
    Ok(())
}
