//! Plays scripts over the meta group, in memory.
//!
//! ```text
//! create
//! register a.1 http=a.2 incarnation=x node=1
//! table NAME shards=4 split=g/p retention=1000 replicas=3 ttl=1000 avoid=2/3
//! drop NAME
//! extend until=5
//! clients 100
//! replicas 2 1/3 epoch=1
//! cluster replicas=1
//! move 2 from=1 to=3 epoch=1 revision=8
//! settle 2 revision=8
//! node 2 draining
//! balance off
//! pin NAME 1/2 at=5 now=6 lease=100 nonce=x owner=job
//! pin NAME 1 at=5 range=a..c
//! renew 1 now=5 lease=100
//! release 1
//! sweep now=5 floor=4
//! blank
//! ```
//!
//! Every entry goes through its bytes and is applied by two images: one that is kept, and one that is loaded just before.
//! Both must do the same. An entry that is refused may change the applied index only, and all invariants must hold.

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::Context;
use lentic_engine::{Batch, Family, MemStore, Store as _};
use lentic_machine::meta::{NodeState, Pin, PinKind, PinSpan, TableOptions};
use lentic_machine::{Catalog, Fatal, Meta, MetaApplied, MetaCommand, MetaOutcome, invariants, placement};
use lentic_types::{ClusterId, Epoch, Index, KeyRange, NodeId, PinId, ShardId, TableId, Version};

use crate::meta_print::{catalog, pins, print, row};
use crate::notation::{Key, Range, range, version};
use crate::time::Time;

type Output = Result<String, Box<dyn Error>>;

/// The commands.
#[derive(goldenscript::Command)]
pub(crate) enum Command {
    /// Makes the group.
    Create,

    /// Registers a node; incarnations are padded with zeros.
    Register {
        address: String,
        #[arg(key)]
        http: Option<String>,
        #[arg(key)]
        incarnation: String,
        #[arg(key)]
        node: Option<u64>,
    },

    /// Creates a table. `fill/x/64` is a name of 64 bytes.
    Table {
        name: String,
        #[arg(key)]
        shards: Option<u32>,
        #[arg(key)]
        split: Option<Points>,
        #[arg(key)]
        retention: Option<u64>,
        #[arg(key)]
        replicas: Option<u32>,
        #[arg(key)]
        ttl: Option<u64>,
        #[arg(key)]
        avoid: Option<Nodes>,
    },

    /// Creates a branch of a table; the name is the nonce if there is none.
    Branch {
        name: String,
        of: String,
        #[arg(key)]
        at: Time,
        #[arg(key)]
        now: Option<Time>,
        #[arg(key)]
        nonce: Option<String>,
    },

    /// Drops a table.
    Drop { name: String },

    /// Extends the oracle's window.
    Extend {
        #[arg(key)]
        until: Time,
    },

    /// Issues client ids.
    Clients { count: u32 },

    /// Sets the replicas of a shard.
    Replicas {
        shard: u64,
        nodes: Nodes,
        #[arg(key)]
        epoch: Option<u64>,
    },

    /// Moves a replica of a shard, or adds one.
    Move {
        shard: u64,
        #[arg(key)]
        from: Option<u64>,
        #[arg(key)]
        to: u64,
        #[arg(key)]
        epoch: Option<u64>,
    },

    /// Begins a split of a shard: `split 2 m`.
    Split {
        shard: u64,
        key: Key,
        #[arg(key)]
        epoch: Option<u64>,
    },

    /// Says that the members of a shard's group are as the catalog says, at this revision or at that of now.
    Settle {
        shard: u64,
        #[arg(key)]
        revision: Option<u64>,
    },

    /// Says what a node is used for.
    Node { node: u64, state: String },

    /// Says that it is cut: `cut 2 5 born=7`.
    Cut {
        parent: u64,
        child: u64,
        #[arg(key)]
        born: u64,
        #[arg(key)]
        epoch: Option<u64>,
    },

    /// Sets what holds for the cluster.
    Cluster {
        #[arg(key)]
        replicas: u32,
    },

    /// Switches the balance of leaders.
    Balance { switch: String },

    /// Creates a pin of tables; nonces are padded with zeros, and the name is the nonce if there is none.
    Pin {
        name: String,
        tables: Tables,
        #[arg(key)]
        at: Time,
        #[arg(key)]
        now: Option<Time>,
        #[arg(key)]
        lease: Option<u64>,
        #[arg(key)]
        nonce: Option<String>,
        #[arg(key)]
        owner: Option<String>,
        /// A checkpoint of this range; without it, a snapshot.
        #[arg(key)]
        range: Option<Range>,
    },

