//! The bytes of a catalog, as nodes send it to each other.
//!
//! ```text
//! catalog   01 cluster (16 bytes) revision replicas n (node row)* n (table row)* n (shard row)*
//! ```
//!
//! Ids and counts are varints, and ids rise. The rows are those of the store: [`rows`](crate::meta::rows).

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::{CATALOG_BYTES_MAX, NODES_MAX, SHARDS_MAX, TABLES_MAX};
use lentic_types::{ClusterId, NodeId, ShardId, TableId};

use super::{Catalog, Node, Origin, ShardPlace, Table};

const FORMAT: u8 = 0x01;
/// The same with branches behind it.
const FORMAT_WITH_BRANCHES: u8 = 0x02;

/// Most bytes of a catalog without its nodes, tables and shards.
pub(super) const HEADER_BYTES_MAX: usize = 64;

impl Catalog {
    /// The catalog's bytes: at most [`CATALOG_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + self.bytes);
        out.push(if self.branches.is_empty() { FORMAT } else { FORMAT_WITH_BRANCHES });
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
        if !self.branches.is_empty() {
            put_varint(&mut out, self.branches.len() as u64);
        }
        for (branch, origin) in &self.branches {
            put_varint(&mut out, u64::from(branch.0));
            origin.encode(&mut out);
        }
        out.into()
    }

    /// Decodes a catalog's bytes. An error means damage, or a sender of a newer release; keep the catalog at hand.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        if input.len() > CATALOG_BYTES_MAX {
            return Err(DecodeError::Invalid { field: "length of catalog" });
        }
        let mut reader = Reader::new(input);
        let has_branches = match reader.u8("catalog format")? {
            FORMAT => false,
            FORMAT_WITH_BRANCHES => true,
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
        if has_branches {
            if reader.rest().first() == Some(&0) {
                return Err(DecodeError::Invalid { field: "branches" });
            }
            each(reader, 4, TABLES_MAX, "branches", |id, reader| {
                catalog.put_origin(TableId(narrow(id, "branch")?), Origin::decode(reader)?);
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
