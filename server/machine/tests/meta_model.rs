//! Random histories of the meta group, judged by the machine and by a model that searches lists.
//!
//! Three replicas apply the same entries: one writes each entry by itself and is loaded anew now and then, one gathers
//! entries and writes them together, one crashes and comes back. All give the model's answers, and end with the same bytes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::{Batch, Family, MemStore, Store};
use lentic_machine::meta::{Pin, PinKind, PinSpan, TableOptions};
use lentic_machine::{Catalog, Meta, MetaCommand, MetaOutcome, MetaRefusal, invariants};
use lentic_types::{ClientId, ClusterId, Epoch, ErrorKind, KeyRange, NodeId, PinId, ShardId, TableId, Version};
use proptest::prelude::*;

/// What happens to the replicas after an entry.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Nothing,
    /// The first replica is loaded anew.
    Reload,
    /// The second writes what it has gathered.
    Write,
    Flush,
    /// The third comes back with so many of the batches since its last flush.
    Crash(usize),
}

/// Lists, in the order in which things came. Placement is taken from the machine, and judged by its rules.
#[derive(Default)]
struct Model {
    nodes: Vec<([u8; 16], String, String)>,
    /// Names and options of all tables ever; `None` once dropped.
    tables: Vec<Option<(String, TableOptions)>>,
    /// All shards ever; `None` once dropped.
    shards: Vec<Option<Place>>,
    replicas: Option<u32>,
    clients: u64,
    window: u64,
    /// All pins ever; `None` once gone.
    pins: Vec<Option<Pin>>,
    floor: Version,
    /// Of the branches that there are: table, parent, version, pin.
    branches: Vec<(u32, u32, Version, PinId)>,
}

/// Table, first key and replicas of a shard.
type Place = (u32, Vec<u8>, Vec<NodeId>);

/// What the model expects: an outcome, or a refusal of a kind.
type Expected = Result<MetaOutcome, ErrorKind>;

