//! How soon others lead.

use std::time::Duration;

use lentic_workloads::Distribution;
use tokio::time::sleep;

use super::field::{Field, NODES, Needed, compared};
use super::table::{Measure, TIMES};
use crate::nemesis::Fault;
use crate::report::{Report, Stand};

const SHARDS: u32 = 6;
/// How long the cluster is left alone before each fault.
const CALM: Duration = Duration::from_millis(1_500);
/// How long a fault holds: longer than its effect on those who go on without the node.
const HOLDS: Duration = Duration::from_millis(3_000);
/// How long acknowledgements are looked at after a leader was asked to hand over.
const LOOKED_AT: Duration = Duration::from_millis(1_000);
/// How long a node may take to stop in order.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn killed(stand: &Stand, measure: &Measure) -> Report {
    failover(stand, measure, Fault::Kill).await
}

pub(super) async fn cut(stand: &Stand, measure: &Measure) -> Report {
    failover(stand, measure, Fault::Cut).await
}

pub(super) async fn one_way(stand: &Stand, measure: &Measure) -> Report {
    failover(stand, measure, Fault::OneWay).await
}

pub(super) async fn paused(stand: &Stand, measure: &Measure) -> Report {
    failover(stand, measure, Fault::Pause).await
}

fn needed<'a>(measure: &'a Measure, faults: &'a [Fault]) -> Needed<'a> {
    Needed { name: measure.name, faults, shards: SHARDS, knobs: &[], disk_bytes: 0 }
}

/// Strikes the leader of a third of the shards, again and again.
async fn failover(stand: &Stand, measure: &Measure, fault: Fault) -> Report {
    let mut field = Field::start(stand, needed(measure, &[fault])).await;
    let (mut firsts, mut gaps, mut meta) = (Distribution::default(), Distribution::default(), 0);
    // Of rounds in which the node led the meta group, and of the others: without the oracle no shard can commit.
    let mut latencies = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for round in 0..TIMES {
        field.cluster.well("a fault").await;
        field.spread(&[]).await;
        let victim = round % NODES;
        let led = field.led_by(victim).await;
        let others: Vec<usize> = (0..field.shards()).filter(|shard| !led.contains(shard)).collect();
        let leads_meta = field.cluster.leaders().await.meta == victim;
        meta += usize::from(leads_meta);
        let calm = field.recorder.now();
        sleep(CALM).await;
        let struck = field.strike(fault, vec![victim]).await;
        let from = struck.from;
        field.all_go_on().await;
        sleep(HOLDS.saturating_sub(field.recorder.now().saturating_sub(from))).await;
        let to = field.recorder.now();
        for shard in &led {
            firsts.add(field.first_after(*shard, from));
            gaps.add(field.gap(*shard, from, to));
        }
        let (before, during) = &mut latencies[usize::from(leads_meta)];
        before.extend(field.latencies(&others, calm, from));
        during.extend(field.latencies(&others, from, to));
        field.mend(struck).await;
        field.all_go_on().await;
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("faults", format!("{TIMES}, {meta} of them of the meta group's leader"));
    report.add("from the fault to the first write of a shard that the node led", &firsts);
    report.add("longest time without an acknowledgement of such a shard", &gaps);
    let [(before, during), (before_meta, during_meta)] = latencies;
    report.add("latency of writes to other shards, p99", compared(before, during));
    report.add("the same when the node led the meta group, and so the oracle", compared(before_meta, during_meta));
    field.end(report).await
}

/// Asks the leader of one shard after the other to hand over.
pub(super) async fn transferred(stand: &Stand, measure: &Measure) -> Report {
    let field = Field::start(stand, needed(measure, &[])).await;
    let (mut gaps, mut calm_gaps, mut moved) = (Distribution::default(), Distribution::default(), 0);
    for round in 0..TIMES {
        field.cluster.well("a transfer").await;
        let leaders = field.cluster.leaders().await;
        let place = round % leaders.shards.len();
        let (shard, leader) =
            leaders.shards.iter().nth(place).map(|(shard, leader)| (*shard, *leader)).expect("it is one");
        let calm = field.recorder.now();
        sleep(LOOKED_AT).await;
        let from = field.recorder.nemesis("transfer", &shard.to_string());
        let to = field.cluster.id((leader + 1) % NODES);
        field.admin.transfer_leader(shard, Some(to)).await.expect("a follower that is well can lead");
        sleep(LOOKED_AT).await;
        field.all_go_on().await;
        moved += usize::from(field.cluster.leaders().await.shards[&shard] != leader);
        gaps.add(field.gap(place, from, from + LOOKED_AT));
        calm_gaps.add(field.gap(place, calm, from));
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("leaders asked to hand over", format!("{TIMES}, {moved} have"));
    report.add("longest time without an acknowledgement of the shard", &gaps);
    report.add("the same before, with nothing done", &calm_gaps);
    field.end(report).await
}

/// Stops and starts one node after the other.
pub(super) async fn rolling(stand: &Stand, measure: &Measure) -> Report {
    let mut field = Field::start(stand, needed(measure, &[])).await;
    let (mut led_gaps, mut other_gaps, mut stops) = <(Distribution, Distribution, Distribution)>::default();
    for round in 0..TIMES.next_multiple_of(NODES) {
        field.cluster.well("a restart").await;
        field.spread(&[]).await;
        let place = round % NODES;
        let led = field.led_by(place).await;
        sleep(CALM).await;
        let node = &mut field.cluster.nodes[place];
        let from = field.recorder.nemesis("terminate", node.name());
        let status = node.terminate(STOPS_WITHIN).await;
        assert!(status.success(), "{} did not stop in order: {status}", node.name());
        stops.add(field.recorder.now().saturating_sub(from));
        sleep(LOOKED_AT).await;
        let to = field.recorder.now();
        for shard in 0..field.shards() {
            let gap = field.gap(shard, from, to);
            if led.contains(&shard) { led_gaps.add(gap) } else { other_gaps.add(gap) }
        }
        let node = &mut field.cluster.nodes[place];
        field.recorder.nemesis("start", node.name());
        node.start();
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("longest time without an acknowledgement, shards that the node led", &led_gaps);
    report.add("the same, other shards", &other_gaps);
    report.add("from SIGTERM to the end of the process", &stops);
    field.end(report).await
}
