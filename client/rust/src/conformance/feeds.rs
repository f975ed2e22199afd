//! Feeds.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_types::{ErrorKind, KeyRange, Version};

use super::{ok, refused, table};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::feed::{Feed, FeedChange, FeedEvent, FeedStart, FeedToken};
use crate::merge::MergeOperator;
use crate::table::Table;
use crate::transaction::Transaction;

/// The place of the shard of a key in a table of three.
fn shard_of(key: &[u8]) -> usize {
    ["g", "p"].iter().filter(|cut| cut.as_bytes() <= key).count()
}

/// Takes the next event of a feed and checks that it may come now. The changes so far are in `told`.
async fn take(feed: &mut Feed, resolved: &mut Version, told: &mut Vec<FeedChange>) {
    match ok(feed.next().await.expect("a feed does not end")) {
        FeedEvent::Change(change) => {
            assert!(change.version > *resolved, "{change:?} is told after {resolved} was resolved");
            let of_shard = |other: &&FeedChange| shard_of(&other.key) == shard_of(&change.key);
            if let Some(last) = told.iter().rev().find(of_shard) {
                let is_next = (last.version, &last.key) < (change.version, &change.key);
                assert!(is_next, "{change:?} is told after {last:?}");
            }
            told.push(change);
        }
        FeedEvent::Resolved(version) => {
            assert!(version > *resolved, "{version} is resolved after {resolved}");
            *resolved = version;
        }
        FeedEvent::RolledBack { .. } => panic!("nothing was rolled back"),
    }
}

/// All changes up to a version.
async fn until(feed: &mut Feed, version: Version) -> Vec<FeedChange> {
    let (mut resolved, mut told) = (Version::ZERO, Vec::new());
    while resolved < version {
        take(feed, &mut resolved, &mut told).await;
    }
    told
}

