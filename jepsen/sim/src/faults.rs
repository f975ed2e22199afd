//! What is done to a cluster, and when.

use std::io::ErrorKind;
use std::time::Duration;

use lentic_client::{Client, NodeId};
use lentic_log::SimOp;
use lentic_net::sim::SimKnobs;
use lentic_workloads::Dice;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::host::SimStore;

const HOUR_MS: i64 = 3_600_000;

/// Breaks things for `for_`, one after the other, each kind as often as the dice say. What is broken stays so until the
/// dice heal it, or [`Cluster::heal_all`].
pub async fn break_things<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice, admin: &Client, for_: Duration) {
    let until = Instant::now() + for_;
    // A seed has a temper: how long it waits, and which kinds it likes.
    let pause_ms_max = dice.between(100..=1_500);
    // Where all nodes hold all shards, nothing can move.
    let count = if cluster.hosts() > 3 { KINDS } else { KINDS - 1 };
    let kinds: Vec<u64> = (0..count).filter(|_| !dice.one_in(3)).collect();
    while Instant::now() < until {
        sleep(Duration::from_millis(dice.between(10..=pause_ms_max))).await;
        let kind = if kinds.is_empty() { dice.between(0..=count - 1) } else { kinds[dice.place(kinds.len())] };
        break_one(cluster, dice, admin, kind).await;
        cluster.end_failed();
        // What is down comes back sooner or later, and what stands still goes on.
        for host in 0..cluster.hosts() {
            if !dice.one_in(3) {
                continue;
            }
            cluster.go_on(host);
            if !cluster.is_up(host) {
                if dice.one_in(2) {
                    cluster.repair(host);
                }
                cluster.start_host(host).await;
            }
        }
    }
}

const KINDS: u64 = 20;

async fn break_one<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice, admin: &Client, kind: u64) {
    let host = dice.place(cluster.hosts());
    let other = (host + 1 + dice.place(cluster.addresses() - 1)) % cluster.addresses();
    match kind {
        0 => cluster.crash(host, dice.one_in(2)),
        1 if dice.one_in(3) => (0..cluster.hosts()).for_each(|host| cluster.crash(host, true)),
        1 => {
            cluster.crash(host, true);
            cluster.start_host(host).await;
        }
        2 => cluster.cut(host, other, false),
        3 => cluster.cut(host, other, true),
        // Its clients still reach it, and it may not know yet that another leads.
        4 if dice.one_in(2) => {
            (0..cluster.hosts()).filter(|other| *other != host).for_each(|other| cluster.cut(host, other, false));
        }
        4 => (0..cluster.addresses()).filter(|other| *other != host).for_each(|other| cluster.cut(host, other, false)),
        // What it says gets through, and it hears nothing; or the other way round.
        5 if dice.one_in(2) => {
            (0..cluster.hosts()).filter(|other| *other != host).for_each(|other| cluster.cut(other, host, true));
        }
        5 => (0..cluster.hosts()).filter(|other| *other != host).for_each(|other| cluster.cut(host, other, true)),
        6 => {
            let by = if dice.one_in(2) { HOUR_MS } else { 10_000 };
            cluster.jump(host, if dice.one_in(2) { by } else { -by });
        }
        7 if dice.one_in(2) => {
            cluster.stall_disk(host, Duration::from_millis(dice.between(100..=4_000)));
        }
        7 => cluster.slow_disk(host, dice.between(2_000..=200_000)),
        8 => cluster.break_links(host, other),
        9 => {
            let knobs = SimKnobs::default();
            cluster.set_network(match dice.between(0..=2) {
                0 => knobs,
                1 => SimKnobs { reset_per_million: 2_000, ..knobs },
                _ => SimKnobs { late_per_million: 50_000, late_ms_max: 1_000, ..knobs },
            });
        }
        10 if dice.one_in(3) => cluster.flush(host),
        10 => {
            cluster.flush(host);
            cluster.release_logs(host).await;
        }
        11 => power_fails_under_slow_disks(cluster, dice).await,
        12 => cluster.stand_still(host),
        13 => bridge(cluster, dice),
        14 => power_fails_for_a_majority(cluster, dice).await,
        15 => restart_in_turn(cluster, dice).await,
        16 => disk_fails(cluster, dice, host),
        17 => {
            cluster.crash(host, true);
            cluster.damage(host);
        }
        19 => move_replicas(cluster, dice, admin).await,
        _ => {
            // Another leader, asked for: the client finds the group's leader, or gives up soon.
            cluster.note_transfer();
            transfer(cluster, dice, admin).await;
        }
    }
    // Cuts are healed as often as they are made.
    if dice.one_in(3) {
        (0..cluster.addresses()).for_each(|other| {
            if other != host {
                cluster.heal(host, other);
            }
        });
    }
}