impl Model {
    fn judge(&mut self, command: &MetaCommand, after: &Catalog) -> Expected {
        match command.clone() {
            MetaCommand::RegisterNode { node, address, http_address, incarnation } => {
                let known = self.nodes.iter().position(|(known, ..)| *known == incarnation);
                let place = match (node, known) {
                    (None, known) => known,
                    (Some(node), _) if node.0 == 0 || node.0 > self.nodes.len() as u64 => {
                        return Err(ErrorKind::NotFound);
                    }
                    (Some(node), Some(place)) if node.0 == place as u64 + 1 => Some(place),
                    (Some(_), _) => return Err(ErrorKind::AlreadyExists),
                };
                let place = place.unwrap_or(self.nodes.len());

                let node = (incarnation, address, http_address);
                if place == self.nodes.len() {
                    self.nodes.push(node);
                } else {
                    self.nodes[place] = node;
                }
                Ok(MetaOutcome::Node(NodeId(place as u64 + 1)))
            }
            MetaCommand::CreateTable { name, options, avoid } => self.create(&name, &options, &avoid, after),
            MetaCommand::DropTable { name } => {
                let place = self.find(&name).ok_or(ErrorKind::NotFound)?;
                let table = u32::try_from(place + 1).expect("small");
                if self.branches.iter().any(|(_, of, ..)| *of == table) {
                    return Err(ErrorKind::InUse);
                }
                if let Some(of) = self.branches.iter().position(|(branch, ..)| *branch == table) {
                    let (.., pin) = self.branches.remove(of);
                    self.pins[usize::try_from(pin.0 - 1).expect("small")] = None;
                }
                self.tables[place] = None;
                let mut gone = Vec::new();
                for (number, shard) in self.shards.iter_mut().enumerate() {
                    if let Some((_, start, _)) = shard.take_if(|(of, ..)| *of == table) {
                        gone.push((start, ShardId(number as u64 + 2)));
                    }
                }
                gone.sort();
                for pin in &mut self.pins {
                    pin.iter_mut().for_each(|pin| pin.spans.retain(|span| span.table.0 != table));
                    drop(pin.take_if(|pin| pin.spans.is_empty()));
                }
                let shards = gone.into_iter().map(|(_, shard)| shard).collect();
                Ok(MetaOutcome::Dropped { table: TableId(table), shards })
            }
            MetaCommand::CreateBranch { name, of, version, now, nonce } => self.branch(&name, &of, version, now, nonce),
            MetaCommand::BeginSplit { .. } | MetaCommand::EndSplit { .. } => unreachable!("scripts have the splits"),
            MetaCommand::ExtendWindow { until } => {
                self.window = self.window.max(until.0);
                Ok(MetaOutcome::Window(Version(self.window)))
            }
            MetaCommand::IssueClients { count: 0 } => Err(ErrorKind::Invalid),
            MetaCommand::IssueClients { count } => {
                self.clients += u64::from(count);
                Ok(MetaOutcome::Clients { first: ClientId(self.clients + 1 - u64::from(count)), count })
            }
            MetaCommand::SetReplicas { shard, epoch, replicas } => {
                let place =
                    shard.0.checked_sub(2).and_then(|place| self.shards.get(usize::try_from(place).expect("small")));
                let Some(Some((table, start, _))) = place.cloned() else { return Err(ErrorKind::NotFound) };
                if epoch != Epoch(1) {
                    return Err(ErrorKind::WrongEpoch);
                }
                if self.branches.iter().any(|(branch, ..)| *branch == table) {
                    return Err(ErrorKind::Invalid);
                }
                if replicas.is_empty() {
                    return Err(ErrorKind::Invalid);
                }
                if replicas.iter().any(|node| node.0 == 0 || node.0 > self.nodes.len() as u64) {
                    return Err(ErrorKind::NotFound);
                }
                if replicas.iter().collect::<BTreeSet<_>>().len() < replicas.len() {
                    return Err(ErrorKind::Invalid);
                }
                let tree: Vec<_> = (1..=self.tables.len()).map(|of| u32::try_from(of).expect("small")).collect();
                let tree: Vec<_> = tree.into_iter().filter(|of| self.root_of(*of) == table).collect();
                let moved = |shard: &&mut Place| tree.contains(&shard.0) && shard.1 == start;
                self.shards.iter_mut().flatten().filter(moved).for_each(|shard| shard.2 = replicas.clone());
                Ok(MetaOutcome::Done)
            }
            MetaCommand::MoveReplica { .. } | MetaCommand::SettleReplicas { .. } | MetaCommand::SetNodeState { .. } => {
                unreachable!("moves are not drawn here: the scripts have them")
            }
            MetaCommand::CreatePin { pin, lease_ms } => self.pin(pin, lease_ms),
            MetaCommand::RenewPin { pin, now, lease_ms } => {
                if now > Version(self.window) {
                    return Err(ErrorKind::VersionTooNew);
                }
                let place = pin.0.checked_sub(1).and_then(|place| usize::try_from(place).ok());
                let old = place.and_then(|place| self.pins.get_mut(place)?.as_mut());
                let old = old.filter(|old| old.expires.is_none_or(|end| end > now)).ok_or(ErrorKind::NotFound)?;
                if old.kind == PinKind::Branch {
                    return Err(ErrorKind::InUse);
                }
                let end = Version(now.0 + (lease_ms << 22));
                old.expires = match (lease_ms, old.expires) {
                    (0, _) => None,
                    (_, Some(before)) if before > end => Some(before),
                    _ => Some(end),
                };
                Ok(MetaOutcome::Pinned { pin, version: old.version })
            }
            MetaCommand::ReleasePin { pin } => {
                let place = pin.0.checked_sub(1).and_then(|place| usize::try_from(place).ok());
                let old = place.and_then(|place| self.pins.get_mut(place)).ok_or(ErrorKind::NotFound)?;
                if old.as_ref().is_some_and(|old| old.kind == PinKind::Branch) {
                    return Err(ErrorKind::InUse);
                }
                old.take().map(|_| MetaOutcome::Done).ok_or(ErrorKind::NotFound)
            }
            MetaCommand::SweepPins { now, floor } => {
                if now.max(floor) > Version(self.window) {
                    return Err(ErrorKind::VersionTooNew);
                }
                let has_ended = |pin: &mut Pin| pin.expires.is_some_and(|end| end <= now);
                let gone = self.pins.iter_mut().filter_map(|pin| pin.take_if(|pin| has_ended(pin))).count() as u64;
                self.floor = self.floor.max(floor);
                Ok(MetaOutcome::Swept { floor: self.floor, gone })
            }
            MetaCommand::SetBalance { .. } => Ok(MetaOutcome::Done),
            MetaCommand::SetCluster { replicas: 0 } => Err(ErrorKind::Invalid),
            MetaCommand::SetCluster { replicas } => {
                self.replicas = Some(replicas);
                Ok(MetaOutcome::Done)
            }
        }
    }

