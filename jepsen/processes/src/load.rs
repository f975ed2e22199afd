//! The workload `set` alone, beside cases with demands of their own: it writes at a steady pace, whatever happens to the
//! cluster, and checks that what was acknowledged is there, once.

use std::time::Duration;

use lentic_client::{Client, ShardId};
use lentic_runtime::Random;
use lentic_workloads::{Counts, Dice, Pace, Policy, Recorder, Setting, World, find};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The workload.
const SET: &str = "set";
/// How long the last writes, and reading everything, may take once the load ends.
const END_WITHIN: Duration = Duration::from_secs(120);

/// Writes to every shard of a table until it is told to stop.
pub(crate) struct Load {
    world: World,
    set: JoinHandle<()>,
}

impl Load {
    /// Begins to write to all shards of `table`.
    ///
    /// # Panics
    /// If the table is not there.
    pub(crate) async fn start(client: &Client, table: &str, recorder: &Recorder, pace: Pace, policy: Policy) -> Self {
        let shards = client.describe_table(table).await.expect("the table is there").shards;
        let world = World::new(Setting {
            clients: vec![client.clone()],
            table: table.to_owned(),
            starts: shards.iter().map(|shard| shard.range.start().clone()).collect(),
            splits: false,
            dice: Dice::new(&Random::from_system()),
            recorder: recorder.clone(),
            pace,
            policy,
        });
        let set = tokio::spawn((find(SET).expect("there is such a workload").run)(world.fork()));
        Self { world, set }
    }

    /// What it writes to, and what was acknowledged.
    pub(crate) const fn world(&self) -> &World {
        &self.world
    }

    /// Waits until every shard named by its place has acknowledged a write that began after `since`.
    ///
    /// # Panics
    /// If one has not within `within`.
    pub(crate) async fn until_acknowledged(&self, shards: &[usize], since: Duration, within: Duration) {
        let deadline = Instant::now() + within;
        let silent = || {
            let tally = self.world.tally();
            let has_none = |shard: &usize| !tally.acks(*shard).iter().rev().any(|ack| ack.meant > since);
            shards.iter().copied().filter(has_none).collect::<Vec<_>>()
        };
        loop {
            let silent = silent();
            if silent.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "shards {silent:?} have acknowledged nothing for {within:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends the load, and has it check that what was acknowledged is there.
    ///
    /// # Panics
    /// If it is not, or took effect twice.
    pub(crate) async fn stop(self) -> Counts {
        self.world.end();
        let ended = timeout(END_WITHIN, self.set).await.expect("a load ends when it is told to");
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
        self.world.tally().of(SET)
    }
}

/// The place of each shard in its table, by id.
pub(crate) fn places_of(all: &[ShardId], some: &[ShardId]) -> Vec<usize> {
    some.iter().filter_map(|shard| all.iter().position(|known| known == shard)).collect()
}
