//! `lentic dev` and `lentic serve` as processes: they start, lose a node, stop, and leave nothing behind.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Cluster, command, lentic, signal, until, until_gone};

fn status(cluster: &Cluster) -> (i32, Value) {
    let ended = cluster.lentic(&["status", "--shards", "--output", "json"]);
    (ended.code, ended.json().remove(0))
}

#[test]
fn three_nodes_lose_one_and_get_it_back() {
    let cluster = Cluster::start("3");
    let pids = cluster.pids();
    assert_eq!(pids.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [1, 2, 3]);
    cluster.lentic(&["table", "create", "t", "--shards", "2"]).ok();
    cluster.lentic(&["put", "t", "a", "before"]).ok();
    until("a healthy cluster", || status(&cluster).0 == 0);

    let (_, told) = status(&cluster);
    let shard = &told["shards"][0];
    let (number, leader) = (shard["shard"].to_string(), shard["leader"].as_u64().unwrap());
    let other = if leader == 1 { "n2" } else { "n1" };
    cluster.lentic(&["shard", "transfer", &number, "--to", other]).ok();
    until("another leader", || status(&cluster).1["shards"][0]["leader"].as_u64() != Some(leader));

    let (victim, pid) = pids[2];
    signal(pid, Signal::KILL);
    until_gone(pid);
    cluster.lentic(&["put", "t", "a", "during"]).ok();
    until("a status that says so", || {
        let (code, told) = status(&cluster);
        code == 1 && told["nodes"].as_array().unwrap().iter().any(|node| node["alive"] == false)
    });

    let row = cluster.told["nodes"].as_array().unwrap().iter().find(|node| node["node"] == victim).unwrap();
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    let (listen, http) = (text("address").replace("http://", ""), text("http_address").replace("http://", ""));
    let serve = ["serve", "--data", &text("data"), "--listen", &listen, "--http-listen", &http];
    let mut again = command(cluster.server(), &serve).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("a healthy cluster", || status(&cluster).0 == 0);
    assert_eq!(lentic(&text("address"), &["get", "t", "a"]).ok(), "during\n");
    signal(again.id().into(), Signal::TERM);
    assert_eq!(again.wait().unwrap().code(), Some(0), "it stops in order");

    cluster.signal(Signal::INT);
    let (code, stderr, _home) = cluster.wait();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains(&format!("node n{victim} has ended: signal: 9 (SIGKILL)")), "{stderr}");
    pids.iter().for_each(|(_, pid)| until_gone(*pid));
}

#[test]
fn a_node_is_emptied_and_removed() {
    let cluster = Cluster::start("4");
    cluster.lentic(&["table", "create", "t", "--split-at", "b", "c", "d"]).ok();
    let keys = ["a", "b", "c", "d"];
    for key in keys {
        cluster.lentic(&["put", "t", key, key]).ok();
    }
    until("a healthy cluster", || status(&cluster).0 == 0);

    let (_, told) = status(&cluster);
    let shard = &told["shards"][0];
    let holders: Vec<u64> = shard["replicas"].as_array().unwrap().iter().map(|node| node.as_u64().unwrap()).collect();
    let free = (1..=4).find(|node| !holders.contains(node)).unwrap();
    let (number, from, to) = (format!("s{}", shard["shard"]), format!("n{}", holders[0]), format!("n{free}"));
    let moved = cluster.lentic(&["shard", "move", &number, "--from", &from, "--to", &to, "--wait"]).ok();
    assert_eq!(moved, format!("shard {number} has moved from {from} to {to}\n"));
    cluster.lentic(&["shard", "move", &number, "--from", &from, "--to", &to]).ok();
    let refused = cluster.lentic(&["shard", "move", &number, "--from", &format!("n{}", holders[1]), "--to", &to]);
    assert!(refused.code != 0 && refused.stderr.contains("holds a replica"), "{refused:?}");

    assert!(cluster.lentic(&["node", "remove", "n4"]).code != 0, "it holds something");
    assert_eq!(cluster.lentic(&["node", "drain", "n4", "--wait"]).ok(), "node n4 is empty; it can be removed\n");
    assert!(cluster.lentic(&["node", "drain", "n3"]).code != 0, "two nodes are too few");
    until("the end of its part in the meta group", || cluster.lentic(&["node", "remove", "n4"]).code == 0);
    let (_, four) = *cluster.pids().iter().find(|(node, _)| *node == 4).unwrap();
    signal(four, Signal::KILL);
    until_gone(four);
    until("a cluster that is healthy without it", || status(&cluster).0 == 0);
    for key in keys {
        assert_eq!(cluster.lentic(&["get", "t", key]).ok(), format!("{key}\n"));
        cluster.lentic(&["put", "t", key, "again"]).ok();
    }
}

#[test]
fn data_that_is_kept_is_there_again() {
    let cluster = Cluster::start("1");
    cluster.lentic(&["table", "create", "t"]).ok();
    cluster.lentic(&["put", "t", "a", "kept"]).ok();
    cluster.signal(Signal::TERM);
    let (code, stderr, home) = cluster.wait();
    assert_eq!((code, &*stderr), (Some(0), ""));
    let cluster = Cluster::start_in(home, "1", &[]);
    assert_eq!(cluster.lentic(&["get", "t", "a"]).ok(), "kept\n");
}

#[test]
fn nodes_end_with_a_cluster_that_is_killed() {
    let cluster = Cluster::start("1");
    let pids = cluster.pids();
    cluster.signal(Signal::KILL);
    let (code, ..) = cluster.wait();
    assert_eq!(code, None);
    pids.iter().for_each(|(_, pid)| until_gone(*pid));
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let cluster = Cluster::start("1");
    let taken = cluster.server().replace("http://", "");
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data").display().to_string();
    let ended = lentic("", &["serve", "--data", &data, "--listen", &taken, "--http-listen", "127.0.0.1:0"]);
    assert!(ended.code == 2 && ended.stderr.contains(&format!("could not listen on {taken}")), "{ended:?}");
    let port = taken.rsplit(':').next().unwrap();
    let ended = lentic("", &["dev", "--nodes", "1", "--port", port]);
    assert!(ended.code == 2 && ended.stderr.contains("cannot be had"), "{ended:?}");
    let ended = lentic("", &["serve", "--set", "raft.heartbeat=1"]);
    assert!(ended.code == 2 && ended.stderr.contains("`raft.heartbeat_ms`"), "{ended:?}");
    let ended = lentic("", &["dev", "--nodes", "1", "--port", "0", "--set", "raft.heartbeat=1"]);
    assert!(ended.code == 4 && ended.stderr.contains("`raft.heartbeat_ms`"), "{ended:?}");
}

#[test]
fn a_configuration_that_is_printed_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("lentic.toml").display().to_string();
    let printed = lentic("", &["serve", "--print-config", "--set", "raft.heartbeat_ms=77"]).ok();
    assert!(printed.contains("heartbeat_ms = 77"), "{printed}");
    std::fs::write(&file, &printed).unwrap();
    assert_eq!(lentic("http://a:1", &["serve", "--config", &file, "--print-config"]).ok(), printed);
}
