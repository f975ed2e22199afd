//! Named snapshots, reads at times, and how far history goes back.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lentic_proto::v1::CreateSnapshotRequest;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_types::{ErrorKind, KeyRange, Version};

use super::{ok, refused, table, unique};
use crate::call;
use crate::client::Client;
use crate::history::{PinEntry, PinKind, SnapshotOptions};
use crate::progress::Effect;
use crate::table::Table;

fn of(tables: &[&Table]) -> SnapshotOptions {
    SnapshotOptions {
        tables: tables.iter().map(|table| table.name().to_owned()).collect(),
        owner: "conformance".to_owned(),
        lease: None,
    }
}

async fn named(client: &Client, table: &Table) -> Vec<PinEntry> {
    ok(client.list_snapshots(Some(table.name())).await)
}

pub(super) async fn snapshots_are_made_listed_and_dropped(client: Client) {
    let (one, other) = (table(&client, "pinned").await, table(&client, "pinned_too").await);
    let name = unique(&client, "made").await;
    let before = ok(client.now().await);
    let made = ok(client.create_snapshot(&name, of(&[&one, &other])).await);
    assert!(before < made.version && made.version < ok(client.now().await), "its version is of now");
    assert_eq!((made.kind, &made.name, made.expires), (PinKind::Snapshot, &name, None));
    assert_eq!(made.owner, "conformance");
    assert!(made.spans.iter().all(|(_, range)| *range == KeyRange::all()) && made.spans.len() == 2);
    assert_eq!(ok(client.show_snapshot(&name).await), made);
    for table in [&one, &other] {
        assert_eq!(named(&client, table).await, std::slice::from_ref(&made));
    }
    refused(client.create_snapshot(&name, of(&[&one])).await, ErrorKind::AlreadyExists);
    ok(client.drop_snapshot(&name).await);
    refused(client.drop_snapshot(&name).await, ErrorKind::NotFound);
    refused(client.show_snapshot(&name).await, ErrorKind::NotFound);
    assert_eq!(named(&client, &one).await, []);
    let again = ok(client.create_snapshot(&name, of(&[&one])).await);
    assert!(again.pin != made.pin && again.version > made.version, "a name that is free is of another version");
    ok(client.drop_pin(again.pin).await);
    refused(client.drop_pin(again.pin).await, ErrorKind::NotFound);
}

pub(super) async fn a_snapshot_stands_still(client: Client) {
    let (one, other) = (table(&client, "still").await, table(&client, "still_too").await);
    for key in ["a", "h", "q"] {
        ok(one.put(key, "old").await);
        ok(other.put(key, "old").await);
    }
    let name = unique(&client, "still").await;
    let made = ok(client.create_snapshot(&name, of(&[&one, &other])).await);
    for key in ["a", "h", "q"] {
        ok(one.put(key, "new").await);
        ok(other.delete(key).await);
    }
    for table in [&one, &other] {
        let snapshot = ok(table.at_snapshot(&name).await);
        for key in ["a", "h", "q"] {
            assert_eq!(ok(snapshot.get(key).await).map(|found| found.value), Some("old".into()));
        }
        let (mut scan, mut rows) = (snapshot.scan(KeyRange::all()).start(), Vec::new());
        while let Some(row) = scan.next().await {
            rows.push(ok(row).value);
        }
        assert_eq!(rows, [Bytes::from("old"), "old".into(), "old".into()]);
    }
    let all = ok(client.snapshot_named(&name).await);
    assert_eq!(all.version(), made.version);
    let found = ok(all.table(one.name()).multi_get(["a", "x"]).await);
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    let stranger = table(&client, "still_not").await;
    refused(stranger.at_snapshot(&name).await, ErrorKind::Invalid);
    ok(client.drop_snapshot(&name).await);
    refused(one.at_snapshot(&name).await, ErrorKind::NotFound);
}

