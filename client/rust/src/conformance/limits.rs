//! Limits: each has a clear error, and what is just within works.

use lentic_types::{ErrorKind, KeyRange, limits};

use super::{ok, refused, table};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::merge::MergeOperator;

pub(super) async fn keys_and_values_have_limits(client: Client) {
    let table = table(&client, "limits").await;
    let key = vec![b'k'; limits::KEY_BYTES_MAX];
    ok(table.put(key.clone(), "x").await);
    assert_eq!(ok(table.get(key.clone()).await).map(|found| found.value), Some("x".into()));
    let longer = [&key[..], b"k"].concat();
    refused(table.put(longer.clone(), "x").await, ErrorKind::Invalid);
    refused(table.delete(longer.clone()).await, ErrorKind::Invalid);
    refused(table.write(WriteBatch::new().if_absent(longer).put("k", "x")).await, ErrorKind::Invalid);
    refused(table.put("", "x").await, ErrorKind::Invalid);
    refused(table.merge("", MergeOperator::Append, "x").await, ErrorKind::Invalid);
    let value = vec![b'v'; limits::VALUE_BYTES_MAX];
    ok(table.put("large", value.clone()).await);
    assert_eq!(ok(table.get("large").await).map(|found| found.value.len()), Some(value.len()));
    let mut scan = table.scan_prefix("large").start();
    assert_eq!(ok(scan.next().await.expect("one row")).value.len(), value.len(), "a page has at least one row");
    refused(table.put("larger", [&value[..], b"v"].concat()).await, ErrorKind::Invalid);
    let error = refused(table.merge("large", MergeOperator::Append, "x").await, ErrorKind::TooLarge);
    assert_eq!(error.position(), Some(0));
}

pub(super) async fn requests_have_limits(client: Client) {
    let table = table(&client, "requests").await;
    let fill = |count: u32| (0..count).fold(WriteBatch::new(), |batch, key| batch.put(format!("k{key:06}"), ""));
    let operations_max = u32::try_from(limits::OPERATIONS_MAX).expect("it fits");
    refused(table.write(fill(operations_max + 1)).await, ErrorKind::Invalid);
    let value = bytes::Bytes::from(vec![0; limits::VALUE_BYTES_MAX]);
    let large = (0..9u8).fold(WriteBatch::new(), |batch, key| batch.put(vec![b'k', key], value.clone()));
    let error = table.write(large).await.expect_err("a request has a limit");
    assert!(matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Invalid), "{error}");
    ok(table.write(fill(limits::DELETE_RANGE_KEYS_MAX + 1)).await);
    let range = KeyRange::new("k", Some("l")).expect("in order");
    refused(table.delete_range(&range).await, ErrorKind::TooLarge);
    ok(table.delete_range(&KeyRange::new("k", Some("k000001")).expect("in order")).await);
    ok(table.delete_range(&range).await);
    assert!(table.scan(range).start().next().await.is_none());
}
