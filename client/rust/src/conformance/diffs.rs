//! What is read differently at two versions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lentic_types::{ErrorKind, KeyRange, Version};

use super::{ok, refused, table, unique};
use crate::client::Client;
use crate::diff::Difference;
use crate::merge::MergeOperator;
use crate::owners::Take;
use crate::read::Value;
use crate::replicas::ReadFrom;
use crate::table::Table;

async fn diff(table: &Table, range: &KeyRange, from: Version, to: Version) -> Vec<Difference> {
    let (mut diff, mut all) = (table.diff(range.clone(), from, to).page_bytes(20).start(), Vec::new());
    while let Some(difference) = diff.next().await {
        all.push(ok(difference));
    }
    all
}

async fn all(table: &Table, range: &KeyRange, at: Version) -> BTreeMap<Bytes, Value> {
    let (mut scan, mut rows) = (table.scan(range.clone()).at(at).start(), BTreeMap::new());
    while let Some(row) = scan.next().await {
        let row = ok(row);
        let value = Value { value: row.value, version: row.version, expires_unix_ms: row.expires_unix_ms };
        rows.insert(row.key, value);
    }
    rows
}

pub(super) async fn differences_are_what_two_readers_see(client: Client) {
    let table = table(&client, "diffs").await;
    let mut versions = vec![ok(client.now().await)];
    for (key, value) in [("a", "1"), ("b", "1"), ("g", "1"), ("k", "1"), ("q", "1"), ("z", "1")] {
        ok(table.put(key, value).await);
    }
    versions.push(ok(client.now().await));
    ok(table.put("a", "2").await);
    ok(table.put("b", "1").await);
    ok(table.delete("g").await);
    ok(table.merge("q", MergeOperator::Append, "+").await);
    ok(table.put("h", "new").await);
    versions.push(ok(client.now().await));
    ok(table.delete("a").await);
    ok(table.put("k", "2").await);
    versions.push(ok(client.now().await));
    // Part of it goes back.
    let (part, to) = (KeyRange::new("a", Some("j")).expect("in order"), versions[1]);
    ok(table.take(Take::new(part.clone(), "job").restore_version(&part, to)).await);
    versions.push(ok(client.now().await));
    let middle = KeyRange::new("b", Some("q")).expect("in order");
    let any = table.clone().read_from(ReadFrom::Any);
    for range in [KeyRange::all(), middle] {
        let mut seen = Vec::new();
        for version in &versions {
            seen.push(all(&table, &range, *version).await);
        }
        for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 4), (1, 4), (4, 0), (3, 1), (2, 2)] {
            let row = |key: &Bytes| Difference {
                key: key.clone(),
                from: seen[from].get(key).cloned(),
                to: seen[to].get(key).cloned(),
            };
            let keys: BTreeSet<_> = seen[from].keys().chain(seen[to].keys()).collect();
            let text = |value: &Option<Value>| value.as_ref().map(|value| value.value.clone());
            let rows = keys.into_iter().map(row);
            let expected: Vec<_> = rows.filter(|row| text(&row.from) != text(&row.to)).collect();
            let reader = if usize::is_multiple_of(from + to, 2) { &any } else { &table };
            let found = diff(reader, &range, versions[from], versions[to]).await;
            assert_eq!(found, expected, "{range} from version {from} to {to}");
        }
    }
    let undone = diff(&table, &part, versions[1], versions[4]).await;
    assert_eq!(undone, [], "what was taken back is as it was");
}

pub(super) async fn what_cannot_be_compared_is_refused(client: Client) {
    let table = table(&client, "diffs_refused").await;
    ok(table.put("a", "1").await);
    let now = ok(client.now().await);
    let future = now.plus_ms(3_600_000).expect("there is such a time");
    for (from, to) in [(now, future), (future, now)] {
        let first = table.diff(KeyRange::all(), from, to).start().next().await.expect("an error");
        refused(first, ErrorKind::VersionTooNew);
    }
    let name = unique(&client, "diffs_none").await;
    let first = client.table(&name).diff(KeyRange::all(), now, now).start().next().await.expect("an error");
    refused(first, ErrorKind::NotFound);
}
