//! Groups on a cluster in one process: who leads, what is applied, what survives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/cluster.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, GROUP, PATIENCE, node, nodes, simulate};
use lentic_net::BoxFuture;
use lentic_raft::{Answer, AskError, ChangeError, ProposeError, ReadError};
use lentic_types::{GroupId, Index, NodeId};
use tokio::time::{Instant, sleep, timeout};

async fn three(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, 3).await;
    cluster.begin(GROUP, [1, 2, 3]).await;
    cluster.leader().await;
    cluster
}

fn others(cluster: &Cluster, than: NodeId) -> Vec<NodeId> {
    cluster.machines.keys().copied().filter(|node| *node != than).collect()
}

#[test]
fn three_nodes_elect_one_and_apply_what_it_is_given() {
    simulate(1, async {
        let cluster = three(1).await;
        let leader = cluster.leader().await;
        let (index, count) = cluster.propose(leader, "a").await.unwrap();
        assert_eq!(count, 1);
        for number in 1..=3 {
            cluster.applied(node(number), index).await;
            assert_eq!(cluster.tape(node(number)).commands(), ["a"]);
        }
    });
}

#[test]
fn a_group_of_one_needs_nobody_and_syncs_all_the_same() {
    simulate(2, async {
        let mut cluster = Cluster::new(2, 1).await;
        cluster.begin(GROUP, [1]).await;
        let leader = cluster.leader().await;
        let syncs = cluster.syncs(leader);
        assert_eq!(cluster.propose(leader, "a").await.unwrap().1, 1);
        assert!(cluster.syncs(leader) > syncs, "acknowledged without a sync");
        let started = Instant::now();
        let group = cluster.group(leader);
        let point = group.read_index().await.unwrap();
        assert!(point.index >= group.status().applied);
        assert!(started.elapsed() < Duration::from_millis(5), "a read took a round: {:?}", started.elapsed());
        cluster.crash(leader);
        cluster.start(leader).await;
        cluster.leader().await;
        assert_eq!(cluster.tape(leader).commands(), ["a"]);
    });
}

#[test]
fn pipelined_commands_are_applied_in_the_order_of_their_submission() {
    simulate(3, async {
        let cluster = three(3).await;
        let leader = cluster.leader().await;
        let group = cluster.group(leader);
        let term = group.status().term;
        let started = Instant::now();
        let mut pending = Vec::new();
        for number in 0..500 {
            pending.push(group.submit(term, Bytes::from(number.to_string())).await.unwrap());
        }
        let mut last = Index(0);
        for (number, pending) in pending.into_iter().enumerate() {
            let (index, count) = pending.await.unwrap();
            assert_eq!(count, number + 1);
            last = index;
        }
        assert!(started.elapsed() < Duration::from_millis(100), "not pipelined: {:?}", started.elapsed());
        let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        for number in 1..=3 {
            cluster.applied(node(number), last).await;
            assert_eq!(cluster.tape(node(number)).commands(), expected);
        }
    });
}

#[test]
fn appends_to_a_follower_are_under_way_together() {
    simulate(4, async {
        let cluster = three(4).await;
        let leader = cluster.leader().await;
        let group = cluster.group(leader);
        let term = group.status().term;
        // Each is a message of its own by its size; a round trip with the follower's sync takes some milliseconds.
        let command = Bytes::from(vec![b'x'; 900_000]);
        let started = Instant::now();
        let mut pending = Vec::new();
        for _ in 0..40 {
            pending.push(group.submit(term, command.clone()).await.unwrap());
        }
        for pending in pending {
            pending.await.unwrap();
        }
        assert!(started.elapsed() < Duration::from_millis(80), "one after the other: {:?}", started.elapsed());
    });
}

#[test]
fn what_was_acknowledged_survives_a_crash_of_all_nodes() {
    for seed in 0..10 {
        simulate(seed, async {
            let mut cluster = three(seed).await;
            let leader = cluster.leader().await;
            let mut acknowledged = Vec::new();
            for number in 0..20 {
                let command = format!("c{number}");
                cluster.propose(leader, &command).await.unwrap();
                acknowledged.push(command);
            }
            for number in 1..=3 {
                cluster.crash(node(number));
            }
            for number in 1..=3 {
                cluster.start(node(number)).await;
            }
            let leader = cluster.leader().await;
            assert_eq!(cluster.tape(leader).commands(), acknowledged);
        });
    }
}