/// Power fails everywhere while much is on its way to slow disks: what was answered before it was synced is gone.
async fn power_fails_under_slow_disks<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice) {
    for host in 0..cluster.hosts() {
        if !dice.one_in(3) {
            cluster.slow_disk(host, dice.between(20_000..=600_000));
        }
    }
    if dice.one_in(2) {
        // An election: votes are on their way too.
        cluster.crash(dice.place(cluster.hosts()), true);
    }
    sleep(Duration::from_millis(dice.between(50..=1_200))).await;
    for host in 0..cluster.hosts() {
        cluster.crash(host, true);
        cluster.slow_disk(host, 2_000);
    }
    for host in 0..cluster.hosts() {
        cluster.start_host(host).await;
    }
}

/// Two halves that cannot hear each other, and one host that hears both.
fn bridge<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice) {
    let (hosts, bridge) = (cluster.hosts(), dice.place(cluster.hosts()));
    let others: Vec<usize> = (1..hosts).map(|step| (bridge + step) % hosts).collect();
    let (one, other) = others.split_at(others.len() / 2);
    one.iter().for_each(|from| other.iter().for_each(|to| cluster.cut(*from, *to, false)));
}

/// More hosts than may be lost lose their power at once; one of the others may have slept through what they did last.
async fn power_fails_for_a_majority<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice) {
    let (hosts, first) = (cluster.hosts(), dice.place(cluster.hosts()));
    if dice.one_in(2) {
        cluster.stand_still((first + hosts / 2 + 1) % hosts);
        sleep(Duration::from_millis(dice.between(50..=1_000))).await;
    }
    let majority = (0..=hosts / 2).map(|step| (first + step) % hosts);
    majority.clone().for_each(|host| cluster.crash(host, true));
    if dice.one_in(2) {
        for host in majority {
            cluster.start_host(host).await;
        }
    }
}

/// Each node is stopped as it should be, and started again, as for a new release.
async fn restart_in_turn<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice) {
    for host in 0..cluster.hosts() {
        cluster.stop_host(host).await;
        cluster.start_host(host).await;
        sleep(Duration::from_millis(dice.between(10..=800))).await;
    }
}

/// A disk takes no more: the node on it must end, and answer nothing that is not on the disk.
fn disk_fails<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice, host: usize) {
    match dice.between(0..=3) {
        0 => cluster.fill_disk(host),
        1 => cluster.fail_disk(host, SimOp::Write, ErrorKind::Other),
        2 => cluster.fail_disk(host, SimOp::Write, ErrorKind::StorageFull),
        _ => cluster.fail_disk(host, SimOp::Sync, ErrorKind::Other),
    }
}

/// Another place for a replica, or for all that a node holds; a node that is emptied is used again now and then.
async fn move_replicas<S: SimStore>(cluster: &mut Cluster<S>, dice: &Dice, admin: &Client) {
    let within = Duration::from_millis(500);
    let node = || NodeId(u64::try_from(dice.place(cluster.hosts())).unwrap_or(0) + 1);
    let (one, other, shard) = (node(), node(), dice.place(8));
    let asked = async {
        match dice.between(0..=4) {
            0 => admin.drain_node(one).await,
            1 => admin.undrain_node(one).await,
            _ => {
                let shards = admin.describe_table(crate::scenario::TABLE).await?.shards;
                let shard = &shards[shard % shards.len()];
                let from = shard.replicas.iter().find(|node| **node == one).unwrap_or(&shard.replicas[0]);
                admin.move_replica(shard.shard, Some(*from), other).await
            }
        }
    };
    // What is refused, or not answered in time, may be asked for again: it is seen in the catalog what became of it.
    if matches!(tokio::time::timeout(within, asked).await, Ok(Ok(()))) {
        cluster.note_move();
    }
}

/// Asks some shard's leader to hand over.
async fn transfer<S: SimStore>(cluster: &Cluster<S>, dice: &Dice, admin: &Client) {
    let within = Duration::from_millis(300);
    let Ok(Ok(described)) = tokio::time::timeout(within, admin.describe_table(crate::scenario::TABLE)).await else {
        return;
    };
    let Some(shard) = described.shards.get(dice.place(described.shards.len())) else { return };
    let to = NodeId(u64::try_from(dice.place(cluster.hosts())).unwrap_or(0) + 1);
    // Whether it took effect shows in what clients see.
    let _ = tokio::time::timeout(within, admin.transfer_leader(shard.shard, Some(to))).await;
}
