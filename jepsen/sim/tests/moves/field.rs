//! Four nodes and a table, and waiting until replicas are where they shall be.

use std::collections::BTreeSet;
use std::time::Duration;

use lentic_client::{Client, NodeId, Options, TableOptions};
use lentic_sim::{Cluster, Dice, Shape, Trace};
use tokio::time::{sleep, timeout};

pub(crate) const SHARDS: u32 = 3;
pub(crate) const KEYS: u8 = 200;

pub(crate) const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;

/// Four nodes, and a table with three replicas, on which of them it is left to chance.
pub(crate) async fn four_nodes(dice: &Dice, trace: Trace) -> (Cluster, Client) {
    of_shape(dice, trace, Shape { hosts: 4, ..Shape::default() }).await
}

pub(crate) async fn of_shape(dice: &Dice, trace: Trace, shape: Shape) -> (Cluster, Client) {
    let mut cluster = Cluster::start(dice, trace, shape).await;
    let client = cluster.client(Options::default());
    let options = TableOptions { shards: SHARDS, replicas: 3, ..TableOptions::default() };
    client.create_table("t", options).await.expect("it is made");
    for key in 0..KEYS {
        client.table("t").put(vec![key.wrapping_mul(101), 0], vec![key]).await.expect("it is put");
    }
    (cluster, client)
}

pub(crate) fn host_of(cluster: &Cluster, node: NodeId) -> usize {
    (0..cluster.hosts()).find(|host| cluster.node(*host).is_some_and(|found| found.id() == node)).expect("it runs")
}

/// Writes until each shard is where it shall be and nothing leaves any more.
pub(crate) async fn settled(cluster: &Cluster, client: &Client, is_so: impl Fn(&[Vec<NodeId>]) -> bool) {
    let waits = async {
        let (table, mut number) = (client.table("t"), 0_u8);
        loop {
            number = number.wrapping_add(1);
            table.put(vec![number.wrapping_mul(101), 1], "while it moves").await.expect("it is put");
            let described = client.describe_table("t").await.expect("it is known");
            let places: Vec<Vec<NodeId>> = described.shards.iter().map(|shard| shard.replicas.clone()).collect();
            let held = |host: usize| cluster.node(host).map_or(0, |node| node.groups().len() - 1);
            let replicas: usize = places.iter().map(Vec::len).sum();
            if is_so(&places) && (0..cluster.hosts()).map(held).sum::<usize>() == replicas {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    if timeout(Duration::from_secs(120), waits).await.is_err() {
        let groups: Vec<_> = (0..cluster.hosts()).filter_map(|host| Some(cluster.node(host)?.groups())).collect();
        panic!("it does not come to its end: {groups:#?}");
    }
}

pub(crate) async fn all_is_there(client: &Client) {
    for key in 0..KEYS {
        let found = client.table("t").get(vec![key.wrapping_mul(101), 0]).await.expect("it is read");
        assert_eq!(found.map(|found| found.value.to_vec()), Some(vec![key]), "key {key}");
    }
}

/// Where the leader of the meta group is, and who votes in it.
pub(crate) fn meta_group(cluster: &Cluster) -> Option<(usize, BTreeSet<NodeId>)> {
    (0..cluster.hosts()).find_map(|host| {
        let (_, status) = cluster.node(host)?.groups().into_iter().next()?;
        status.is_leader.then(|| (host, BTreeSet::clone(&status.voters)))
    })
}

/// Waits until the nodes of a shard are as they shall be.
pub(crate) async fn is_placed(client: &Client, place: usize, is_so: impl Fn(&[NodeId]) -> bool) {
    let waits = async {
        while !is_so(&client.describe_table("t").await.expect("it is known").shards[place].replicas) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.expect("it moves");
}
