//! Looks at the log, and hands over what this node leads while its disk is slow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lentic_engine::Portable;
use lentic_log::{Log, Poisoned};
use lentic_machine::meta;
use lentic_raft::{Group, Host, Machine, Status};
use lentic_runtime::spawn;
use lentic_types::{GroupId, NodeId};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::judge::{Judge, Look, Pace, Verdict, heir};
use crate::ask::{Answer, Question};
use crate::gateway::Gateway;
use crate::options::NodeOptions;

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most that one look stands for: a process that was paused has not seen what its disk did meanwhile.
const LOOK_MAX: Duration = Duration::from_millis(200);
/// How often a node whose disk is slow tries to hand over what it leads: the bound on how often leadership moves for it.
/// A try may fail, for a follower is just behind, or is not elected; and what it leads is slow until then.
const TRY_EVERY: Duration = Duration::from_secs(3);
/// How long another node may take to say how quick its disk is.
const ASK_WITHIN: Duration = Duration::from_millis(500);
/// How long a transfer of leadership is waited for.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);

/// The disk of this node's log.
pub(crate) struct Disk {
    log: Log,
    judge: Mutex<Judge>,
    /// Groups handed over because it was slow.
    handed_over: AtomicU64,
}

impl Disk {
    pub(crate) fn new(log: Log, options: &NodeOptions) -> Self {
        let judge = Mutex::new(Judge::new(options.slow_sync, options.slow_for));
        Self { log, judge, handed_over: AtomicU64::new(0) }
    }

    /// How quick it is, as far as is known.
    pub(crate) fn pace(&self) -> Pace {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner).pace()
    }

    /// How many groups were handed over because it was slow.
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    fn step(&self, look: Look) -> Option<Verdict> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner).step(look)
    }
}

/// Watches the disk, and hands over what this node leads while it is slow. It ends with the log.
pub(crate) async fn watch<S: Portable>(gateway: &Gateway<S>) -> Result<(), Poisoned> {
    let disk = &gateway.disk;
    let (mut looked, mut ended) = (Instant::now(), disk.log.stats()?.gathers);
    let mut tried: Option<Instant> = None;
    loop {
        sleep(LOOK_EVERY).await;
        let stats = disk.log.stats()?;
        let look =
            Look { after: looked.elapsed().min(LOOK_MAX), ended: stats.gathers - ended, waits: stats.queue_bytes > 0 };
        (looked, ended) = (Instant::now(), stats.gathers);
        let verdict = disk.step(look);
        tell(verdict, disk.pace(), gateway.options.slow_sync);
        let is_new = verdict == Some(Verdict::Slow);
        if disk.pace().is_slow && tried.is_none_or(|tried| tried.elapsed() >= TRY_EVERY) {
            tried = Some(Instant::now());
            hand_over_all(gateway, is_new).await;
        }
    }
}

fn tell(verdict: Option<Verdict>, pace: Pace, slow_sync: Duration) {
    match verdict {
        Some(Verdict::Slow) => warn!(
            sync_ms = ms(pace.sync),
            slow_sync_ms = ms(Some(slow_sync)),
            "the disk of the log is slow; this node hands over what it leads to nodes with quicker disks: look at the \
             disk's health and at what else uses it, or replace the node"
        ),
        Some(Verdict::Well) => info!(sync_ms = ms(pace.sync), "the disk of the log is quick again"),
        None => {}
    }
}

/// Whole milliseconds, for people.
fn ms(sync: Option<Duration>) -> u64 {
    sync.map_or(0, |sync| u64::try_from(sync.as_millis()).unwrap_or(u64::MAX))
}

/// Hands over all that can be. `tells`: says so too if nobody can take anything.
async fn hand_over_all<S: Portable>(gateway: &Gateway<S>, tells: bool) {
    let (node, meta, shards) = (gateway.meta.node, &gateway.meta, gateway.shards.groups());
    let led = |status: Status| Some(status).filter(|status| status.is_leader);
    let meta_status = led(meta.group.status());
    let shards: Vec<_> = shards.iter().filter_map(|shard| Some((shard, led(shard.status())?))).collect();
    let statuses = shards.iter().map(|(_, status)| status).chain(&meta_status);
    let others: BTreeSet<_> = statuses.flat_map(|status| &*status.voters).copied().filter(|to| *to != node).collect();
    if meta_status.is_none() && shards.is_empty() {
        return;
    }
    let (own, paces) = (gateway.disk.pace(), ask_paces(&meta.host, others).await);
    let mut under_way = Vec::new();
    for (shard, status) in &shards {
        let group = GroupId::from(shard.shard);
        if let Some(to) = heir(group, status, own, &paces) {
            let group = shard.group.clone();
            under_way.push(spawn(async move { hand_over(&group, to).await }));
        }
    }
    if let Some(to) = meta_status.as_ref().and_then(|status| heir(meta::GROUP, status, own, &paces)) {
        let group = meta.group.clone();
        under_way.push(spawn(async move { hand_over(&group, to).await }));
    }
    let (led, mut handed_over) = (shards.len() + usize::from(meta_status.is_some()), 0_usize);
    for task in under_way {
        handed_over += usize::from(task.await.unwrap_or(false));
    }
    gateway.disk.handed_over.fetch_add(handed_over as u64, Ordering::Relaxed);
    if handed_over > 0 {
        info!(led, handed_over, sync_ms = ms(own.sync), "handed over what is led on a slow disk");
    } else if tells {
        warn!(led, "no follower that has caught up is known to have a quicker disk: this node leads on");
    }
}

/// How quick the disks of some nodes are; without those that do not answer.
async fn ask_paces(host: &Host, nodes: BTreeSet<NodeId>) -> BTreeMap<NodeId, Pace> {
    let ask = |node: NodeId| {
        let host = host.clone();
        spawn(async move {
            let answer = host.ask(node, Question::Pace.encode(), ASK_WITHIN).await.ok()?;
            match Answer::decode(&answer) {
                Ok(Answer::Pace(pace)) => Some((node, pace)),
                _ => None,
            }
        })
    };
    let asked: Vec<_> = nodes.into_iter().map(ask).collect();
    let mut paces = BTreeMap::new();
    for task in asked {
        paces.extend(task.await.ok().flatten());
    }
    paces
}

/// Asks another voter to lead, and waits a little until this node does no more.
pub(crate) async fn hand_over<M: Machine>(group: &Group<M>, to: NodeId) -> bool {
    let mut status = group.watch();
    if group.transfer_leader(to).await.is_err() {
        return false;
    }
    let gone = timeout(HAND_OVER_WITHIN, status.wait_for(|status| !status.is_leader)).await;
    gone.is_ok_and(|gone| gone.is_ok())
}
