//! Followers whose entries are gone from the log.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cluster.rs"]
mod common;

use std::time::Duration;

use common::{Cluster, GROUP, PATIENCE, everything, node, nodes, simulate};
use lentic_log::Holder;
use lentic_raft::{Options, StartError};
use lentic_types::{Index, NodeId};
use tokio::time::{Instant, sleep, timeout};

/// Bytes of each command, so that a state is some megabytes.
const COMMAND_BYTES: usize = 20_000;
const COMMANDS: u64 = 200;

/// Proposes large commands, and purges the leader's log and those of the others that run.
async fn fill_and_purge(cluster: &Cluster, leader: NodeId) -> Index {
    let mut last = Index(0);
    for number in 0..COMMANDS {
        let command = format!("{number:<COMMAND_BYTES$}");
        last = cluster.propose(leader, &command).await.unwrap().0;
    }
    for (number, machine) in &cluster.machines {
        if machine.running.is_some() {
            cluster.applied(*number, last).await;
            release(cluster, *number).await;
            assert_eq!(cluster.group(*number).status().purged, last);
        }
    }
    last
}

/// Makes everything durable on a node, and lets it go from the log, as if the log were too large: else a leader keeps
/// what a follower that is away has not got.
async fn release(cluster: &Cluster, number: NodeId) {
    cluster.tape(number).flush();
    let group = cluster.group(number);
    group.release_log(Some(everything())).await.unwrap();
    let durable = group.status().applied;
    let mut status = group.watch();
    let purged = timeout(PATIENCE, status.wait_for(|status| status.purged == durable)).await;
    assert!(matches!(purged, Ok(Ok(_))), "{number} did not let go of {durable}: {}", cluster.describe());
}

async fn cluster_with_one_away(seed: u64, options: Options) -> (Cluster, NodeId, NodeId, Index) {
    let mut cluster = Cluster::with(seed, 3, options).await;
    cluster.begin(GROUP, [1, 2, 3]).await;
    let leader = cluster.leader().await;
    let away = *cluster.machines.keys().find(|node| **node != leader).unwrap();
    let first = cluster.propose(leader, "first").await.unwrap().0;
    cluster.applied(away, first).await;
    cluster.crash(away);
    let last = fill_and_purge(&cluster, leader).await;
    (cluster, leader, away, last)
}

fn options() -> Options {
    Options { log_keep_entries: 0, snapshot_bytes_per_second: 1 << 20, ..Options::default() }
}

