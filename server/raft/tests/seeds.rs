//! Hundreds of short lives of a cluster: clients propose and read while nodes crash, links are cut, logs are purged and
//! leaders change. Whatever happened, what was acknowledged is there once, in order, everywhere; and no read was stale.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cluster.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, GROUP, Live, everything, node, simulate};
use lentic_raft::{Options, ProposeError};
use lentic_runtime::Random;
use lentic_types::{Index, NodeId};
use tokio::time::{Instant, sleep, timeout};

const NODES: u64 = 3;
const CLIENTS: u64 = 2;
const STEPS: usize = 8;
/// What fits the time that a test may take. The environment variable SEEDS asks for more, SEED for one.
const SEEDS: u64 = 24;

/// What a client saw.
#[derive(Default)]
struct History {
    /// Commands with index, beginning and end.
    acknowledged: Vec<(String, Index, Instant, Instant)>,
    /// Commands that may have been applied.
    unknown: BTreeSet<String>,
    /// Read points with their beginning.
    reads: Vec<(Index, Instant)>,
}

struct Dice(Random);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.0.next_seed() % bound
    }

    fn node(&self) -> NodeId {
        node(1 + self.below(NODES))
    }
}

/// Proposes numbered commands, each until it is acknowledged or its fate is unknown; reads in between.
async fn client(number: u64, live: Live, history: Arc<Mutex<History>>, dice: Dice) {
    for sequence in 0u64.. {
        let command = format!("c{number}-{sequence}");
        let began = Instant::now();
        loop {
            sleep(Duration::from_millis(1 + dice.below(80))).await;
            let groups = live.lock().unwrap().clone();
            let leads = |group: &&common::TapeGroup| group.status().is_leader;
            let Some(group) = groups.values().find(leads) else { continue };
            if dice.below(4) == 0 {
                let began = Instant::now();
                if let Ok(Ok(point)) = timeout(Duration::from_secs(2), group.read_index()).await {
                    history.lock().unwrap().reads.push((point.index, began));
                }
            }
            let term = group.status().term;
            // From here on it may be applied, whatever we hear.
            let outcome = match group.submit(term, Bytes::from(command.clone())).await {
                Ok(pending) => timeout(Duration::from_secs(2), pending).await.unwrap_or(Err(ProposeError::Lost)),
                Err(error) => Err(error),
            };
            match outcome {
                Ok((index, _)) => {
                    let entry = (command.clone(), index, began, Instant::now());
                    history.lock().unwrap().acknowledged.push(entry);
                    break;
                }
                Err(ProposeError::NotLeader { .. } | ProposeError::Full { .. } | ProposeError::Stopped(_)) => {}
                Err(ProposeError::Lost) => {
                    history.lock().unwrap().unknown.insert(command.clone());
                    break;
                }
            }
        }
    }
}

async fn disturb(cluster: &mut Cluster, dice: &Dice) {
    let some = dice.node();
    match dice.below(10) {
        0..=2 if cluster.runs(some) => cluster.crash(some),
        0..=3 => {
            for number in 1..=NODES {
                if !cluster.runs(node(number)) {
                    cluster.start(node(number)).await;
                }
            }
        }
        4 => {
            for number in 1..=NODES {
                if cluster.runs(node(number)) {
                    cluster.crash(node(number));
                }
            }
        }
        5 => cluster.net.cut(&[some.0], &(1..=NODES).filter(|number| *number != some.0).collect::<Vec<_>>()),
        6 => cluster.net.cut_one_way(some, dice.node()),
        7 => cluster.net.heal(),
        8 => cluster.net.break_links(some, dice.node()),
        _ => {
            if let Some(group) = cluster.live().get(&some) {
                let _ = timeout(Duration::from_millis(300), group.transfer_leader(dice.node())).await;
            }
        }
    }
}

/// Flushes and purges on some nodes, as each does now and then.
async fn release(cluster: &Cluster, dice: &Dice) {
    for (number, group) in cluster.live() {
        if dice.below(2) == 0 {
            cluster.tape(number).flush();
            let pressed = (dice.below(2) == 0).then(everything);
            let _ = group.release_log(pressed).await;
        }
    }
}

