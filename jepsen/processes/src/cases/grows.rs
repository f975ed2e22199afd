//! Three nodes become five, and three again, while clients work, shards are cut and leaders are lost.
//!
//! ```text
//!   n1 n2 n3  ─►  n1 n2 n3 n4 n5  ─►  two of the first three are emptied, removed and stopped
//!   a cut         replicas spread     of each: a cut begins, a leader is killed and comes back, it is empty
//! ```

use std::time::Duration;

use lentic_client::{Client, Options};
use lentic_runtime::Random;
use lentic_workloads::{Dice, Recorder, World};
use tokio::time::sleep;

use super::STRICT;
use crate::alike::read_alike;
use crate::cluster::Cluster;
use crate::mix::{Mix, Table};
use crate::nemesis::{Arena, Fault};
use crate::report::{Report, Stand};
use crate::suite::workloads_of;
use crate::wait::until;

const NAME: &str = "grows";
const TABLE: &str = "grows";
/// Nodes at first and at last, and most of them.
const FIRST: usize = 3;
const MOST: usize = 5;
const SHARDS: u32 = 4;
const WORKLOADS: &str = "lists,bank,orphans,scans,feed,set,retries,owners";
/// Replicas go to nodes that are new.
const BALANCED: &str = "shards.balance_ms=500";
/// Longer than all that is done: a safe retry hides it.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long workloads and shards may take to go on while a node is away.
const GOES_ON_WITHIN: Duration = Duration::from_secs(60);
/// How long replicas may take to come to new nodes, or to leave one.
const MOVES_WITHIN: Duration = Duration::from_secs(120);
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// Fewer operations of a workload that succeeded show nothing.
const OK_MIN: u64 = 20;

/// How long, and from what.
#[derive(Clone, Copy, Debug)]
pub struct Grows {
    /// What chance follows from.
    pub seed: u64,
    /// How long the workloads go on when all is done.
    pub rest: Duration,
}

/// Has a cluster grow and shrink under load. No operation may fail, but for what a caller must expect.
///
/// # Panics
/// If one does, if a workload finds its promise broken, or if a change does not come to its end.
pub async fn grows_and_shrinks(stand: &Stand, plan: Grows) -> Report {
    let home = stand.home_of(NAME);
    let recorder = Recorder::to_files(&home);
    let random = Random::seeded(plan.seed);
    let dice = Dice::new(&random);
    let mut cluster = Cluster::start_first(&stand.settings(NAME, MOST, &[BALANCED]), FIRST).await;
    let workloads = workloads_of(WORKLOADS).expect("the case names workloads that there are");
    let table = Table { name: TABLE, shards: SHARDS, splits: true, deadline: DEADLINE, policy: STRICT };
    let mut mix = Mix::start(&cluster, &table, &workloads, &recorder, Dice::new(&random)).await;
    let admin = cluster.client(Options { deadline: DEADLINE, ..Options::default() }).await;
    let mut report = Report::new(NAME);

    let (world, names) = (mix.world.clone(), mix.names.clone());
    let arena = Arena { cluster: &mut cluster, table: TABLE, admin: &admin, recorder: &recorder, dice: &dice };
    let mut course = Course { arena, world: &world, names: &names, report: &mut report };
    mix.beside(course.run()).await;
    recorder.nemesis("healed", "all");
    world.heal();
    sleep(plan.rest).await;
    mix.end().await;
    for name in &names {
        let tally = world.tally();
        report.add(*name, format!("{}; {}", tally.shown(name).unwrap_or_default(), tally.of(name)));
    }
    report.add("after it, every replica", read_alike(&cluster, &admin, TABLE).await);
    cluster.check_well();
    mix.demand(OK_MIN);
    report.close(&home, &recorder)
}

/// What is done, one after the other.
struct Course<'a> {
    arena: Arena<'a>,
    world: &'a World,
    names: &'a [&'static str],
    report: &'a mut Report,
}

impl Course<'_> {
    async fn run(&mut self) {
        let cut = self.arena.strike_at(Fault::Split, Vec::new()).await;
        let cut = self.arena.mend(cut).await;
        self.report.add("with three nodes", cut);
        self.all_go_on().await;
        let new: Vec<usize> = (FIRST..MOST).collect();
        for _ in &new {
            let place = self.arena.cluster.grow().await;
            self.arena.recorder.nemesis("start", self.arena.cluster.nodes[place].name());
        }
        let held = self.have_replicas(&new).await;
        self.report.add("replicas of the new nodes", format!("{held:?}"));
        self.all_go_on().await;
        let first = self.arena.dice.place(FIRST);
        for (round, place) in [first, (first + 1) % FIRST].into_iter().enumerate() {
            self.leaves(place, round).await;
        }
        // The others stand by themselves.
        self.loses_a_leader(0).await;
        self.all_go_on().await;
    }

    /// Empties a node, removes it and stops it. Meanwhile a shard is cut and a leader is lost.
    async fn leaves(&mut self, place: usize, round: usize) {
        let (node, name) = (self.arena.cluster.id(place), self.arena.cluster.nodes[place].name().to_owned());
        let admin = self.arena.admin;
        let from = self.arena.recorder.nemesis("drain", &name);
        admin.drain_node(node).await.expect("there is room elsewhere for what a node holds");
        let cut = self.arena.strike_at(Fault::Split, Vec::new()).await;
        self.loses_a_leader(round).await;
        let cut = self.arena.mend(cut).await;
        until(&format!("{name} is empty and removed"), MOVES_WITHIN, || removed(admin, &self.arena, place)).await;
        let took = self.arena.recorder.nemesis("remove", &name).saturating_sub(from);
        let status = self.arena.cluster.nodes[place].terminate(STOPS_WITHIN).await;
        assert!(status.success(), "{name} did not stop in order: {status}");
        self.arena.cluster.well(&format!("the end of {name}")).await;
        self.all_go_on().await;
        self.report.add(format!("{name} emptied and removed"), format!("in {:.1} s; {cut}", took.as_secs_f64()));
    }

    /// Kills a leader, waits until the others go on without it, and starts it again.
    async fn loses_a_leader(&mut self, round: usize) {
        let victim = self.arena.cluster.leaders().await.victim(round);
        let kill = self.arena.strike_at(Fault::Kill, vec![victim]).await;
        self.all_go_on().await;
        self.arena.mend(kill).await;
        self.arena.cluster.well("the loss of a leader").await;
    }

    async fn all_go_on(&self) {
        Mix::until_all_go_on(self.world, self.names, GOES_ON_WITHIN).await;
    }

    /// Waits until each of the nodes at these places holds replicas, and nothing moves. How many each holds.
    async fn have_replicas(&self, places: &[usize]) -> Vec<u32> {
        until("replicas that have come to new nodes", MOVES_WITHIN, || async {
            let mut all = Vec::new();
            for place in places {
                all.push(self.arena.cluster.held(*place).await?);
            }
            let moves = self.arena.cluster.status().await?.moves;
            match all.contains(&0) || !moves.is_empty() {
                true => Err(format!("they hold {all:?}, and {moves:?} are on their way")),
                false => Ok(all),
            }
        })
        .await
    }
}

/// Removes the node at a place if it holds nothing.
async fn removed(admin: &Client, arena: &Arena<'_>, place: usize) -> Result<(), String> {
    match arena.cluster.held(place).await? {
        // It may be a member of the meta group still.
        0 => admin.remove_node(arena.cluster.id(place)).await.map_err(|error| error.to_string()),
        held => Err(format!("it holds {held} replicas")),
    }
}