pub(super) async fn a_copy_of_a_snapshot_is_the_same(client: Client) {
    let table = table(&client, "copied").await;
    let request = |name: &str, nonce: u8| CreateSnapshotRequest {
        name: name.to_owned(),
        tables: vec![table.name().to_owned()],
        nonce: Bytes::from(vec![nonce; 16]),
        ..CreateSnapshotRequest::default()
    };
    let name = unique(&client, "copied").await;
    let nonce = u8::try_from(ok(client.now().await).0 >> 8 & 0xff).expect("a byte");
    let send = |request| {
        let client = client.clone();
        async move {
            let request = Request::CreateSnapshot(request);
            match ok(call::any(client.core(), request, client.progress(Effect::Writes)).await) {
                Response::CreateSnapshot(made) => made.snapshot.expect("it was made"),
                other => panic!("expected a snapshot, found {other:?}"),
            }
        }
    };
    let first = send(request(&name, nonce)).await;
    assert_eq!(send(request(&name, nonce)).await, first, "a copy of the request makes no other");
    assert_eq!(named(&client, &table).await.len(), 1);
    let other = call::any(
        client.core(),
        Request::CreateSnapshot(request(&name, nonce.wrapping_add(1))),
        client.progress(Effect::Writes),
    );
    refused(other.await, ErrorKind::AlreadyExists);
    ok(client.drop_snapshot(&name).await);
}

pub(super) async fn leases_are_renewed(client: Client) {
    let table = table(&client, "leased").await;
    let name = unique(&client, "leased").await;
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
    let made = ok(client.create_snapshot(&name, SnapshotOptions { lease: hours(1), ..of(&[&table]) }).await);
    let end = made.expires.expect("it has a lease");
    assert_eq!(end.ms(), made.version.ms() + 3_600_000);
    let longer = ok(client.renew_snapshot(&name, hours(2)).await);
    assert!(longer.expires.is_some_and(|later| later.ms() >= end.ms() + 3_600_000));
    assert_eq!(ok(client.renew_snapshot(&name, hours(1)).await).expires, longer.expires, "it never gets shorter");
    assert_eq!(ok(client.renew_snapshot(&name, None).await).expires, None);
    assert_eq!(ok(client.show_snapshot(&name).await).expires, None);
    refused(client.renew_snapshot(&name, Some(Duration::from_nanos(1))).await, ErrorKind::Invalid);
    ok(client.drop_snapshot(&name).await);
    refused(client.renew_snapshot(&name, None).await, ErrorKind::NotFound);
}

pub(super) async fn times_are_versions(client: Client) {
    let table = table(&client, "times").await;
    let old = ok(table.put("a", "old").await);
    let new = ok(table.put("a", "new").await);
    // The millisecond after a commit sees it; the clock may have stood still between the two.
    let after =
        |version: Version| SystemTime::UNIX_EPOCH + Duration::from_millis(version.ms() + 1 + Version::UNIX_MS_AT_ZERO);
    let snapshot = ok(client.snapshot_at_time(after(old)));
    assert_eq!(snapshot.version(), Version::tick(old.ms() + 1, 0).expect("in time"));
    let seen = if new < snapshot.version() { "new" } else { "old" };
    while ok(client.now().await) < snapshot.version() {}
    let found = ok(snapshot.table(table.name()).get("a").await);
    assert_eq!(found.map(|found| found.value), Some(seen.into()));
    refused(client.snapshot_at_time(SystemTime::UNIX_EPOCH), ErrorKind::Invalid);
}

pub(super) async fn what_no_snapshot_can_be_is_refused(client: Client) {
    let table = table(&client, "bad").await;
    let name = unique(&client, "bad").await;
    refused(client.create_snapshot("", of(&[&table])).await, ErrorKind::Invalid);
    refused(client.create_snapshot(&name, of(&[])).await, ErrorKind::Invalid);
    let missing = SnapshotOptions { tables: vec![format!("{name}_none")], ..SnapshotOptions::default() };
    refused(client.create_snapshot(&name, missing).await, ErrorKind::NotFound);
    let short = SnapshotOptions { lease: Some(Duration::ZERO), ..of(&[&table]) };
    refused(client.create_snapshot(&name, short).await, ErrorKind::Invalid);
    assert_eq!(named(&client, &table).await, []);
    refused(client.show_snapshot(&name).await, ErrorKind::NotFound);
    refused(table.at_snapshot(&name).await, ErrorKind::NotFound);
}

pub(super) async fn shards_tell_how_far_back_they_go(client: Client) {
    let table = table(&client, "told").await;
    for key in ["a", "h", "q"] {
        ok(table.put(key, "x").await);
    }
    let shards = ok(client.history(Some(table.name())).await);
    assert_eq!(shards.len(), 3);
    let now = ok(client.now().await);
    for shard in shards {
        assert!(shard.table_name.ends_with(table.name()) && shard.retention > Duration::ZERO);
        assert!(shard.watermark < shard.newest && shard.newest < now, "{shard:?}");
    }
    refused(client.history(Some("conformance_none")).await, ErrorKind::NotFound);
}
