//! The meta group's replicated state, decoded.
//!
//! The truth is in the store, in family sys; a [`Meta`] is what [`Meta::load`] reads from there, kept in step by apply,
//! which changes both together. [`invariants::meta_image_matches_store`](crate::invariants::meta_image_matches_store)
//! says so.

use std::sync::Arc;

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, StoreError, View};
use lentic_types::{ClusterId, GroupId, Index, NodeId, PinId, ShardId, TableId, Version};

use super::catalog::{Catalog, Node, Origin, ShardPlace, Table};
use super::pins::{Pin, Pins};
use super::rows::{self, Row};
use crate::shard::load_all;

/// The meta group. Shards count from the number after it, for a shard's group has the shard's number.
pub const GROUP: GroupId = GroupId(1);

/// The next id of each kind. They only rise, so no id is ever given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// The next node.
    pub node: u64,
    /// The next table.
    pub table: u32,
    /// The next shard.
    pub shard: u64,
    /// The next client.
    pub client: u64,
}

impl Counters {
    const FIRST: Self = Self { node: 1, table: 1, shard: GROUP.0 + 1, client: 1 };
}

/// The state machine of the meta group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub(super) catalog: Arc<Catalog>,
    pub(super) counters: Counters,
    pub(super) window_end: Version,
    pub(super) pins: Arc<Pins>,
    pub(super) is_balanced: bool,
    pub(super) applied: Index,
}

/// What one command changes, in the store and in the image.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) batch: Batch,
    pub(super) catalog_changed: bool,
    pub(super) pins_changed: bool,
}

impl Meta {
    /// Adds the meta group of a new cluster to `batch`: what its first entry is applied to.
    pub fn create(batch: &mut Batch, cluster: ClusterId) {
        cluster_row(&Catalog::new(cluster)).put(batch);
        Row::Counters(Counters::FIRST).put(batch);
        Row::Window(Version::ZERO).put(batch);
    }

    /// The meta group as `view` has it; `None` if there is none.
    ///
    /// # Errors
    /// The store failed, or its rows are no state that apply ever wrote.
    pub fn load(view: &impl View) -> Result<Option<Self>, StoreError> {
        let rows = load_all(view, GROUP, SysKind::Meta, Row::decode)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let damaged = |reason: &str| StoreError::damaged(Family::Sys, &rows::cluster_key(), reason);
        let (mut catalog, mut counters, mut window) = (Catalog::new(ClusterId::default()), None, None);
        let (mut head, mut pins, mut is_balanced) = (None, Pins::default(), true);
        for row in rows {
            match row {
                Row::Cluster { cluster, revision, replicas } => head = Some((cluster, revision, replicas)),
                Row::Counters(next) => counters = Some(next),
                Row::Window(end) => window = Some(end),
                Row::Node(node) => catalog.put_node(node),
                Row::Table(table) => catalog.put_table(table),
                Row::Shard(place) => catalog.put_shard(place),
                Row::Pins { revision, floor, given } => {
                    (pins.revision, pins.floor, pins.given) = (revision, floor, given);
                }
                Row::Pin(pin) => pins.put(pin),
                Row::Unbalanced => is_balanced = false,
                Row::Branch { branch, origin } => catalog.put_origin(branch, origin),
                // Their keys are above those of what they are of.
                Row::Shape { shard, shape } => match catalog.shards.get(&shard).cloned() {
                    Some(place) => catalog.put_shard(ShardPlace { shape, ..place }),
                    None => return Err(damaged("a shape is of no shard")),
                },
                Row::State { node, state } => match catalog.nodes.get(&node).cloned() {
                    Some(node) => catalog.put_node(Node { state, ..node }),
                    None => return Err(damaged("a state is of no node")),
                },
            }
        }
        let (Some(head), Some(counters), Some(window_end)) = (head, counters, window) else {
            return Err(damaged("one of the rows of cluster, counters and window is missing"));
        };
        (catalog.cluster, catalog.revision, catalog.replicas) = head;
        catalog.check().map_err(damaged)?;
        pins.check().map_err(damaged)?;
        let applied = sys::applied(view, GROUP)?;
        let (catalog, pins) = (Arc::new(catalog), Arc::new(pins));
        let meta = Self { catalog, counters, window_end, pins, is_balanced, applied };
        if !crate::invariants::ids_are_below_counters(&meta) {
            return Err(damaged("an id is at or above the next one to be given"));
        }
        if !crate::invariants::pins_are_sound(&meta) {
            return Err(damaged("a pin is of a table that is gone, or lies in the future"));
        }
        Ok(Some(meta))
    }

    /// Nodes, tables and shards: shared, and replaced by another when it changes.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// The next ids.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The version below which ticks may have been handed out. A leader that has applied everything of the leaders
    /// before it begins there.
    #[must_use]
    pub const fn window_end(&self) -> Version {
        self.window_end
    }

    /// The pins and their floor: shared, and replaced by others when they change.
    #[must_use]
    pub fn pins(&self) -> Arc<Pins> {
        Arc::clone(&self.pins)
    }

