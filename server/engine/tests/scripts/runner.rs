//! Plays scripts over a store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;

use goldenscript::Context;
use lentic_engine::gc::{GcHandle, GcRules};
use lentic_engine::keys::{data, sys};
use lentic_engine::store::Change;
use lentic_engine::{
    Batch, Direction, Family, Found, Head, Mask, MaskSet, MemStore, ReadAt, ReadStats, Record, ScanLimits, Store, write,
};
use lentic_types::{Expiry, GroupId, Index, KeyRange, TableId, Version};

use crate::command::Command;
use crate::notation::{self, Cell, Kind};

/// The table that commands without a prefix mean.
const TABLE: TableId = TableId(7);
const GROUP: GroupId = GroupId(3);

type Output = Result<String, Box<dyn Error>>;

/// A store, and what else a replica keeps in memory.
pub(crate) struct Runner {
    store: MemStore,
    gc: GcHandle,
    /// What follows from the log, by index: a crash goes back in it.
    logged: Vec<Logged>,
}

#[derive(Clone, Default)]
struct Logged {
    masks: MaskSet,
    rules: Option<GcRules>,
}

impl Runner {
    pub(crate) fn new() -> Self {
        Self { store: MemStore::new(), gc: GcHandle::new(), logged: vec![Logged::default()] }
    }

    fn now(&self) -> &Logged {
        self.logged.last().expect("index 0 is always there")
    }

    /// Writes an entry of the log, and returns its index.
    fn commit(&mut self, mut batch: Batch, after: Logged) -> Result<Index, Box<dyn Error>> {
        let index = Index(self.logged.len() as u64);
        sys::put_applied(&mut batch, GROUP, index);
        self.store.write(&batch)?;
        self.logged.push(after);
        Ok(index)
    }

    fn write(&mut self, table: TableId, key: &[u8], version: Version, record: &Record<'_>) -> Output {
        let mut batch = Batch::new();
        write::record(&mut batch, table, key, version, record);
        self.commit(batch, self.now().clone())?;
        Ok(String::new())
    }

