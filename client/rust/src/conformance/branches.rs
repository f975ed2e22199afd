//! Branches: tables whose history up to a version is another's.

use lentic_types::{ErrorKind, KeyRange, Version};

use super::{assert_value, ok, refused, table, unique, value, version};
use crate::admin::{BranchOf, TableOptions};
use crate::client::Client;
use crate::feed::{FeedEvent, FeedStart};
use crate::history::{PinKind, SnapshotOptions};
use crate::merge::MergeOperator;
use crate::table::Table;

/// A new branch. Each parent has one, for its name is made of the parent's: cases run at the same time.
async fn branch(client: &Client, of: &Table, at: Option<Version>) -> Table {
    let name = format!("{}_branch", of.name());
    let made = ok(client.branch(&name, of.name(), at).await);
    assert!(made.table.branch_of.is_some_and(|from| from.name.ends_with(of.name())));
    client.table(&name)
}

/// All keys with their values, in order and backward.
async fn rows(table: &Table) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for is_reverse in [false, true] {
        let scan = table.scan(KeyRange::all());
        let scan = if is_reverse { scan.reverse() } else { scan };
        let (mut scan, mut rows) = (scan.start(), Vec::new());
        while let Some(row) = scan.next().await {
            let row = ok(row);
            rows.push((
                String::from_utf8_lossy(&row.key).into_owned(),
                String::from_utf8_lossy(&row.value).into_owned(),
            ));
        }
        if is_reverse {
            rows.reverse();
        }
        all.push(rows);
    }
    assert_eq!(all[0], all[1], "forward and backward");
    all.swap_remove(0)
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) async fn a_branch_reads_through_and_goes_its_own_way(client: Client) {
    let parent = table(&client, "branched").await;
    for key in ["a", "h", "q"] {
        ok(parent.put(key, "old").await);
    }
    let child = branch(&client, &parent, None).await;
    assert_eq!(rows(&child).await, pairs(&[("a", "old"), ("h", "old"), ("q", "old")]));
    assert_eq!(version(&child, "a").await, version(&parent, "a").await, "its version is that of the parent's write");
    ok(child.put("a", "of the branch").await);
    ok(child.put("i", "of the branch").await);
    ok(parent.put("h", "of the parent").await);
    ok(parent.put("z", "of the parent").await);
    assert_eq!(
        rows(&child).await,
        pairs(&[("a", "of the branch"), ("h", "old"), ("i", "of the branch"), ("q", "old")])
    );
    assert_eq!(
        rows(&parent).await,
        pairs(&[("a", "old"), ("h", "of the parent"), ("q", "old"), ("z", "of the parent")])
    );
    let found = ok(child.multi_get(["a", "h", "z"]).await);
    let found: Vec<_> = found.into_iter().map(|found| found.map(|found| found.value)).collect();
    assert_eq!(found, [Some("of the branch".into()), Some("old".into()), None]);
}

pub(super) async fn a_branch_of_the_past_is_a_branch_of_the_past(client: Client) {
    let parent = table(&client, "branched_past").await;
    ok(parent.put("a", "first").await);
    let then = ok(client.now().await);
    ok(parent.put("a", "second").await);
    ok(parent.put("h", "second").await);
    let child = branch(&client, &parent, Some(then)).await;
    assert_eq!(rows(&child).await, pairs(&[("a", "first")]));
    let seen = ok(client.describe_table(child.name()).await).table.branch_of.expect("it is a branch");
    assert_eq!(seen.version, then);
    assert!(matches!(seen, BranchOf { name, .. } if name.ends_with(parent.name())));
    // What is kept in mind of a version does not change by what is written later.
    let between = ok(client.now().await);
    ok(child.put("a", "third").await);
    assert_eq!(ok(child.get_at("a", between).await).map(|found| found.value), Some("first".into()));
    assert_eq!(ok(child.get_at("a", then).await).map(|found| found.value), Some("first".into()));
    refused(child.get_at("a", Version(then.0 - 0x100)).await, ErrorKind::VersionTooOld);
}

pub(super) async fn deletes_and_merges_in_a_branch_are_its_own(client: Client) {
    let parent = table(&client, "branched_changes").await;
    ok(parent.put("list", "a").await);
    ok(parent.merge("list", MergeOperator::Append, "b".repeat(200)).await);
    ok(parent.add_i64("count", 5).await);
    ok(parent.put("gone", "x").await);
    ok(parent.put("h", "x").await);
    let child = branch(&client, &parent, None).await;
    ok(child.delete("gone").await);
    assert_value(&child, "gone", None).await;
    assert_value(&parent, "gone", Some("x")).await;
    ok(child.add_i64("count", 2).await);
    assert_eq!(value(&child, "count").await.as_deref(), Some(&7_i64.to_be_bytes()[..]));
    assert_eq!(value(&parent, "count").await.as_deref(), Some(&5_i64.to_be_bytes()[..]));
    ok(child.merge("list", MergeOperator::Append, "c").await);
    ok(child.merge("list", MergeOperator::Append, "d").await);
    let expected = format!("a{}cd", "b".repeat(200));
    assert_eq!(value(&child, "list").await.as_deref(), Some(expected.as_bytes()));
    ok(child.delete_range(&KeyRange::new("gx", Some("p")).expect("in order")).await);
    assert_value(&child, "h", None).await;
    assert_value(&parent, "h", Some("x")).await;
}