    /// Whether leaders are balanced over the nodes: until somebody says that they shall not be.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.is_balanced
    }

    /// The last entry applied.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    pub(super) fn put_counters(&mut self, counters: Counters, change: &mut Change) {
        self.counters = counters;
        Row::Counters(counters).put(&mut change.batch);
    }

    pub(super) fn put_window(&mut self, end: Version, change: &mut Change) {
        self.window_end = end;
        Row::Window(end).put(&mut change.batch);
    }

    pub(super) fn set_balanced(&mut self, on: bool, change: &mut Change) {
        self.is_balanced = on;
        match on {
            true => change.batch.delete(Family::Sys, &rows::unbalanced_key()),
            false => Row::Unbalanced.put(&mut change.batch),
        }
    }

    pub(super) fn put_node(&mut self, node: Node, change: &mut Change) {
        Row::Node(node.clone()).put(&mut change.batch);
        let was_active = self.catalog.nodes.get(&node.node).is_none_or(|old| old.state.is_active());
        match node.state.is_active() {
            true if was_active => {}
            true => change.batch.delete(Family::Sys, &rows::state_key(node.node)),
            false => Row::State { node: node.node, state: node.state }.put(&mut change.batch),
        }
        self.change_catalog(change).put_node(node);
    }

    pub(super) fn put_table(&mut self, table: Table, change: &mut Change) {
        Row::Table(table.clone()).put(&mut change.batch);
        self.change_catalog(change).put_table(table);
    }

    pub(super) fn put_origin(&mut self, branch: TableId, origin: Origin, change: &mut Change) {
        Row::Branch { branch, origin }.put(&mut change.batch);
        self.change_catalog(change).put_origin(branch, origin);
    }

    /// Removes a table and, if it is a branch, what says so. Order: its shards first.
    pub(super) fn remove_table(&mut self, table: TableId, change: &mut Change) {
        if self.catalog.branches.contains_key(&table) {
            change.batch.delete(Family::Sys, &rows::branch_key(table));
        }
        change.batch.delete(Family::Sys, &rows::table_key(table));
        self.change_catalog(change).remove_table(table);
    }

    pub(super) fn put_shard(&mut self, place: ShardPlace, change: &mut Change) {
        Row::Shard(place.clone()).put(&mut change.batch);
        let was_plain = self.catalog.shards.get(&place.shard).is_none_or(|old| old.shape.is_plain());
        match place.shape.is_plain() {
            true if was_plain => {}
            true => change.batch.delete(Family::Sys, &rows::shape_key(place.shard)),
            false => Row::Shape { shard: place.shard, shape: place.shape.clone() }.put(&mut change.batch),
        }
        self.change_catalog(change).put_shard(place);
    }

    pub(super) fn remove_shard(&mut self, shard: ShardId, change: &mut Change) {
        change.batch.delete(Family::Sys, &rows::shard_key(shard));
        if self.catalog.shards.get(&shard).is_some_and(|place| !place.shape.is_plain()) {
            change.batch.delete(Family::Sys, &rows::shape_key(shard));
        }
        self.change_catalog(change).remove_shard(shard);
    }

    pub(super) fn set_replicas_default(&mut self, replicas: u32, change: &mut Change) {
        self.change_catalog(change).replicas = replicas;
    }

    /// Adds a pin, or puts it in place of the one with its id.
    pub(super) fn put_pin(&mut self, pin: Pin, change: &mut Change) {
        Row::Pin(pin.clone()).put(&mut change.batch);
        let pins = self.change_pins(change);
        pins.given = pins.given.max(pin.pin.0);
        pins.put(pin);
    }

    pub(super) fn remove_pin(&mut self, pin: PinId, change: &mut Change) {
        change.batch.delete(Family::Sys, &rows::pin_key(pin));
        self.change_pins(change).remove(pin);
    }

    pub(super) fn raise_floor(&mut self, floor: Version, change: &mut Change) {
        self.change_pins(change).floor = floor;
    }

    /// Takes a table out of all pins; those that were of no other table go.
    pub(super) fn forget_pins_of(&mut self, table: TableId, change: &mut Change) {
        let concerned: Vec<Pin> = self.pins.of_table(table).cloned().collect();
        for mut pin in concerned {
            pin.spans.retain(|span| span.table != table);
            if pin.spans.is_empty() { self.remove_pin(pin.pin, change) } else { self.put_pin(pin, change) }
        }
    }

    /// Writes what changes with every entry: the revisions of catalog and pins, if they did, and the applied index.
    pub(super) fn put_progress(&mut self, index: Index, change: &mut Change) {
        if change.catalog_changed {
            let catalog = Arc::make_mut(&mut self.catalog);
            catalog.revision += 1;
            cluster_row(catalog).put(&mut change.batch);
        }
        if change.pins_changed {
            let pins = Arc::make_mut(&mut self.pins);
            pins.revision += 1;
            let (revision, floor, given) = (pins.revision, pins.floor, pins.given);
            Row::Pins { revision, floor, given }.put(&mut change.batch);
        }
        self.applied = index;
        sys::put_applied(&mut change.batch, GROUP, index);
    }

    /// The pins, to change them: a copy if others hold them.
    fn change_pins(&mut self, change: &mut Change) -> &mut Pins {
        change.pins_changed = true;
        Arc::make_mut(&mut self.pins)
    }

    /// The catalog, to change it: a copy if others hold it.
    fn change_catalog(&mut self, change: &mut Change) -> &mut Catalog {
        change.catalog_changed = true;
        Arc::make_mut(&mut self.catalog)
    }
}

fn cluster_row(catalog: &Catalog) -> Row {
    Row::Cluster { cluster: catalog.cluster, revision: catalog.revision, replicas: catalog.replicas }
}

impl Counters {
    /// The id of a new node.
    pub(super) const fn take_node(&mut self) -> NodeId {
        self.node += 1;
        NodeId(self.node - 1)
    }

    /// The id of a new table.
    pub(super) const fn take_table(&mut self) -> TableId {
        self.table += 1;
        TableId(self.table - 1)
    }

    /// The id of a new shard.
    pub(super) const fn take_shard(&mut self) -> ShardId {
        self.shard += 1;
        ShardId(self.shard - 1)
    }
}
