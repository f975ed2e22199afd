//! The meta group's state as scripts print it: outcomes, the catalog, pins, and the rows of the store.

use lentic_engine::keys::sys;
use lentic_machine::meta::{GROUP, NodeState, PinKind, Pins, Splitting, TableOptions};
use lentic_machine::{Catalog, MetaApplied, MetaOutcome};
use lentic_types::Version;
use lentic_types::codec::{DecodeError, Reader};

use crate::notation::{Kind, range, text, value, version};

pub(crate) fn print(applied: &MetaApplied, catalog: &Catalog) -> String {
    let reply = match &applied.reply {
        MetaOutcome::Node(node) => node.to_string(),
        MetaOutcome::Table { table, created } => format!("{table} {}", if *created { "created" } else { "exists" }),
        MetaOutcome::Dropped { table, shards } => format!("{table} dropped, {}", list(shards)),
        MetaOutcome::Window(end) => format!("window {}", version(*end)),
        MetaOutcome::Clients { first, count } => format!("{count} from {first}"),
        MetaOutcome::Splitting { child } => format!("{child} shall be split off"),
        MetaOutcome::Done => "done".to_owned(),
        MetaOutcome::Pinned { pin, version: at } => format!("{pin} at {}", version(*at)),
        MetaOutcome::Swept { floor, gone } => format!("{gone} gone, floor {}", version(*floor)),
        MetaOutcome::Refused(refusal) => format!("refused {}: {refusal}", refusal.kind().word()),
    };
    let revision = if applied.catalog_changed { format!(", catalog {}", catalog.revision) } else { String::new() };
    format!("{reply}{revision}\n")
}