#[test]
fn nothing_is_acknowledged_before_a_quorum_has_synced_it() {
    simulate(5, async {
        let cluster = three(5).await;
        let leader = cluster.leader().await;
        let followers = others(&cluster, leader);
        for number in 0..20 {
            let before: Vec<u64> = followers.iter().map(|node| cluster.syncs(*node)).collect();
            cluster.propose(leader, &format!("c{number}")).await.unwrap();
            let synced = followers.iter().zip(before).filter(|(node, before)| cluster.syncs(**node) > *before).count();
            assert!(synced >= 1, "no follower has synced");
        }
    });
}

#[test]
fn another_leads_when_the_leader_is_gone_and_it_follows_when_it_is_back() {
    simulate(6, async {
        let mut cluster = three(6).await;
        let old = cluster.leader().await;
        cluster.propose(old, "a").await.unwrap();
        cluster.crash(old);
        let started = Instant::now();
        let others = others(&cluster, old);
        let new = cluster.leader_among(others.iter().map(|node| node.0)).await;
        let took = started.elapsed();
        assert!(took < 2 * cluster.options.election_max + Duration::from_millis(300), "{took:?}");
        cluster.propose(new, "b").await.unwrap();
        cluster.start(old).await;
        let end = cluster.propose_anywhere("c").await;
        for number in 1..=3 {
            cluster.applied(node(number), end).await;
            assert_eq!(cluster.tape(node(number)).commands(), ["a", "b", "c"]);
        }
    });
}

#[test]
fn a_leader_that_starts_again_does_not_lead_before_an_election() {
    simulate(7, async {
        let mut cluster = three(7).await;
        let leader = cluster.leader().await;
        let term = cluster.group(leader).status().term;
        cluster.crash(leader);
        cluster.start(leader).await;
        let group = cluster.group(leader);
        let read = group.read_index().await;
        assert!(matches!(read, Err(ReadError::NotLeader { .. })), "{read:?}");
        let submitted = group.submit(term, Bytes::new()).await.unwrap().await;
        assert!(matches!(submitted, Err(ProposeError::NotLeader { .. })), "{submitted:?}");
        cluster.leader().await;
        assert!(group.status().term > term);
    });
}

#[test]
fn a_follower_that_was_away_catches_up_from_the_log() {
    simulate(8, async {
        let mut cluster = three(8).await;
        let leader = cluster.leader().await;
        let away = others(&cluster, leader)[0];
        cluster.crash(away);
        for number in 0..300 {
            cluster.propose(leader, &format!("c{number}")).await.unwrap();
        }
        cluster.start(away).await;
        let end = cluster.propose(leader, "end").await.unwrap().0;
        cluster.applied(away, end).await;
        assert_eq!(cluster.tape(away).commands(), cluster.tape(leader).commands());
        assert_eq!(cluster.host(leader).stats().snapshots_sent, 0);
    });
}

#[test]
fn a_leader_that_is_cut_off_serves_no_stale_read_and_loses_its_commands() {
    simulate(9, async {
        let cluster = three(9).await;
        let old = cluster.leader().await;
        cluster.propose(old, "a").await.unwrap();
        let others: Vec<u64> = others(&cluster, old).iter().map(|node| node.0).collect();
        cluster.net.cut(&[old.0], &others);
        let group = cluster.group(old);
        let term = group.status().term;
        let lost = group.submit(term, Bytes::from("lost")).await.unwrap();
        let new = cluster.leader_among(others).await;
        cluster.propose(new, "b").await.unwrap();
        assert!(group.status().is_leader, "it cannot know");
        let started = Instant::now();
        let read = group.read_index().await;
        assert_eq!(read, Err(ReadError::NotConfirmed));
        assert!(started.elapsed() <= cluster.options.election_max + Duration::from_millis(50));
        let refused = group.submit(term, Bytes::from("late")).await.unwrap().await;
        assert_eq!(refused.err(), Some(ProposeError::NotLeader { leader: None }), "its lease has run out");
        cluster.net.heal();
        assert_eq!(timeout(PATIENCE, lost).await.unwrap().err(), Some(ProposeError::Lost));
        let end = cluster.propose_anywhere("c").await;
        cluster.applied(old, end).await;
        assert_eq!(cluster.tape(old).commands(), ["a", "b", "c"]);
    });
}

