//! How long others wait for what a dead process has left: for its locks, for the changes of its shards.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, FeedEvent, KeyRange, Options, Table, Transaction, WriteBatch};
use lentic_workloads::{Distribution, Recorder, World, longest_gap};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::field::{Field, NODES, Needed, TABLE};
use super::table::{Measure, TIMES};
use crate::nemesis::Fault;
use crate::report::{Report, Stand};

const SHARDS: u32 = 6;
/// How long the cluster is left alone before each fault.
const CALM: Duration = Duration::from_millis(1_500);
/// How long a killed node stays away: longer than what is measured.
const HOLDS: Duration = Duration::from_millis(4_000);
/// Transactions that are under way at once when their coordinator is killed.
const UNDER_WAY: usize = 64;
/// A write that took so long has met something.
const FREE: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(30);

/// Kills the coordinator of transactions, with their clients, and writes what they may have locked.
pub(super) async fn abandoned(stand: &Stand, measure: &Measure) -> Report {
    let mut field = Field::start(stand, needed(measure)).await;
    let (mut waits, mut met) = (Distribution::default(), 0);
    for round in 0..TIMES {
        field.cluster.well("a fault").await;
        field.spread(&[]).await;
        let victim = round % NODES;
        let led = field.led_by(victim).await;
        let other = (0..field.shards()).find(|shard| !led.contains(shard)).expect("others lead, too");
        let pairs: Vec<_> = (0..UNDER_WAY).map(|pair| keys(field.world(), (led[0], other), round, pair)).collect();
        let dying = field.cluster.client(Options { deadline: DEADLINE, ..Options::default() }).await;
        sleep(CALM).await;
        let mut transactions = JoinSet::new();
        for (first, second) in &pairs {
            transactions.spawn(commit_again(dying.clone(), first.clone(), second.clone()));
        }
        sleep(CALM).await;
        let struck = field.strike(Fault::Kill, vec![victim]).await;
        transactions.shutdown().await;
        let (from, table) = (struck.from, field.admin.table(TABLE));
        let mut writes = JoinSet::new();
        for (_, second) in pairs {
            writes.spawn(write(table.clone(), second, field.recorder.clone()));
        }
        let mut ends = writes.join_all().await;
        ends.sort_unstable();
        let took = |end: &Duration| end.saturating_sub(from);
        met += ends.iter().filter(|end| took(end) > FREE).count();
        waits.add(ends.last().map(took).expect("there are writes"));
        field.mend(struck).await;
        field.all_go_on().await;
    }
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("coordinators killed, with transactions under way", format!("{TIMES}, {UNDER_WAY} each"));
    report.add("keys that could not be written for 100 ms, of shards that others lead", met);
    report.add("from the fault until all of them were written", &waits);
    field.end(report).await
}

/// Kills leaders of what a feed follows.
pub(super) async fn feed(stand: &Stand, measure: &Measure) -> Report {
    let mut field = Field::start(stand, needed(measure)).await;
    let told: Arc<[Mutex<Vec<Duration>>]> = (0..field.shards()).map(|_| Mutex::default()).collect();
    let mut follower = JoinSet::new();
    follower.spawn(follow(field.admin.table(TABLE), field.world().fork(), field.recorder.clone(), Arc::clone(&told)));
    let mut gaps = Distribution::default();
    for round in 0..TIMES {
        field.cluster.well("a fault").await;
        field.spread(&[]).await;
        let victim = round % NODES;
        let led = field.led_by(victim).await;
        sleep(CALM).await;
        let struck = field.strike(Fault::Kill, vec![victim]).await;
        let from = struck.from;
        field.all_go_on().await;
        sleep(HOLDS.saturating_sub(field.recorder.now().saturating_sub(from))).await;
        let to = field.recorder.now();
        for shard in led {
            gaps.add(longest_gap(&told[shard].lock().unwrap_or_else(PoisonError::into_inner), from, to));
        }
        field.mend(struck).await;
        field.all_go_on().await;
    }
    follower.shutdown().await;
    let mut report = Report::new(measure.name);
    report.add("target", measure.target);
    report.add("leaders killed", TIMES);
    report.add("longest time without a change of a shard that the node led", &gaps);
    field.end(report).await
}

const fn needed(measure: &Measure) -> Needed<'_> {
    Needed { name: measure.name, faults: &[Fault::Kill], shards: SHARDS, knobs: &[], disk_bytes: 0 }
}

/// A key of each of two shards.
fn keys(world: &World, (first, second): (usize, usize), round: usize, pair: usize) -> (Bytes, Bytes) {
    let name = format!("abandoned/{round}/{pair}");
    (world.key(first, &name), world.key(second, &name))
}

/// Commits to two keys, again and again. Who leads the shard of the first coordinates it.
async fn commit_again(client: Client, first: Bytes, second: Bytes) {
    loop {
        let batch = WriteBatch::new().put(first.clone(), "of the dead").put(second.clone(), "of the dead");
        // It is measured what is left when nobody asks any more.
        let _ = client.commit(Transaction::new().with(TABLE, batch)).await;
    }
}

/// Writes a key, and tells when that was done.
async fn write(table: Table, key: Bytes, recorder: Recorder) -> Duration {
    table.put(key, "of the living").await.expect("a key is free when those are ended who held it");
    recorder.now()
}

/// Notes when the feed told of each shard.
async fn follow(table: Table, world: World, recorder: Recorder, told: Arc<[Mutex<Vec<Duration>>]>) {
    let mut feed = table.subscribe(KeyRange::all()).start();
    while let Some(event) = feed.next().await {
        let FeedEvent::Change(change) = event.expect("a feed goes on without one of three nodes") else { continue };
        let shard = world.starts().partition_point(|start| *start <= change.key).saturating_sub(1);
        told[shard].lock().unwrap_or_else(PoisonError::into_inner).push(recorder.now());
    }
}
