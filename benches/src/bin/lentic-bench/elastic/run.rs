//! The run: one step after the other under one load, and its figures.

use std::path::Path;

use lentic_client::{Client, NodeId};

use super::steps::{Done, Large, balance, move_large, split, transfer};
use super::watch::Watch;
use super::{plot, steps};
use crate::Size;
use crate::cluster::Lentic;
use crate::figures::{Figures, Target, median, percentile};

/// The table that the load goes to.
pub(super) const BUSY: &str = "busy";
const BUSY_SHARDS: u32 = 2;
/// No limit to what is sent, and nothing changes its shape by itself before it is its turn.
const KNOBS: [&str; 4] = [
    "raft.snapshot_bytes_per_second=18446744073709551615",
    "shards.split_operations=0",
    "shards.split_bytes=0",
    "shards.balance_ms=1000",
];

pub(crate) async fn run(size: Size, figures: &mut Figures) {
    let mut cluster = Lentic::start_with(&KNOBS).await;
    let client = cluster.client().await;
    client.set_balance(false).await.expect("the cluster answers");
    // With three replicas of all, and the logs, 45 GB of disk.
    let sizes = Sizes { moved: size.pick(2 << 30, 64 << 20) as u64, spread: size.pick(10 << 30, 64 << 20) as u64 };
    let large = Large::fill(&cluster, &client, "large", 1, sizes.moved).await;
    let many = Large::fill(&cluster, &client, "many", 24, sizes.spread).await;
    cluster.table(&client, BUSY, BUSY_SHARDS).await;
    cluster.processes.settle().await;

    let watch = Watch::start(&client.table(BUSY));
    let mut done = Vec::new();
    let calm = steps::calm(&watch, size).await;
    stalls("calm", &watch, std::slice::from_ref(&calm), None, figures);
    let rounds = size.pick(20, 5);
    done.extend(several(rounds, &watch, |round| split(&client, &watch, round)).await);
    stalls("split", &watch, &done, Some(50.0), figures);
    let transfers = several(rounds, &watch, |_| transfer(&client, &watch)).await;
    stalls("transfer", &watch, &transfers, Some(100.0), figures);
    done.extend(transfers);
    done.push(moved(&mut cluster, &client, &watch, &large, &calm, figures).await);
    done.push(spread(&cluster, &client, &watch, &many, figures).await);
    let after = steps::calm(&watch, size).await;
    for (name, part) in [("before", &calm), ("while_a_replica_moves", &done[done.len() - 2])] {
        figures.add(&format!("puts_a_second_{name}"), &[watch.rate(part)], "puts/s", Target::Stated);
    }
    figures.add(
        "puts_a_second_while_nodes_are_evened_out",
        &[watch.rate(&done[done.len() - 1])],
        "puts/s",
        Target::Stated,
    );
    figures.add("puts_a_second_after", &[watch.rate(&after)], "puts/s", Target::Stated);
    let seen = watch.stop().await;
    figures.add("puts_that_failed", &[seen.failed as f64], "puts", Target::AtMost(0.0));
    let path = Path::new("target/bench/elastic.svg");
    std::fs::write(path, plot::svg(&seen, &done)).expect("target can be written to");
    println!("drawn in {}", path.display());
}

/// Bytes of keys and values.
struct Sizes {
    moved: u64,
    spread: u64,
}

async fn several<F: Future<Output = Done>>(rounds: usize, watch: &Watch, step: impl Fn(usize) -> F) -> Vec<Done> {
    let mut done = Vec::new();
    for round in 0..rounds {
        done.push(step(round).await);
        watch.rest().await;
    }
    done
}

/// How long the puts took that took longest, of those that should have begun in each of these times.
fn stalls(name: &str, watch: &Watch, parts: &[Done], at_most: Option<f64>, figures: &mut Figures) {
    let longest: Vec<f64> = parts.iter().map(|part| watch.latencies(part).last().copied().unwrap_or(0.0)).collect();
    let target = at_most.map_or(Target::Stated, Target::AtMost);
    figures.add(&format!("{name}_longest_put_p50"), &[median(&longest)], "ms", Target::Stated);
    figures.add(&format!("{name}_longest_put_p99"), &[percentile(&longest, 99)], "ms", target);
}

/// A replica of a large shard goes to a node that has just joined.
async fn moved(
    cluster: &mut Lentic,
    client: &Client,
    watch: &Watch,
    large: &Large,
    calm: &Done,
    figures: &mut Figures,
) -> Done {
    let to: NodeId = cluster.add_node(client, &KNOBS).await;
    let (directory, bytes) = (cluster.processes.directory().to_owned(), large.bytes);
    let disk = tokio::task::spawn_blocking(move || steps::disk_rate(&directory, bytes)).await;
    let disk = disk.expect("the disk can be written to");
    let sent = cluster.metric("lentic_raft_snapshot_sent_bytes");
    let done = move_large(client, watch, large, to).await;
    let sent = cluster.metric("lentic_raft_snapshot_sent_bytes") - sent;
    let (before, during) = (watch.latencies(calm), watch.latencies(&done));
    let p99 = |of: &[f64]| percentile(of, 99);
    figures.add("put_p99_before", &[p99(&before)], "ms", Target::Stated);
    figures.add("put_p99_while_a_replica_moves", &[p99(&during)], "ms", Target::Stated);
    figures.add(
        "put_p99_while_a_replica_moves_to_before",
        &[p99(&during) / p99(&before)],
        "ratio",
        Target::AtMost(2.0),
    );
    figures.add("move_took", &[done.seconds()], "s", Target::Stated);
    figures.add("moved", &[sent / 1e6], "MB", Target::Stated);
    figures.add("disk", &[disk / 1e6], "MB/s", Target::Stated);
    figures.add("move_rate_to_disk", &[sent / done.seconds() / disk], "ratio", Target::AtLeast(0.5));
    done
}

/// The node that has joined gets its part of all shards.
async fn spread(cluster: &Lentic, client: &Client, watch: &Watch, many: &Large, figures: &mut Figures) -> Done {
    let sent = cluster.metric("lentic_raft_snapshot_sent_bytes");
    let (done, replicas) = balance(client, watch, many).await;
    let sent = cluster.metric("lentic_raft_snapshot_sent_bytes") - sent;
    figures.add("balance_took", &[done.seconds()], "s", Target::Stated);
    figures.add("balance_moved", &[sent / 1e6], "MB", Target::Stated);
    figures.add("balance_moved_replicas", &[replicas.moved as f64], "replicas", Target::Stated);
    figures.add(
        "balance_moved_replicas_to_ideal",
        &[replicas.moved as f64 / replicas.ideal as f64],
        "ratio",
        Target::AtMost(1.1),
    );
    done
}
