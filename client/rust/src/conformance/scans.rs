//! Scans.

use lentic_types::{ErrorKind, KeyRange};

use super::{ok, refused, table};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::routes::prefix_range;
use crate::scan::ScanBuilder;

async fn keys(scan: ScanBuilder) -> Vec<String> {
    let (mut scan, mut keys) = (scan.start(), Vec::new());
    while let Some(row) = scan.next().await {
        let row = ok(row);
        assert_eq!(row.key, row.value, "each key has itself for a value");
        keys.push(String::from_utf8(row.key.to_vec()).expect("keys are text"));
    }
    keys
}

pub(super) async fn scans_agree_with_a_model(client: Client) {
    let table = table(&client, "model").await;
    let model: Vec<String> = (0..26u8)
        .flat_map(|letter| (0..6).map(move |number| format!("{}{number}", char::from(b'a' + letter))))
        .collect();
    let batch = model.iter().fold(WriteBatch::new(), |batch, key| batch.put(key.clone(), key.clone()));
    ok(table.write_in_parts(batch).await);
    let range = |start: &'static str, end: Option<&'static str>| KeyRange::new(start, end).expect("in order");
    let ranges = [
        KeyRange::all(),
        range("b", Some("f")),
        range("c", Some("x")),
        range("g", Some("p")),
        range("f5", Some("g0\0")),
        range("o", None),
        range("zz", None),
        range("a00", Some("a01")),
        prefix_range("k"),
        prefix_range(""),
    ];
    for range in ranges {
        let expected: Vec<_> = model.iter().filter(|key| range.contains(key.as_bytes())).cloned().collect();
        for page_bytes in [1, 40, 1 << 20] {
            let scan = || table.scan(range.clone()).page_bytes(page_bytes);
            assert_eq!(keys(scan()).await, expected, "{range} in pages of {page_bytes}");
            let reversed: Vec<_> = expected.iter().rev().cloned().collect();
            assert_eq!(keys(scan().reverse()).await, reversed, "{range} in pages of {page_bytes}, backward");
            for limit in [1, 7, 1_000] {
                let first = |all: &[String]| all[..all.len().min(limit)].to_vec();
                assert_eq!(keys(scan().limit(limit as u64)).await, first(&expected));
                assert_eq!(keys(scan().limit(limit as u64).reverse()).await, first(&reversed));
            }
        }
    }
}

pub(super) async fn scans_read_at_one_version(client: Client) {
    let table = table(&client, "version").await;
    let all: Vec<&'static str> = vec!["a", "b", "h", "i", "q", "r"];
    let write = |value: &'static str| all.iter().fold(WriteBatch::new(), |batch, key| batch.put(*key, value));
    ok(table.write_in_parts(write("old")).await);
    let old = ok(client.now().await);
    for is_backward in [false, true] {
        let builder = || if is_backward { table.scan(KeyRange::all()).reverse() } else { table.scan(KeyRange::all()) };
        let mut scan = builder().page_bytes(1).start();
        let first = ok(scan.next().await.expect("there are rows"));
        ok(table.write_in_parts(write("new")).await);
        ok(table.put("aa", "new").await);
        ok(table.delete("i").await);
        let mut rows = vec![first];
        while let Some(row) = scan.next().await {
            rows.push(ok(row));
        }
        let mut seen: Vec<_> = rows.iter().map(|row| std::str::from_utf8(&row.key).expect("text")).collect();
        seen.sort_unstable();
        assert_eq!(seen, all, "what was written after the scan began is not seen");
        assert!(rows.iter().all(|row| row.value == "old" && Some(row.version) <= scan.version()));
        let mut at_old = builder().at(old).start();
        let mut count = 0;
        while let Some(row) = at_old.next().await {
            assert_eq!(ok(row).value, "old");
            count += 1;
        }
        assert_eq!((count, at_old.version()), (all.len(), Some(old)));
        ok(table.delete("aa").await);
        ok(table.write_in_parts(write("old")).await);
    }
}

pub(super) async fn scans_stop_where_they_should(client: Client) {
    let table = table(&client, "stop").await;
    assert!(table.scan(KeyRange::all()).start().next().await.is_none(), "an empty table");
    ok(table.put("a", "a").await);
    let mut none = table.scan(KeyRange::all()).limit(0).start();
    assert!(none.next().await.is_none() && none.next().await.is_none());
    let mut one = table.scan(KeyRange::all()).limit(1).start();
    assert_eq!(ok(one.next().await.expect("one row")).key, "a");
    assert!(one.next().await.is_none() && one.next().await.is_none(), "a scan stays at its end");
    let later = lentic_types::Version(ok(client.now().await).0 + (1 << 40));
    let mut future = table.scan(KeyRange::all()).at(later).start();
    refused(future.next().await.expect("an error"), ErrorKind::VersionTooNew);
    assert!(future.next().await.is_none(), "a scan ends with its error");
}
