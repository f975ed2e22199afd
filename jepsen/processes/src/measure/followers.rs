//! What followers cost those who lead, and what becomes of a leader whose disk is slow.

use std::time::Duration;

use lentic_workloads::Distribution;
use tokio::time::sleep;

use super::field::{Field, NODES, Needed, compared};
use super::table::{Measure, TIMES};
use crate::nemesis::Fault;
use crate::report::{Report, Stand};
use crate::wait::until;

const SHARDS: u32 = 6;
/// How long acknowledgements are looked at before and while a disk is slow.
const LOOKED_AT: Duration = Duration::from_secs(3);
/// How long a follower is away.
const AWAY: Duration = Duration::from_secs(4);
/// How long a leader with a slow disk may take to lead nothing: the figures say how long it did.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(60);

fn needed<'a>(measure: &'a Measure, faults: &'a [Fault]) -> Needed<'a> {
    Needed { name: measure.name, faults, shards: SHARDS, knobs: &[], disk_bytes: 0 }
}

/// A node that leads nothing.
async fn follower(field: &Field, round: usize) -> usize {
    field.cluster.well("a fault").await;
    let meta = field.cluster.leaders().await.meta;
    let place = (meta + 1 + round % (NODES - 1)) % NODES;
    field.spread(&[place]).await;
    place
}

/// A follower is cut off, and comes back.
pub(super) async fn returns(stand: &Stand, measure: &Measure) -> Report {
    let mut field = Field::start(stand, needed(measure, &[Fault::Cut])).await;
    let (mut away, mut back) = (Distribution::default(), Distribution::default());
    for round in 0..TIMES {
        let place = follower(&field, round).await;
        let struck = field.strike(Fault::Cut, vec![place]).await;
        let from = struck.from;
        sleep(AWAY).await;
        let returned = field.recorder.now();
        field.mend(struck).await;
        sleep(LOOKED_AT).await;
        let to = field.recorder.now();
        field.all_go_on().await;
        for shard in 0..field.shards() {
            away.add(field.gap(shard, from, returned));
            back.add(field.gap(shard, returned, to));
        }
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("longest time without an acknowledgement of a shard, when it comes back", &back);
    report.add("the same while it is away", &away);
    field.end(report).await
}

/// A follower's syncs take half a second more.
pub(super) async fn slow(stand: &Stand, measure: &Measure) -> Report {
    let mut field = Field::start(stand, needed(measure, &[Fault::SlowSync])).await;
    let all: Vec<usize> = (0..field.shards()).collect();
    let (mut before, mut then, mut led) = (Vec::new(), Vec::new(), 0);
    for round in 0..TIMES {
        let place = follower(&field, round).await;
        let calm = field.recorder.now();
        sleep(LOOKED_AT).await;
        let struck = field.strike(Fault::SlowSync, vec![place]).await;
        let from = struck.from;
        sleep(LOOKED_AT).await;
        let to = field.recorder.now();
        field.all_go_on().await;
        led += field.led_by(place).await.len();
        before.extend(field.latencies(&all, calm, from));
        then.extend(field.latencies(&all, from, to));
        field.mend(struck).await;
        field.all_go_on().await;
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("latency of writes, p99", compared(before, then));
    report.add("shards that the slow node came to lead", led);
    field.end(report).await
}

/// A leader's syncs take half a second more.
pub(super) async fn leader_slow(stand: &Stand, measure: &Measure) -> Report {
    let mut field = Field::start(stand, needed(measure, &[Fault::SlowSync])).await;
    let (mut hands_over, mut meta) = (Distribution::default(), 0);
    for round in 0..TIMES {
        field.cluster.well("a fault").await;
        field.spread(&[]).await;
        let place = round % NODES;
        meta += usize::from(field.cluster.leaders().await.meta == place);
        let struck = field.strike(Fault::SlowSync, vec![place]).await;
        let cluster = &field.cluster;
        until("a slow leader that leads nothing", HANDS_OVER_WITHIN, || async {
            let leaders = cluster.leaders_now().await?;
            let leads = leaders.of(place).len() + usize::from(leaders.meta == place);
            if leads == 0 { Ok(()) } else { Err(format!("it leads {leads} groups")) }
        })
        .await;
        hands_over.add(field.recorder.now().saturating_sub(struck.from));
        field.mend(struck).await;
        field.all_go_on().await;
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("faults", format!("{TIMES}, {meta} of them of the meta group's leader"));
    report.add("from the first slow sync until it leads nothing", &hands_over);
    field.end(report).await
}
