//! A table with its shards, as `create` and `show` answer.

use std::time::Duration;

use lentic_client::{ShardDescription, TableDescription, TableEntry};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::output::{Align, Answer, Table, bytes_member};
use crate::text::{Span, Strict};

/// A table's name and options.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TableRow {
    table: u32,
    name: String,
    /// `None`: the server's choice.
    retention_ms: Option<u64>,
    /// `None`: the cluster's choice.
    replicas: Option<u32>,
    /// `None`: values live for ever.
    ttl_ms: Option<u64>,
    branch_of: Option<BranchRow>,
}

/// What a branch continues.
#[derive(Clone, Debug, Serialize)]
struct BranchRow {
    name: String,
    version: u64,
}

impl TableRow {
    pub(super) fn new(entry: &TableEntry) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            table: entry.table.0,
            name: entry.name.clone(),
            retention_ms: entry.options.retention.map(ms),
            replicas: (entry.options.replicas > 0).then_some(entry.options.replicas),
            ttl_ms: entry.options.ttl.map(ms),
            branch_of: entry.branch_of.as_ref().map(|of| BranchRow { name: of.name.clone(), version: of.version.0 }),
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let retention = self.retention_ms.map(|ms| Span::from_ms(ms).to_string());
        let replicas = self.replicas.map(|replicas| replicas.to_string());
        let by_default = || "default".to_owned();
        vec![
            self.name.clone(),
            format!("t{}", self.table),
            retention.unwrap_or_else(by_default),
            replicas.unwrap_or_else(by_default),
            self.ttl_ms.map_or_else(|| "none".to_owned(), |ms| Span::from_ms(ms).to_string()),
            self.branch_of.as_ref().map(|of| format!("{} at v{}", of.name, of.version)).unwrap_or_default(),
        ]
    }

    /// Name, number, retention in milliseconds, replicas, TTL in milliseconds, and of a branch its parent and its version.
    pub(super) fn plain(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        vec![
            Strict(self.name.as_bytes()).to_string(),
            self.table.to_string(),
            number(self.retention_ms),
            number(self.replicas.map(u64::from)),
            number(self.ttl_ms),
            self.branch_of.as_ref().map(|of| Strict(of.name.as_bytes()).to_string()).unwrap_or_default(),
            number(self.branch_of.as_ref().map(|of| of.version)),
        ]
    }
}

/// A shard and where it is.
#[derive(Clone, Debug)]
pub(crate) struct ShardRow<'a> {
    /// The table's name, where that is not clear.
    pub(crate) table: Option<&'a str>,
    pub(crate) shard: &'a ShardDescription,
}

impl Serialize for ShardRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ShardDescription { shard, epoch, range, replicas, leader, leader_address, .. } = self.shard;
        let mut map = serializer.serialize_map(None)?;
        if let Some(table) = self.table {
            map.serialize_entry("table", table)?;
        }
        map.serialize_entry("shard", &shard.0)?;
        map.serialize_entry("epoch", &epoch.0)?;
        bytes_member(&mut map, "start", range.start())?;
        match range.end() {
            Some(end) => bytes_member(&mut map, "end", end)?,
            None => map.serialize_entry("end", &None::<&str>)?,
        }
        map.serialize_entry("replicas", &replicas.iter().map(|node| node.0).collect::<Vec<_>>())?;
        map.serialize_entry("leader", &leader.map(|node| node.0))?;
        map.serialize_entry("leader_address", &leader_address.as_ref().map(|address| &*address.0))?;
        map.end()
    }
}

impl ShardRow<'_> {
    fn cells(&self) -> Vec<String> {
        let ShardDescription { shard, range, replicas, leader, .. } = self.shard;
        let replicas: Vec<String> = replicas.iter().map(ToString::to_string).collect();
        let mut cells = vec![shard.to_string()];
        cells.extend(self.table.map(str::to_owned));
        cells.push(leader.map_or_else(|| "none".to_owned(), |node| node.to_string()));
        cells.push(replicas.join(" "));
        cells.push(if range.start().is_empty() { "..".to_owned() } else { Strict(range.start()).to_string() });
        cells.push(range.end().map_or_else(|| "..".to_owned(), |end| Strict(end).to_string()));
        cells
    }

    /// Shard, epoch, leader, replicas, start, end.
    pub(crate) fn plain(&self) -> Vec<String> {
        let ShardDescription { shard, epoch, range, replicas, leader, .. } = self.shard;
        let replicas: Vec<String> = replicas.iter().map(|node| node.0.to_string()).collect();
        vec![
            shard.0.to_string(),
            epoch.0.to_string(),
            leader.map(|node| node.0.to_string()).unwrap_or_default(),
            replicas.join(","),
            Strict(range.start()).to_string(),
            range.end().map(|end| Strict(end).to_string()).unwrap_or_default(),
        ]
    }
}

