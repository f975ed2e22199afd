//! The catalog: which nodes, tables and shards there are, and where.
//!
//! It is immutable once shared: a change makes another one, with a higher revision. Every node holds one, routes by it,
//! and asks for a newer one when a shard's leader says that it is stale.

mod codec;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use lentic_types::codec::put_varint;
use lentic_types::limits::{CATALOG_BYTES_MAX, NODES_MAX, REPLICAS_MAX, SHARDS_MAX, TABLES_MAX};
use lentic_types::{ClusterId, Epoch, KeyRange, NodeId, PinId, ShardId, TableId, Version};

pub use shape::{NodeState, Shape, Splitting};

use super::name::canonical_name;
use super::options::TableOptions;
use super::outcome::MetaRefusal;

/// How many replicas a shard has if neither its table nor the cluster says.
pub(super) const REPLICAS_DEFAULT: u32 = 3;

/// Nodes, tables and shards at one revision, with the lookups that a router needs.
///
/// The fields are for reading. A catalog is changed by [`Meta`](super::Meta), which keeps the lookups in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Counts the changes of the catalog, from 1. Of two catalogs the one with the higher revision is newer.
    pub revision: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// The nodes, those that are gone for good among them.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The tables.
    pub tables: BTreeMap<TableId, Table>,
    /// The shards.
    pub shards: BTreeMap<ShardId, ShardPlace>,
    /// How many replicas a shard has if its table does not say.
    pub replicas: u32,
    /// The tables that are branches, with what they continue.
    pub branches: BTreeMap<TableId, Origin>,
    names: BTreeMap<String, TableId>,
    /// By table and first key.
    starts: BTreeMap<TableId, BTreeMap<Bytes, ShardId>>,
    residents: BTreeMap<NodeId, BTreeSet<ShardId>>,
    incarnations: BTreeMap<[u8; 16], NodeId>,
    /// Encoded size of all nodes, tables and shards.
    bytes: usize,
}

/// A node: one server process with its data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's id.
    pub node: NodeId,
    /// Where nodes and clients speak to it.
    pub address: String,
    /// Where its metrics and health are; empty if it serves none.
    pub http_address: String,
    /// Made once with the data directory.
    pub incarnation: [u8; 16],
    /// What it is used for.
    pub state: NodeState,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table's id.
    pub table: TableId,
    /// `namespace.name`.
    pub name: String,
    /// What it was asked to be. `shards` and `split_points` say how it began, not how it is cut now.
    pub options: TableOptions,
}

/// What a branch continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The parent.
    pub table: TableId,
    /// The newest version that the branch has from it.
    pub version: Version,
    /// The pin that keeps it.
    pub pin: PinId,
}

/// A shard, and the nodes that hold its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlace {
    /// The shard's id; its group has the same number.
    pub shard: ShardId,
    /// The table.
    pub table: TableId,
    /// The keys.
    pub range: KeyRange,
    /// Counts the changes of shape, from 1.
    pub epoch: Epoch,
    /// The nodes that shall hold it: at least one, each once, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// What is under way with it.
    pub shape: Shape,
}

impl ShardPlace {
    /// The nodes that hold a replica, or are about to.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.replicas.iter().chain(&self.shape.leaving).copied()
    }
}

