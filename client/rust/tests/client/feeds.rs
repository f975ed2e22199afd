//! What feeds meet: rollbacks, history that is gone, shards that are split.

use lentic_client::{ErrorKind, FeedEvent, KeyRange, TableOptions, Take, Version};
use lentic_machine::Outcome;
use lentic_machine::shard::{Action, RaiseWatermark};

use crate::fake::Cluster;

const TABLE: &str = "t";

/// What a feed tells, in words; `None` at a resolved version.
fn words(event: FeedEvent) -> Option<String> {
    match event {
        FeedEvent::Change(change) => {
            let value = change.value.as_ref().map(|value| value.escape_ascii().to_string());
            Some(format!("{}={}", change.key.escape_ascii(), value.as_deref().unwrap_or("nothing")))
        }
        FeedEvent::RolledBack { range, .. } => Some(format!("rolled back {range}")),
        FeedEvent::Resolved(_) => None,
    }
}

/// What comes next, until so much is told.
async fn told(feed: &mut lentic_client::Feed, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        let event = feed.next().await.expect("a feed goes on").expect("an event");
        told.extend(words(event));
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_told_after_what_it_hides() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    client.create_table(TABLE, TableOptions::default()).await.unwrap();
    let table = client.table(TABLE);
    let kept = table.put("a", "1").await.unwrap();
    table.put("a", "2").await.unwrap();
    table.put("b", "3").await.unwrap();
    let range = KeyRange::new("a", Some("b")).unwrap();
    table.take(Take::new(range.clone(), "job").restore_version(&range, kept)).await.unwrap();
    table.put("b", "4").await.unwrap();
    let mut feed = table.subscribe(KeyRange::all()).from(Version::ZERO).start();
    let expected = ["a=1", "a=2", "b=3", &format!("rolled back {range}"), "b=4"];
    assert_eq!(told(&mut feed, 5).await, expected);
    let mut part = table.subscribe(KeyRange::new("b", None::<&str>).unwrap()).from(Version::ZERO).start();
    assert_eq!(told(&mut part, 2).await, ["b=3", "b=4"], "it is about other keys");
    assert_eq!(table.get("a").await.unwrap().unwrap().value, "1");
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_ends_a_feed_with_its_token() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    client.create_table(TABLE, TableOptions::default()).await.unwrap();
    let table = client.table(TABLE);
    let first = table.put("a", "1").await.unwrap();
    let mut feed = table.subscribe(KeyRange::all()).from(Version::ZERO).buffer_bytes(1).start();
    assert_eq!(told(&mut feed, 1).await, ["a=1"]);
    table.put("a", "2").await.unwrap();
    let watermark = table.put("a", "3").await.unwrap();
    let raised = cluster.with(|world| {
        let shard = world.shard_of(TABLE, b"a").unwrap();
        world.apply(
            shard,
            None,
            Action::RaiseWatermark(RaiseWatermark { to: watermark, revision: 1, pins: Vec::new() }),
        )
    });
    assert_eq!(raised, Ok(Outcome::Raised { watermark }));
    let error = loop {
        match feed.next().await.expect("it is told why") {
            Ok(event) => assert_eq!(words(event), None, "nothing is told of what may have holes"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.version()), (ErrorKind::VersionTooOld, Some(watermark)));
    assert!(feed.next().await.is_none(), "it has ended");
    let token = feed.token().expect("it had begun");
    assert!(token.resolved() >= first && token.resolved() < watermark);
    let again = table.resume(token).start().next().await.unwrap().unwrap_err();
    assert_eq!(again.kind(), ErrorKind::VersionTooOld);
    table.put("a", "4").await.unwrap();
    let mut feed = table.subscribe(KeyRange::all()).from(watermark).start();
    assert_eq!(told(&mut feed, 1).await, ["a=4"]);
}

#[tokio::test(start_paused = true)]
async fn shards_are_split_under_a_feed() {
    let cluster = Cluster::new(3);
    let client = cluster.client();
    client.create_table(TABLE, TableOptions::default()).await.unwrap();
    let table = client.table(TABLE);
    let keys: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    let batch = keys.iter().fold(lentic_client::WriteBatch::new(), |batch, key| batch.put(key.clone(), "v"));
    table.write(batch).await.unwrap();
    let mut feed = table.subscribe(KeyRange::all()).from(Version::ZERO).buffer_bytes(9).start();
    let mut seen = told(&mut feed, 5).await;
    cluster.with(|world| world.split(TABLE, "10"));
    seen.extend(told(&mut feed, 10).await);
    cluster.with(|world| world.split(TABLE, "30"));
    // From the middle of a version that is in three shards by now.
    let mut feed = cluster.client().table(TABLE).resume(feed.token().unwrap()).buffer_bytes(9).start();
    seen.extend(told(&mut feed, 25).await);
    seen.sort();
    assert_eq!(seen, keys.iter().map(|key| format!("{key}=v")).collect::<Vec<_>>());
}