pub(super) async fn branches_have_branches(client: Client) {
    let root = table(&client, "branched_deep").await;
    ok(root.put("a", "0").await);
    ok(root.put("h", "0").await);
    ok(root.put("q", "0").await);
    let one = branch(&client, &root, None).await;
    ok(one.put("h", "1").await);
    ok(one.delete("q").await);
    let two = branch(&client, &one, None).await;
    ok(one.put("a", "1 later").await);
    ok(root.put("a", "0 later").await);
    ok(two.put("z", "2").await);
    assert_eq!(rows(&two).await, pairs(&[("a", "0"), ("h", "1"), ("z", "2")]));
    assert_eq!(rows(&one).await, pairs(&[("a", "1 later"), ("h", "1")]));
    refused(client.drop_table(one.name()).await, ErrorKind::InUse);
    ok(client.drop_table(two.name()).await);
    ok(client.drop_table(one.name()).await);
    assert_eq!(rows(&root).await, pairs(&[("a", "0 later"), ("h", "0"), ("q", "0")]));
}

pub(super) async fn a_branch_is_a_table(client: Client) {
    let parent = table(&client, "branched_table").await;
    ok(parent.put("a", "old").await);
    ok(parent.put("q", "old").await);
    let child = branch(&client, &parent, None).await;
    let begun = ok(client.now().await);
    // Transactions read through, validate and commit over shards.
    let txn = client.begin();
    let own = txn.table(child.name());
    assert_eq!(ok(own.get("a").await).map(|found| found.value), Some("old".into()));
    ok(own.put("a", "new"));
    ok(own.put("q", "new"));
    ok(txn.commit().await);
    let stale = client.begin();
    let own = stale.table(child.name());
    ok(own.get("q").await);
    ok(child.put("q", "newer").await);
    ok(own.put("a", "lost"));
    refused(stale.commit().await, ErrorKind::Conflict);
    // A snapshot of it stands still.
    let name = unique(&client, "branch_snapshot").await;
    let options = SnapshotOptions { tables: vec![child.name().to_owned()], ..SnapshotOptions::default() };
    ok(client.create_snapshot(&name, options).await);
    ok(child.put("a", "newest").await);
    let snapshot = ok(child.at_snapshot(&name).await);
    assert_eq!(ok(snapshot.get("a").await).map(|found| found.value), Some("new".into()));
    ok(client.drop_snapshot(&name).await);
    // A feed of it tells what was done to it, and nothing of the parent.
    ok(parent.put("b", "of the parent").await);
    let mut feed = child.subscribe(KeyRange::all()).from(FeedStart::After(begun)).start();
    let mut told = Vec::new();
    while told.len() < 4 {
        if let FeedEvent::Change(change) = ok(feed.next().await.expect("a feed does not end")) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            told.push((text(&change.key), text(&change.value.expect("nothing was deleted"))));
        }
    }
    told.sort();
    let expected = [("a", "new"), ("a", "newest"), ("q", "new"), ("q", "newer")];
    assert_eq!(told, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    // It keeps what it reads of its parent.
    let seen = ok(client.describe_table(child.name()).await).table.branch_of.expect("it is a branch");
    let pins = ok(client.list_pins(Some(parent.name())).await);
    assert!(pins.iter().any(|pin| pin.kind == PinKind::Branch && pin.version == seen.version));
}

pub(super) async fn branches_are_dropped_before_their_parents(client: Client) {
    let parent = table(&client, "branched_dropped").await;
    ok(parent.put("a", "x").await);
    let child = branch(&client, &parent, None).await;
    ok(child.put("a", "y").await);
    let error = refused(client.drop_table(parent.name()).await, ErrorKind::InUse);
    assert!(error.to_string().contains("drop"), "{error}");
    assert_value(&parent, "a", Some("x")).await;
    ok(client.drop_table(child.name()).await);
    refused(child.get("a").await, ErrorKind::NotFound);
    assert_value(&parent, "a", Some("x")).await;
    // Made anew under the same name, it has nothing of the one before.
    ok(client.branch(child.name(), parent.name(), None).await);
    assert_value(&child, "a", Some("x")).await;
    ok(client.drop_table(child.name()).await);
    ok(client.drop_table(parent.name()).await);
}

pub(super) async fn what_no_branch_can_be_is_refused(client: Client) {
    let parent = table(&client, "branched_badly").await;
    let name = unique(&client, "branch_bad").await;
    let none = format!("{name}_none");
    refused(client.branch(&name, &none, None).await, ErrorKind::NotFound);
    let ahead = ok(client.now().await).plus_ms(3_600_000).expect("in range");
    refused(client.branch(&name, parent.name(), Some(ahead)).await, ErrorKind::VersionTooNew);
    refused(client.describe_table(&name).await, ErrorKind::NotFound);
    refused(client.branch(parent.name(), parent.name(), None).await, ErrorKind::AlreadyExists);
    let child = branch(&client, &parent, None).await;
    refused(client.create_table(child.name(), TableOptions::default()).await, ErrorKind::AlreadyExists);
    // A branch's history begins at its version.
    let at = ok(client.describe_table(child.name()).await).table.branch_of.expect("it is a branch").version;
    refused(client.branch(&name, child.name(), Some(Version(at.0 - 0x100))).await, ErrorKind::VersionTooOld);
    let pin = ok(client.list_pins(Some(parent.name())).await).into_iter().find(|pin| pin.kind == PinKind::Branch);
    refused(client.drop_pin(pin.expect("it keeps what the branch reads").pin).await, ErrorKind::InUse);
}
