//! Owned ranges, checkpoints, and the way back.

use lentic_types::{ErrorKind, KeyRange, Version};

use super::{assert_value, ok, refused, table, three_shards, unique, value};
use crate::batch::WriteBatch;
use crate::checkpoint::{CheckpointScan, JobCheckpoint};
use crate::client::Client;
use crate::owners::{Fence, Take};
use crate::read::Value;
use crate::table::Table;
use crate::transaction::Transaction;

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::new(start, Some(end)).expect("in order")
}

async fn put(table: &Table, fence: Fence, key: &'static str, value: &'static str) {
    ok(table.write(WriteBatch::new().fence(fence).put(key, value)).await);
}

pub(super) async fn only_the_owner_writes(client: Client) {
    let table = table(&client, "owners_alone").await;
    ok(table.put("a", "free").await);
    // Over two shards, and a part of each.
    let fence = ok(table.acquire(range("c", "k"), "job").await);
    ok(table.put("a", "still free").await);
    for key in ["c", "d", "h"] {
        refused(table.put(key, "by anybody").await, ErrorKind::Fenced);
        refused(table.write(WriteBatch::new().fence(Fence(fence.0 - 1)).put(key, "old")).await, ErrorKind::Fenced);
        put(&table, fence, key, "mine").await;
    }
    refused(table.write(WriteBatch::new().fence(fence).put("k", "beyond")).await, ErrorKind::Fenced);
    let across = Transaction::new().with(table.name(), WriteBatch::new().put("d", "x").put("z", "x"));
    refused(client.commit(across).await, ErrorKind::Fenced);
    let across = Transaction::new()
        .with(table.name(), WriteBatch::new().fence(fence).put("d", "1").put("h", "1"))
        .with(table.name(), WriteBatch::new().put("z", "1"));
    ok(client.commit(across).await);
    let newer = ok(table.acquire(range("c", "k"), "job").await);
    assert!(newer > fence, "{newer} comes after {fence}");
    for key in ["d", "h"] {
        refused(table.write(WriteBatch::new().fence(fence).put(key, "zombie")).await, ErrorKind::Fenced);
        assert_value(&table, key, Some("1")).await;
    }
    refused(table.acquire(range("a", "d"), "other").await, ErrorKind::Owned);
    let forced = ok(table.take(Take::new(range("a", "d"), "other").by_force()).await);
    put(&table, forced, "c", "other's").await;
    put(&table, newer, "d", "what is left").await;
}

pub(super) async fn owners_are_told(client: Client) {
    let table = table(&client, "owners_told").await;
    assert!(ok(table.owners(&KeyRange::all()).await).parts.is_empty());
    let wide = ok(table.acquire(range("b", "z"), "wide").await);
    let narrow = ok(table.take(Take::new(range("i", "k"), "narrow").by_force()).await);
    let owners = ok(table.owners(&KeyRange::all()).await);
    let told: Vec<_> = owners.parts.iter().map(|part| (part.range.clone(), &*part.owner, part.fence)).collect();
    // Each shard knows its own part.
    let expected = [
        (range("b", "g"), "wide", wide),
        (range("g", "i"), "wide", wide),
        (range("i", "k"), "narrow", narrow),
        (range("k", "p"), "wide", wide),
        (range("p", "z"), "wide", wide),
    ];
    assert_eq!(told, expected);
    assert!(owners.now.0 > narrow.0, "{} comes after {narrow}", owners.now);
    let part = ok(table.owners(&range("h", "j")).await);
    assert_eq!(part.parts.len(), 2);
    // A part of two shards' shares is given up, and no more.
    ok(table.release(&range("c", "h"), wide).await);
    let owners = ok(table.owners(&range("a", "i")).await);
    let told: Vec<_> = owners.parts.iter().map(|part| (part.range.clone(), part.fence)).collect();
    assert_eq!(told, [(range("b", "c"), wide), (range("h", "i"), wide)]);
    ok(table.put("d", "free").await);
    put(&table, wide, "b", "kept").await;
    for _ in 0..2 {
        ok(table.release(&KeyRange::all(), wide).await);
    }
    let left = ok(table.owners(&KeyRange::all()).await).parts;
    assert_eq!((left.len(), left[0].fence), (1, narrow));
    ok(table.put("b", "free").await);
}

