//! Single keys.

use std::time::Duration;

use lentic_types::{ErrorKind, Version};

use super::{assert_value, ok, refused, table, three_shards, unique, version};
use crate::admin::TableOptions;
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::merge::MergeOperator;
use crate::transaction::Transaction;

pub(super) async fn values_are_put_read_and_deleted(client: Client) {
    let table = table(&client, "points").await;
    assert_value(&table, "a", None).await;
    let first = ok(table.put("a", "1").await);
    let found = ok(table.get("a").await).expect("it was put");
    assert_eq!((&found.value[..], found.version, found.expires_unix_ms), (&b"1"[..], first, None));
    let second = ok(table.put("a", "2").await);
    assert!(first < second, "versions of a key rise");
    assert_eq!(version(&table, "a").await, second);
    assert_value(&table, "a", Some("2")).await;
    let deleted = ok(table.delete("a").await);
    assert!(second < deleted);
    assert_value(&table, "a", None).await;
    ok(table.delete("a").await);
    ok(table.put("a", "").await);
    assert_value(&table, "a", Some("")).await;
}

pub(super) async fn any_bytes_are_keys_and_values(client: Client) {
    let table = table(&client, "bytes").await;
    let keys: [&'static [u8]; 8] = [b"\x00", b"\x00\x00", b"\x00\xff", b"\x01", b"g", b"g\x00", b"\xff", b"\xff\xff"];
    for key in keys {
        ok(table.put(key, [key, b"\x00\xff value"].concat()).await);
    }
    for (key, found) in keys.into_iter().zip(ok(table.multi_get(keys).await)) {
        assert_eq!(found.expect("it was put").value, [key, b"\x00\xff value"].concat());
    }
}

pub(super) async fn versions_name_the_past(client: Client) {
    let table = table(&client, "past").await;
    let before = ok(client.now().await);
    let first = ok(table.put("a", "1").await);
    let second = ok(table.put("a", "2").await);
    let third = ok(table.delete("a").await);
    let after = ok(client.now().await);
    let expected = [(before, None), (first, Some("1")), (second, Some("2")), (third, None), (after, None)];
    for (at, expected) in expected {
        let found = ok(table.get_at("a", at).await).map(|found| found.value);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "at {at}");
        let found = ok(table.multi_get_at(["a", "q"], at).await);
        assert_eq!(found[0].as_ref().map(|found| &found.value[..]), expected.map(str::as_bytes), "at {at}");
    }
    let hour = Version::tick(after.ms() + 3_600_000, 0).expect("within the bits");
    refused(table.get_at("a", hour).await, ErrorKind::VersionTooNew);
    refused(table.multi_get_at(["a", "q"], hour).await, ErrorKind::VersionTooNew);
}

pub(super) async fn values_end(client: Client) {
    let table = table(&client, "ends").await;
    let now_ms = ok(client.now().await).ms() + Version::UNIX_MS_AT_ZERO;
    ok(table.put_with("over", "x", now_ms.saturating_sub(1_000)).await);
    assert_value(&table, "over", None).await;
    for seconds in [1, now_ms / 1_000, u64::MAX] {
        refused(table.put_with("over", "x", seconds).await, ErrorKind::Invalid);
    }
    let later = now_ms + 3_600_000;
    ok(table.put_with("later", "x", later).await);
    assert_eq!(ok(table.get("later").await).and_then(|found| found.expires_unix_ms), Some(later));
    ok(table.merge("later", MergeOperator::Append, "y").await);
    let found = ok(table.get("later").await).expect("it has not ended");
    assert_eq!((&found.value[..], found.expires_unix_ms), (&b"xy"[..], Some(later)), "a merge leaves the end");
    ok(table.put("later", "z").await);
    assert_eq!(ok(table.get("later").await).and_then(|found| found.expires_unix_ms), None, "a put does not");
    let rows = table.scan_prefix("").start();
    let mut rows = rows;
    let row = ok(rows.next().await.expect("one row"));
    assert_eq!((&row.key[..], rows.next().await.is_none()), (&b"later"[..], true), "scans do not see what has ended");
}

pub(super) async fn values_of_a_table_end_by_themselves(client: Client) {
    let (long, short) = (Duration::from_secs(3_600), Duration::from_millis(250));
    let name = unique(&client, "lives").await;
    let made = ok(client.create_table(&name, TableOptions { ttl: Some(long), ..three_shards() }).await);
    assert_eq!(made.table.options.ttl, Some(long));
    let other = TableOptions { ttl: Some(short), ..three_shards() };
    let error = client.create_table(&name, other).await.expect_err("another TTL is another table");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    for ttl in [Duration::ZERO, Duration::MAX] {
        let options = TableOptions { ttl: Some(ttl), ..three_shards() };
        let refused = client.create_table(&unique(&client, "lives_not").await, options).await;
        assert_eq!(refused.expect_err("no such TTL").kind(), ErrorKind::Invalid);
    }
    let table = client.table(&name);
    let lives = |version: Version| Some(version.ms() + Version::UNIX_MS_AT_ZERO + 3_600_000);
    let ends = async |key: &'static str| ok(table.get(key).await).expect("it has not ended").expires_unix_ms;
    let version = ok(table.put("put", "x").await);
    assert_eq!(ends("put").await, lives(version));
    let version = ok(table.merge("put", MergeOperator::Append, "y").await);
    assert_eq!(ends("put").await, lives(version), "a merge is a write as any other");
    let own = lives(version).map(|ends| ends - 1_800_000);
    ok(table.put_with("own", "x", own.expect("an end")).await);
    assert_eq!(ends("own").await, own, "a writer may say otherwise");
    let batch = WriteBatch::new().put("a", "x").put("q", "x");
    let version = ok(client.commit(Transaction::new().with(&name, batch)).await);
    assert_eq!((ends("a").await, ends("q").await), (lives(version), lives(version)), "by the version of the commit");
    let name = unique(&client, "lives_shortly").await;
    ok(client.create_table(&name, TableOptions { ttl: Some(short), ..three_shards() }).await);
    let table = client.table(&name);
    let version = ok(table.put("k", "x").await);
    let end = version.plus_ms(250).expect("a time to come");
    while ok(client.now().await) < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_value(&table, "k", None).await;
    assert_eq!(ok(table.get_at("k", version).await).map(|found| found.version), Some(version), "it was there then");
}

pub(super) async fn many_keys_are_read_at_one_version(client: Client) {
    let table = table(&client, "many").await;
    assert_eq!(ok(table.multi_get(Vec::<&str>::new()).await), []);
    for key in ["a", "b", "h", "q"] {
        ok(table.put(key, key).await);
    }
    let found = ok(table.multi_get(["q", "none", "a", "h", "a", "z", "b"]).await);
    let values: Vec<_> = found.iter().map(|found| found.as_ref().map(|found| &found.value[..])).collect();
    let expected: [Option<&[u8]>; 7] = [Some(b"q"), None, Some(b"a"), Some(b"h"), Some(b"a"), None, Some(b"b")];
    assert_eq!(values, expected, "in the order of the keys, each as often as it was asked for");
    let many = (0..25_000u32).map(|key| format!("k{}", key % 3));
    ok(table.put("k1", "k1").await);
    let found = ok(table.multi_get(many).await);
    assert_eq!(found.len(), 25_000);
    assert!(
        found.iter().enumerate().all(|(place, found)| found.is_some() == (place % 3 == 1)),
        "however many they are"
    );
}