    fn pin(&mut self, asked: Pin, lease_ms: u64) -> Expected {
        if asked.spans.is_empty() || !asked.spans.is_sorted_by(|one, next| one.table < next.table) {
            return Err(ErrorKind::Invalid);
        }
        let alive = || self.pins.iter().flatten();
        if let Some(pin) = alive().find(|pin| pin.nonce == asked.nonce) {
            let is_same = pin.name == asked.name && pin.spans == asked.spans && pin.kind == asked.kind;
            return if is_same {
                Ok(MetaOutcome::Pinned { pin: pin.pin, version: pin.version })
            } else {
                Err(ErrorKind::AlreadyExists)
            };
        }
        let is_snapshot = |pin: &Pin| pin.kind == PinKind::Snapshot;
        if is_snapshot(&asked) && alive().any(|pin| is_snapshot(pin) && pin.name == asked.name) {
            return Err(ErrorKind::AlreadyExists);
        }
        let is_there = |table: TableId| {
            let place = table.0.checked_sub(1).map(|place| place as usize);
            place.and_then(|place| self.tables.get(place)?.as_ref()).is_some()
        };
        if !asked.spans.iter().all(|span| is_there(span.table)) {
            return Err(ErrorKind::NotFound);
        }
        if asked.version.max(asked.created).0 > self.window {
            return Err(ErrorKind::VersionTooNew);
        }
        let is_held = |span: &PinSpan, pin: &Pin| {
            let mut others = pin.spans.iter().filter(|other| other.table == span.table);
            pin.version == asked.version && others.any(|other| other.range.covers(&span.range))
        };
        if asked.version < self.floor && !asked.spans.iter().all(|span| alive().any(|pin| is_held(span, pin))) {
            return Err(ErrorKind::VersionTooOld);
        }
        let (pin, version) = (PinId(self.pins.len() as u64 + 1), asked.version);
        let expires = (lease_ms > 0).then(|| Version(asked.created.0 + (lease_ms << 22)));
        self.pins.push(Some(Pin { pin, expires, ..asked }));
        Ok(MetaOutcome::Pinned { pin, version })
    }

    /// The table at the end of a table's parents.
    fn root_of(&self, table: u32) -> u32 {
        let parent = self.branches.iter().find(|(branch, ..)| *branch == table);
        parent.map_or(table, |(_, of, ..)| self.root_of(*of))
    }

