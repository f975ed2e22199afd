//! Nodes, tables and shards.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_engine::record::Record;
use lentic_engine::{Batch, Direction, MemStore, ReadStats, ScanLimits, Store as _, write};
use lentic_machine::Shard;
use lentic_machine::shard::{Descriptor, HeadsOptions};
use lentic_net::Address;
use lentic_proto::v1;
use lentic_runtime::{Clock as _, SimClock};
use lentic_types::{Epoch, GroupId, KeyRange, TableId, Version};

use super::faults::Faults;

/// Wall time when a test begins: 2024.
const UNIX_MS: u64 = 1_704_067_200_000;
/// Every shard's state is kept under this group, so that half of a split keeps the answers of the whole.
const GROUP: GroupId = GroupId(1);

/// Where a node is spoken to.
pub(crate) fn address(node: u64) -> Address {
    Address::from(&*format!("http://node-{node}:7420"))
}

/// A cluster as all its nodes see it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: [u8; 16],
    pub(crate) nodes: u64,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) shards: BTreeMap<u64, Place>,
    /// Snapshots, each with the nonce of its request.
    pub(crate) pins: Vec<(Bytes, v1::Pin)>,
    /// Checkpoints of jobs, in the order in which they were made.
    pub(crate) checkpoints: Vec<super::owners::Made>,
    /// Branches by the nonces of their requests.
    pub(crate) branches: Vec<(Bytes, String)>,
    pub(crate) faults: Faults,
    /// What nodes were asked, in order, with the time in milliseconds.
    pub(crate) trace: Vec<String>,
    pub(crate) clients: u64,
    /// Links that are open, and how often a client has opened one.
    pub(crate) links: u64,
    pub(crate) dialled: u64,
    /// The largest distance between a sequence and what was acknowledged with it.
    pub(crate) widest_window: u64,
    pub(crate) request_bytes_max: u64,
    pub(crate) began: tokio::time::Instant,
    clock: SimClock,
    tick: Version,
    ids: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) id: u32,
    pub(crate) options: v1::TableOptions,
    pub(crate) shards: Vec<u64>,
    pub(crate) branch_of: Option<v1::BranchOf>,
}

/// A shard and its leader.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) machine: Shard,
    pub(crate) store: MemStore,
    pub(crate) leader: Option<u64>,
    /// Writes that took effect; retries that were answered from memory are not among them.
    pub(crate) committed: u64,
}

impl World {
    pub(crate) fn new(nodes: u64) -> Self {
        Self {
            cluster: *b"the fake cluster",
            nodes,
            tables: BTreeMap::new(),
            shards: BTreeMap::new(),
            pins: Vec::new(),
            checkpoints: Vec::new(),
            branches: Vec::new(),
            faults: Faults::default(),
            trace: Vec::new(),
            clients: 0,
            links: 0,
            dialled: 0,
            widest_window: 0,
            request_bytes_max: 64 << 20,
            began: tokio::time::Instant::now(),
            clock: SimClock::new(UNIX_MS),
            tick: Version::ZERO,
            ids: 0,
        }
    }

    /// The next tick of the oracle.
    pub(crate) fn next_tick(&mut self) -> Version {
        let ms = self.clock.unix_ms() - Version::UNIX_MS_AT_ZERO;
        let by_time = Version::tick(ms, 0).expect("within the bits");
        self.tick = by_time.max(Version(self.tick.0 + 0x100));
        self.tick
    }