    /// Renews a pin.
    Renew {
        pin: u64,
        #[arg(key)]
        now: Time,
        #[arg(key)]
        lease: Option<u64>,
    },

    /// Releases a pin.
    Release { pin: u64 },

    /// Sweeps pins, and raises their floor.
    Sweep {
        #[arg(key)]
        now: Time,
        #[arg(key)]
        floor: Option<Time>,
    },

    /// Prints the pins; with a table, the versions that are pinned there.
    Pins { table: Option<u32>, range: Option<Range> },

    /// An entry without a command; with `index`, at that index.
    Blank {
        #[arg(key)]
        index: Option<u64>,
    },

    /// Prints the catalog.
    Catalog,

    /// Prints what is no part of the catalog.
    State,

    /// Finds the shard of a key.
    Find { name: String, key: Key },

    /// Says which shards lack replicas, and where they should get one.
    Lacking {
        #[arg(key)]
        avoid: Option<Nodes>,
    },

    /// Prints the entries of the store.
    Dump,

    /// Loads the group anew.
    Reload,

    /// Flushes the store.
    Flush,

    /// Dies, comes back with the first `keep` of the entries that were not flushed, and applies the others again.
    Crash {
        #[arg(key)]
        keep: usize,
    },
}

/// Several nodes, with slashes between; `none` is no node.
pub(crate) struct Nodes(Vec<NodeId>);

/// Several tables, with slashes between; `none` is no table.
pub(crate) struct Tables(Vec<TableId>);

impl std::str::FromStr for Tables {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split('/').filter(|part| *part != "none");
        parts.map(|part| part.parse().map(TableId)).collect::<Result<_, _>>().map(Self)
    }
}

/// Several keys, with slashes between.
pub(crate) struct Points(Vec<Bytes>);

impl std::str::FromStr for Nodes {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split('/').filter(|part| *part != "none");
        parts.map(|part| part.parse().map(NodeId)).collect::<Result<_, _>>().map(Self)
    }
}

impl std::str::FromStr for Points {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('/').map(|key| key.parse().map(|Key(key)| key.into())).collect::<Result<_, _>>().map(Self)
    }
}

/// A replica of the meta group.
#[derive(Default)]
pub(crate) struct MetaRunner {
    store: MemStore,
    meta: Option<Meta>,
    log: Vec<(Option<MetaCommand>, MetaOutcome)>,
}

impl MetaRunner {
    fn meta(&self) -> Result<&Meta, Box<dyn Error>> {
        self.meta.as_ref().ok_or_else(|| "there is no group; create it, or reload it".into())
    }

    fn load(&mut self) -> Result<&Meta, Box<dyn Error>> {
        Ok(self.meta.insert(Meta::load(&self.store)?.ok_or("there is no group")?))
    }

    fn propose(&mut self, command: &MetaCommand) -> Output {
        let command = MetaCommand::decode(&command.encode())?;
        self.enter(None, Some(command))
    }

    /// Logs an entry, applies it, and prints what came of it.
    fn enter(&mut self, index: Option<u64>, command: Option<MetaCommand>) -> Output {
        let index = index.map_or_else(|| self.meta().map(|meta| meta.applied().next()), |index| Ok(Index(index)))?;
        match self.apply(index, command.as_ref())? {
            Ok(applied) => {
                let out = print(&applied, &self.meta()?.catalog());
                self.log.push((command, applied.reply));
                Ok(out)
            }
            Err(fatal) => {
                self.meta = None;
                Ok(format!("the group ends: {fatal}\n"))
            }
        }
    }

    fn apply(
        &mut self,
        index: Index,
        command: Option<&MetaCommand>,
    ) -> Result<Result<MetaApplied, Fatal>, Box<dyn Error>> {
        let before = self.meta()?.clone();
        let mut loaded = Meta::load(&self.store)?.ok_or("there is no group")?;
        let meta = self.meta.as_mut().ok_or("there is no group")?;
        let applied = match (meta.apply(index, command), loaded.apply(index, command)) {
            (Ok(kept), Ok(loaded)) => {
                assert_eq!((&kept.batch, &kept.reply), (&loaded.batch, &loaded.reply), "a function of the state");
                kept
            }
            (Err(fatal), Err(_)) => return Ok(Err(fatal)),
            (kept, loaded) => return Err(format!("{kept:?} is not {loaded:?}").into()),
        };
        assert_eq!(MetaOutcome::decode(&applied.reply.encode()).as_ref(), Ok(&applied.reply));
        let is_refused = matches!(applied.reply, MetaOutcome::Refused(_));
        assert!(!is_refused || applied.batch.len() == 1, "a refused command leaves no trace but the applied index");
        assert_eq!(applied.catalog_changed, before.catalog() != meta.catalog());
        self.store.write(&applied.batch)?;
        invariants::check_meta(meta, &self.store)?;
        assert!(invariants::meta_only_moves_on(&before, meta), "from {before:?} to {meta:?}");
        assert_eq!(Catalog::decode(&meta.catalog().encode()).as_ref(), Ok(&*meta.catalog()));
        Ok(Ok(applied))
    }

