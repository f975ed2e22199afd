//! Tables, nodes and leaders.

use futures_util::future::join_all;
use lentic_types::{ErrorKind, KeyRange};

use super::{assert_value, ok, refused, table, three_shards, unique};
use crate::admin::TableOptions;
use crate::client::Client;

pub(super) async fn tables_are_made_listed_and_dropped(client: Client) {
    let name = unique(&client, "tables").await;
    refused(client.table(&name).get("k").await, ErrorKind::NotFound);
    refused(client.table(&name).put("k", "v").await, ErrorKind::NotFound);
    refused(client.describe_table(&name).await, ErrorKind::NotFound);
    refused(client.drop_table(&name).await, ErrorKind::NotFound);
    let made = ok(client.create_table(&name, three_shards()).await);
    assert_eq!(ok(client.create_table(&name, three_shards()).await).table.table, made.table.table, "made already");
    refused(client.create_table(&name, TableOptions::default()).await, ErrorKind::AlreadyExists);
    let listed = ok(client.list_tables().await);
    assert!(listed.iter().any(|entry| entry.table == made.table.table), "a table is listed");
    ok(client.table(&name).put("k", "v").await);
    ok(client.drop_table(&name).await);
    assert!(!ok(client.list_tables().await).iter().any(|entry| entry.table == made.table.table));
    refused(client.table(&name).get("k").await, ErrorKind::NotFound);
}

pub(super) async fn a_table_is_cut_as_asked(client: Client) {
    let name = unique(&client, "cut").await;
    let described = ok(client.create_table(&name, three_shards()).await);
    let ranges: Vec<_> = described.shards.iter().map(|shard| shard.range.to_string()).collect();
    assert_eq!(ranges, ["[, g)", "[g, p)", "[p, ..)"]);
    let described = ok(client.describe_table(&name).await);
    assert_eq!(described.table.options.split_points, three_shards().split_points);
    let name = unique(&client, "equal").await;
    let options = TableOptions { shards: 4, ..TableOptions::default() };
    let shards = ok(client.create_table(&name, options).await).shards;
    assert_eq!(shards.len(), 4);
    assert_eq!((shards[0].range.start().len(), shards[3].range.end()), (0, None), "the shards cover the table");
    assert!(shards.windows(2).all(|pair| pair[0].range.end() == Some(pair[1].range.start())), "without a gap");
    let whole = ok(client.create_table(&unique(&client, "whole").await, TableOptions::default()).await);
    assert_eq!(whole.shards.len(), 1);
    assert_eq!(whole.shards[0].range, KeyRange::all());
}

pub(super) async fn a_table_made_anew_is_empty(client: Client) {
    let table = table(&client, "anew").await;
    ok(table.put("k", "old").await);
    ok(client.drop_table(table.name()).await);
    ok(client.create_table(table.name(), TableOptions::default()).await);
    assert_value(&table, "k", None).await;
    ok(table.put("k", "new").await);
    assert_value(&table, "k", Some("new")).await;
}

pub(super) async fn the_cluster_describes_itself(client: Client) {
    let table = table(&client, "status").await;
    // A node tells what it has heard of, and that a table was made is told to all of them at once or a moment later.
    let mine = |name: &str| name == table.name() || name == format!("default.{}", table.name());
    let status = loop {
        let status = ok(client.status(true).await);
        if status.shards.iter().any(|(name, _)| mine(name)) {
            break status;
        }
    };
    assert_eq!(Some(status.cluster), client.cluster());
    assert!(status.nodes.iter().any(|node| node.node == status.node && node.is_alive), "who answers is alive");
    assert!(status.tables >= 1);
    assert_eq!(status.shards.iter().filter(|(name, _)| mine(name)).count(), 3);
    assert_eq!(ok(client.status(false).await).shards, []);
}

pub(super) async fn leaders_move_while_keys_stay(client: Client) {
    let table = table(&client, "leaders").await;
    ok(table.put("a", "1").await);
    for round in 0..3u8 {
        for shard in ok(client.describe_table(table.name()).await).shards {
            // A shard with one replica, or in an election, need not move.
            let _ = client.transfer_leader(shard.shard, None).await;
        }
        let writes = ["b", "h", "q"].map(|key| table.put(key, vec![round]));
        for written in join_all(writes).await {
            ok(written);
        }
        let found = ok(table.multi_get(["b", "h", "q"]).await);
        assert!(found.iter().all(|found| found.as_ref().is_some_and(|found| found.value[..] == [round])));
    }
    assert_value(&table, "a", Some("1")).await;
}
