//! How scripts print outcomes, events, state and the entries of the store.

use lentic_engine::feed::FeedEvent;
use lentic_engine::gc::GcRules;
use lentic_engine::keys::data;
use lentic_engine::{Found, ReadStats, Record};
use lentic_machine::shard::{Stats, Token};
use lentic_machine::{Event, Outcome, Refusal, Shard};
use lentic_types::codec::{DecodeError, Reader};
use lentic_types::{GroupId, Version};

use crate::notation::{self, Kind, range, text, version};
use crate::print_txn;
use crate::runner::TABLE;

/// Prints a token.
fn token(token: Token) -> String {
    format!("f{}", version(token.0))
}

/// Prints what a request was told.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Committed { version: at } => format!("committed {}", version(*at)),
        Outcome::Taken { token: given } => format!("taken {}", token(*given)),
        Outcome::Released => "released".to_owned(),
        Outcome::Raised { watermark } => format!("raised {}", version(*watermark)),
        Outcome::Prepared(prepared) => print_txn::prepared(prepared),
        Outcome::Decided(decided) => format!("decided {}", print_txn::decision(*decided)),
        Outcome::Resolved => "resolved".to_owned(),
        Outcome::Status(status) => format!("status: {}", print_txn::status(status)),
        Outcome::Refused(refusal) => format!("refused {}: {}", refusal.kind().word(), details(refusal)),
    }
}

fn details(refusal: &Refusal) -> String {
    match refusal {
        Refusal::ConditionFailed { position, found } => {
            format!("condition {position}, found {}", found.map_or_else(|| "nothing".to_owned(), version))
        }
        Refusal::Fenced { newest } => {
            newest.map_or_else(|| "no owner".to_owned(), |newest| format!("owner has {}", token(newest)))
        }
        Refusal::Owned { owner } => format!("owner is {}", text(owner)),
        Refusal::WrongKind { position } | Refusal::TooLarge { position } => format!("operation {position}"),
        Refusal::VersionTooOld { watermark } => format!("watermark {}", version(*watermark)),
        Refusal::VersionTooNew { newest } => format!("newest {}", version(*newest)),
        Refusal::WrongEpoch { epoch } => format!("shard is at {epoch}"),
        Refusal::Conflict { position } => format!("condition {position}"),
        Refusal::Blocked { holder } => format!("by {}", print_txn::id(*holder)),
        // What these say is all they say.
        Refusal::Invalid(_)
        | Refusal::AnswerForgotten
        | Refusal::OutOfRange
        | Refusal::TxnEnded
        | Refusal::LocksFull => refusal.to_string(),
    }
}

/// Prints what others hear of.
pub(crate) fn event(event: &Event) -> String {
    let GcRules { range: keys, watermark, pins, masks, .. } = match event {
        Event::GcRulesChanged(rules) => rules,
        Event::LocksChanged(changes) => return print_txn::lock_changes(changes),
        Event::RiderCame(shard) => return format!("event: {shard} rides here"),
        Event::RiderLeft(shard) => return format!("event: {shard} has left"),
        Event::Divided(split) => return format!("event: {} from {} on", split.child, text(&split.at)),
    };
    let pins: Vec<_> = pins.iter().copied().map(version).collect();
    let masks: Vec<_> = masks.masks().iter().map(mask).collect();
    let all = [("pins", pins), ("masks", masks)]
        .map(|(name, all)| if all.is_empty() { String::new() } else { format!(", {name} {}", all.join(", ")) });
    format!("event: gc rules of {}: watermark {}{}", range(keys), version(*watermark), all.concat())
}

fn mask(mask: &lentic_engine::Mask) -> String {
    format!("{} from {} to {}", range(&mask.range), version(mask.from), version(mask.end))
}

/// Prints what a feed tells.
pub(crate) fn feed_event(event: &FeedEvent) -> String {
    match event {
        FeedEvent::Change { key, version: at, value } => {
            format!("{} {} → {}", version(*at), text(key), found(Kind::Bytes, value.clone()))
        }
        FeedEvent::RolledBack(mask) => {
            format!("{} {} goes back to {}", version(mask.end), range(&mask.range), version(mask.from))
        }
    }
}