async fn live(seed: u64) -> (usize, usize, String) {
    let dice = Dice(Random::seeded(seed ^ 0x5eed));
    let mut cluster = Cluster::with(seed, NODES, Options { log_keep_entries: 5, ..Options::default() }).await;
    cluster.begin(GROUP, 1..=NODES).await;
    let history = Arc::new(Mutex::new(History::default()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let dice = Dice(Random::seeded(seed + number));
            tokio::spawn(client(number, cluster.share_live(), Arc::clone(&history), dice))
        })
        .collect();
    for _ in 0..STEPS {
        sleep(Duration::from_millis(dice.below(900))).await;
        disturb(&mut cluster, &dice).await;
        release(&cluster, &dice).await;
    }
    cluster.net.heal();
    for number in 1..=NODES {
        if !cluster.runs(node(number)) {
            cluster.start(node(number)).await;
        }
    }
    sleep(Duration::from_secs(2)).await;
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    let end = cluster.propose_anywhere("end").await;
    for number in 1..=NODES {
        cluster.applied(node(number), end).await;
    }
    let history = history.lock().unwrap();
    check(&cluster, &history);
    let snapshots = (1..=NODES).map(|number| cluster.host(node(number)).stats().snapshots_received).sum::<u64>();
    let trace = format!("{snapshots} {} {}", cluster.net.describe(), cluster.describe());
    (history.acknowledged.len(), usize::try_from(snapshots).unwrap(), trace)
}

fn check(cluster: &Cluster, history: &History) {
    let tape = cluster.tape(node(1)).indexed();
    for number in 2..=NODES {
        assert!(cluster.tape(node(number)).indexed() == tape, "n{number} has applied something else than n1");
    }
    let mut applied = BTreeMap::new();
    for (index, command) in &tape {
        let command = String::from_utf8(command.to_vec()).unwrap();
        assert_eq!(applied.insert(command.clone(), Index(*index)), None, "{command} is applied twice");
    }
    let mut by_end: Vec<_> = history.acknowledged.iter().collect();
    by_end.sort_by_key(|(.., end)| *end);
    for (command, index, ..) in &by_end {
        assert_eq!(applied.get(command), Some(index), "{command} was acknowledged");
    }
    for (command, index, began, _) in &by_end {
        let newest = by_end.iter().take_while(|(.., end)| end < began).map(|(_, index, ..)| *index).max();
        assert!(newest < Some(*index), "{command} at {index} began after {newest:?} was acknowledged");
    }
    for (index, began) in &history.reads {
        let newest = by_end.iter().take_while(|(.., end)| end < began).map(|(_, index, ..)| *index).max();
        assert!(newest <= Some(*index), "a read at {index} began after {newest:?} was acknowledged");
    }
    let known: BTreeSet<&String> = history.acknowledged.iter().map(|(command, ..)| command).collect();
    for command in applied.keys().filter(|command| *command != "end" && !known.contains(command)) {
        // The last command of a client that was ended is unknown, too.
        let (client, sequence) = command.split_once('-').unwrap();
        let newer = format!("{client}-{}", sequence.parse::<u64>().unwrap() + 1);
        let ended = !known.contains(&newer) && !history.unknown.contains(&newer);
        assert!(history.unknown.contains(command) || ended, "{command} was refused, and is applied");
    }
}

#[test]
fn whatever_happens_what_was_acknowledged_is_there() {
    let number = |name| std::env::var(name).ok().map(|number: String| number.parse::<u64>().unwrap());
    let only = number("SEED");
    let seeds = only.map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let many = only.is_none().then(|| usize::try_from(seeds.end).unwrap());
    let (mut acknowledged, mut snapshots) = (0, 0);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| simulate(seed, live(seed)));
        let (commands, received, _) = outcome.unwrap_or_else(|_| panic!("SEED={seed} fails"));
        acknowledged += commands;
        snapshots += received;
    }
    assert!(many.is_none_or(|seeds| acknowledged > 20 * seeds), "only {acknowledged} commands were acknowledged");
    assert!(many.is_none_or(|seeds| snapshots > seeds / 10), "only {snapshots} snapshots were received");
    println!("{acknowledged} commands acknowledged, {snapshots} snapshots received");
}

#[test]
fn a_life_is_a_function_of_its_seed() {
    assert_eq!(simulate(7, live(7)), simulate(7, live(7)));
}