    fn read_at(&self, table: TableId, version: Version) -> ReadAt<'_> {
        ReadAt { table, version, masks: &self.now().masks, layers: &[] }
    }

    fn get(&self, table: TableId, cell: &Cell, kind: Kind, context: &Context) -> Output {
        let mut stats = ReadStats::default();
        let found = self.read_at(table, cell.version).get(&self.store, &cell.key, &mut stats)?;
        Ok(format!("{} → {}{}\n", name(&cell.key, cell.version), value(kind, found), cost(context, &stats)))
    }

    fn multi_get(&self, at: &ReadAt<'_>, keys: &[Vec<u8>], kind: Kind, context: &Context) -> Output {
        let mut stats = ReadStats::default();
        let all = at.multi_get(&self.store, keys, &mut stats)?;
        assert_eq!(all.len(), keys.len(), "an answer for each key");
        let mut out = String::new();
        for (key, found) in keys.iter().zip(all) {
            writeln!(out, "{} → {}", name(key, at.version), value(kind, found))?;
        }
        Ok(out + cost(context, &stats).trim_start())
    }

    fn head(&self, table: TableId, cell: &Cell, context: &Context) -> Output {
        let mut stats = ReadStats::default();
        let head = self.read_at(table, cell.version).head(&self.store, &cell.key, &mut stats)?;
        let version = head.version().map_or_else(String::new, notation::version);
        let head = match &head {
            Head::Absent => "absent".to_owned(),
            Head::Put { value, .. } => format!("put {} ({version})", notation::value(Kind::Bytes, value)),
            Head::Operand { operator, depth, folded_bytes, .. } => {
                format!("{} depth {depth}, {folded_bytes} bytes ({version})", notation::operator_name(*operator))
            }
        } + &notation::until(head.expiry());
        Ok(format!("{} → {head}{}\n", name(&cell.key, cell.version), cost(context, &stats)))
    }

    fn merge(&mut self, table: TableId, version: Version, merge: &write::Merge<'_>, context: &Context) -> Output {
        let (mut batch, mut stats) = (Batch::new(), ReadStats::default());
        let at = self.read_at(table, version);
        let head = at.head(&self.store, merge.key, &mut stats)?;
        let cell = name(merge.key, version);
        if let Err(reason) = write::merge(&mut batch, &self.store, &at, &head, merge, &mut stats)? {
            assert!(batch.is_empty(), "a refused merge stores nothing");
            return Ok(format!("{cell} refused: {reason}{}\n", cost(context, &stats)));
        }
        let Change::Put(_, _, record) = batch.change(0) else { panic!("a merge leaves a record") };
        let record = notation::record(merge.operator.into(), &Record::decode(record)?);
        self.commit(batch, self.now().clone())?;
        Ok(format!("{cell} = {record}{}\n", cost(context, &stats)))
    }

    fn scan(&self, at: &ReadAt<'_>, range: KeyRange, limits: &ScanLimits, kind: Kind, context: &Context) -> Output {
        let direction = if context.tags.contains("reverse") { Direction::Reverse } else { Direction::Forward };
        let (mut out, mut rest) = (String::new(), Some(range));
        while let Some(range) = rest.take() {
            let mut stats = ReadStats::default();
            let page = at.scan(&self.store, &range, direction, limits, &mut stats)?;
            for row in page.rows {
                writeln!(out, "{} → {}", notation::text(&row.key), value(kind, Some(row.found)))?;
            }
            let left = page.rest.as_ref().map_or_else(|| "end".to_owned(), |r| format!("rest {}", notation::range(r)));
            writeln!(out, "{left}{}", cost(context, &stats))?;
            rest = page.rest.filter(|_| context.tags.contains("pages"));
        }
        Ok(out)
    }

    fn rollback(&mut self, mask: Mask) -> Result<(), Box<dyn Error>> {
        let mut after = self.now().clone();
        after.masks.add(mask);
        let rules = after.rules.as_mut().map(|rules| {
            // A replica stages its rules anew when its masks change.
            rules.masks = after.masks.clone();
            rules.clone()
        });
        let index = self.commit(Batch::new(), after)?;
        rules.into_iter().for_each(|rules| self.gc.stage(GROUP, index, Some(rules)));
        Ok(())
    }

    fn dump(&self, kind: Kind, context: &Context) -> Output {
        let mut out = String::new();
        for (key, bytes) in self.store.entries(Family::Data) {
            writeln!(out, "{}", entry(kind, &key, &bytes)?)?;
            if context.tags.contains("raw") {
                writeln!(out, "  {} = {}", notation::hex(&key), notation::hex(&bytes))?;
            }
        }
        Ok(if out.is_empty() { "no records\n".to_owned() } else { out })
    }

    fn stage(&mut self, rules: GcRules) -> Output {
        let after = Logged { rules: Some(rules.clone()), ..self.now().clone() };
        let index = self.commit(Batch::new(), after)?;
        self.gc.stage(GROUP, index, Some(rules));
        Ok(format!("rules of index {}\n", index.0))
    }

    fn compact(&mut self) -> Output {
        let before: BTreeMap<_, _> = self.store.entries(Family::Data).into_iter().collect();
        let tables = before.keys().map(|key| table_of(key)).collect::<Result<BTreeSet<_>, _>>()?;
        for table in tables {
            self.store.compact(table, &KeyRange::all(), &self.gc);
        }
        let after: BTreeMap<_, _> = self.store.entries(Family::Data).into_iter().collect();
        assert!(after.keys().all(|key| before.contains_key(key)), "GC adds nothing");
        let mut out = String::new();
        for (key, old) in &before {
            match after.get(key) {
                None => writeln!(out, "drop {}", entry(Kind::Bytes, key, old)?)?,
                Some(new) if new != old => writeln!(out, "bury {}", entry(Kind::Bytes, key, old)?)?,
                Some(_) => {}
            }
        }
        Ok(if out.is_empty() { "all kept\n".to_owned() } else { out })
    }

    fn crash(&mut self, keep: usize) -> Output {
        let (store, before) = (self.store.crash(keep), self.logged.len() - 1);
        *self = Self { store, gc: GcHandle::new(), logged: std::mem::take(&mut self.logged) };
        let applied = sys::applied(&self.store, GROUP)?;
        self.logged.truncate(usize::try_from(applied.0)? + 1);
        // As a replica does that opens its store: its rules are those of the state it finds.
        self.gc.stage(GROUP, applied, self.now().rules.clone());
        Ok(format!("back at index {} of {before}\n", applied.0))
    }

    fn promote(&self) -> Output {
        self.gc.promote(|group| self.store.durable_applied(group))?;
        Ok(format!("durable up to index {}\n", self.store.durable_applied(GROUP)?.0))
    }
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Output {
        let table = match &context.prefix {
            None => TABLE,
            Some(prefix) => TableId(prefix.strip_prefix('t').ok_or("expected a prefix such as t8:")?.parse()?),
        };
        let whole =
            |range: &Option<notation::Range>| range.as_ref().map_or_else(KeyRange::all, |range| range.0.clone());
        match command {
            Command::Put { cell, value, until, times } => {
                let record = Record::Put { value: &value.0, expiry: until.map(Expiry) };
                for version in versions(cell, *times) {
                    self.write(table, &cell.key, version, &record)?;
                }
                Ok(String::new())
            }
            Command::Delete(cells) => {
                cells.iter().map(|cell| self.write(table, &cell.key, cell.version, &Record::Delete)).collect()
            }
            Command::Merge { cell, operator, operand, until, times } => {
                let expiry = until.map(Expiry);
                let merge = write::Merge { key: &cell.key, operator: operator.0, operand: &operand.0, expiry };
                versions(cell, *times).map(|version| self.merge(table, version, &merge, context)).collect()
            }
            Command::Rollback { range, to, at } => {
                self.rollback(Mask { range: whole(range), from: to.0, end: at.0 })?;
                Ok(String::new())
            }
            Command::Get { cells, kind } => cells.iter().map(|cell| self.get(table, cell, *kind, context)).collect(),
            Command::MultiGet { keys, at, kind } => {
                let keys: Vec<_> = keys.iter().map(|key| key.0.clone()).collect();
                self.multi_get(&self.read_at(table, at.0), &keys, *kind, context)
            }
            Command::Head(cells) => cells.iter().map(|cell| self.head(table, cell, context)).collect(),
            Command::Scan { range, at, rows, bytes, steps, kind } => {
                let all = ScanLimits::default();
                let limits = ScanLimits {
                    rows_max: rows.unwrap_or(all.rows_max),
                    bytes_max: bytes.unwrap_or(all.bytes_max),
                    steps_max: steps.unwrap_or(all.steps_max),
                };
                let at = self.read_at(table, at.map_or(Version::MAX, |at| at.0));
                self.scan(&at, whole(range), &limits, *kind, context)
            }
            Command::Dump { kind } => self.dump(*kind, context),
            Command::Stage { range, watermark, pins } => {
                let (masks, pins) = (self.now().masks.clone(), pins.0.clone());
                self.stage(GcRules {
                    table,
                    range: whole(range),
                    watermark: watermark.0,
                    pins,
                    masks,
                    is_branch: false,
                })
            }
            Command::Promote => self.promote(),
            Command::Compact => self.compact(),
            Command::Collect => {
                self.store.flush()?;
                self.promote()?;
                self.compact()
            }
            Command::Flush => Ok(self.store.flush().map(|()| String::new())?),
            Command::Crash { keep } => self.crash(*keep),
        }
    }
}