/// What a follower acknowledged before it gave its vote away says nothing of a read that begins later, whenever it arrives.
#[test]
fn acknowledgements_that_come_late_confirm_no_read() {
    let mut came_late = 0;
    for seed in 0..20 {
        came_late += simulate(seed, async {
            let cluster = three(seed).await;
            cluster.net.keep_links();
            let old = cluster.leader().await;
            let [late, next] = others(&cluster, old)[..] else { panic!("there are three") };
            cluster.propose(old, "a").await.unwrap();
            cluster.net.slow_down(late, old, 150);
            cluster.net.cut_one_way(next, old);
            let group = cluster.group(old);
            let term = group.status().term;
            let mut unknown = Vec::new();
            for number in 0..16 {
                unknown.push(group.submit(term, Bytes::from(format!("b{number}"))).await.unwrap());
                sleep(Duration::from_millis(10)).await;
            }
            for follower in [late, next] {
                cluster.net.cut_one_way(old, follower);
            }
            let new = cluster.leader_among([late.0, next.0]).await;
            let written = cluster.propose(new, "c").await.unwrap().0;
            assert!(group.status().is_leader, "it cannot know");
            let committed = group.status().committed;
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                let read = group.read_index().await;
                assert!(read.is_err(), "seed {seed}: {read:?}, and {written} was written before");
                sleep(Duration::from_millis(10)).await;
            }
            usize::from(group.status().committed > committed)
        });
    }
    assert!(came_late > 10, "of 20 runs, acknowledgements came late in {came_late}");
}

#[test]
fn reads_share_rounds_and_see_what_was_acknowledged_before() {
    simulate(10, async {
        let cluster = three(10).await;
        let leader = cluster.leader().await;
        let index = cluster.propose(leader, "a").await.unwrap().0;
        let before = cluster.host(leader).stats();
        let reads = (0..500).map(|_| {
            let group = cluster.group(leader);
            cluster.scope(leader).spawn(async move { group.read_index().await.unwrap() })
        });
        for read in reads.collect::<Vec<_>>() {
            assert!(read.await.unwrap().index >= index);
        }
        let after = cluster.host(leader).stats();
        assert_eq!(after.reads - before.reads, 500);
        assert!(after.read_rounds - before.read_rounds <= 3, "{after:?}");
        let follower = others(&cluster, leader)[0];
        let group = cluster.group(follower);
        let read = group.read_index().await;
        assert_eq!(read, Err(ReadError::NotLeader { leader: Some(leader) }));
    });
}

/// Who believes in a leader that was replaced, and the leader who was not told, agree with each other and are wrong.
#[test]
fn a_voters_word_counts_while_both_have_their_vote_with_the_leader() {
    simulate(23, async {
        let cluster = three(23).await;
        let leader = cluster.leader().await;
        let (old, others) = (cluster.group(leader), others(&cluster, leader));
        let [voter, next] = others[..] else { panic!("there are three") };
        let vouch = cluster.group(voter).vouch().await.unwrap();
        assert_eq!((vouch.leader, vouch.term), (leader, old.status().term));
        assert!(old.is_confirmed_by(voter, vouch.term).await, "two of three are a quorum");
        assert!(!old.is_confirmed_by(voter, vouch.term + 1).await, "of another term");
        assert!(!old.is_confirmed_by(leader, vouch.term).await, "its own word is no other's");
        assert!(!old.is_confirmed_by(node(9), vouch.term).await, "who has no vote has no word");
        assert!(!cluster.group(next).is_confirmed_by(voter, vouch.term).await, "of another leader");
        old.transfer_leader(next).await.unwrap();
        assert!(!old.is_confirmed_by(voter, vouch.term).await, "the leader has given its vote away");
        let now = cluster.group(leader).vouch().await.unwrap();
        assert_eq!((now.leader, now.term > vouch.term), (next, true));
    });
}

#[test]
fn one_voter_of_five_is_no_quorum_with_the_leader() {
    simulate(24, async {
        let mut cluster = Cluster::new(24, 5).await;
        cluster.begin(GROUP, [1, 2, 3, 4, 5]).await;
        let leader = cluster.leader().await;
        let term = cluster.group(leader).status().term;
        let voter = others(&cluster, leader)[0];
        assert!(!cluster.group(leader).is_confirmed_by(voter, term).await);
    });
}