fn list<T: std::fmt::Display>(things: &[T]) -> String {
    things.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

pub(crate) fn catalog(catalog: &Catalog) -> String {
    let mut lines = vec![format!("revision {}, {} replicas", catalog.revision, catalog.replicas)];
    for node in catalog.nodes.values() {
        let (id, at) = (node.node, if node.http_address.is_empty() { "-" } else { &node.http_address });
        let state = match node.state {
            NodeState::Active => "",
            NodeState::Draining => " draining",
            NodeState::Removed => " removed",
        };
        lines.push(format!("{id} {} {at} {}{state}", node.address, incarnation(&node.incarnation)));
    }
    for table in catalog.tables.values() {
        let TableOptions { shards, split_points, retention_ms, replicas, ttl_ms } = &table.options;
        let points: Vec<_> = split_points.iter().map(|point| text(point)).collect();
        let options = format!("{shards} shards [{}], {retention_ms} ms, {replicas} replicas", points.join(" "));
        let options = options + &lives(*ttl_ms);
        let of = catalog.branches.get(&table.table);
        let of =
            of.map_or_else(String::new, |of| format!(", of {} at {} by {}", of.table, version(of.version), of.pin));
        lines.push(format!("{} {}: {options}{of}", table.table, table.name));
        lines.extend(catalog.shards_of(table.table).map(|place| {
            let home = catalog.home_of(place).filter(|home| *home != place.shard);
            let home = home.map_or_else(String::new, |home| format!(" with {home}"));
            let mut shape = String::new();
            if !place.shape.leaving.is_empty() {
                shape = format!(", leaving {}", list(&place.shape.leaving));
            }
            if let Some(Splitting { at, child }) = &place.shape.splitting {
                shape += &format!(", {child} from {} on", text(at));
            }
            let on = list(&place.replicas);
            format!("  {} {} {} on {on}{shape}{home}", place.shard, range(&place.range), place.epoch)
        }));
    }
    lines.join("\n") + "\n"
}

pub(crate) fn pins(pins: &Pins) -> String {
    let mut lines =
        vec![format!("revision {}, floor {}, {} given", pins.revision(), version(pins.floor()), pins.given())];
    for pin in pins.iter() {
        let kind = match pin.kind {
            PinKind::Snapshot => "snapshot",
            PinKind::Checkpoint => "checkpoint",
            PinKind::Branch => "branch",
        };
        let owner = if pin.owner.is_empty() { String::new() } else { format!(" of {}", pin.owner) };
        let spans: Vec<_> = pin.spans.iter().map(|span| format!("{} {}", span.table, range(&span.range))).collect();
        let until = pin.expires.map_or_else(String::new, |end| format!(", until {}", version(end)));
        let (id, name, at, made) = (pin.pin, &pin.name, version(pin.version), version(pin.created));
        lines.push(format!("{id} {kind} {name}{owner}: {} at {at}, made {made}{until}", spans.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// Prints an incarnation without its padding.
fn incarnation(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().trim_end_matches("\\x00").to_owned()
}

/// Prints an entry of the store, decoded as the formats are documented and not by the machine's own code.
pub(crate) fn row(key: &[u8], value: &[u8]) -> Result<String, DecodeError> {
    let (mut name, mut reader) = (Reader::new(key), Reader::new(value));
    let value = &mut reader;
    assert_eq!(name.u64_be("group")?, GROUP.0);
    if key == sys::applied_key(GROUP) {
        return Ok(format!("applied i{}", value.varint("applied")?));
    }
    assert_eq!(name.u8("kind")?, 0x08);
    let line = match name.u8("row")? {
        0x01 => {
            let cluster = value.take(16, "cluster")?.escape_ascii();
            format!("cluster {cluster}, revision {}, {} replicas", value.varint("revision")?, value.varint("replicas")?)
        }
        0x02 => {
            let mut next = || value.varint("counter");
            format!("next n{} t{} s{} c{}", next()?, next()?, next()?, next()?)
        }
        0x03 => format!("window {}", version(Version(value.varint("window")?))),
        0x04 => {
            let (revision, floor) = (value.varint("revision")?, value.varint("floor")?);
            let given = value.varint("given")?;
            format!("pins: revision {revision}, floor {}, {given} given", version(Version(floor)))
        }
        0x13 => {
            let (pin, kind) = (name.u64_be("pin")?, value.u8("kind")?);
            let (called, owner) = (text(value.bytes("name")?), text(value.bytes("owner")?));
            let nonce = incarnation(value.take(16, "nonce")?);
            let mut line = format!("pin {pin}: kind {kind}, {called} of {owner}, {nonce},");
            for _ in 0..value.varint("spans")? {
                let (table, has_end) = (value.varint("table")?, value.bool("has end")?);
                let start = value.bytes("start")?.escape_ascii();
                let end = if has_end { value.bytes("end")?.escape_ascii().to_string() } else { String::new() };
                line += &format!(" t{table} {start}..{end}");
            }
            let mut at = || value.varint("version").map(|at| version(Version(at)));
            line += &format!(" at {}, made {}", at()?, at()?);
            if value.bool("lease")? {
                line += &format!(", until {}", version(Version(value.varint("end")?)));
            }
            line
        }
        0x10 => {
            let node = name.u64_be("node")?;
            let (address, http) = (value.bytes("address")?, text(value.bytes("http")?));
            let incarnation = incarnation(value.take(16, "incarnation")?);
            format!("node {node}: {} {http} {incarnation}", self::value(Kind::Bytes, address))
        }
        0x11 => {
            let (table, called) = (name.u32_be("table")?, text(value.bytes("name")?));
            let shards = value.varint("shards")?;
            let points = (0..value.varint("points")?).map(|_| value.bytes("point").map(text));
            let points = points.collect::<Result<Vec<_>, _>>()?.join(" ");
            let (retention, replicas) = (value.varint("retention")?, value.varint("replicas")?);
            let lives = lives(value.varint("ttl")?);
            format!("table {table}: {called}, {shards} shards [{points}], {retention} ms, {replicas} replicas{lives}")
        }
        0x12 => {
            let (shard, table, epoch) = (name.u64_be("shard")?, value.varint("table")?, value.varint("epoch")?);
            let has_end = value.bool("has end")?;
            let start = value.bytes("start")?.escape_ascii();
            let end = if has_end { value.bytes("end")?.escape_ascii().to_string() } else { String::new() };
            let nodes = (0..value.varint("nodes")?).map(|_| value.varint("node").map(|node| format!(" n{node}")));
            let nodes = nodes.collect::<Result<Vec<_>, _>>()?.concat();
            format!("shard {shard}: t{table} e{epoch} {start}..{end} on{nodes}")
        }
        0x15 => {
            let (table, of) = (name.u32_be("branch")?, value.varint("parent")?);
            let at = version(Version(value.varint("version")?));
            format!("branch t{table}: of t{of} at {at} by p{}", value.varint("pin")?)
        }
        0x16 => {
            let (shard, born) = (name.u64_be("shard")?, value.varint("born")?);
            let nodes = (0..value.varint("leaving")?).map(|_| value.varint("node").map(|node| format!(" n{node}")));
            let nodes = nodes.collect::<Result<Vec<_>, _>>()?.concat();
            let mut splits = value.bool("splitting")?.to_string();
            if splits == "true" {
                splits = format!("from {} on", text(value.bytes("key")?));
                splits += &format!(": s{}", value.varint("child")?);
            }
            format!("shape of shard {shard}: born {born}, leaving{nodes}, splitting {splits}")
        }
        0x17 => format!("state of node {}: {}", name.u64_be("node")?, value.u8("state")?),
        tag => return Err(DecodeError::UnknownTag { field: "row", tag }),
    };
    name.finish("key")?;
    reader.finish("value").map(|()| line)
}

/// How long values live by themselves, if not for ever.
fn lives(ttl_ms: u64) -> String {
    if ttl_ms == 0 { String::new() } else { format!(", ttl {ttl_ms} ms") }
}