    fn branch(&mut self, name: &str, of: &str, version: Version, now: Version, nonce: [u8; 16]) -> Expected {
        let of_nonce = self.pins.iter().flatten().find(|pin| pin.nonce == nonce).map(|pin| pin.pin);
        if let Some(place) = self.find(name) {
            let table = u32::try_from(place + 1).expect("small");
            let is_copy = self.branches.iter().any(|(branch, .., pin)| *branch == table && Some(*pin) == of_nonce);
            return match is_copy {
                true => Ok(MetaOutcome::Table { table: TableId(table), created: false }),
                false => Err(ErrorKind::AlreadyExists),
            };
        }
        if of_nonce.is_some() {
            return Err(ErrorKind::AlreadyExists);
        }
        let parent = self.find(of).ok_or(ErrorKind::NotFound)?;
        let (_, options) = self.tables[parent].clone().expect("it was found");
        let parent = u32::try_from(parent + 1).expect("small");
        if now.0 > self.window || version > now {
            return Err(ErrorKind::VersionTooNew);
        }
        let is_of_parent = |span: &PinSpan| span.table.0 == parent && span.range == KeyRange::all();
        let is_held = |pin: &Pin| pin.version == version && pin.spans.iter().any(is_of_parent);
        let begins = self.branches.iter().find(|(branch, ..)| *branch == parent).map(|(_, _, version, _)| *version);
        if version < self.floor && !self.pins.iter().flatten().any(is_held) || begins.is_some_and(|at| version < at) {
            return Err(ErrorKind::VersionTooOld);
        }
        let (table, pin) = (u32::try_from(self.tables.len() + 1).expect("small"), PinId(self.pins.len() as u64 + 1));
        let full = |name: &str| if name.contains('.') { name.to_owned() } else { format!("default.{name}") };
        self.pins.push(Some(Pin {
            pin,
            kind: PinKind::Branch,
            name: format!("branch/{table}"),
            owner: full(name),
            nonce,
            spans: vec![PinSpan { table: TableId(parent), range: KeyRange::all() }],
            version,
            created: now,
            expires: None,
        }));
        let mut shards: Vec<Place> = self.shards.iter().flatten().filter(|(of, ..)| *of == parent).cloned().collect();
        shards.sort();
        self.shards.extend(shards.into_iter().map(|(_, start, replicas)| Some((table, start, replicas))));
        self.tables.push(Some((full(name), options)));
        self.branches.push((table, parent, version, pin));
        Ok(MetaOutcome::Table { table: TableId(table), created: true })
    }

    fn find(&self, name: &str) -> Option<usize> {
        let full = if name.contains('.') { name.to_owned() } else { format!("default.{name}") };
        self.tables.iter().position(|table| table.as_ref().is_some_and(|(name, _)| *name == full))
    }

    fn create(&mut self, name: &str, options: &TableOptions, avoid: &[NodeId], after: &Catalog) -> Expected {
        let mut options = options.clone();
        if !options.split_points.is_sorted_by(|one, next| one < next) {
            return Err(ErrorKind::Invalid);
        }
        let starts = u32::try_from(options.split_points.len() + 1).expect("small");
        if !options.split_points.is_empty() && ![0, starts].contains(&options.shards) {
            return Err(ErrorKind::Invalid);
        }
        options.shards = if options.split_points.is_empty() { options.shards.max(1) } else { starts };
        if let Some(place) = self.find(name) {
            let (_, existing) = self.tables[place].as_ref().expect("it was found");
            let table = TableId(u32::try_from(place + 1).expect("small"));
            let is_branch = self.branches.iter().any(|(branch, ..)| *branch == table.0);
            return if *existing == options && !is_branch {
                Ok(MetaOutcome::Table { table, created: false })
            } else {
                Err(ErrorKind::AlreadyExists)
            };
        }
        let alive = (1..=self.nodes.len() as u64).filter(|node| !avoid.contains(&NodeId(*node))).count();
        if alive == 0 {
            return Err(ErrorKind::Throttled);
        }
        let full = if name.contains('.') { name.to_owned() } else { format!("default.{name}") };
        let table = u32::try_from(self.tables.len() + 1).expect("small");
        let asked = if options.replicas == 0 { self.replicas.unwrap_or(3) } else { options.replicas };
        for part in 0..options.shards {
            let start = match part {
                0 => vec![],
                part if !options.split_points.is_empty() => options.split_points[part as usize - 1].to_vec(),
                part => u16::try_from((part << 16) / options.shards).expect("small").to_be_bytes().to_vec(),
            };
            let shard = ShardId(self.shards.len() as u64 + 2);
            let replicas = after.shards.get(&shard).expect("ids rise by one").replicas.clone();
            assert_eq!(replicas.len(), (asked as usize).min(alive));
            assert!(replicas.iter().all(|node| !avoid.contains(node)));
            self.shards.push(Some((table, start, replicas)));
        }
        self.tables.push(Some((full, options)));
        Ok(MetaOutcome::Table { table: TableId(table), created: true })
    }