/// Shards for people. All of them have their table, or none.
pub(crate) fn shard_table<'a>(shards: impl IntoIterator<Item = ShardRow<'a>>) -> String {
    let mut shards = shards.into_iter().peekable();
    let mut columns = vec![("SHARD", Align::Left)];
    if shards.peek().is_some_and(|shard| shard.table.is_some()) {
        columns.push(("TABLE", Align::Left));
    }
    columns.extend([("LEADER", Align::Left), ("REPLICAS", Align::Left), ("FROM", Align::Left), ("TO", Align::Left)]);
    let mut table = Table::new(&columns);
    shards.for_each(|shard| table.push(shard.cells()));
    table.rendered()
}

/// A table with its shards.
#[derive(Serialize)]
pub(super) struct Described<'a> {
    #[serde(flatten)]
    table: TableRow,
    shards: Vec<ShardRow<'a>>,
}

impl<'a> Described<'a> {
    pub(super) fn new(description: &'a TableDescription) -> Self {
        let shards = description.shards.iter().map(|shard| ShardRow { table: None, shard }).collect();
        Self { table: TableRow::new(&description.table), shards }
    }
}

impl Answer for Described<'_> {
    fn human(&self) -> String {
        let [name, table, retention, replicas, ttl, of] =
            <[String; 6]>::try_from(self.table.cells()).expect("six cells");
        let of = if of.is_empty() { of } else { format!(", branch of {of}") };
        let shards = self.shards.len();
        format!(
            "table {name} ({table}), shards: {shards}, replicas: {replicas}, retention: {retention}, ttl: {ttl}{of}\n"
        ) + &shard_table(self.shards.iter().cloned())
    }

    fn plain(&self) -> Vec<Vec<String>> {
        self.shards.iter().map(ShardRow::plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use lentic_client::{Address, BranchOf, Epoch, KeyRange, NodeId, ShardId, TableId, TableOptions, Version};

    #[test]
    fn a_table_is_shown_with_its_shards() {
        let shard = |shard, range: KeyRange, leader: Option<u64>| ShardDescription {
            shard: ShardId(shard),
            epoch: Epoch(1),
            table: TableId(4),
            range,
            replicas: vec![NodeId(1), NodeId(2)],
            leader: leader.map(NodeId),
            leader_address: leader.map(|_| Address::from("http://a:1")),
        };
        let shards = vec![
            shard(7, KeyRange::new("", Some(&b"m\xff"[..])).unwrap(), Some(2)),
            shard(8, KeyRange::new(&b"m\xff"[..], None::<&str>).unwrap(), None),
        ];
        let table = TableEntry {
            table: TableId(4),
            name: "default.t".to_owned(),
            options: TableOptions::default(),
            branch_of: None,
        };
        let branch_of = Some(BranchOf { name: "default.a".to_owned(), version: Version(7) });
        let branch = TableEntry { branch_of, ..table.clone() };
        let [human, ..] = shapes_of(&Described::new(&TableDescription { table: branch, shards: Vec::new() }));
        assert!(human.starts_with(
            "table default.t (t4), shards: 0, replicas: default, retention: default, ttl: none, branch of default.a at v7\n"
        ));
        let [human, plain, json] = shapes_of(&Described::new(&TableDescription { table, shards }));
        assert_eq!(
            human,
            "table default.t (t4), shards: 2, replicas: default, retention: default, ttl: none\n\
             SHARD  LEADER  REPLICAS  FROM   TO\n\
             s7     n2      n1 n2     ..     m\\xff\n\
             s8     none    n1 n2     m\\xff  ..\n"
        );
        assert_eq!(plain, "7\t1\t2\t1,2\t\tm\\xff\n8\t1\t\t1,2\tm\\xff\t\n");
        assert_eq!(
            json,
            "{\"table\":4,\"name\":\"default.t\",\"retention_ms\":null,\"replicas\":null,\"ttl_ms\":null,\"branch_of\":null,\
             \"shards\":[\
             {\"shard\":7,\"epoch\":1,\"start\":\"\",\"end_hex\":\"6dff\",\"replicas\":[1,2],\"leader\":2,\
             \"leader_address\":\"http://a:1\"},\
             {\"shard\":8,\"epoch\":1,\"start_hex\":\"6dff\",\"end\":null,\"replicas\":[1,2],\"leader\":null,\
             \"leader_address\":null}]}\n"
        );
    }
}
