//! What is done to the cluster while it is written to.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lentic_client::{Client, NodeId, ShardDescription, WriteBatch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::run::BUSY;
use super::watch::Watch;
use crate::Size;
use crate::cluster::Lentic;
use crate::drive::{scatter, value};

/// What a step does to writers may come a little after it was answered.
const AFTERWARDS: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No step takes so long.
const WITHIN: Duration = Duration::from_secs(900);
const FILL_VALUE_BYTES: u64 = 1_024;
const FILL_BATCH: u64 = 500;
const FILLERS: u64 = 4;

/// A step, and when it was.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) what: &'static str,
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Done {
    pub(super) fn seconds(&self) -> f64 {
        (self.to - self.from).as_secs_f64()
    }

    pub(super) fn micros(&self) -> Range<u64> {
        let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        micros(self.from)..micros(self.to)
    }
}

/// A table that is there for its bytes.
pub(super) struct Large {
    name: &'static str,
    /// Of keys and values.
    pub(super) bytes: u64,
}

impl Large {
    pub(super) async fn fill(cluster: &Lentic, client: &Client, name: &'static str, shards: u32, bytes: u64) -> Self {
        cluster.table(client, name, shards).await;
        let rows = bytes / FILL_VALUE_BYTES;
        let mut fillers = JoinSet::new();
        for filler in 0..FILLERS {
            let table = client.table(name);
            fillers.spawn(async move {
                let batches = rows.div_ceil(FILL_BATCH);
                for first in (0..batches).filter(|batch| batch % FILLERS == filler).map(|batch| batch * FILL_BATCH) {
                    let put = |batch: WriteBatch, number: u64| {
                        let value_bytes = usize::try_from(FILL_VALUE_BYTES).expect("few") - 8;
                        batch.put(Bytes::copy_from_slice(&scatter(number).to_be_bytes()), value(number, value_bytes))
                    };
                    let batch = (first..(first + FILL_BATCH).min(rows)).fold(WriteBatch::new(), put);
                    table.write_in_parts(batch).await.expect("the cluster takes writes");
                }
            });
        }
        while let Some(filled) = fillers.join_next().await {
            filled.expect("a filler failed");
        }
        Self { name, bytes }
    }
}

/// Nothing, for as long as it takes to see what is usual.
pub(super) async fn calm(watch: &Watch, size: Size) -> Done {
    watch.rest().await;
    let from = watch.now();
    sleep(Duration::from_secs(size.pick(15, 5) as u64)).await;
    Done { what: "calm", from, to: watch.now() }
}

/// A shard of the busy table is cut in two, and both parts are led.
pub(super) async fn split(client: &Client, watch: &Watch, round: usize) -> Done {
    let at = Bytes::copy_from_slice(&scatter(0xcafe + round as u64).to_be_bytes());
    let from = watch.now();
    client.split_shard(BUSY, at.clone()).await.expect("it is split");
    until("a split", || async {
        let shards = shards_of(client, BUSY).await;
        shards.iter().any(|shard| *shard.range.start() == at && shard.leader.is_some())
    })
    .await;
    sleep(AFTERWARDS).await;
    Done { what: "split", from, to: watch.now() }
}

/// A shard of the busy table is handed over.
pub(super) async fn transfer(client: &Client, watch: &Watch) -> Done {
    let shard = shards_of(client, BUSY).await.remove(0);
    let to = shard.replicas.iter().copied().find(|node| Some(*node) != shard.leader).expect("it has followers");
    let from = watch.now();
    client.transfer_leader(shard.shard, Some(to)).await.expect("it is handed over");
    until("a transfer", || async {
        shards_of(client, BUSY).await.iter().any(|now| now.shard == shard.shard && now.leader == Some(to))
    })
    .await;
    sleep(AFTERWARDS).await;
    Done { what: "transfer", from, to: watch.now() }
}

/// A follower of the one shard of a table goes to another node.
pub(super) async fn move_large(client: &Client, watch: &Watch, large: &Large, to: NodeId) -> Done {
    let shard = shards_of(client, large.name).await.remove(0);
    let leaves = shard.replicas.iter().copied().find(|node| Some(*node) != shard.leader).expect("it has followers");
    let from = watch.now();
    client.move_replica(shard.shard, Some(leaves), to).await.expect("it is begun");
    until("a move", || async {
        // Whoever is asked may not have heard yet that it has begun.
        let is_there = shards_of(client, large.name).await.remove(0).replicas.contains(&to);
        is_there && client.status(true).await.expect("the cluster answers").moves.is_empty()
    })
    .await;
    Done { what: "move", from, to: watch.now() }
}

/// How many replicas have moved, and how many had to.
pub(super) struct Replicas {
    pub(super) moved: usize,
    pub(super) ideal: usize,
}

/// Replicas of all tables are spread over all nodes.
pub(super) async fn balance(client: &Client, watch: &Watch, many: &Large) -> (Done, Replicas) {
    let before = placed(client).await;
    let from = watch.now();
    client.set_balance(true).await.expect("the cluster answers");
    until("the balance", || async {
        let planned = client.balance().await.expect("the cluster answers").moves;
        planned.is_empty() && client.status(true).await.expect("the cluster answers").moves.is_empty()
    })
    .await;
    let to = watch.now();
    let after = placed(client).await;
    let status = client.status(false).await.expect("the cluster answers");
    let nodes = status.nodes.len();
    // The newest node gets its part of all, and has some of it already.
    let newest = status.nodes.iter().map(|node| node.node).max().expect("there are nodes");
    let ideal = before.len() / nodes - before.iter().filter(|(_, node)| *node == newest).count();
    let moved = after.iter().filter(|place| !before.contains(place)).count();
    assert!(shards_of(client, many.name).await.len() > nodes, "there is something to spread");
    (Done { what: "balance", from, to }, Replicas { moved, ideal })
}

/// Where replicas are.
async fn placed(client: &Client) -> Vec<(u64, NodeId)> {
    let status = client.status(true).await.expect("the cluster answers");
    let of = |shard: &ShardDescription| shard.replicas.iter().map(|node| (shard.shard.0, *node)).collect::<Vec<_>>();
    status.shards.iter().flat_map(|(_, shard)| of(shard)).collect()
}

async fn shards_of(client: &Client, table: &str) -> Vec<ShardDescription> {
    client.describe_table(table).await.expect("the cluster answers").shards
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < WITHIN, "{what} takes longer than {WITHIN:?}");
        sleep(LOOK_EVERY).await;
    }
}

/// Bytes a second that the disk takes, with the sync at the end.
pub(super) fn disk_rate(directory: &Path, bytes: u64) -> f64 {
    let path = directory.join("disk");
    let part = value(1, 1 << 20);
    let began = Instant::now();
    let mut file = std::fs::File::create(&path).expect("target can be written to");
    let parts = bytes.div_ceil(part.len() as u64);
    (0..parts).for_each(|_| file.write_all(&part).expect("target can be written to"));
    file.sync_all().expect("the disk works");
    let rate = (parts * part.len() as u64) as f64 / began.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path).expect("it was made here");
    rate
}
