//! Reads at versions from any replica.

use lentic_types::{ErrorKind, KeyRange, Version};

use super::{ok, refused, table, unique};
use crate::admin::TableOptions;
use crate::client::Client;
use crate::merge::MergeOperator;
use crate::replicas::ReadFrom;
use crate::scan::Row;
use crate::table::Table;

async fn rows(table: &Table, at: Version, is_backward: bool) -> Vec<Row> {
    let scan = table.scan(KeyRange::all()).at(at).page_bytes(64);
    let mut scan = if is_backward { scan.reverse().start() } else { scan.start() };
    let mut rows = Vec::new();
    while let Some(row) = scan.next().await {
        rows.push(ok(row));
    }
    rows
}

pub(super) async fn any_replica_has_the_same_bytes(client: Client) {
    let leader = table(&client, "anywhere").await;
    let any = leader.clone().read_from(ReadFrom::Any);
    let keys = ["a", "b", "h", "q", "r"];
    let mut versions = Vec::new();
    for round in 0..4_u8 {
        for (place, key) in keys.into_iter().enumerate() {
            let version = match (usize::from(round) + place) % 4 {
                0 => ok(leader.put(key, vec![round]).await),
                1 => ok(leader.delete(key).await),
                2 => ok(leader.merge(key, MergeOperator::Append, vec![round]).await),
                _ => ok(leader.put_with(key, vec![round, round], u64::from(u32::MAX) * 1_000).await),
            };
            versions.push(version);
        }
        // The newest ones too: a replica that has not heard of them leaves them to the leader.
        versions.push(ok(client.now().await));
        for at in versions.iter().rev().step_by(3).take(2).copied() {
            for key in keys {
                assert_eq!(ok(any.get_at(key, at).await), ok(leader.get_at(key, at).await), "{key} at {at}");
            }
            assert_eq!(ok(any.multi_get_at(keys, at).await), ok(leader.multi_get_at(keys, at).await), "at {at}");
            for is_backward in [false, true] {
                assert_eq!(rows(&any, at, is_backward).await, rows(&leader, at, is_backward).await, "at {at}");
            }
        }
    }
    let snapshot = ok(client.snapshot().await);
    let read = snapshot.table(leader.name()).read_from(ReadFrom::Any);
    assert_eq!(ok(read.multi_get(keys).await), ok(leader.multi_get_at(keys, snapshot.version()).await));
    // Without a version it is the leader who answers.
    ok(leader.put("a", "newest").await);
    assert_eq!(ok(any.get("a").await).map(|found| found.value), Some("newest".into()));
}

pub(super) async fn any_replica_refuses_what_the_leader_refuses(client: Client) {
    let any = table(&client, "anywhere_refused").await.read_from(ReadFrom::Any);
    ok(any.put("a", "1").await);
    let future = ok(client.now().await).plus_ms(3_600_000).expect("there is such a time");
    refused(any.get_at("a", future).await, ErrorKind::VersionTooNew);
    refused(any.multi_get_at(["a", "q"], future).await, ErrorKind::VersionTooNew);
    refused(any.scan(KeyRange::all()).at(future).start().next().await.expect("an error"), ErrorKind::VersionTooNew);
    let none = client.table("anywhere_none").read_from(ReadFrom::Any);
    refused(none.get_at("a", Version(1 << 30)).await, ErrorKind::NotFound);
    let name = unique(&client, "anywhere_one").await;
    ok(client.create_table(&name, TableOptions { replicas: 1, ..TableOptions::default() }).await);
    let one = client.table(&name);
    let at = ok(one.put("a", "1").await);
    for _ in 0..8 {
        let read = ok(one.clone().read_from(ReadFrom::Any).get_at("a", at).await);
        assert_eq!(read.map(|found| found.value), Some("1".into()), "nobody else has it");
    }
}