    /// The machine's catalog is the model's lists.
    fn assert_is(&self, meta: &Meta) {
        let catalog = meta.catalog();
        let node = |node: &lentic_machine::meta::Node| {
            (node.node.0, (node.incarnation, node.address.clone(), node.http_address.clone()))
        };
        let nodes: Vec<_> = catalog.nodes.values().map(node).collect();
        assert_eq!(nodes, (1..).zip(self.nodes.iter().cloned()).collect::<Vec<_>>());
        for (place, table) in self.tables.iter().enumerate() {
            let id = TableId(u32::try_from(place + 1).expect("small"));
            let found = catalog.tables.get(&id).map(|table| (table.name.clone(), table.options.clone()));
            assert_eq!(found, *table);
            let mut starts: Vec<_> = self.shards.iter().flatten().filter(|(of, ..)| *of == id.0).cloned().collect();
            starts.sort();
            let shards = catalog.shards_of(id);
            let found: Vec<_> =
                shards.map(|place| (id.0, place.range.start().to_vec(), place.replicas.clone())).collect();
            assert_eq!(found, starts);
        }
        assert_eq!(catalog.tables.len(), self.tables.iter().flatten().count());
        assert_eq!(catalog.shards.len(), self.shards.iter().flatten().count());
        assert_eq!(catalog.replicas, self.replicas.unwrap_or(3));
        let branches: Vec<_> =
            catalog.branches.iter().map(|(branch, of)| (branch.0, of.table.0, of.version, of.pin)).collect();
        assert_eq!(branches, self.branches);
        let pins = meta.pins();
        assert!(pins.iter().eq(self.pins.iter().flatten()));
        assert_eq!((pins.floor(), pins.given()), (self.floor, self.pins.len() as u64));
        for table in (1..=self.tables.len()).map(|table| TableId(u32::try_from(table).expect("small"))) {
            for range in ranges() {
                let concerns =
                    |pin: &&Pin| pin.spans.iter().any(|one| one.table == table && one.range.overlaps(&range));
                let mut versions: Vec<_> = self.pins.iter().flatten().filter(concerns).map(|pin| pin.version).collect();
                versions.sort_unstable();
                versions.dedup();
                assert_eq!(pins.versions_in(table, &range), versions);
            }
        }
        for pin in self.pins.iter().flatten().filter(|pin| pin.kind == PinKind::Snapshot) {
            assert_eq!(pins.snapshot(&pin.name), Some(pin));
        }
        assert_eq!((meta.window_end(), meta.counters().client), (Version(self.window), self.clients + 1));
    }
}

/// A store with a group, and its image.
struct Replica {
    store: MemStore,
    meta: Meta,
    waiting: Batch,
}

