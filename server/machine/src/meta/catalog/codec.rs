//! The bytes of a catalog, as nodes send it to each other.
//!
//! ```text
//! catalog   01 cluster (16 bytes) revision replicas n (node row)* n (table row)* n (shard row)*
//!           02 … n (branch row)*                                   01, with branches behind it
//!           03 … n (shape row)* n (state of node)*                 02, with what is under way behind it
//! ```
//!
//! Ids and counts are varints, and ids rise. The rows are those of the store: [`rows`](crate::meta::rows).

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::{CATALOG_BYTES_MAX, NODES_MAX, SHARDS_MAX, TABLES_MAX};
use lentic_types::{ClusterId, NodeId, ShardId, TableId};

use super::{Catalog, Node, NodeState, Origin, Shape, ShardPlace, Table};

const FORMAT: u8 = 0x01;
/// The same with branches behind it.
const FORMAT_WITH_BRANCHES: u8 = 0x02;
/// The same with shapes of shards and states of nodes behind them.
const FORMAT_WITH_SHAPES: u8 = 0x03;

/// Most bytes of a catalog without its nodes, tables and shards.
pub(super) const HEADER_BYTES_MAX: usize = 64;

impl Catalog {
    /// The catalog's bytes: at most [`CATALOG_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + self.bytes);
        let shapes: Vec<_> = self.shards.values().filter(|place| !place.shape.is_plain()).collect();
        let states: Vec<_> = self.nodes.values().filter(|node| !node.state.is_active()).collect();
        let has_shapes = !shapes.is_empty() || !states.is_empty();
        out.push(match (has_shapes, self.branches.is_empty()) {
            (true, _) => FORMAT_WITH_SHAPES,
            (false, true) => FORMAT,
            (false, false) => FORMAT_WITH_BRANCHES,
        });
        out.extend_from_slice(&self.cluster.0);
        put_varint(&mut out, self.revision);
        put_varint(&mut out, u64::from(self.replicas));
        put_varint(&mut out, self.nodes.len() as u64);
        for (id, node) in &self.nodes {
            put_varint(&mut out, id.0);
            node.encode(&mut out);
        }
        put_varint(&mut out, self.tables.len() as u64);
        for (id, table) in &self.tables {
            put_varint(&mut out, u64::from(id.0));
            table.encode(&mut out);
        }
        put_varint(&mut out, self.shards.len() as u64);
        for (id, shard) in &self.shards {
            put_varint(&mut out, id.0);
            shard.encode(&mut out);
        }
        if has_shapes || !self.branches.is_empty() {
            put_varint(&mut out, self.branches.len() as u64);
        }
        for (branch, origin) in &self.branches {
            put_varint(&mut out, u64::from(branch.0));
            origin.encode(&mut out);
        }
        if has_shapes {
            put_varint(&mut out, shapes.len() as u64);
            for place in shapes {
                put_varint(&mut out, place.shard.0);
                place.shape.encode(&mut out);
            }
            put_varint(&mut out, states.len() as u64);
            for node in states {
                put_varint(&mut out, node.node.0);
                out.push(node.state.number());
            }
        }
        out.into()
    }

    /// Decodes a catalog's bytes. An error means damage, or a sender of a newer release; keep the catalog at hand.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        if input.len() > CATALOG_BYTES_MAX {
            return Err(DecodeError::Invalid { field: "length of catalog" });
        }
        let mut reader = Reader::new(input);
        let format = match reader.u8("catalog format")? {
            format @ (FORMAT | FORMAT_WITH_BRANCHES | FORMAT_WITH_SHAPES) => format,
            tag => return Err(DecodeError::UnknownTag { field: "catalog format", tag }),
        };
        let cluster = reader.take(16, "cluster")?.try_into().expect("took 16 bytes");
        let mut catalog = Self::new(ClusterId(cluster));
        catalog.revision = reader.varint("revision")?;
        catalog.replicas = narrow(reader.varint("replicas")?, "replicas")?;
        let reader = &mut reader;
        each(reader, 19, NODES_MAX, "nodes", |id, reader| {
            catalog.put_node(Node::decode(NodeId(id), reader)?);
            Ok(())
        })?;
        each(reader, 9, TABLES_MAX, "tables", |id, reader| {
            catalog.put_table(Table::decode(TableId(narrow(id, "table")?), reader)?);
            Ok(())
        })?;
        each(reader, 7, SHARDS_MAX, "shards", |id, reader| {
            catalog.put_shard(ShardPlace::decode(ShardId(id), reader)?);
            Ok(())
        })?;
        if format != FORMAT {
            // One form: what there is none of is not written.
            if format == FORMAT_WITH_BRANCHES && reader.rest().first() == Some(&0) {
                return Err(DecodeError::Invalid { field: "branches" });
            }
            each(reader, 4, TABLES_MAX, "branches", |id, reader| {
                catalog.put_origin(TableId(narrow(id, "branch")?), Origin::decode(reader)?);
                Ok(())
            })?;
        }
        if format == FORMAT_WITH_SHAPES {
            if reader.rest().starts_with(&[0, 0]) {
                return Err(DecodeError::Invalid { field: "shapes" });
            }
            each(reader, 4, SHARDS_MAX, "shapes", |id, reader| {
                let place =
                    catalog.shards.get(&ShardId(id)).ok_or(DecodeError::Invalid { field: "shape of no shard" })?;
                let place = ShardPlace { shape: Shape::decode(reader)?, ..place.clone() };
                catalog.put_shard(place);
                Ok(())
            })?;
            each(reader, 2, NODES_MAX, "states of nodes", |id, reader| {
                let node = catalog.nodes.get(&NodeId(id)).ok_or(DecodeError::Invalid { field: "state of no node" })?;
                let node = Node { state: NodeState::decode(reader)?, ..node.clone() };
                catalog.put_node(node);
                Ok(())
            })?;
        }
        reader.finish("catalog")?;
        catalog.check().map_err(|field| DecodeError::Invalid { field })?;
        Ok(catalog)
    }
}

/// Reads a counted list of at most `most` things with rising ids, each of at least `bytes_each` bytes.
fn each(
    reader: &mut Reader<'_>,
    bytes_each: usize,
    most: usize,
    field: &'static str,
    mut one: impl FnMut(u64, &mut Reader<'_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let count = reader.count(bytes_each, field)?;
    if count > most {
        return Err(DecodeError::Invalid { field });
    }
    let mut last = None;
    for _ in 0..count {
        let id = reader.varint(field)?;
        if last.is_some_and(|last| last >= id) {
            return Err(DecodeError::Invalid { field });
        }
        last = Some(id);
        one(id, reader)?;
    }
    Ok(())
}

fn narrow(number: u64, field: &'static str) -> Result<u32, DecodeError> {
    u32::try_from(number).map_err(|_| DecodeError::Invalid { field })
}