/// Prints what an entry did and cost.
pub(crate) fn stats(Stats { committed, refused, repeated, reads }: &Stats) -> String {
    let counts = [(*committed, "committed"), (*refused, "refused"), (*repeated, "repeated")];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    // How much a read costs is for the engine's scripts to say.
    let reads = if *reads == ReadStats::default() { "read nothing" } else { "read the store" };
    counts.chain([reads.to_owned()]).collect::<Vec<_>>().join(", ")
}

/// Prints a shard's state, but for the answers.
pub(crate) fn state(shard: &Shard) -> String {
    let descriptor = shard.descriptor();
    let (keys, watermark) = (range(&descriptor.range), version(descriptor.watermark));
    let ttl = if descriptor.ttl_ms > 0 { format!(", ttl {} ms", descriptor.ttl_ms) } else { String::new() };
    let mut lines = vec![
        format!("{} {} {keys} {}, watermark {watermark}{ttl}", shard.group(), descriptor.table, descriptor.epoch),
        format!("applied {}, newest {}", shard.applied(), version(shard.newest())),
    ];
    lines.extend(
        shard
            .fences()
            .iter()
            .map(|fence| format!("fence {} {} of {}", range(&fence.range), token(fence.token), text(&fence.owner))),
    );
    lines.extend(shard.masks().masks().iter().map(|one| format!("mask {}", mask(one))));
    let pins = shard.pins();
    if !pins.versions().is_empty() {
        let versions: Vec<_> = pins.versions().iter().copied().map(version).collect();
        lines.push(format!("pins {}, as of revision {}", versions.join(" "), pins.revision()));
    }
    lines.extend(print_txn::locks(shard.locks()));
    lines.extend(shard.riders().map(|(rider, revision)| {
        let layers: Vec<_> =
            rider.layers().iter().map(|layer| format!("{} at {}", layer.table, version(layer.version))).collect();
        let (group, table) = (rider.group(), rider.descriptor().table);
        format!("rider {group} {table} of revision {revision}, continues {}", layers.join(", then "))
    }));
    lines.extend(shard.gone_riders().map(|(id, gone)| format!("rider {id} {} gone at {}", gone.table, gone.index)));
    lines.join("\n") + "\n"
}

/// Prints a value as a reader sees it.
pub(crate) fn found(kind: Kind, found: Option<Found>) -> String {
    let Some(Found { version, value, expiry }) = found else { return "none".to_owned() };
    format!("{} ({}){}", notation::value(kind, &value), notation::version(version), notation::until(expiry))
}

/// Prints a record of family data.
pub(crate) fn data_entry(kind: Kind, key: &[u8], value: &[u8]) -> Result<String, DecodeError> {
    let (prefix, at) = data::split(key)?;
    let (table, user_key) = data::decode_prefix(prefix)?;
    let of = if table == TABLE { String::new() } else { format!("{table} ") };
    Ok(format!("{of}{}{} = {}", text(&user_key), version(at), notation::record(kind, &Record::decode(value)?)))
}