type Expected = Vec<(Version, &'static str, Option<Bytes>)>;

/// Writes all kinds of changes to all shards; what they are, by version and then by key.
async fn write_all_kinds(client: &Client, table: &Table) -> Expected {
    let mut all: Expected = Vec::new();
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    for key in ["a", "h", "q"] {
        all.push((ok(table.put(key, "1").await), key, value("1")));
        all.push((ok(table.put(key, "2").await), key, value("2")));
    }
    all.push((ok(table.delete("h").await), "h", None));
    for sum in 1..=3_i64 {
        let version = ok(table.add_i64("r", 1).await);
        all.push((version, "r", Some(Bytes::copy_from_slice(&sum.to_be_bytes()))));
    }
    for length in 1..=3 {
        let (part, sum) = (Bytes::from(vec![b'x'; 100]), Bytes::from(vec![b'x'; 100 * length]));
        all.push((ok(table.merge("i", MergeOperator::Append, part).await), "i", Some(sum)));
    }
    let batch = WriteBatch::new().put("c", "3").put("b", "3").delete("a").put("b", "4");
    let version = ok(table.write(batch).await);
    all.extend([(version, "a", None), (version, "b", value("4")), (version, "c", value("3"))]);
    let batch = WriteBatch::new().put("q", "5").put("d", "5").put("k", "5").put("e", "5");
    let version = ok(client.commit(Transaction::new().with(table.name(), batch)).await);
    all.extend(["d", "e", "k", "q"].map(|key| (version, key, value("5"))));
    all.push((ok(table.put("z", "6").await), "z", value("6")));
    all.sort();
    all
}

/// The changes of each shard, in the order in which they were told.
fn by_shard(told: &[FeedChange]) -> BTreeMap<usize, Vec<(Version, Bytes, Option<Bytes>)>> {
    let mut shards: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for FeedChange { key, version, value, .. } in told {
        shards.entry(shard_of(key)).or_default().push((*version, key.clone(), value.clone()));
    }
    shards
}

fn assert_told(told: &[FeedChange], expected: &Expected, range: &KeyRange) {
    let expected = expected.iter().filter(|(_, key, _)| range.contains(key.as_bytes()));
    let expected = expected.map(|(version, key, value)| FeedChange {
        key: Bytes::from_static(key.as_bytes()),
        version: *version,
        value: value.clone(),
        expires_unix_ms: None,
    });
    assert_eq!(by_shard(told), by_shard(&expected.collect::<Vec<_>>()));
}

pub(super) async fn feeds_tell_every_commit_in_order(client: Client) {
    let table = table(&client, "feed").await;
    let before = ok(client.now().await);
    let expected = write_all_kinds(&client, &table).await;
    let now = ok(client.now().await);
    let ranges = [("", None), ("b", Some("q")), ("g", Some("p")), ("x", None)];
    for (start, end) in ranges {
        let range = KeyRange::new(start, end).expect("in order");
        for bytes in [1, 1 << 20] {
            let mut feed = table.subscribe(range.clone()).from(before).buffer_bytes(bytes).start();
            assert_told(&until(&mut feed, now).await, &expected, &range);
        }
    }
    // From within history, also between the changes of a shard.
    let middle = expected[expected.len() / 2].0;
    let mut feed = table.subscribe(KeyRange::all()).from(middle).start();
    let later: Expected = expected.into_iter().filter(|(version, ..)| *version > middle).collect();
    assert_told(&until(&mut feed, now).await, &later, &KeyRange::all());
    // An end comes with its value.
    let ends = 4_000_000_000_000;
    ok(table.put_with("e", "7", ends).await);
    let mut feed = table.subscribe(KeyRange::all()).from(now).start();
    let told = until(&mut feed, ok(client.now().await)).await;
    assert_eq!(told.iter().map(|change| change.expires_unix_ms).collect::<Vec<_>>(), [Some(ends)]);
}

pub(super) async fn feeds_go_on_by_their_tokens(client: Client) {
    let table = table(&client, "token").await;
    let before = ok(client.now().await);
    let expected = write_all_kinds(&client, &table).await;
    let now = ok(client.now().await);
    let (mut resolved, mut told, mut token) = (Version::ZERO, Vec::new(), None);
    let mut events = 0;
    while resolved < now {
        let mut feed = match token.take() {
            None => table.subscribe(KeyRange::all()).from(before).buffer_bytes(1).start(),
            Some(text) => {
                let text: String = text;
                let token: FeedToken = ok(text.parse());
                // Small pages end in the middle of a version, and large ones do not.
                table.resume(token).buffer_bytes(if events % 2 == 0 { 1 } else { 1 << 20 }).start()
            }
        };
        assert_eq!(feed.token(), None, "it has not begun");
        let so_far = resolved;
        match ok(feed.next().await.expect("a feed does not end")) {
            FeedEvent::Change(change) => told.push(change),
            FeedEvent::Resolved(version) => resolved = version,
            FeedEvent::RolledBack { .. } => panic!("nothing was rolled back"),
        }
        assert!(resolved >= so_far, "{resolved} is resolved after {so_far}");
        token = feed.token().map(|token| token.to_string());
        // A feed that goes on says first how far it is, if that is further than it was.
        events += 1;
        if token.is_some() && matches!(events % 3, 0) {
            match ok(feed.next().await.expect("a feed does not end")) {
                FeedEvent::Change(change) => told.push(change),
                FeedEvent::Resolved(version) => resolved = resolved.max(version),
                FeedEvent::RolledBack { .. } => panic!("nothing was rolled back"),
            }
            token = feed.token().map(|token| token.to_string());
        }
        assert!(events < 2_000, "it does not come to an end");
    }
    assert_told(&told, &expected, &KeyRange::all());
}

pub(super) async fn feeds_follow_what_happens(client: Client) {
    let table = table(&client, "live").await;
    ok(table.put("a", "before").await);
    let mut feed = table.subscribe(KeyRange::all()).start();
    let (mut resolved, mut told) = (Version::ZERO, Vec::new());
    // It begins when it is asked first.
    while resolved == Version::ZERO {
        take(&mut feed, &mut resolved, &mut told).await;
    }
    assert_eq!(told, [], "what was there before is not told");
    for round in 0..20_u32 {
        let (key, value) = (["b", "h", "q"][round as usize % 3], Bytes::from(round.to_string()));
        let version = ok(table.put(key, value.clone()).await);
        told.clear();
        while resolved < version {
            take(&mut feed, &mut resolved, &mut told).await;
        }
        let expected = FeedChange { key: key.into(), version, value: Some(value), expires_unix_ms: None };
        assert_eq!(told, [expected]);
    }
    // Nothing happens, and still it says how far it is.
    let now = ok(client.now().await);
    told.clear();
    while resolved < now {
        take(&mut feed, &mut resolved, &mut told).await;
    }
    assert_eq!(told, []);
}

pub(super) async fn feeds_follow_leaders(client: Client) {
    let table = table(&client, "moves").await;
    let mut feed = table.subscribe(KeyRange::all()).from(ok(client.now().await)).start();
    let (mut resolved, mut told, mut written) = (Version::ZERO, Vec::new(), Vec::new());
    for round in 0..6_u32 {
        let shards = ok(client.describe_table(table.name()).await).shards;
        let shard = &shards[round as usize % shards.len()];
        if let Some(other) = shard.replicas.iter().find(|node| Some(**node) != shard.leader) {
            // Somebody else may have had the same idea: that it was asked for is enough.
            let _ = client.transfer_leader(shard.shard, Some(*other)).await;
        }
        for key in ["a", "b", "h", "q"] {
            written.push((ok(table.put(key, round.to_string()).await), key.as_bytes()));
        }
        while resolved < written[written.len() - 3].0 {
            take(&mut feed, &mut resolved, &mut told).await;
        }
    }
    let now = ok(client.now().await);
    while resolved < now {
        take(&mut feed, &mut resolved, &mut told).await;
    }
    let mut found: Vec<_> = told.iter().map(|change| (change.version, &*change.key)).collect();
    found.sort_unstable();
    assert_eq!(found, written, "each once");
}

pub(super) async fn feeds_refuse_what_they_cannot_tell(client: Client) {
    let (one, other) = (table(&client, "refuse").await, table(&client, "other").await);
    let now = ok(client.now().await);
    let later = Version(now.0 + (1 << 40));
    let mut feed = one.subscribe(KeyRange::all()).from(later).start();
    refused(feed.next().await.expect("an error"), ErrorKind::VersionTooNew);
    assert!(feed.next().await.is_none(), "a feed ends with its error");
    let prefix = KeyRange::new("b", Some("h")).expect("in order");
    let mut feed = one.subscribe(prefix.clone()).from(now).start();
    ok(feed.next().await.expect("how far it is"));
    let token = feed.token().expect("it has begun");
    refused(other.resume(token.clone()).start().next().await.expect("an error"), ErrorKind::Invalid);
    let wider = one.subscribe(KeyRange::all()).from(token.clone());
    refused(wider.start().next().await.expect("an error"), ErrorKind::Invalid);
    ok(one.subscribe(prefix).from(token).start().next().await.expect("the range of the token"));
    let missing = client.table("conformance_no_such_table").subscribe(KeyRange::all()).from(FeedStart::Now);
    refused(missing.start().next().await.expect("an error"), ErrorKind::NotFound);
}