impl Replica {
    fn new() -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Meta::create(&mut batch, ClusterId([3; 16]));
        store.write(&batch).expect("the store works");
        store.flush().expect("the store works");
        Self { meta: load(&store), store, waiting: Batch::new() }
    }

    /// Applies an entry; its batch waits to be written.
    fn apply(&mut self, command: &MetaCommand) -> MetaOutcome {
        let before = self.meta.catalog();
        let applied = self.meta.apply(self.meta.applied().next(), Some(command)).expect("no fault");
        assert_eq!(applied.catalog_changed, before != self.meta.catalog());
        assert_eq!(
            applied.catalog_changed,
            !Arc::ptr_eq(&before, &self.meta.catalog()),
            "replaced when changed, only then"
        );
        self.waiting.append(&applied.batch);
        applied.reply
    }

    fn write(&mut self) {
        self.store.write(&self.waiting).expect("the store works");
        self.waiting.truncate(0);
    }

    fn reload(&mut self) {
        let loaded = load(&self.store);
        assert_eq!(loaded, self.meta, "what is loaded is what was kept");
        self.meta = loaded;
    }
}

fn load(store: &MemStore) -> Meta {
    Meta::load(store).expect("the store works").expect("the group is there")
}

fn run(history: &[(MetaCommand, Luck)]) {
    let mut model = Model::default();
    let (mut plain, mut gathered, mut unlucky) = (Replica::new(), Replica::new(), Replica::new());
    let mut log: Vec<(MetaCommand, MetaOutcome)> = Vec::new();
    for (command, luck) in history {
        let command = MetaCommand::decode(&command.encode()).expect("an encoded command");
        let before = plain.meta.clone();
        let told = plain.apply(&command);
        plain.write();
        let expected = model.judge(&command, &plain.meta.catalog());
        let kind = |refusal: MetaRefusal| refusal.kind();
        let found = match told.clone() {
            MetaOutcome::Refused(refusal) => Err(kind(refusal)),
            outcome => Ok(outcome),
        };
        assert_eq!(found, expected, "{command:?}: {told:?}");
        assert_eq!(gathered.apply(&command), told);
        assert_eq!(unlucky.apply(&command), told);
        unlucky.write();
        log.push((command, told));
        model.assert_is(&plain.meta);
        invariants::check_meta(&plain.meta, &plain.store).expect("the invariants hold");
        assert!(invariants::meta_only_moves_on(&before, &plain.meta));
        match *luck {
            Luck::Nothing => {}
            Luck::Reload => plain.reload(),
            Luck::Write => gathered.write(),
            Luck::Flush => unlucky.store.flush().expect("the store works"),
            Luck::Crash(batches) => {
                unlucky.store = unlucky.store.crash(batches);
                unlucky.meta = load(&unlucky.store);
                let applied = usize::try_from(unlucky.meta.applied().0).expect("small");
                for (command, told) in &log[applied..] {
                    assert_eq!(unlucky.apply(command), *told, "applied again");
                    unlucky.write();
                }
            }
        }
    }
    gathered.write();
    for replica in [&gathered, &unlucky] {
        assert_eq!(replica.store.entries(Family::Sys), plain.store.entries(Family::Sys));
        assert_eq!(replica.meta, plain.meta);
        assert_eq!(replica.meta.catalog().encode(), plain.meta.catalog().encode());
    }
}

fn nodes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<NodeId>> {
    proptest::collection::vec((0u64..7).prop_map(NodeId), count)
}

fn options() -> impl Strategy<Value = TableOptions> {
    let point = prop::sample::select(vec!["b", "g", "p", "x"]).prop_map(Bytes::from);
    let split_points = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(point, 0..4)];
    (0u32..4, split_points, 0u64..2, 0u32..4, 0u64..2).prop_map(
        |(shards, split_points, retention_ms, replicas, ttl_ms)| TableOptions {
            shards,
            split_points,
            retention_ms,
            replicas,
            ttl_ms,
        },
    )
}

fn ranges() -> [KeyRange; 3] {
    let of = |start: &'static str, end| KeyRange::new(start, end).expect("in order");
    [KeyRange::all(), of("b", Some("k")), of("k", None)]
}