/// Prints an entry of family sys, decoded as the formats are documented and not by the machine's own code.
pub(crate) fn sys_entry(group: GroupId, key: &[u8], value: &[u8]) -> Result<String, DecodeError> {
    let mut name = Reader::new(key);
    let mut value = Reader::new(value);
    let reader = &mut value;
    let found = GroupId(name.u64_be("group")?);
    let of = if found == group { String::new() } else { format!("{found}: ") };
    let line = match name.u8("kind")? {
        0x01 => format!("applied i{}", reader.varint("applied")?),
        0x02 => {
            let (table, epoch) = (reader.varint("table")?, reader.varint("epoch")?);
            let watermark = at(reader)?;
            let keys = key_range(reader)?;
            let ttl =
                if reader.rest().is_empty() { String::new() } else { format!(", ttl {} ms", reader.varint("ttl")?) };
            format!("descriptor t{table} e{epoch}, watermark {watermark}, {keys}{ttl}")
        }
        0x03 => {
            let (given, owner) = (at(reader)?, text(reader.bytes("owner")?));
            format!("fence {}: f{given} of {owner}, {}", text(name.rest()), key_range(reader)?)
        }
        0x04 => {
            let end = version(Version(name.u64_be("end")?));
            format!("mask {end} {}: from {}, {}", text(name.rest()), at(reader)?, key_range(reader)?)
        }
        0x06 => format!("stamp {}, horizon {}, age {}", at(reader)?, at(reader)?, reader.varint("age")?),
        0x0b => print_txn::open_entry(name.rest(), reader)?,
        0x0c => {
            let by = version(Version(name.u64_be("by")?));
            format!("ended {} by {by}: {}", print_txn::id_entry(&mut name)?, print_txn::decision_entry(reader)?)
        }
        0x0e => {
            let (revision, count) = (reader.varint("revision")?, reader.varint("count")?);
            let (mut line, mut last) = (format!("pins as of revision {revision}:"), 0);
            for _ in 0..count {
                last += reader.varint("more")?;
                line += &format!(" {}", version(Version(last)));
            }
            line
        }
        0x0f => {
            let (shard, here) = (name.u64_be("rider")?, reader.u8("rider")? == 0x00);
            let revision = reader.varint("revision")?;
            match here {
                true => format!("rider s{shard} of revision {revision}"),
                false => {
                    let (index, table) = (reader.varint("index")?, reader.varint("table")?);
                    format!("rider s{shard} of revision {revision}, gone at i{index}: t{table}, {}", key_range(reader)?)
                }
            }
        }
        0x10 => format!("base g{} at {}", reader.varint("parent")?, at(reader)?),
        0x11 => format!("riders changed at i{}", reader.u64_be("index")?),
        0x12 => format!("born at i{}", reader.varint("born")?),
        0x0d => format!("horizon of transactions {}", at(reader)?),
        0x0a => {
            let mut line = format!("answers i{}", name.u64_be("entry")?);
            for _ in 0..reader.varint("count")? {
                let (client, sequence) = (reader.varint("client")?, reader.varint("sequence")?);
                let (answered, acked) = (at(reader)?, reader.varint("acknowledged")?);
                let (age, outcome) = (reader.varint("age")?, kept_outcome(reader)?);
                line += &format!("\n  c{client}/{sequence}: {answered}, acked below {acked}, age {age}, {outcome}");
            }
            line
        }
        tag => return Err(DecodeError::UnknownTag { field: "kind", tag }),
    };
    value.finish("value").map(|()| of + &line)
}

pub(crate) fn at(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(version(Version(reader.varint("version")?)))
}

pub(crate) fn key_range(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let has_end = reader.bool("has end")?;
    let start = reader.bytes("start")?.escape_ascii();
    let end = if has_end { reader.bytes("end")?.escape_ascii().to_string() } else { String::new() };
    Ok(format!("{start}..{end}"))
}

fn kept_outcome(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(match reader.u8("outcome")? {
        0x01 => format!("committed {}", at(reader)?),
        0x02 => format!("acquired f{}", at(reader)?),
        0x03 => "released".to_owned(),
        0x04 => format!("rolled back f{}", at(reader)?),
        0x05 => format!("raised {}", at(reader)?),
        0x10 => {
            let position = reader.varint("position")?;
            let found = if reader.bool("found")? { at(reader)? } else { "nothing".to_owned() };
            format!("condition {position} failed, found {found}")
        }
        0x11 if reader.bool("newest")? => format!("fenced, owner has f{}", at(reader)?),
        0x11 => "fenced, no owner".to_owned(),
        0x12 => format!("owned by {}", text(reader.bytes("owner")?)),
        0x13 => format!("wrong kind, operation {}", reader.varint("position")?),
        0x14 => format!("too large, operation {}", reader.varint("position")?),
        0x15 => format!("too old, watermark {}", at(reader)?),
        0x16 => format!("too new, newest {}", at(reader)?),
        0x17 => format!("conflict, condition {}", reader.varint("position")?),
        tag => return Err(DecodeError::UnknownTag { field: "outcome", tag }),
    })
}