#[test]
fn a_follower_whose_entries_are_gone_gets_a_snapshot_and_then_entries() {
    simulate(1, async {
        let (mut cluster, leader, away, last) = cluster_with_one_away(1, options()).await;
        let started = Instant::now();
        cluster.start(away).await;
        // Others go on meanwhile.
        for number in 0..10 {
            cluster.propose(leader, &format!("meanwhile {number}")).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        cluster.applied(away, last).await;
        let end = cluster.propose(leader, "end").await.unwrap().0;
        cluster.applied(away, end).await;
        assert_eq!(cluster.tape(away).commands(), cluster.tape(leader).commands());
        let bytes = COMMANDS * COMMAND_BYTES as u64;
        let least = Duration::from_millis(900 * bytes / (1 << 20));
        assert!(started.elapsed() > least, "not paced: {:?}", started.elapsed());
        assert_eq!(cluster.host(leader).stats().snapshots_sent, 1);
        assert_eq!(cluster.host(away).stats().snapshots_received, 1);
    });
}

/// A log that is too large, and writes that do not end: what comes after the snapshot stays until it is there, unless the log is
/// far too large. Else there is one snapshot after the other.
#[test]
fn one_snapshot_is_enough_while_the_log_is_pressed() {
    for is_far_too_large in [false, true] {
        simulate(8, async {
            let (mut cluster, leader, away, last) = cluster_with_one_away(8, options()).await;
            cluster.start(away).await;
            let follower = cluster.group(away);
            let came = follower.watch();
            for number in 0..600 {
                cluster.propose(leader, &format!("meanwhile {number}")).await.unwrap();
                cluster.tape(leader).flush();
                let overdue = if is_far_too_large { Index(u64::MAX) } else { Index(0) };
                let named = Holder { overdue, ..everything() };
                cluster.group(leader).release_log(Some(named)).await.unwrap();
                if came.borrow().applied > last {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
            let sent = cluster.host(leader).stats().snapshots_sent;
            if is_far_too_large {
                assert!(cluster.group(leader).status().purged > last);
                assert!(sent > 1 || came.borrow().applied <= last, "{sent} snapshots");
            } else {
                assert!(came.borrow().applied > last, "it has what was written meanwhile");
                assert_eq!(sent, 1);
            }
        });
    }
}

#[test]
fn a_log_that_is_pressed_lets_go_of_what_was_named_and_of_no_more() {
    simulate(9, async {
        let (cluster, leader, _, last) = cluster_with_one_away(9, options()).await;
        for number in 0..10 {
            cluster.propose(leader, &format!("later {number}")).await.unwrap();
        }
        cluster.tape(leader).flush();
        let (group, named) = (cluster.group(leader), Index(last.0 + 3));
        group.release_log(Some(Holder { through: named, overdue: named, ..everything() })).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(group.status().purged, named);
    });
}

#[test]
fn a_snapshot_goes_on_where_its_link_broke() {
    simulate(2, async {
        let (mut cluster, leader, away, last) = cluster_with_one_away(2, options()).await;
        cluster.start(away).await;
        let begun = timeout(PATIENCE, async {
            while cluster.host(away).stats().snapshot_bytes_received < 2_000_000 {
                sleep(Duration::from_millis(10)).await;
            }
        });
        begun.await.unwrap();
        cluster.net.break_links(leader, away);
        cluster.applied(away, last).await;
        assert_eq!(cluster.tape(away).commands(), cluster.tape(leader).commands());
        assert_eq!(cluster.tape(leader).exports(), 1, "one export, sent in two parts");
        sleep(Duration::from_millis(50)).await;
        let stats = cluster.host(leader).stats();
        let bytes = COMMANDS * COMMAND_BYTES as u64;
        // What was under way when the link broke is sent again, and nothing else.
        assert!(stats.snapshot_bytes_sent < bytes + bytes / 10 + 4 * 100_000, "{stats:?}");
        assert_eq!(stats.snapshots_sent, 1);
    });
}

#[test]
fn a_follower_that_crashes_while_it_receives_begins_again() {
    simulate(3, async {
        let (mut cluster, leader, away, last) = cluster_with_one_away(3, options()).await;
        cluster.start(away).await;
        sleep(Duration::from_secs(2)).await;
        cluster.crash(away);
        sleep(Duration::from_secs(1)).await;
        cluster.start(away).await;
        cluster.applied(away, last).await;
        assert_eq!(cluster.tape(away).commands(), cluster.tape(leader).commands());
    });
}

/// Its state is the snapshot's, and what its log knows of that is not on disk: as with a store that finishes an install when it
/// is opened.
#[test]
fn a_follower_that_crashes_before_its_log_knows_of_the_snapshot_goes_on_from_it() {
    for seed in 10..14 {
        simulate(seed, async {
            let (mut cluster, leader, away, last) = cluster_with_one_away(seed, options()).await;
            cluster.start(away).await;
            let come_in = timeout(PATIENCE, async {
                while (cluster.tape(away).commands().len() as u64) < COMMANDS {
                    sleep(Duration::from_micros(50)).await;
                }
            });
            come_in.await.unwrap();
            cluster.crash(away);
            cluster.start(away).await;
            cluster.applied(away, last).await;
            let end = cluster.propose(leader, "end").await.unwrap().0;
            cluster.applied(away, end).await;
            assert_eq!(cluster.tape(away).commands(), cluster.tape(leader).commands());
            assert_eq!(cluster.host(away).stats().snapshots_received, 0, "it needs no other");
            cluster.group(leader).transfer_leader(away).await.unwrap();
            assert_eq!(cluster.leader().await, away);
        });
    }
}

#[test]
fn a_new_leader_sends_its_own_snapshot() {
    simulate(4, async {
        let (mut cluster, leader, away, last) = cluster_with_one_away(4, options()).await;
        cluster.start(away).await;
        sleep(Duration::from_secs(2)).await;
        let other = *cluster.machines.keys().find(|node| **node != leader && **node != away).unwrap();
        let group = cluster.group(leader);
        group.transfer_leader(other).await.unwrap();
        cluster.applied(away, last).await;
        assert_eq!(cluster.tape(away).commands(), cluster.tape(other).commands());
        assert_eq!(cluster.host(leader).stats().snapshots_sent, 0, "the old leader stopped sending");
    });
}

#[test]
fn a_replica_that_has_a_snapshot_survives_a_crash_and_leads() {
    simulate(5, async {
        let (mut cluster, leader, away, last) = cluster_with_one_away(5, options()).await;
        cluster.start(away).await;
        cluster.applied(away, last).await;
        let end = cluster.propose(leader, "end").await.unwrap().0;
        cluster.applied(away, end).await;
        cluster.crash(away);
        cluster.start(away).await;
        cluster.applied(away, end).await;
        let group = cluster.group(leader);
        group.transfer_leader(away).await.unwrap();
        let leader = cluster.leader().await;
        assert_eq!(leader, away);
        cluster.propose(away, "as a leader").await.unwrap();
    });
}

#[test]
fn a_learner_without_anything_gets_a_snapshot() {
    simulate(6, async {
        let mut cluster = Cluster::with(6, 1, Options { log_keep_entries: 0, ..Options::default() }).await;
        cluster.begin(GROUP, [1]).await;
        let leader = cluster.leader().await;
        let last = fill_and_purge(&cluster, leader).await;
        for number in [2, 3] {
            cluster.add(node(number)).await;
            cluster.start_group(node(number), GROUP).await;
            let group = cluster.group(leader);
            group.add_learner(node(number)).await.unwrap();
        }
        for number in [2, 3] {
            cluster.applied(node(number), last).await;
        }
        let group = cluster.group(leader);
        group.change_voters(nodes([1, 2, 3])).await.unwrap();
        cluster.crash(leader);
        let other = cluster.leader_among([2, 3]).await;
        cluster.propose(other, "without the first").await.unwrap();
        assert_eq!(cluster.tape(other).commands().len() as u64, COMMANDS + 1);
    });
}

#[test]
fn a_store_behind_the_log_is_refused() {
    simulate(7, async {
        let mut cluster = Cluster::new(7, 1).await;
        cluster.begin(GROUP, [1]).await;
        let leader = cluster.leader().await;
        let last = cluster.propose(leader, "a").await.unwrap().0;
        release(&cluster, leader).await;
        // The purge is in the log a moment later.
        sleep(Duration::from_millis(50)).await;
        cluster.crash(leader);
        let tape = cluster.machines[&leader].tapes[&GROUP].clone();
        tape.wipe();
        cluster.machines.get_mut(&leader).unwrap().tapes.clear();
        cluster.start(leader).await;
        let host = cluster.host(leader);
        let started = cluster.scope(leader).run(host.start(GROUP, tape.open())).await;
        let expected = StartError::StoreBehindLog { group: GROUP, durable: Index(0), purged: last };
        assert_eq!(started.err(), Some(expected));
    });
}