#[test]
fn members_change_from_one_to_three_and_the_first_may_leave() {
    simulate(11, async {
        let mut cluster = Cluster::new(11, 3).await;
        cluster.begin(GROUP, [1]).await;
        let leader = cluster.leader().await;
        cluster.propose(leader, "alone").await.unwrap();
        for number in [2, 3] {
            cluster.start_group(node(number), GROUP).await;
        }
        let group = cluster.group(leader);
        group.add_learner(node(2)).await.unwrap();
        group.add_learner(node(3)).await.unwrap();
        group.change_voters(nodes([1, 2, 3])).await.unwrap();
        let status = group.status();
        assert_eq!((&*status.voters, &*status.learners), (&nodes([1, 2, 3]), &nodes([])));
        cluster.propose(leader, "together").await.unwrap();
        group.change_voters(nodes([2, 3])).await.unwrap();
        let new = cluster.leader_among([2, 3]).await;
        cluster.propose(new, "without the first").await.unwrap();
        assert_eq!(cluster.tape(new).commands(), ["alone", "together", "without the first"]);
        let refused = cluster.group(new).change_voters(nodes([9])).await;
        assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
    });
}

#[test]
fn leadership_is_handed_over() {
    simulate(12, async {
        let cluster = three(12).await;
        let old = cluster.leader().await;
        let new = others(&cluster, old)[1];
        let group = cluster.group(old);
        let started = Instant::now();
        group.transfer_leader(new).await.unwrap();
        assert_eq!(cluster.leader().await, new);
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
        cluster.propose(new, "a").await.unwrap();
        let refused = cluster.group(new).transfer_leader(node(9)).await;
        assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
        let refused = group.transfer_leader(new).await;
        assert_eq!(refused, Err(ChangeError::NotLeader { leader: Some(new) }));
    });
}

#[test]
fn a_node_that_cannot_hear_the_leader_does_not_disturb_it() {
    simulate(13, async {
        let cluster = three(13).await;
        let leader = cluster.leader().await;
        let term = cluster.group(leader).status().term;
        let deaf = others(&cluster, leader)[0];
        cluster.net.cut(&[leader.0], &[deaf.0]);
        sleep(Duration::from_secs(10)).await;
        cluster.net.heal();
        sleep(Duration::from_secs(2)).await;
        let status = cluster.group(leader).status();
        assert_eq!((status.term, status.is_leader), (term, true));
    });
}

#[test]
fn a_fault_of_one_machine_stops_its_group_on_its_node_only() {
    simulate(14, async {
        let mut cluster = three(14).await;
        let other_group = GroupId(2);
        cluster.begin(other_group, [1, 2, 3]).await;
        let leader = cluster.leader().await;
        let broken = others(&cluster, leader)[0];
        cluster.tape(broken).fail("the disk is on fire");
        let index = cluster.propose(leader, "a").await.unwrap().0;
        let mut status = cluster.group(broken).watch();
        let fault = status.wait_for(|status| status.fault.is_some());
        let fault = timeout(PATIENCE, fault).await.unwrap().unwrap().fault.clone().unwrap();
        assert!(fault.contains("the disk is on fire"), "{fault}");
        cluster.propose(leader, "b").await.unwrap();
        let running = cluster.machines[&broken].running.as_ref().unwrap();
        assert_eq!(running.groups[&other_group].status().fault, None);
        // On the leader, whoever waits is told.
        cluster.tape(leader).fail("this one, too");
        let outcome = timeout(PATIENCE, cluster.propose(leader, "c")).await.unwrap();
        assert!(matches!(outcome, Err(ProposeError::Lost | ProposeError::Stopped(_))), "{outcome:?}");
        let group = cluster.group(leader);
        let read = timeout(PATIENCE, group.read_index()).await.unwrap();
        assert!(matches!(read, Err(ReadError::Stopped(_))), "{read:?}");
        assert!(index > Index(0));
    });
}

#[test]
fn too_much_at_once_is_refused_as_full() {
    simulate(15, async {
        let mut cluster = Cluster::new(15, 3).await;
        cluster.options.submit_bytes_max = 1_000;
        for number in 1..=3 {
            cluster.crash(node(number));
            cluster.start(node(number)).await;
        }
        cluster.begin(GROUP, [1, 2, 3]).await;
        let leader = cluster.leader().await;
        let group = cluster.group(leader);
        let term = group.status().term;
        let command = || Bytes::from(vec![0; 400]);
        let first = group.submit(term, command()).await.unwrap();
        let second = group.submit(term, command()).await.unwrap();
        let third = group.submit(term, command()).await;
        assert_eq!(third.err(), Some(ProposeError::Full { waiting: 800, max: 1_000 }));
        drop(first);
        second.await.unwrap();
        group.submit(term, Bytes::from(vec![0; 5_000])).await.unwrap().await.unwrap();
    });
}