impl Catalog {
    /// The catalog of a new cluster: no nodes, no tables.
    #[must_use]
    pub const fn new(cluster: ClusterId) -> Self {
        Self {
            revision: 1,
            cluster,
            nodes: BTreeMap::new(),
            tables: BTreeMap::new(),
            shards: BTreeMap::new(),
            replicas: REPLICAS_DEFAULT,
            branches: BTreeMap::new(),
            names: BTreeMap::new(),
            starts: BTreeMap::new(),
            residents: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The table called `name`, with or without its namespace; `None` also if that is no name.
    #[must_use]
    pub fn table_named(&self, name: &str) -> Option<&Table> {
        let table = self.names.get(&canonical_name(name).ok()?)?;
        self.tables.get(table)
    }

    /// The shards of a table in key order: together they hold each key once. None if there is no such table.
    pub fn shards_of(&self, table: TableId) -> impl DoubleEndedIterator<Item = &ShardPlace> {
        self.starts.get(&table).into_iter().flat_map(BTreeMap::values).filter_map(|shard| self.shards.get(shard))
    }

    /// The shard that holds `key` of a table; `None` if there is no such table.
    #[must_use]
    pub fn shard_for(&self, table: TableId, key: &[u8]) -> Option<&ShardPlace> {
        let up_to_key = (Bound::Unbounded, Bound::Included(key));
        let (_, shard) = self.starts.get(&table)?.range::<[u8], _>(up_to_key).next_back()?;
        self.shards.get(shard).filter(|shard| shard.range.contains(key))
    }

    /// The shard that holds the keys right below `key` of a table; `None` if there are none.
    #[must_use]
    pub fn shard_below(&self, table: TableId, key: &[u8]) -> Option<&ShardPlace> {
        let below_key = (Bound::Unbounded, Bound::Excluded(key));
        let (_, shard) = self.starts.get(&table)?.range::<[u8], _>(below_key).next_back()?;
        self.shards.get(shard).filter(|shard| shard.range.end().is_some_and(|end| end == key))
    }

    /// The shards with a replica on `node`, by id; those among them that are leaving it.
    pub fn shards_on(&self, node: NodeId) -> impl Iterator<Item = &ShardPlace> {
        self.residents.get(&node).into_iter().flatten().filter_map(|shard| self.shards.get(shard))
    }

    /// The node whose data directory this is.
    #[must_use]
    pub fn node_of_incarnation(&self, incarnation: &[u8; 16]) -> Option<NodeId> {
        self.incarnations.get(incarnation).copied()
    }

    /// How many replicas each shard of `table` is to have: what the table says, else what the cluster says.
    #[must_use]
    pub fn replicas_of(&self, table: TableId) -> usize {
        let asked = self.tables.get(&table).map_or(0, |table| table.options.replicas);
        let replicas = if asked == 0 { self.replicas } else { asked };
        usize::try_from(replicas).expect("replicas are few")
    }

    /// Whether each table's shards hold each key once, no shard is of another table, names and incarnations are unique,
    /// and replicas are on different nodes of the catalog. The error says what is not so.
    pub fn check(&self) -> Result<(), &'static str> {
        for table in self.tables.keys() {
            let mut expected = Some(Bytes::new());
            for shard in self.shards_of(*table) {
                if expected.as_ref() != Some(shard.range.start()) {
                    return Err("the shards of a table hold each key once");
                }
                expected = shard.range.end().cloned();
            }
            if expected.is_some() {
                return Err("the shards of a table hold all keys");
            }
        }
        let in_tables: usize = self.tables.keys().filter_map(|table| self.starts.get(table)).map(BTreeMap::len).sum();
        if in_tables != self.shards.len() {
            return Err("each shard is of a table, and no two begin at one key");
        }
        if self.replicas == 0 || self.replicas as usize > REPLICAS_MAX {
            return Err("shards have 1 to 9 replicas by default");
        }
        if self.names.len() != self.tables.len() {
            return Err("names of tables are unique");
        }
        if self.incarnations.len() != self.nodes.len() {
            return Err("incarnations of nodes are unique");
        }
        if !self.branches_are_sound() {
            return Err("the shards of a branch are cut as its parent's and are where those are");
        }
        if !self.shards.values().all(|shard| self.check_replicas(&shard.replicas).is_ok()) {
            return Err("each shard has replicas, on different nodes of the cluster");
        }
        if !self.shards.values().all(|shard| shard.shape.fits(shard)) {
            return Err("what is under way with a shard fits it");
        }
        let is_known = |node: &NodeId| self.nodes.contains_key(node);
        if !self.shards.values().flat_map(|shard| &shard.shape.leaving).all(is_known) {
            return Err("replicas leave nodes of the cluster");
        }
        Ok(())
    }

    /// Checks that the replicas are one to [`REPLICAS_MAX`], on different nodes of the catalog.
    pub(super) fn check_replicas(&self, replicas: &[NodeId]) -> Result<(), MetaRefusal> {
        if replicas.is_empty() || replicas.len() > REPLICAS_MAX {
            return Err(MetaRefusal::Invalid("a shard has 1 to 9 replicas; name so many nodes".into()));
        }
        if let Some(node) = replicas.iter().find(|node| !self.nodes.contains_key(node)) {
            return Err(MetaRefusal::NoSuchNode { node: *node });
        }
        if replicas.iter().collect::<BTreeSet<_>>().len() < replicas.len() {
            return Err(MetaRefusal::Invalid("a node is named twice among the replicas; name each once".into()));
        }
        Ok(())
    }

    /// Checks that there is room for a node, in place of the one with its id if there is one.
    pub(super) fn check_room_for_node(&self, node: &Node) -> Result<(), MetaRefusal> {
        let old = self.nodes.get(&node.node);
        check_count(self.nodes.len() + usize::from(old.is_none()), "nodes", NODES_MAX)?;
        self.check_bytes(node_bytes(node), old.map_or(0, node_bytes))
    }

    /// Checks that there is room for a new table and its shards.
    pub(super) fn check_room_for_table(&self, table: &Table, shards: &[ShardPlace]) -> Result<(), MetaRefusal> {
        check_count(self.tables.len() + 1, "tables", TABLES_MAX)?;
        check_count(self.shards.len() + shards.len(), "shards", SHARDS_MAX)?;
        self.check_bytes(table_bytes(table) + shards.iter().map(shard_bytes).sum::<usize>(), 0)
    }

    /// Checks that there is room for a new branch with its shards.
    pub(super) fn check_room_for_branch(
        &self,
        table: &Table,
        origin: &Origin,
        shards: &[ShardPlace],
    ) -> Result<(), MetaRefusal> {
        self.check_room_for_table(table, shards)?;
        let more = table_bytes(table) + shards.iter().map(shard_bytes).sum::<usize>();
        self.check_bytes(more + origin_bytes(table.table, origin), 0)
    }

    /// Checks that there is room for shards in place of those with their ids.
    pub(super) fn check_room_for_shards(&self, shards: &[ShardPlace]) -> Result<(), MetaRefusal> {
        let old = shards.iter().filter_map(|shard| self.shards.get(&shard.shard));
        self.check_bytes(shards.iter().map(shard_bytes).sum(), old.map(shard_bytes).sum())
    }

    /// Checks that there is room for the halves of a shard in place of it, and for those of other splits that are under way.
    pub(super) fn check_room_for_split(&self, halves: &[ShardPlace]) -> Result<(), MetaRefusal> {
        let is_new = |half: &&ShardPlace| !self.shards.contains_key(&half.shard);
        let ids: Vec<_> = halves.iter().map(|half| half.shard).collect();
        let others =
            self.shards.values().filter(|place| place.shape.splitting.is_some() && !ids.contains(&place.shard));
        let count = self.shards.len() + halves.iter().filter(is_new).count() + others.count();
        check_count(count, "shards", SHARDS_MAX)?;
        self.check_room_for_shards(halves)
    }

    fn check_bytes(&self, more: usize, less: usize) -> Result<(), MetaRefusal> {
        check_count(codec::HEADER_BYTES_MAX + self.bytes + more - less, "bytes in its catalog", CATALOG_BYTES_MAX)
    }

    /// Adds a node, or puts it in place of the one with its id.
    pub(super) fn put_node(&mut self, node: Node) {
        self.bytes += node_bytes(&node);
        self.incarnations.insert(node.incarnation, node.node);
        if let Some(old) = self.nodes.insert(node.node, node) {
            self.bytes -= node_bytes(&old);
        }
    }

    /// Adds a table.
    pub(super) fn put_table(&mut self, table: Table) {
        self.bytes += table_bytes(&table);
        self.names.insert(table.name.clone(), table.table);
        self.tables.insert(table.table, table);
    }

    /// Removes a table that has no shards any more.
    pub(super) fn remove_table(&mut self, table: TableId) {
        if let Some(old) = self.tables.remove(&table) {
            self.bytes -= table_bytes(&old);
            self.names.remove(&old.name);
        }
        self.remove_origin(table);
    }

    /// Says what a table continues.
    pub(super) fn put_origin(&mut self, branch: TableId, origin: Origin) {
        self.remove_origin(branch);
        self.bytes += origin_bytes(branch, &origin);
        self.branches.insert(branch, origin);
    }

    fn remove_origin(&mut self, branch: TableId) {
        if let Some(old) = self.branches.remove(&branch) {
            self.bytes -= origin_bytes(branch, &old);
        }
    }

    /// Adds a shard, or puts it in place of the one with its id.
    pub fn put_shard(&mut self, place: ShardPlace) {
        self.remove_shard(place.shard);
        self.bytes += shard_bytes(&place);
        self.starts.entry(place.table).or_default().insert(place.range.start().clone(), place.shard);
        for node in place.holders() {
            self.residents.entry(node).or_default().insert(place.shard);
        }
        self.shards.insert(place.shard, place);
    }

    /// Removes a shard, if it is there.
    pub(super) fn remove_shard(&mut self, shard: ShardId) {
        let Some(old) = self.shards.remove(&shard) else { return };
        self.bytes -= shard_bytes(&old);
        if let Some(starts) = self.starts.get_mut(&old.table) {
            starts.remove(old.range.start());
            if starts.is_empty() {
                self.starts.remove(&old.table);
            }
        }
        for node in old.holders() {
            if let Some(residents) = self.residents.get_mut(&node) {
                residents.remove(&shard);
                if residents.is_empty() {
                    self.residents.remove(&node);
                }
            }
        }
    }
}

fn check_count(count: usize, of: &'static str, most: usize) -> Result<(), MetaRefusal> {
    if count > most { Err(MetaRefusal::TooMany { of: of.into(), most: most as u64 }) } else { Ok(()) }
}

fn node_bytes(node: &Node) -> usize {
    bytes_of(node.node.0, |out| node.encode(out)) + shape::state_bytes(node)
}

fn table_bytes(table: &Table) -> usize {
    bytes_of(u64::from(table.table.0), |out| table.encode(out))
}

fn shard_bytes(shard: &ShardPlace) -> usize {
    bytes_of(shard.shard.0, |out| shard.encode(out)) + shape::shape_bytes(shard)
}

fn origin_bytes(branch: TableId, origin: &Origin) -> usize {
    bytes_of(u64::from(branch.0), |out| origin.encode(out))
}

fn bytes_of(id: u64, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
    let mut out = Vec::new();
    put_varint(&mut out, id);
    encode(&mut out);
    out.len()
}

#[cfg(test)]
mod tests;
