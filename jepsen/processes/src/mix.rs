//! Workloads beside each other, on a table of their own.

use std::time::Duration;

use lentic_client::{Client, Options, TableOptions};
use lentic_workloads::{Dice, Pace, Policy, Recorder, Setting, Workload, World};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::cluster::Cluster;

/// Clients, which share nothing but the cluster.
const CLIENTS: usize = 3;
/// How long workloads may take to end and to check what they have seen.
const END_WITHIN: Duration = Duration::from_secs(120);

/// What workloads are put on.
pub(crate) struct Table<'a> {
    pub(crate) name: &'a str,
    pub(crate) shards: u32,
    /// Whether it is split meanwhile.
    pub(crate) splits: bool,
    /// How long an operation is tried before its caller says that nobody knows.
    pub(crate) deadline: Duration,
    /// Which errors a client may see.
    pub(crate) policy: Policy,
}

/// Workloads that run.
pub(crate) struct Mix {
    pub(crate) world: World,
    pub(crate) names: Vec<&'static str>,
    tasks: JoinSet<()>,
}

impl Mix {
    /// Makes the table, begins, and waits until something is committed in each of its shards.
    ///
    /// # Panics
    /// If the table is not made, or nothing is committed.
    pub(crate) async fn start(
        cluster: &Cluster,
        table: &Table<'_>,
        workloads: &[&'static Workload],
        recorder: &Recorder,
        dice: Dice,
    ) -> Self {
        let world = world(cluster, table, recorder, dice).await;
        let mut tasks = JoinSet::new();
        for workload in workloads {
            tasks.spawn((workload.run)(world.fork()));
        }
        let names = workloads.iter().map(|workload| workload.name).collect();
        world.until_committed(&[], recorder.now(), END_WITHIN).await;
        Self { world, names, tasks }
    }

    /// Does something beside the workloads.
    ///
    /// # Panics
    /// With the words of a workload that has ended before it was told to.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            ended = self.tasks.join_next() => match ended {
                Some(Err(error)) => panic!("{}", words_of(error)),
                _ => panic!("a workload has ended by itself"),
            },
        }
    }

    /// Waits until every shard and every workload that writes has committed something that began after this call.
    ///
    /// # Panics
    /// If one has not within `within`.
    pub(crate) async fn until_all_go_on(world: &World, names: &[&'static str], within: Duration) {
        // Those that only read commit nothing: their reads are judged one by one.
        let commits = |name: &&'static str| world.tally().of(name).commits > 0;
        let writers: Vec<&'static str> = names.iter().copied().filter(commits).collect();
        world.until_committed(&writers, world.now(), within).await;
    }

    /// Has all of them stop, and check what they have seen.
    ///
    /// # Panics
    /// With the words of one that has found a promise broken.
    pub(crate) async fn end(&mut self) {
        self.world.end();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    panic!("{}", words_of(error));
                }
            }
        };
        timeout(END_WITHIN, all).await.expect("workloads end when they are told to");
    }

    /// Demands that each has succeeded so often.
    ///
    /// # Panics
    /// If one has not: it has shown nothing.
    pub(crate) fn demand(&self, ok_min: u64) {
        self.world.demand(&self.names, ok_min);
    }
}

/// The words with which a task has ended.
pub(crate) fn words_of(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "the run was ended".to_owned() };
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("a panic without words").to_owned()
}

async fn world(cluster: &Cluster, table: &Table<'_>, recorder: &Recorder, dice: Dice) -> World {
    let Table { name, shards, splits, deadline, policy } = *table;
    let options = Options { deadline, ..Options::default() };
    let mut clients: Vec<Client> = Vec::new();
    while clients.len() < CLIENTS {
        clients.push(cluster.client(options.clone()).await);
    }
    let made = clients[0].create_table(name, TableOptions { shards, ..TableOptions::default() }).await;
    let made = made.expect("the table is made");
    cluster.well("the leaders of a new table").await;
    World::new(Setting {
        clients,
        table: name.to_owned(),
        starts: made.shards.iter().map(|shard| shard.range.start().clone()).collect(),
        splits,
        dice,
        recorder: recorder.clone(),
        pace: Pace::REAL,
        policy,
    })
}
