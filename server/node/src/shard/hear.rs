//! Where nothing is written, a replica asks its leader how far the shard is resolved, as long as somebody reads there.
//!
//! ```text
//!   reader ──at T──► replica   refused, and wanted from now on
//!                      │ every 75 ms, for all shards that one node leads in one question
//!                      ▼
//!                    leader    raises its floor of stamps to a recent tick, waits for what is in flight below it,
//!                      │       has a quorum confirm, looks for the oldest lock, and then which entry is applied
//!                      ▼
//!                    replica   from the moment on at which it has applied that entry
//! ```
//!
//! A shard that nobody reads elsewhere costs nothing. Many who ask a leader at once share an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_runtime::{hesitate, spawn};
use lentic_types::{NodeId, ShardId};
use tokio::time::{Instant, sleep, timeout};

use super::reader::Reader;
use super::replica::Replica;
use super::resolved::Settled;
use crate::ask::{Answer, Question};
use crate::gateway::Gateway;
use crate::shards::Shards;

/// How often a leader is asked.
const HEAR_EVERY: Duration = Duration::from_millis(75);
/// How long a leader looks after one shard before it answers without it.
const SETTLE_WITHIN: Duration = Duration::from_millis(150);
/// How long an answer may take. A node that is gone keeps those others waiting that are asked together with it.
const HEAR_WITHIN: Duration = Duration::from_millis(250);
/// For how long an answer is given again.
const SETTLED_FOR: Duration = Duration::from_millis(40);
/// How old the tick of an answer may be.
const TICK_AGE_MAX: Duration = Duration::from_millis(25);
/// Most shards of a question; there are tens to a few hundred on a node.
pub(crate) const SHARDS_MAX: usize = 1_024;

/// Asks for the shards that somebody reads on this node, until the node ends.
pub(crate) async fn keep<S: Portable>(gateway: &Gateway<S>) {
    loop {
        sleep(HEAR_EVERY).await;
        let mut by_leader: BTreeMap<NodeId, Vec<Arc<Replica<S>>>> = BTreeMap::new();
        for replica in gateway.shards.all() {
            let leader = replica.status().leader.filter(|leader| *leader != gateway.meta.node);
            if let Some(leader) = leader.filter(|_| replica.resolved().is_wanted()) {
                by_leader.entry(leader).or_default().push(replica);
            }
        }
        let asked = by_leader.into_iter().map(|(leader, replicas)| {
            let gateway = gateway.clone();
            spawn(async move { ask(&gateway, leader, replicas).await })
        });
        // All are asked before the first is waited for.
        for asked in asked.collect::<Vec<_>>() {
            // A task that was ended had nothing to tell.
            let _ = asked.await;
        }
    }
}

async fn ask<S: Portable>(gateway: &Gateway<S>, leader: NodeId, replicas: Vec<Arc<Replica<S>>>) {
    for some in replicas.chunks(SHARDS_MAX) {
        let question = Question::Settled { shards: some.iter().map(|replica| replica.shard).collect() };
        let answer = gateway.shards.shared.host.ask(leader, question.encode(), HEAR_WITHIN).await.ok();
        let Some(Answer::Settled(told)) = answer.and_then(|bytes| Answer::decode(&bytes).ok()) else { return };
        hesitate().await;
        for (shard, settled) in told {
            if let Some(replica) = some.iter().find(|replica| replica.shard == shard) {
                replica.resolved().hear(settled);
            }
        }
    }
}

/// How far each of some shards is that this node leads; those are left out of which nothing is known in time.
pub(crate) async fn settled<S: Portable>(shards: &Shards<S>, asked: &[ShardId]) -> Vec<(ShardId, Settled)> {
    let replicas = asked.iter().take(SHARDS_MAX).filter_map(|shard| shards.get(*shard));
    let each = replicas.map(|replica| {
        let settled = async move {
            let settled = timeout(SETTLE_WITHIN, replica.reader.settled()).await.ok()??;
            Some((replica.shard, settled))
        };
        spawn(settled)
    });
    let mut all = Vec::new();
    for one in each.collect::<Vec<_>>() {
        all.extend(one.await.ok().flatten());
    }
    all
}

impl<S: Portable> Reader<S> {
    /// How far the shard is resolved; `None` if this node does not lead it.
    ///
    /// What is said is about a prefix of the log that is committed: it stays true when another node leads. That it is true
    /// takes the quorum: nothing that a leader elected after its round stamps lies at or below the tick (rule F).
    async fn settled(&self) -> Option<Settled> {
        let place = &self.at;
        if !place.queue.is_open() {
            return None;
        }
        let mut last = place.settled.lock().await;
        if let Some((_, settled)) = (*last).filter(|(since, _)| since.elapsed() < SETTLED_FOR) {
            return Some(settled);
        }
        let tick = place.ticks.recent(TICK_AGE_MAX).await.ok()?;
        place.settle(tick).await.ok()?;
        // In this order: a lock that goes in between has left its versions at or below the entry.
        let version = match lentic_types::mutant!("follower-past-locks") {
            true => tick,
            false => place.shown.below_locks(tick),
        };
        hesitate().await;
        let settled = Settled { index: place.shown.resolved.applied(), version };
        *last = Some((Instant::now(), settled));
        // Here, too, reads up to there need no round any more.
        place.shown.resolved.hear(settled);
        Some(settled)
    }
}