/// The versions that a command with `times` writes at.
fn versions(cell: &Cell, times: Option<u64>) -> impl Iterator<Item = Version> {
    let first = cell.version;
    let after = move |n| Version::tick(first.ms() + n, 0).expect("scripts are short");
    (0..times.unwrap_or(1)).map(move |n| if n == 0 { first } else { after(n) })
}

fn name(key: &[u8], version: Version) -> String {
    format!("{}{}", notation::text(key), notation::version(version))
}

fn table_of(key: &[u8]) -> Result<TableId, Box<dyn Error>> {
    Ok(data::decode_prefix(data::split(key)?.0)?.0)
}

/// Prints an entry of the store.
fn entry(kind: Kind, key: &[u8], bytes: &[u8]) -> Output {
    let (prefix, version) = data::split(key)?;
    let (table, user_key) = data::decode_prefix(prefix)?;
    let table = if table == TABLE { String::new() } else { format!("{table}: ") };
    Ok(format!("{table}{} = {}", name(&user_key, version), notation::record(kind, &Record::decode(bytes)?)))
}

fn value(kind: Kind, found: Option<Found>) -> String {
    let Some(Found { version, value, expiry }) = found else { return "none".to_owned() };
    format!("{} ({}){}", notation::value(kind, &value), notation::version(version), notation::until(expiry))
}

/// With the tag `stats`: what a read cost.
fn cost(context: &Context, ReadStats { records, seeks }: &ReadStats) -> String {
    if !context.tags.contains("stats") {
        return String::new();
    }
    format!(" [{records} {}, {seeks} {}]", plural(*records, "record"), plural(*seeks, "seek"))
}

fn plural(count: u64, thing: &str) -> String {
    if count == 1 { thing.to_owned() } else { format!("{thing}s") }
}
