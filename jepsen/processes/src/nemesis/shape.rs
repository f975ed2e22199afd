//! Changes of shape: a shard is cut in two, a replica moves, a node is emptied and used again.
//!
//! Striking asks for it, and mending waits until it is done, so that what strikes in between meets a change that is under
//! way. Whoever leads then has to finish it.

use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, Error, KeyRange, NodeId, NodeState, ShardDescription, ShardId};

use super::struck::{Arena, Memory};
use crate::wait::until;

/// The most shards that a table is cut into: a small machine elects leaders for all of them at once.
const SHARDS_MAX: usize = 12;
/// Of so many rows of a shard the key is chosen where it is cut.
const ROWS_MAX: usize = 2_000;
/// How long a change may take to be accepted: a shard changes once at a time.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to be done: a leader may be down or cut off when it begins.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// A change that is under way.
pub(crate) enum Change {
    /// A table that had so many shards is cut at a key.
    Split {
        /// The first key of the new shard.
        at: Bytes,
        /// Its number.
        child: ShardId,
        /// How many shards there were.
        before: usize,
    },
    /// A replica of a shard that was on these nodes goes from one to another.
    Move {
        /// The shard.
        shard: ShardId,
        /// Where it was.
        before: Vec<NodeId>,
        /// Whom it leaves.
        from: NodeId,
        /// Where it goes.
        to: NodeId,
    },
    /// The node at this place is emptied of so many replicas.
    Drain {
        /// Its place.
        place: usize,
        /// What it held.
        before: u32,
    },
}

/// Asks for a cut of some shard of the table, at some key of it.
pub(super) async fn split(arena: &Arena<'_>) -> Memory {
    let Arena { admin, table, .. } = arena;
    let Some((at, before)) = until("a key to cut at", BEGINS_WITHIN, || key_to_cut(arena)).await else {
        return Memory::Over(format!("nothing was cut: the table has {SHARDS_MAX} shards"));
    };
    // Asked again, it is the same split.
    let child = until("a split that begins", BEGINS_WITHIN, || told(admin.split_shard(table, at.clone()))).await;
    Memory::Shape(Change::Split { at, child, before })
}

/// A key within a shard, and how many shards there are; `None` if there are enough.
async fn key_to_cut(arena: &Arena<'_>) -> Result<Option<(Bytes, usize)>, String> {
    let shards = shards(arena.admin, arena.table).await?;
    if shards.len() >= SHARDS_MAX {
        return Ok(None);
    }
    let shard = &shards[arena.dice.place(shards.len())];
    let keys = told(keys(arena, &shard.range)).await?;
    match keys.is_empty() {
        true => Err(format!("shard {} has no two keys", shard.shard)),
        false => Ok(Some((keys[arena.dice.place(keys.len())].clone(), shards.len()))),
    }
}

/// Some keys of a range, without its first.
async fn keys(arena: &Arena<'_>, range: &KeyRange) -> Result<Vec<Bytes>, Error> {
    let (mut keys, mut scan) = (Vec::new(), arena.admin.table(arena.table).scan(range.clone()).start());
    while let Some(row) = scan.next().await.transpose()?.filter(|_| keys.len() < ROWS_MAX) {
        if row.key != range.start() {
            keys.push(row.key);
        }
    }
    Ok(keys)
}

/// Asks for another place for some replica of some shard of the table. Nothing moves it back meanwhile.
pub(super) async fn move_replica(arena: &Arena<'_>) -> Memory {
    until("a balance that is off", BEGINS_WITHIN, || told(arena.admin.set_balance(false))).await;
    let change = until("a replica that begins to move", BEGINS_WITHIN, || async {
        let shards = shards(arena.admin, arena.table).await?;
        let status = arena.cluster.status().await?;
        let ShardDescription { shard, replicas, .. } = shards[arena.dice.place(shards.len())].clone();
        let from = replicas[arena.dice.place(replicas.len())];
        let nodes = status.nodes.iter().filter(|node| node.state == NodeState::Active).map(|node| node.node);
        let free: Vec<NodeId> = nodes.filter(|node| !replicas.contains(node)).collect();
        if free.is_empty() {
            return Err(format!("every node holds a replica of {shard}"));
        }
        let to = free[arena.dice.place(free.len())];
        told(arena.admin.move_replica(shard, Some(from), to)).await?;
        Ok(Change::Move { shard, before: replicas, from, to })
    });
    Memory::Shape(change.await)
}

/// Asks for a node to be emptied.
pub(super) async fn drain(arena: &Arena<'_>, place: usize) -> Memory {
    let node = arena.cluster.id(place);
    let before = until("what a node holds", BEGINS_WITHIN, || arena.cluster.held(place)).await;
    until("a node that begins to be emptied", BEGINS_WITHIN, || told(arena.admin.drain_node(node))).await;
    Memory::Shape(Change::Drain { place, before })
}

/// Waits until a change is done, and says what it was.
///
/// # Panics
/// If it does not come to its end, or nothing is other than before.
pub(super) async fn mend(arena: &Arena<'_>, change: Change) -> String {
    match change {
        Change::Split { at, child, before } => {
            let count = until("a shard that is cut", ENDS_WITHIN, || async {
                let shards = shards(arena.admin, arena.table).await?;
                let begins = shards.iter().find(|shard| shard.range.start() == &at);
                let found = begins.ok_or_else(|| format!("no shard begins with {at:?}"))?;
                assert_eq!(found.shard, child, "another shard than was said begins with {at:?}");
                if !arena.cluster.leaders_now().await?.shards.contains_key(&child) {
                    return Err(format!("nobody knows of shard {child}"));
                }
                Ok(shards.len())
            });
            let count = count.await;
            assert!(count > before, "a split has left {count} shards, and there were {before}");
            format!("cut at {at:?}, and shard {child} is led: {count} shards")
        }
        Change::Move { shard, before, from, to } => {
            let now = until("a replica that has moved", ENDS_WITHIN, || async {
                let status = arena.cluster.status().await?;
                let leaves = status.moves.iter().any(|other| other.shard == shard && other.leaving.contains(&from));
                let found = status.shards.into_iter().find(|(_, found)| found.shard == shard);
                let (_, found) = found.ok_or_else(|| format!("no shard {shard} is known"))?;
                match leaves || found.replicas.contains(&from) {
                    true => Err(format!("shard {shard} has not left node {from} for {to}")),
                    false => Ok(found.replicas),
                }
            });
            let now = now.await;
            let is_same = now.len() == before.len() && now.iter().all(|node| before.contains(node));
            assert!(!is_same, "shard {shard} is on {now:?} after a move, as before");
            until("a balance that is on", BEGINS_WITHIN, || told(arena.admin.set_balance(true))).await;
            format!("shard {shard} has left node {from} for {to}")
        }
        Change::Drain { place, before } => {
            let node = arena.cluster.id(place);
            until("a node that is empty", ENDS_WITHIN, || async {
                let held = arena.cluster.held(place).await?;
                if held == 0 { Ok(()) } else { Err(format!("node {node} holds {held} replicas")) }
            })
            .await;
            until("a node that is used again", BEGINS_WITHIN, || told(arena.admin.undrain_node(node))).await;
            format!("{} held {before} replicas and came to hold none", arena.cluster.nodes[place].name())
        }
    }
}

async fn shards(admin: &Client, table: &str) -> Result<Vec<ShardDescription>, String> {
    told(async { admin.describe_table(table).await.map(|described| described.shards) }).await
}

async fn told<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    work.await.map_err(|error| error.to_string())
}
