//! Leaders are spread over the nodes, by number and by work.
//!
//! ```text
//!   each node ──► what it leads, and how much comes to it ──► meta leader: plan ──► the shard's leader hands over
//! ```
//!
//! What should be handed over is decided by [`lentic_machine::balance`]; here is what it is told, and what comes of it. A
//! plan is made anew each time from what nodes have said since the last one was carried out: nothing of it is kept, so a
//! new leader of the meta group begins where the old one was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::balance::{HandOver, Led, plan};
use lentic_proto::v1::{self, Failure};
use lentic_raft::Status;
use lentic_runtime::spawn;
use lentic_types::{NodeId, ShardId};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::ask::{Answer, Question};
use crate::disk;
use crate::gateway::Gateway;
use crate::moves;
use crate::report::{Report, Sending};
use crate::shards::Shards;

/// Shards handed over at once. Each of them waits for an election, so a few: the next look is not far.
const AT_ONCE_MAX: usize = 4;
/// Steps of a plan that is shown.
const SHOWN_MAX: usize = 256;
/// How long a node may take to hand over one shard.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);
/// A report that was on its way while a plan was carried out is of before.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// How often nodes say what they lead where nothing is balanced.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// What was said in this time still holds.
const SAID_FOR: Duration = Duration::from_secs(10);
/// After so many looks without a report a node is left out.
const SILENT_LOOKS_MAX: u32 = 3;

/// What nodes have said that they lead.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    heard: Mutex<Heard>,
    handed_over: AtomicU64,
}

#[derive(Debug, Default)]
struct Heard {
    /// The term in which this node leads the meta group and was told.
    term: u64,
    nodes: BTreeMap<NodeId, Told>,
    /// When the last plan was carried out, or the term was first seen.
    acted: Option<Instant>,
}

/// What one node has said.
#[derive(Debug)]
struct Told {
    at: Instant,
    report: Report,
}

impl Balance {
    /// A node says what it leads; `term` is the one in which this node leads the meta group.
    pub(crate) fn hear(&self, term: u64, from: NodeId, report: Report) {
        let now = Instant::now();
        self.heard(term).nodes.insert(from, Told { at: now, report });
    }

    /// Shards that this node has handed over for balance.
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Who leads what and who may lead, of nodes heard from in the last `within`; and whether all of them have said so
    /// since the last plan was carried out.
    fn seen(&self, term: u64, within: Duration) -> (BTreeMap<ShardId, Led>, BTreeSet<NodeId>, bool) {
        let heard = self.heard(term);
        let lately = || heard.nodes.iter().filter(|(_, heard)| heard.at.elapsed() < within);
        let led = lately().flat_map(|(node, heard)| {
            heard.report.led.iter().map(|(shard, figures)| (*shard, Led { leader: *node, work: figures.rate }))
        });
        let able = lately().filter(|(_, heard)| !heard.report.is_slow).map(|(node, _)| *node).collect();
        let is_since = heard.acted.is_some_and(|acted| lately().all(|(_, heard)| heard.at >= acted + ON_ITS_WAY));
        (led.collect(), able, is_since)
    }

    /// The states of shards that are on their way between nodes, as nodes have said lately.
    pub(crate) fn sends(&self, term: u64) -> Vec<Sending> {
        let heard = self.heard(term);
        let lately = heard.nodes.values().filter(|heard| heard.at.elapsed() < SAID_FOR);
        lately.flat_map(|heard| heard.report.sends.iter().copied()).collect()
    }

    /// The bytes on disk of shards, as their leaders have said lately.
    pub(crate) fn bytes(&self, term: u64) -> BTreeMap<ShardId, u64> {
        let heard = self.heard(term);
        let lately = heard.nodes.values().filter(|heard| heard.at.elapsed() < SAID_FOR);
        let led = lately.flat_map(|heard| &heard.report.led);
        led.map(|(shard, figures)| (*shard, figures.bytes)).collect()
    }