/// Versions so few that some are pinned twice.
fn time() -> impl Strategy<Value = Version> {
    (0u64..16).prop_map(|time| Version(time << 36))
}

fn pin() -> impl Strategy<Value = Pin> {
    let tables = prop_oneof![
        6 => proptest::collection::btree_set(1u32..4, 1..3).prop_map(|tables| tables.into_iter().collect()),
        1 => proptest::collection::vec(0u32..4, 0..3),
    ];
    let name = prop::sample::select(vec!["s", "t", "u"]).prop_map(str::to_owned);
    (name, 0usize..5, 0u8..12, tables, time(), time()).prop_map(|(name, range, nonce, tables, version, created)| {
        let (kind, range) = match range {
            3.. => (PinKind::Snapshot, KeyRange::all()),
            place => (PinKind::Checkpoint, ranges()[place].clone()),
        };
        let spans = tables.into_iter().map(|table| PinSpan { table: TableId(table), range: range.clone() }).collect();
        let (pin, owner, nonce) = (PinId(0), String::new(), [nonce; 16]);
        Pin { pin, kind, name, owner, nonce, spans, version, created, expires: None }
    })
}

fn pin_command() -> impl Strategy<Value = MetaCommand> {
    let lease = || prop_oneof![1 => Just(0u64), 2 => 1u64..1 << 16];
    prop_oneof![
        6 => (pin(), lease()).prop_map(|(pin, lease_ms)| MetaCommand::CreatePin { pin, lease_ms }),
        2 => (0u64..6, time(), lease())
            .prop_map(|(pin, now, lease_ms)| MetaCommand::RenewPin { pin: PinId(pin), now, lease_ms }),
        2 => (0u64..8).prop_map(|pin| MetaCommand::ReleasePin { pin: PinId(pin) }),
        2 => (time(), time()).prop_map(|(now, floor)| MetaCommand::SweepPins { now, floor }),
    ]
}

fn command() -> impl Strategy<Value = MetaCommand> {
    let name = || prop::sample::select(vec!["a", "default.a", "b", "x.a"]).prop_map(str::to_owned);
    let register = (proptest::option::weighted(0.3, 0u64..6), 0u8..6, 0u8..3);
    prop_oneof![
        4 => register.prop_map(|(node, incarnation, address)| MetaCommand::RegisterNode {
            node: node.map(NodeId),
            address: format!("n:{address}"),
            http_address: String::new(),
            incarnation: [incarnation; 16],
        }),
        6 => (name(), options(), nodes(0..3))
            .prop_map(|(name, options, avoid)| MetaCommand::CreateTable { name, options, avoid }),
        2 => name().prop_map(|name| MetaCommand::DropTable { name }),
        4 => (name(), name(), time(), time(), 0u8..12).prop_map(|(name, of, version, now, nonce)| {
            MetaCommand::CreateBranch { name, of, version, now, nonce: [nonce; 16] }
        }),
        3 => (0u64..1 << 40).prop_map(|until| MetaCommand::ExtendWindow { until: Version(until) }),
        1 => (0u32..5).prop_map(|count| MetaCommand::IssueClients { count }),
        4 => (0u64..14, 1u64..3, nodes(0..4)).prop_map(|(shard, epoch, replicas)| MetaCommand::SetReplicas {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            replicas,
        }),
        1 => (0u32..4).prop_map(|replicas| MetaCommand::SetCluster { replicas }),
        1 => any::<bool>().prop_map(|on| MetaCommand::SetBalance { on }),
        10 => pin_command(),
    ]
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        4 => Just(Luck::Nothing),
        2 => Just(Luck::Reload),
        2 => Just(Luck::Write),
        1 => Just(Luck::Flush),
        1 => (0usize..10).prop_map(Luck::Crash),
    ]
}

proptest! {
    #[test]
    fn replicas_agree_with_each_other_and_with_the_model(history in proptest::collection::vec((command(), luck()), 0..40)) {
        run(&history);
    }
}