pub(super) async fn a_job_goes_back_to_its_checkpoints(client: Client) {
    let table = table(&client, "owners_back").await;
    let (left, right) = (range("a", "j"), range("j", "z"));
    let (one, two) = (ok(table.acquire(left.clone(), "job").await), ok(table.acquire(right.clone(), "job").await));
    for (fence, key) in [(one, "a"), (one, "h"), (two, "k"), (two, "q")] {
        put(&table, fence, key, "first").await;
    }
    let left_at = ok(table.checkpoint(&left, one, 1).await);
    put(&table, two, "k", "second").await;
    ok(table.write(WriteBatch::new().fence(two).delete("q")).await);
    let right_at = ok(table.checkpoint(&right, two, 1).await);
    assert!(left_at.token.len() <= 64 && left_at.version < right_at.version);
    for (fence, key) in [(one, "a"), (one, "b"), (two, "k"), (two, "q")] {
        put(&table, fence, key, "lost").await;
    }
    let before = ok(client.now().await);
    // One task in the place of two.
    let take =
        Take::new(range("a", "z"), "job").restore(&left, left_at.token.clone()).restore(&right, right_at.token.clone());
    let all = ok(table.take(take).await);
    let expected = [("a", Some("first")), ("b", None), ("h", Some("first")), ("k", Some("second")), ("q", None)];
    for (key, expected) in expected {
        assert_value(&table, key, expected).await;
    }
    let rows = ok(table.scan(KeyRange::all()).start().next().await.transpose());
    assert_eq!(rows.map(|row| row.key), Some("a".into()));
    for (key, lost) in [("a", "lost"), ("b", "lost"), ("k", "lost"), ("q", "lost")] {
        let was = ok(table.get_at(key, before).await).map(|found| found.value);
        assert_eq!(was.as_deref(), Some(lost.as_bytes()), "history before it stays: {key}");
        let at = ok(table.get_at(key, Version(all.0 - 1)).await).map(|found| found.value);
        assert_eq!(at.as_deref(), Some(lost.as_bytes()), "everywhere at one version: {key}");
    }
    for fence in [one, two] {
        refused(table.write(WriteBatch::new().fence(fence).put("a", "zombie")).await, ErrorKind::Fenced);
        refused(table.checkpoint(&left, fence, 2).await, ErrorKind::Fenced);
    }
    put(&table, all, "b", "new").await;
    // And three in the place of one, each a part of its checkpoint.
    let next = ok(table.checkpoint(&range("a", "z"), all, 2).await);
    put(&table, all, "b", "lost again").await;
    for part in [range("a", "e"), range("e", "q"), range("q", "z")] {
        ok(table.take(Take::new(part.clone(), "job").restore(&part, next.token.clone())).await);
    }
    assert_value(&table, "b", Some("new")).await;
    assert_value(&table, "a", Some("first")).await;
}

pub(super) async fn readers_read_at_the_last_complete_checkpoint(client: Client) {
    let table = table(&client, "owners_read").await;
    let (left, right) = (range("a", "j"), range("j", "z"));
    refused(table.last_checkpoint("job").await, ErrorKind::NotFound);
    let (one, two) = (ok(table.acquire(left.clone(), "job").await), ok(table.acquire(right.clone(), "job").await));
    put(&table, one, "b", "1").await;
    put(&table, one, "h", "1").await;
    let left_at = ok(table.checkpoint(&left, one, 1).await);
    refused(table.last_checkpoint("job").await, ErrorKind::NotFound);
    put(&table, two, "k", "1").await;
    put(&table, one, "b", "2").await;
    let right_at = ok(table.checkpoint(&right, two, 1).await);
    put(&table, two, "k", "2").await;
    let first = ok(table.last_checkpoint("job").await);
    let parts = || vec![(left.clone(), left_at.version), (right.clone(), right_at.version)];
    assert_eq!((first.number(), joined(&first)), (1, parts()));
    refused(table.last_checkpoint("another").await, ErrorKind::NotFound);
    // One task alone is further on.
    let lost = ok(table.checkpoint(&left, one, 2).await);
    for _ in 0..2 {
        let read = ok(table.last_checkpoint("job").await);
        assert_eq!(read.number(), 1);
        assert_eq!(texts(ok(read.multi_get(["k", "b", "h", "c"]).await)), ["1", "1", "1", ""]);
        assert_eq!(texts(vec![ok(read.get("b").await)]), ["1"]);
        assert_eq!(rows(ok(read.scan(&KeyRange::all()))).await, ["b", "h", "k"]);
        assert_eq!(rows(ok(read.scan(&KeyRange::all())).reverse().limit(2)).await, ["k", "h"]);
        assert_eq!(rows(ok(read.scan(&range("c", "k")))).await, ["h"]);
        refused(read.get("z").await, ErrorKind::NotFound);
        refused(read.multi_get(["b", "A"]).await, ErrorKind::NotFound);
        refused(read.scan(&range("c", "zz")), ErrorKind::NotFound);
        refused(read.scan(&range("A", "c")), ErrorKind::NotFound);
    }
    // It is taken back: what it has named is undone, and its number is made again by all.
    let back = Take::new(left.clone(), "job").restore(&left, left_at.token.clone());
    let one = ok(table.take(back).await);
    let back = Take::new(right.clone(), "job").restore(&right, right_at.token.clone());
    let two = ok(table.take(back).await);
    let right_again = ok(table.checkpoint(&right, two, 2).await);
    let read = ok(table.last_checkpoint("job").await);
    assert_eq!((read.number(), joined(&read)), (1, parts()), "checkpoint 2 of the left is undone");
    put(&table, one, "b", "3").await;
    let left_again = ok(table.checkpoint(&left, one, 2).await);
    let read = ok(table.last_checkpoint("job").await);
    assert_eq!((read.number(), texts(vec![ok(read.get("b").await)])), (2, vec!["3".to_owned()]));
    assert_eq!(joined(&read), [(left.clone(), left_again.version), (right.clone(), right_again.version)]);
    assert!(left_again.version > lost.version);
    // A job that has ended has its last checkpoint.
    ok(table.release(&left, one).await);
    ok(table.release(&right, two).await);
    assert_eq!(ok(table.last_checkpoint("job").await).number(), 2);
}