    fn acted(&self, term: u64) {
        self.heard(term).acted = Some(Instant::now());
    }

    fn heard(&self, term: u64) -> MutexGuard<'_, Heard> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.term != term {
            *heard = Heard { term, nodes: BTreeMap::new(), acted: Some(Instant::now()) };
        }
        heard
    }
}

/// Reports what this node leads and, where the meta group is led, sees to the balance. It ends with the node.
pub(crate) async fn keep<S: Portable>(gateway: &Gateway<S>) {
    let every = gateway.options.balance_every;
    loop {
        sleep(if every.is_zero() { REPORT_EVERY } else { every }).await;
        let report = Report::of(gateway);
        let status = gateway.meta.group.watch().borrow().clone();
        if status.is_leader {
            gateway.balance.hear(status.term, gateway.meta.node, report);
            if !every.is_zero() {
                even_out(gateway, status.term).await;
            }
        } else {
            gateway.meta.ask_leader(&Question::Led(report)).await;
        }
    }
}

/// What should be handed over, as far as this node knows; it leads the meta group.
fn planned<S: Portable>(gateway: &Gateway<S>, term: u64, most: usize) -> (Vec<HandOver>, bool) {
    let (led, mut able, is_since) = gateway.balance.seen(term, gateway.options.balance_every * SILENT_LOOKS_MAX);
    let catalog = gateway.meta.catalog_after_apply();
    able.retain(|node| catalog.nodes.get(node).is_some_and(|node| node.state.is_active()));
    (plan(&catalog, &led, &able, most), is_since)
}

async fn even_out<S: Portable>(gateway: &Gateway<S>, term: u64) {
    if !gateway.meta.is_balanced() {
        return;
    }
    let (steps, is_since) = planned(gateway, term, AT_ONCE_MAX);
    if steps.is_empty() || !is_since {
        return;
    }
    let asked: Vec<_> = steps
        .iter()
        .map(|step| {
            let (gateway, step) = (gateway.clone(), *step);
            spawn(async move { ask(&gateway, step).await })
        })
        .collect();
    for task in asked {
        // What was not handed over is planned anew.
        let _ = task.await;
    }
    gateway.balance.acted(term);
}

async fn ask<S: Portable>(gateway: &Gateway<S>, step: HandOver) {
    let HandOver { shard, from, to } = step;
    info!(shard = shard.0, from = from.0, to = to.0, "the shard is handed over, so that leaders are spread evenly");
    if from == gateway.meta.node {
        hand_over(&gateway.shards, &gateway.balance, shard, to).await;
        return;
    }
    let question = Question::HandOver { shard, to };
    if let Err(error) = gateway.meta.host.ask(from, question.encode(), HAND_OVER_WITHIN).await {
        warn!(shard = shard.0, from = from.0, %error, "the shard's leader did not say that it hands over");
    }
}

/// Hands a shard over, if this node leads it and `to` has all that is committed: else its callers would wait for it.
pub(crate) async fn hand_over<S: Portable>(
    shards: &Shards<S>,
    balance: &Balance,
    shard: ShardId,
    to: NodeId,
) -> Answer {
    let Some(replica) = shards.get(shard).filter(|replica| replica.serves() && can_take_over(&replica.status(), to))
    else {
        return Answer::NotLeader(None);
    };
    if disk::hand_over(&replica.group, to).await {
        balance.handed_over.fetch_add(1, Ordering::Relaxed);
    }
    Answer::Done
}

fn can_take_over(status: &Status, to: NodeId) -> bool {
    let has_all = status.matched.get(&to).is_some_and(|matched| *matched >= status.committed);
    status.is_leader && !status.is_changing && status.voters.contains(&to) && has_all
}