    /// The newest tick handed out.
    pub(crate) fn newest_tick(&self) -> Version {
        self.tick
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Makes a shard whose leader is chosen in turn.
    pub(crate) fn make_shard(&mut self, table: u32, range: KeyRange, ttl_ms: u64) -> u64 {
        let id = self.next_id();
        let descriptor = Descriptor { table: TableId(table), range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms };
        let store = MemStore::new();
        let machine = describe(&store, &descriptor);
        let leader = Some(1 + id % self.nodes);
        self.shards.insert(id, Place { machine, store, leader, committed: 0 });
        id
    }

    /// Makes a shard that shows what another one does at a version: a copy, for here nobody counts bytes.
    pub(crate) fn branch_shard(&mut self, table: u32, of: u64, at: Version) -> u64 {
        let id = self.next_id();
        let (parent, store, mut batch) = (&self.shards[&of], MemStore::new(), Batch::new());
        let range = parent.range().clone();
        let (table, ttl_ms) = (TableId(table), parent.machine.descriptor().ttl_ms);
        let descriptor = Descriptor { table, range: range.clone(), epoch: Epoch(1), watermark: at, ttl_ms };
        let limits = ScanLimits { rows_max: usize::MAX, bytes_max: usize::MAX, steps_max: u64::MAX };
        let (reads, stats) = (parent.machine.read_at(at), &mut ReadStats::default());
        let page = reads.scan(&parent.store, &range, Direction::Forward, &limits, stats).expect("a store in memory");
        for row in page.rows {
            let (value, expiry) = (&row.found.value[..], row.found.expiry);
            write::record(&mut batch, table, &row.key, row.found.version, &Record::Put { value, expiry });
        }
        store.write(&batch).expect("a store in memory works");
        let machine = describe(&store, &descriptor);
        let leader = Some(1 + id % self.nodes);
        self.shards.insert(id, Place { machine, store, leader, committed: 0 });
        id
    }

    /// The shard of a table that holds a key.
    pub(crate) fn shard_of(&self, table: &str, key: &[u8]) -> Option<u64> {
        let table = self.tables.get(table)?;
        table.shards.iter().copied().find(|shard| self.shards[shard].range().contains(key))
    }

    /// A shard as it is said to clients.
    pub(crate) fn shard_message(&self, id: u64) -> v1::Shard {
        let place = &self.shards[&id];
        let range = place.range();
        v1::Shard {
            shard: id,
            epoch: place.epoch().0,
            table: place.machine.descriptor().table.0,
            start: range.start().clone(),
            end: range.end().cloned(),
            replicas: (1..=self.nodes).collect(),
            leader: place.leader,
            leader_address: place.leader.map_or_else(String::new, |node| address(node).to_string()),
            replica_addresses: (1..=self.nodes).map(|node| address(node).to_string()).collect(),
        }
    }

    /// The shards of a table, in key order.
    pub(crate) fn shard_messages(&self, name: &str) -> Vec<v1::Shard> {
        self.tables[name].shards.iter().map(|id| self.shard_message(*id)).collect()
    }

    /// Gives a shard to another node, or to none.
    pub(crate) fn lead(&mut self, id: u64, leader: Option<u64>) {
        self.shards.get_mut(&id).expect("there is such a shard").leader = leader;
    }

    /// Raises a shard's epoch.
    pub(crate) fn raise_epoch(&mut self, id: u64) {
        let place = self.shards.get_mut(&id).expect("there is such a shard");
        let range = place.range().clone();
        place.reshape(range);
    }

    /// Splits a shard at a key: the second half is a new shard, which keeps the answers of the whole.
    pub(crate) fn split(&mut self, table: &str, key: impl Into<Bytes>) {
        let key = key.into();
        let id = self.shard_of(table, &key).expect("some shard holds the key");
        let new = self.next_id();
        let place = self.shards.get_mut(&id).expect("there is such a shard");
        let (start, end) = (place.range().start().clone(), place.range().end().cloned());
        let store = place.store.crash(place.store.unflushed());
        place.reshape(KeyRange::new(start, Some(key.clone())).expect("the key is not the first"));
        let mut second = Place { machine: load(&store), store, leader: place.leader, committed: 0 };
        // It was a copy of the whole at the old epoch.
        second.reshape(KeyRange::new(key, end).expect("the key is in the shard"));
        self.shards.insert(new, second);
        let shards = &mut self.tables.get_mut(table).expect("there is such a table").shards;
        let at = shards.iter().position(|other| *other == id).expect("the table has the shard");
        shards.insert(at + 1, new);
    }
}

impl Place {
    pub(crate) fn range(&self) -> &KeyRange {
        &self.machine.descriptor().range
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.machine.descriptor().epoch
    }

    fn reshape(&mut self, range: KeyRange) {
        let epoch = Epoch(self.epoch().0 + 1);
        self.machine = describe(&self.store, &Descriptor { range, epoch, ..self.machine.descriptor().clone() });
    }
}

fn describe(store: &MemStore, descriptor: &Descriptor) -> Shard {
    let mut batch = Batch::new();
    Shard::create(&mut batch, GROUP, descriptor);
    store.write(&batch).expect("a store in memory works");
    load(store)
}

fn load(store: &MemStore) -> Shard {
    let shard = Shard::load(store, GROUP, &HeadsOptions::default());
    shard.expect("a store in memory works").expect("the shard was created")
}