/// The parts of a checkpoint, those of one version that lie beside each other as one.
fn joined(checkpoint: &JobCheckpoint) -> Vec<(KeyRange, Version)> {
    let mut parts: Vec<(KeyRange, Version)> = Vec::new();
    for (range, version) in checkpoint.parts() {
        match parts.last_mut() {
            Some((last, at)) if *at == *version && last.end() == Some(range.start()) => {
                *last = KeyRange::new(last.start().clone(), range.end().cloned()).expect("in order");
            }
            _ => parts.push((range.clone(), *version)),
        }
    }
    parts
}

fn texts(values: Vec<Option<Value>>) -> Vec<String> {
    let text = |value: Value| String::from_utf8(value.value.to_vec()).expect("it is text");
    values.into_iter().map(|value| value.map(text).unwrap_or_default()).collect()
}

async fn rows(mut scan: CheckpointScan) -> Vec<String> {
    let mut keys = Vec::new();
    while let Some(row) = scan.next().await {
        keys.push(String::from_utf8(ok(row).key.to_vec()).expect("it is text"));
    }
    keys
}

pub(super) async fn what_cannot_be_restored_is_refused(client: Client) {
    let table = table(&client, "owners_refused").await;
    let name = unique(&client, "owners_refused_other").await;
    ok(client.create_table(&name, three_shards()).await);
    let all = range("a", "z");
    let fence = ok(table.acquire(all.clone(), "job").await);
    put(&table, fence, "a", "1").await;
    put(&table, fence, "q", "1").await;
    let at = ok(table.checkpoint(&all, fence, 1).await);
    let restore = |token: Vec<u8>| Take::new(all.clone(), "job").restore(&all, token);
    refused(client.table(&name).take(restore(at.token.to_vec())).await, ErrorKind::Invalid);
    refused(table.take(restore(Vec::new())).await, ErrorKind::Invalid);
    refused(table.take(restore(at.token[1..].to_vec())).await, ErrorKind::Invalid);
    let future = Version(ok(client.now().await).0 + (1 << 40));
    let take = Take::new(all.clone(), "job").restore_version(&all, future);
    refused(table.take(take).await, ErrorKind::VersionTooNew);
    let other = Take::new(all.clone(), "other").restore(&all, at.token.clone());
    refused(table.take(other).await, ErrorKind::Owned);
    let token = || at.token.clone();
    let overlap = Take::new(all.clone(), "job").restore(&range("a", "m"), token()).restore(&range("c", "z"), token());
    refused(table.take(overlap).await, ErrorKind::Invalid);
    let outside = Take::new(range("a", "m"), "job").restore(&range("c", "z"), token());
    refused(table.take(outside).await, ErrorKind::Invalid);
    refused(table.acquire(all.clone(), "").await, ErrorKind::Invalid);
    refused(table.checkpoint(&KeyRange::all(), fence, 2).await, ErrorKind::Fenced);
    // None of it has done anything.
    put(&table, fence, "a", "2").await;
    put(&table, fence, "q", "2").await;
}

pub(super) async fn one_of_those_who_race_is_the_owner(client: Client) {
    let table = table(&client, "owners_race").await;
    let all = range("a", "z");
    let first = ok(table.acquire(all.clone(), "job").await);
    put(&table, first, "a", "0").await;
    put(&table, first, "q", "0").await;
    let at = ok(table.checkpoint(&all, first, 1).await);
    put(&table, first, "a", "lost").await;
    let racers = (1..=4).map(|number| {
        let (table, take) = (table.clone(), Take::new(all.clone(), "job").restore(&all, at.token.clone()));
        async move {
            let fence = ok(table.take(take).await);
            let mine = format!("{number}");
            let across = WriteBatch::new().fence(fence).put("a", mine.clone()).put("q", mine);
            let done = table.client().commit(Transaction::new().with(table.name(), across)).await;
            (fence, done)
        }
    });
    let mut told = futures_util::future::join_all(racers).await;
    told.sort_by_key(|(fence, _)| *fence);
    let fences: Vec<Fence> = told.iter().map(|(fence, _)| *fence).collect();
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "each took it from another: {fences:?}");
    let (last, done) = told.pop().expect("there are four");
    ok(done);
    for (fence, done) in told {
        // It was the owner for a while, or was replaced before it wrote.
        if let Err(error) = done {
            assert_eq!(error.kind(), ErrorKind::Fenced, "{fence}: {error}");
        }
    }
    assert_eq!(value(&table, "a").await, value(&table, "q").await);
    assert!(value(&table, "a").await.is_some_and(|found| found != "lost" && found != "0"));
    put(&table, last, "a", "end").await;
}
