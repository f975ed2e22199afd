//! Batches.

use lentic_types::{ErrorKind, KeyRange, Version};

use super::{assert_value, ok, refused, table, value, version};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::merge::MergeOperator;

pub(super) async fn conditions_decide(client: Client) {
    let table = table(&client, "conditions").await;
    let one = ok(table.put("a", "1").await);
    let put = || WriteBatch::new().put("b", "x");
    let holds = [
        put().if_exists("a"),
        put().if_absent("c"),
        put().if_version("a", one),
        put().if_value("a", "1"),
        put().if_exists("a").if_absent("c").if_value("a", "1"),
    ];
    for batch in holds {
        ok(table.delete("b").await);
        ok(table.write(batch.clone()).await);
        assert!(value(&table, "b").await.is_some(), "{batch:?} holds");
    }
    ok(table.delete("b").await);
    let fails = [
        (put().if_exists("c"), 0, None),
        (put().if_absent("a"), 0, Some(one)),
        (put().if_version("a", Version(one.0 + 1)), 0, Some(one)),
        (put().if_version("c", one), 0, None),
        (put().if_value("a", "2"), 0, Some(one)),
        (put().if_value("c", ""), 0, None),
        (put().if_exists("a").if_exists("c").if_absent("a"), 1, None),
    ];
    for (batch, position, found) in fails {
        let error = refused(table.write(batch.clone()).await, ErrorKind::ConditionFailed);
        assert_eq!((error.position(), error.version()), (Some(position), found), "{batch:?}");
        assert!(!error.is_retryable() && !error.is_unknown());
        assert!(value(&table, "b").await.is_none(), "{batch:?} leaves nothing");
    }
    ok(table.delete("a").await);
    ok(table.write(put().if_absent("a")).await);
    ok(table.write(WriteBatch::new().if_exists("b")).await);
}

pub(super) async fn a_batch_takes_effect_as_one(client: Client) {
    let table = table(&client, "batch").await;
    refused(table.write(WriteBatch::new()).await, ErrorKind::Invalid);
    let batch = WriteBatch::new().put("a", "1").put("b", "1").put("a", "2").delete("b").put("c", "3");
    let at = ok(table.write(batch).await);
    assert_value(&table, "a", Some("2")).await;
    assert_value(&table, "b", None).await;
    assert_eq!([version(&table, "a").await, version(&table, "c").await], [at, at], "one version for all");
    let add = |n: i64| n.to_be_bytes().to_vec();
    let batch = WriteBatch::new().put("d", "1").merge("a", MergeOperator::AddI64, add(1));
    let error = refused(table.write(batch).await, ErrorKind::WrongKind);
    assert_eq!(error.position(), Some(1));
    assert_value(&table, "d", None).await;
    let all = KeyRange::new("a", Some("d")).expect("in order");
    let batch = WriteBatch::new().put("cc", "x").delete_range(&all).merge("a", MergeOperator::AddI64, add(7));
    ok(table.write(batch).await);
    assert_eq!(
        ok(table.get("a").await).and_then(|found| found.as_i64()),
        Some(7),
        "a later operation sees the earlier"
    );
    assert_value(&table, "cc", None).await;
}

pub(super) async fn a_batch_of_several_shards_is_refused(client: Client) {
    let table = table(&client, "shards").await;
    let batches = [
        WriteBatch::new().put("a", "x").put("h", "x"),
        WriteBatch::new().if_absent("a").put("h", "x"),
        WriteBatch::new().delete_range(&KeyRange::new("a", Some("h")).expect("in order")),
        WriteBatch::new().delete_range(&KeyRange::all()),
    ];
    for batch in batches {
        let error = refused(table.write(batch).await, ErrorKind::Invalid);
        assert!(error.message().contains("several shards"), "{error}");
    }
    let inside =
        WriteBatch::new().if_absent("h").put("g", "x").delete_range(&KeyRange::new("g", Some("p")).expect("in order"));
    ok(table.write(inside).await);
    assert_value(&table, "h", None).await;
}

pub(super) async fn parts_go_to_their_shards(client: Client) {
    let table = table(&client, "parts").await;
    let batch = WriteBatch::new().put("a", "1").put("h", "2").put("q", "3").put("a", "4").delete("h");
    let newest = ok(table.write_in_parts(batch).await);
    assert_value(&table, "a", Some("4")).await;
    assert_value(&table, "h", None).await;
    assert!(version(&table, "a").await <= newest && version(&table, "q").await <= newest);
    let conditional = WriteBatch::new().if_absent("a").put("a", "5");
    refused(table.write_in_parts(conditional).await, ErrorKind::Invalid);
    refused(table.write_in_parts(WriteBatch::new()).await, ErrorKind::Invalid);
    let wrong = WriteBatch::new().put("h", "5").merge("a", MergeOperator::AddI64, vec![0; 8]);
    refused(table.write_in_parts(wrong).await, ErrorKind::WrongKind);
    assert_value(&table, "h", Some("5")).await;
    let large = (0..2_000u32).fold(WriteBatch::new(), |batch, key| batch.put(key.to_le_bytes().to_vec(), "x"));
    ok(table.write_in_parts(large).await);
    let keys = (0..2_000u32).map(|key| key.to_le_bytes().to_vec());
    assert!(ok(table.multi_get(keys).await).iter().all(Option::is_some));
}

pub(super) async fn ranges_are_deleted(client: Client) {
    let table = table(&client, "ranges").await;
    let keys = ["a", "b", "f", "g", "h", "o", "p", "q", "z"];
    let fill = || keys.iter().fold(WriteBatch::new(), |batch, key| batch.put(*key, "x"));
    let cases = [("b", Some("g")), ("b", Some("b\0")), ("f", Some("q")), ("c", None), ("zz", None)];
    for (start, end) in cases {
        ok(table.write_in_parts(fill()).await);
        let range = KeyRange::new(start, end).expect("in order");
        ok(table.delete_range(&range).await);
        for (key, found) in keys.into_iter().zip(ok(table.multi_get(keys).await)) {
            assert_eq!(found.is_none(), range.contains(key.as_bytes()), "{key} after {range} was deleted");
        }
    }
    ok(table.delete_range(&KeyRange::all()).await);
    assert!(table.scan(KeyRange::all()).start().next().await.is_none());
    ok(table.delete_range(&KeyRange::all()).await);
}
