//! A cluster under load, and what is read off its acknowledgements.

use std::time::Duration;

use lentic_client::{Client, Options, TableOptions};
use lentic_runtime::Random;
use lentic_workloads::{Ack, Dice, Distribution, Pace, Policy, Recorder, World, longest_gap};
use tokio::time::sleep;

use crate::cluster::{Cluster, Settings};
use crate::ground::Ground;
use crate::load::Load;
use crate::nemesis::{Arena, Fault, Struck};
use crate::report::{Report, Stand};
use crate::wait::until;

pub(super) const NODES: usize = 3;
pub(super) const TABLE: &str = "measured";
const DEADLINE: Duration = Duration::from_secs(30);
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// How long shards may take to go on at all: the figures say how long they did.
const RESUMES_WITHIN: Duration = Duration::from_secs(40);
/// How long leaders may take to move where they are wanted.
const SPREADS_WITHIN: Duration = Duration::from_secs(60);

/// What is measured on.
pub(super) struct Field {
    pub(super) cluster: Cluster,
    load: Load,
    pub(super) admin: Client,
    pub(super) recorder: Recorder,
    dice: Dice,
    home: std::path::PathBuf,
}

/// What a measurement needs.
pub(super) struct Needed<'a> {
    pub(super) name: &'a str,
    /// Faults that will be struck.
    pub(super) faults: &'a [Fault],
    pub(super) shards: u32,
    pub(super) knobs: &'a [&'a str],
    pub(super) disk_bytes: u64,
}

impl Field {
    /// Starts a cluster with a load on it.
    pub(super) async fn start(stand: &Stand, needed: Needed<'_>) -> Self {
        let Needed { name, faults, shards, knobs, disk_bytes } = needed;
        let home = stand.home_of(name);
        let recorder = Recorder::to_files(&home);
        let needs = faults.iter().fold(crate::nemesis::Needs::default(), |needs, fault| needs.with(fault.needs()));
        let ground = Ground { needs, seed: 1, disk_bytes };
        let cluster = Cluster::start(&Settings { ground, ..stand.settings(name, NODES, knobs) }).await;
        let options = Options { deadline: DEADLINE, ..Options::default() };
        let admin = cluster.client(options.clone()).await;
        let table = TableOptions { shards, ..TableOptions::default() };
        admin.create_table(TABLE, table).await.expect("the table is made");
        // Who leads what is a part of each measure.
        admin.set_balance(false).await.expect("the balance of leaders is switched off");
        cluster.well("the leaders of a new table").await;
        let client = cluster.client(options).await;
        let policy = Policy::Tolerant { serves_within: SERVES_WITHIN };
        let load = Load::start(&client, TABLE, &recorder, Pace::REAL, policy).await;
        let field = Self { cluster, load, admin, recorder, dice: Dice::new(&Random::seeded(2)), home };
        field.all_go_on().await;
        field
    }

    /// Waits until every shard has acknowledged a write that begins after now.
    pub(super) async fn all_go_on(&self) {
        let all: Vec<usize> = (0..self.shards()).collect();
        self.load.until_acknowledged(&all, self.recorder.now(), RESUMES_WITHIN).await;
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.world().shards()
    }

    /// What the load writes to.
    pub(super) const fn world(&self) -> &World {
        self.load.world()
    }

    /// Has the shards led by all nodes in turn, but for those in `without`.
    pub(super) async fn spread(&self, without: &[usize]) {
        let places: Vec<usize> = (0..NODES).filter(|place| !without.contains(place)).collect();
        until("leaders where they are wanted", SPREADS_WITHIN, || async {
            let leaders = self.cluster.leaders_now().await?;
            let mut elsewhere = 0;
            for ((shard, leader), number) in leaders.shards.iter().zip(0_usize..) {
                let wanted = places[number % places.len()];
                if *leader != wanted {
                    elsewhere += 1;
                    // It may not be ready yet, or have been asked already.
                    let _ = self.admin.transfer_leader(*shard, Some(self.cluster.id(wanted))).await;
                }
            }
            if elsewhere == 0 { Ok(()) } else { Err(format!("{elsewhere} are led elsewhere")) }
        })
        .await;
    }

    /// The shards that a node leads, by place.
    pub(super) async fn led_by(&self, place: usize) -> Vec<usize> {
        let leaders = self.cluster.leaders().await;
        leaders.shards.values().enumerate().filter(|(_, leader)| **leader == place).map(|(shard, _)| shard).collect()
    }

    /// Strikes a fault at one node, or at all.
    pub(super) async fn strike(&mut self, fault: Fault, nodes: Vec<usize>) -> Struck {
        self.arena().strike_at(fault, nodes).await
    }

    /// Mends it.
    pub(super) async fn mend(&mut self, struck: Struck) -> String {
        self.arena().mend(struck).await
    }

    fn arena(&mut self) -> Arena<'_> {
        let Self { cluster, admin, recorder, dice, .. } = self;
        Arena { cluster, table: TABLE, admin, recorder, dice }
    }

    /// The longest time without an acknowledgement of a shard.
    pub(super) fn gap(&self, shard: usize, from: Duration, to: Duration) -> Duration {
        longest_gap(&self.world().tally().ack_times(shard), from, to)
    }

    /// From `from` to the first acknowledgement of a write of the shard that was meant to begin after it.
    pub(super) fn first_after(&self, shard: usize, from: Duration) -> Duration {
        let tally = self.world().tally();
        let after = tally.acks(shard).iter().filter(|ack| ack.meant > from);
        after.map(|ack| ack.at.saturating_sub(from)).min().expect("who asks has waited for it")
    }

    /// How long writes of some shards took that were meant to begin between two times.
    pub(super) fn latencies(&self, shards: &[usize], from: Duration, to: Duration) -> Vec<Duration> {
        let tally = self.world().tally();
        let all = shards.iter().flat_map(|shard| tally.acks(*shard));
        all.filter(|Ack { meant, .. }| (from..to).contains(meant)).map(|ack| ack.at.saturating_sub(ack.meant)).collect()
    }

    /// Ends the load, checks all that was acknowledged, and closes the report.
    ///
    /// # Panics
    /// If something that was acknowledged is not there, or a caller was left without an answer.
    pub(super) async fn end(mut self, mut report: Report) -> Report {
        self.cluster.well("the last fault").await;
        self.world().heal();
        sleep(Duration::from_secs(1)).await;
        report.add("load", self.load.stop().await);
        self.cluster.check_well();
        report.close(&self.home, &self.recorder)
    }
}

/// Two distributions, and how many times the first the second's p99 is.
pub(super) fn compared(before: Vec<Duration>, after: Vec<Duration>) -> String {
    let (before, after): (Distribution, Distribution) = (before.into_iter().collect(), after.into_iter().collect());
    let ratio = after.percentile(99).as_secs_f64() / before.percentile(99).as_secs_f64().max(1e-6);
    format!("{ratio:.2} times; before: {before:#}; then: {after:#}")
}