    fn crash(&mut self, keep: usize) -> Output {
        self.store = self.store.crash(keep);
        let back = self.load()?.applied();
        let again = self.log.split_off(usize::try_from(back.0)?);
        let all = self.log.len() + again.len();
        for (command, reply) in again {
            let next = self.meta()?.applied().next();
            let applied = self.apply(next, command.as_ref())??;
            assert_eq!(applied.reply, reply, "applied again");
            self.log.push((command, reply));
        }
        Ok(format!("back at {back} of {all}, the rest applied again\n"))
    }

    fn dump(&self) -> Output {
        let mut out = String::new();
        for (key, value) in self.store.entries(Family::Sys) {
            writeln!(out, "{}", row(&key, &value)?)?;
        }
        Ok(out)
    }

    fn lacking(&self, avoid: &[NodeId]) -> Output {
        let catalog = self.meta()?.catalog();
        let mut out = String::new();
        for place in placement::under_replicated(&catalog, avoid) {
            let to = placement::add_replica(&catalog, place.shard, avoid);
            writeln!(out, "{} → {}", place.shard, to.map_or_else(|| "nowhere".to_owned(), |node| node.to_string()))?;
        }
        Ok(if out.is_empty() { "none\n".to_owned() } else { out })
    }
}

impl goldenscript::Runner for MetaRunner {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Output {
        match command {
            Command::Create => {
                let mut batch = Batch::new();
                Meta::create(&mut batch, ClusterId(*b"0123456789abcdef"));
                self.store.write(&batch)?;
                self.store.flush()?;
                self.load()?;
                Ok(String::new())
            }
            Command::Register { address, http, incarnation, node } => {
                let mut padded = [0; 16];
                padded[..incarnation.len()].copy_from_slice(incarnation.as_bytes());
                self.propose(&MetaCommand::RegisterNode {
                    node: node.map(NodeId),
                    address: filled(address),
                    http_address: http.as_deref().map_or_else(String::new, filled),
                    incarnation: padded,
                })
            }
            Command::Table { name, shards, split, retention, replicas, ttl, avoid } => {
                let options = TableOptions {
                    shards: shards.unwrap_or_default(),
                    split_points: split.as_ref().map_or_else(Vec::new, |split| split.0.clone()),
                    retention_ms: retention.unwrap_or_default(),
                    replicas: replicas.unwrap_or_default(),
                    ttl_ms: ttl.unwrap_or_default(),
                };
                let avoid = avoid.as_ref().map_or_else(Vec::new, |avoid| avoid.0.clone());
                self.propose(&MetaCommand::CreateTable { name: filled(name), options, avoid })
            }
            Command::Branch { name, of, at, now, nonce } => {
                let (name, mut padded) = (filled(name), [0; 16]);
                let own = nonce.as_ref().unwrap_or(&name).as_bytes();
                let length = own.len().min(16);
                padded[..length].copy_from_slice(&own[..length]);
                let (version, now) = (at.tick(), now.unwrap_or(*at).tick());
                self.propose(&MetaCommand::CreateBranch { name, of: of.clone(), version, now, nonce: padded })
            }
            Command::Drop { name } => self.propose(&MetaCommand::DropTable { name: name.clone() }),
            Command::Extend { until } => self.propose(&MetaCommand::ExtendWindow { until: until.tick() }),
            Command::Clients { count } => self.propose(&MetaCommand::IssueClients { count: *count }),
            Command::Split { shard, key, epoch } => self.propose(&MetaCommand::BeginSplit {
                shard: ShardId(*shard),
                epoch: Epoch(epoch.unwrap_or(1)),
                at: key.0.clone().into(),
            }),
            Command::Cut { parent, child, born, epoch } => self.propose(&MetaCommand::EndSplit {
                parent: ShardId(*parent),
                child: ShardId(*child),
                epoch: Epoch(epoch.unwrap_or(1)),
                born: Index(*born),
            }),
            Command::Replicas { shard, nodes, epoch } => self.propose(&MetaCommand::SetReplicas {
                shard: ShardId(*shard),
                epoch: Epoch(epoch.unwrap_or(1)),
                replicas: nodes.0.clone(),
            }),
            Command::Move { shard, from, to, epoch } => self.propose(&MetaCommand::MoveReplica {
                shard: ShardId(*shard),
                epoch: Epoch(epoch.unwrap_or(1)),
                from: from.map(NodeId),
                to: NodeId(*to),
            }),
            Command::Settle { shard, revision } => {
                let now = self.meta()?.catalog().revision;
                self.propose(&MetaCommand::SettleReplicas {
                    shard: ShardId(*shard),
                    epoch: Epoch(1),
                    revision: revision.unwrap_or(now),
                })
            }
            Command::Node { node, state } => {
                let state = match &**state {
                    "active" => NodeState::Active,
                    "draining" => NodeState::Draining,
                    "removed" => NodeState::Removed,
                    state => return Err(format!("a node is active, draining or removed, not {state}").into()),
                };
                self.propose(&MetaCommand::SetNodeState { node: NodeId(*node), state })
            }
            Command::Cluster { replicas } => self.propose(&MetaCommand::SetCluster { replicas: *replicas }),
            Command::Balance { switch } => self.propose(&MetaCommand::SetBalance { on: switch == "on" }),
            Command::Pin { name, tables, at, now, lease, nonce, owner, range } => {
                let name = filled(name);
                let (mut padded, own) = ([0; 16], nonce.as_ref().unwrap_or(&name).as_bytes());
                let length = own.len().min(16);
                padded[..length].copy_from_slice(&own[..length]);
                let of = |table: &TableId| PinSpan {
                    table: *table,
                    range: range.as_ref().map_or_else(KeyRange::all, |range| range.0.clone()),
                };
                let pin = Pin {
                    pin: PinId(0),
                    kind: if range.is_some() { PinKind::Checkpoint } else { PinKind::Snapshot },
                    name,
                    owner: owner.as_deref().map_or_else(String::new, filled),
                    nonce: padded,
                    spans: tables.0.iter().map(of).collect(),
                    version: at.tick(),
                    created: now.unwrap_or(*at).tick(),
                    expires: None,
                };
                self.propose(&MetaCommand::CreatePin { pin, lease_ms: lease.unwrap_or_default() })
            }
            Command::Renew { pin, now, lease } => self.propose(&MetaCommand::RenewPin {
                pin: PinId(*pin),
                now: now.tick(),
                lease_ms: lease.unwrap_or_default(),
            }),
            Command::Release { pin } => self.propose(&MetaCommand::ReleasePin { pin: PinId(*pin) }),
            Command::Sweep { now, floor } => self
                .propose(&MetaCommand::SweepPins { now: now.tick(), floor: floor.map_or(Version::ZERO, Time::tick) }),
            Command::Pins { table: None, .. } => Ok(pins(&self.meta()?.pins())),
            Command::Pins { table: Some(table), range } => {
                let range = range.as_ref().map_or_else(KeyRange::all, |range| range.0.clone());
                let versions = self.meta()?.pins().versions_in(TableId(*table), &range);
                let versions: Vec<_> = versions.into_iter().map(version).collect();
                Ok(if versions.is_empty() { "none\n".to_owned() } else { versions.join(" ") + "\n" })
            }
            Command::Blank { index } => self.enter(*index, None),
            Command::Catalog => Ok(catalog(&self.meta()?.catalog())),
            Command::State => {
                let (meta, next) = (self.meta()?, self.meta()?.counters());
                let ids = format!("n{}, t{}, s{}, c{}", next.node, next.table, next.shard, next.client);
                let balance = if meta.is_balanced() { "" } else { ", leaders stay" };
                Ok(format!("applied {}, window {}, next {ids}{balance}\n", meta.applied(), version(meta.window_end())))
            }
            Command::Find { name, key } => {
                let catalog = self.meta()?.catalog();
                let Some(table) = catalog.table_named(name) else { return Ok("no table\n".to_owned()) };
                let place = catalog.shard_for(table.table, &key.0).ok_or("a table without shards")?;
                Ok(format!("{} {} {}\n", table.table, place.shard, range(&place.range)))
            }
            Command::Lacking { avoid } => self.lacking(avoid.as_ref().map_or(&[], |avoid| &avoid.0)),
            Command::Dump => self.dump(),
            Command::Reload => {
                let before = self.meta.take();
                let after = self.load()?;
                Ok(match before {
                    None => "loaded as before the last entry\n".to_owned(),
                    Some(before) if before == *after => "the same\n".to_owned(),
                    Some(_) => return Err("another state was loaded".into()),
                })
            }
            Command::Flush => Ok(self.store.flush().map(|()| String::new())?),
            Command::Crash { keep } => self.crash(*keep),
        }
    }
}

/// Text, or `fill/x/64`.
fn filled(text: &str) -> String {
    let parts: Vec<_> = text.split('/').collect();
    match parts[..] {
        ["fill", part, times] => part.repeat(times.parse().expect("a number")),
        _ => text.to_owned(),
    }
}