/// Whether leaders are balanced, and what would be done next. Of the meta group's leader.
pub(crate) fn shown<S: Portable>(gateway: &Gateway<S>) -> Result<v1::BalanceResponse, Failure> {
    let status = gateway.meta.group.watch().borrow().clone();
    if !status.is_leader {
        return Err(crate::failure::not_leader());
    }
    let (steps, _) = planned(gateway, status.term, SHOWN_MAX);
    let step = |step: &HandOver| v1::HandOver { shard: step.shard.0, from: step.from.0, to: step.to.0 };
    let one = |(shard, from, to): (ShardId, Option<NodeId>, NodeId)| v1::MoveReplicaRequest {
        shard: shard.0,
        from: from.map_or(0, |from| from.0),
        to: to.0,
    };
    Ok(v1::BalanceResponse {
        on: gateway.meta.is_balanced(),
        every_ms: u64::try_from(gateway.options.balance_every.as_millis()).unwrap_or(u64::MAX),
        steps: steps.iter().map(step).collect(),
        moves: moves::planned(gateway).into_iter().map(one).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figures;
    use lentic_types::Index;
    use std::sync::Arc;

    const EVERY: Duration = Duration::from_secs(5);

    fn report(led: &[(u64, u64)]) -> Report {
        Report {
            sends: Vec::new(),
            is_slow: false,
            led: led.iter().map(|(shard, rate)| (ShardId(*shard), Figures { rate: *rate, bytes: 0 })).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_waits_for_what_comes_after_the_last() {
        let balance = Balance::default();
        balance.hear(1, NodeId(1), report(&[(2, 10)]));
        assert!(!balance.seen(1, EVERY).2, "the term has just begun");
        sleep(ON_ITS_WAY).await;
        balance.hear(1, NodeId(1), report(&[(2, 10)]));
        let (led, able, is_since) = balance.seen(1, EVERY);
        assert_eq!((led.len(), able.len(), is_since), (1, 1, true));
        balance.acted(1);
        assert!(!balance.seen(1, EVERY).2);
        assert_eq!(balance.seen(2, EVERY).0.len(), 0, "another term knows nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_or_slow_may_not_lead() {
        let balance = Balance::default();
        balance.hear(1, NodeId(1), report(&[(2, 10)]));
        sleep(EVERY).await;
        balance.hear(1, NodeId(2), report(&[(3, 10)]));
        balance.hear(1, NodeId(3), Report { is_slow: true, ..report(&[(4, 10)]) });
        let (led, able, _) = balance.seen(1, EVERY);
        assert_eq!(able, [NodeId(2)].into());
        assert_eq!(led.keys().copied().collect::<Vec<_>>(), [ShardId(3), ShardId(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_those_that_leaders_have_said_lately() {
        let balance = Balance::default();
        let has =
            |shard, bytes| Report { led: vec![(ShardId(shard), Figures { rate: 0, bytes })], ..Report::default() };
        balance.hear(1, NodeId(1), has(2, 500));
        sleep(SAID_FOR).await;
        balance.hear(1, NodeId(2), has(3, 600));
        assert_eq!(balance.bytes(1), [(ShardId(3), 600)].into());
        assert_eq!(balance.bytes(2), BTreeMap::new(), "another term knows nothing");
    }

    #[test]
    fn who_takes_over_has_all_that_is_committed() {
        let status = Status {
            is_leader: true,
            committed: Index(5),
            voters: Arc::new([NodeId(1), NodeId(2), NodeId(3)].into()),
            matched: [(NodeId(2), Index(4)), (NodeId(3), Index(5)), (NodeId(4), Index(9))].into(),
            ..Status::default()
        };
        let able: Vec<_> = (1..=4).filter(|node| can_take_over(&status, NodeId(*node))).collect();
        assert_eq!(able, [3], "2 lags, 4 has no vote");
        assert!(!can_take_over(&Status { is_changing: true, ..status.clone() }, NodeId(3)));
        assert!(!can_take_over(&Status { is_leader: false, ..status }, NodeId(3)));
    }
}