struct Echo;

impl Answer for Echo {
    fn answer(&self, from: NodeId, question: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move {
            match &question[..] {
                b"slow" => std::future::pending().await,
                b"no" => Err("no".to_owned()),
                _ => Ok(Bytes::from([from.to_string().as_bytes(), &question].concat())),
            }
        })
    }
}

#[test]
fn nodes_ask_each_other() {
    simulate(16, async {
        let mut cluster = Cluster::new(16, 2).await;
        let (host, scope) = (cluster.host(node(1)), cluster.scope(node(1)));
        let ask = |to: u64, question: &'static str| {
            let (host, scope) = (host.clone(), scope.clone());
            async move { scope.run(host.ask(node(to), Bytes::from(question), Duration::from_secs(1))).await }
        };
        assert!(matches!(ask(2, "early").await, Err(AskError::Refused(_))));
        cluster.host(node(2)).on_ask(Arc::new(Echo));
        assert_eq!(ask(2, "hello").await.unwrap(), "n1hello");
        assert_eq!(ask(2, "no").await, Err(AskError::Refused("no".to_owned())));
        assert_eq!(ask(2, "slow").await, Err(AskError::Timeout(node(2))));
        assert_eq!(ask(2, "still there").await.unwrap(), "n1still there");
        assert!(matches!(ask(3, "nobody").await, Err(AskError::Unreachable(_))));
        cluster.host(node(1)).on_ask(Arc::new(Echo));
        assert_eq!(ask(1, "myself").await.unwrap(), "n1myself");
        cluster.crash(node(2));
        assert!(matches!(ask(2, "gone").await, Err(AskError::Unreachable(_))));
        cluster.start(node(2)).await;
        cluster.host(node(2)).on_ask(Arc::new(Echo));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(ask(2, "back").await.unwrap(), "n1back");
    });
}

#[test]
fn a_group_is_removed_and_its_log_forgotten() {
    simulate(17, async {
        let mut cluster = three(17).await;
        let leader = cluster.leader().await;
        let gone = others(&cluster, leader)[0];
        let remaining: Vec<u64> = others(&cluster, gone).iter().map(|node| node.0).collect();
        let group = cluster.group(leader);
        group.change_voters(nodes(remaining)).await.unwrap();
        let (host, log) = (cluster.host(gone), cluster.machines[&gone].running.as_ref().unwrap().log.clone());
        cluster.scope(gone).run(host.remove(GROUP)).await.unwrap();
        assert_eq!(log.groups().unwrap(), []);
        let submitted = cluster.group(gone).submit(1, Bytes::new()).await;
        assert!(matches!(submitted, Err(ProposeError::Stopped(_))));
        cluster.machines.get_mut(&gone).unwrap().tapes.clear();
        cluster.crash(gone);
        cluster.start(gone).await;
        cluster.propose(leader, "a").await.unwrap();
    });
}

#[test]
fn a_host_shuts_down_in_order() {
    simulate(18, async {
        let cluster = three(18).await;
        let leader = cluster.leader().await;
        let host = cluster.host(leader);
        cluster.scope(leader).run(host.shutdown()).await;
        let others: Vec<u64> = others(&cluster, leader).iter().map(|node| node.0).collect();
        let new = cluster.leader_among(others).await;
        cluster.propose(new, "a").await.unwrap();
        assert!(cluster.group(leader).status().fault.is_some());
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        simulate(seed, async {
            let mut cluster = three(seed).await;
            let started = Instant::now();
            let mut trace = String::new();
            for number in 0..30u64 {
                if number % 10 == 5 {
                    let leader = cluster.leader().await;
                    cluster.crash(leader);
                    cluster.start(leader).await;
                }
                let index = cluster.propose_anywhere(&number.to_string()).await;
                trace += &format!("{:?} {number} at {index}{}\n", started.elapsed(), cluster.describe());
            }
            (trace, cluster.net.describe())
        })
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
