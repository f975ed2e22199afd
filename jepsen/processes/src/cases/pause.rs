//! SIGSTOP of a leader, then SIGCONT: it must not answer with what it knew before.

use std::time::Duration;

use lentic_client::TableOptions;
use lentic_workloads::{Distribution, Pace, Recorder, longest_gap};
use tokio::time::sleep;

use super::STRICT;
use super::register::Register;
use crate::cluster::Cluster;
use crate::load::{Load, places_of};
use crate::pipe::RawPipe;
use crate::report::{Report, Stand};

const NODES: usize = 3;
const SHARDS: u32 = 3;
const TABLE: &str = "pause";
/// Registers have a table of their own: the load knows every key of its own.
const REGISTERS: &str = "pause-registers";
/// How long the others may take to go on without the paused node.
const RESUMES_WITHIN: Duration = Duration::from_secs(20);

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// How long a leader is paused: far longer than an election.
    pub length: Duration,
    /// How many times.
    pub times: usize,
}

/// Pauses a leader under load, several times. A register of a shard it leads is written and read meanwhile, through
/// clients that find the new leader, and by reads that are sent to the paused node and lie before it when it goes on.
///
/// # Panics
/// If a read was stale, a write was lost or took effect twice, or a client saw an error.
pub async fn pause(stand: &Stand, plan: Pause) -> Report {
    let home = stand.home_of("pause");
    let recorder = Recorder::to_files(&home);
    let mut cluster = Cluster::start(&stand.settings("pause", NODES, &[])).await;
    let (client, shards) = cluster.table(TABLE, SHARDS).await;
    let options = TableOptions { shards: SHARDS, ..TableOptions::default() };
    let registers = client.create_table(REGISTERS, options).await.expect("the table is made").shards;
    let load = Load::start(&client, TABLE, &recorder, Pace::REAL, STRICT).await;
    let (mut gaps, mut told, mut refused) = (Distribution::default(), 0, 0);
    for round in 0..plan.times {
        cluster.well("a pause").await;
        let leaders = cluster.leaders().await;
        let victim = leaders.victim(round);
        let node = &cluster.nodes[victim];
        let led = leaders.of(victim);
        let shard = registers.iter().find(|shard| led.contains(&shard.shard)).unwrap_or(&registers[0]);
        let led = places_of(&shards, &led);
        let mut register = Register::start(&client, REGISTERS, shard, round, &recorder);
        let pipe = RawPipe::open(&node.address()).await;
        register.read_by(&pipe).await;

        let from = recorder.nemesis("pause", node.name());
        node.pause();
        load.until_acknowledged(&led, from, RESUMES_WITHIN).await;
        // Before a write of another leader, what the paused node knows would be right.
        register.until_written(RESUMES_WITHIN).await;
        let to = recorder.now();
        led.iter().for_each(|shard| gaps.add(longest_gap(&load.world().tally().ack_times(*shard), from, to)));
        register.read_by(&pipe).await;
        sleep(plan.length.saturating_sub(recorder.now().saturating_sub(from))).await;
        recorder.nemesis("resume", node.name());
        node.resume();
        register.read_by(&pipe).await;
        let (some_told, some_refused) = register.end().await;
        (told, refused) = (told + some_told, refused + some_refused);
    }
    cluster.well("the last pause").await;
    let mut report = Report::new("pause");
    report.add("pauses", format!("{} of {} s", plan.times, plan.length.as_secs_f64()));
    report.add("reads sent to the paused node", format!("{told} answered, {refused} refused, none stale"));
    report.add("longest gap of its shards", &gaps);
    report.add("there, once", load.stop().await);
    cluster.check_well();
    report.close(&home, &recorder)
}
