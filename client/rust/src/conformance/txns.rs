//! Transactions that read, think and write.

use futures_util::future::join_all;
use lentic_types::{ErrorKind, KeyRange, Version};

use super::{assert_value, ok, refused, table, value};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::error::Error;
use crate::merge::MergeOperator;
use crate::scan::Row;

fn number(found: Option<crate::read::Value>) -> i64 {
    found.and_then(|found| found.as_i64()).unwrap_or(0)
}

fn keys(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
}

pub(super) async fn a_transaction_reads_what_it_writes(client: Client) {
    let stored = table(&client, "own").await;
    ok(stored.put("a", "1").await);
    ok(stored.put("h", 5_i64.to_be_bytes().to_vec()).await);
    let txn = client.begin();
    let own = txn.table(stored.name());
    assert_eq!(ok(own.get("a").await).map(|found| found.value), Some("1".into()));
    ok(own.put("a", "2"));
    ok(own.put("z", "3"));
    ok(own.add_i64("h", 2));
    ok(own.delete("q"));
    let found = ok(own.multi_get(["a", "z", "q", "h", "b", "a"]).await);
    let values: Vec<_> = found.iter().map(|found| found.as_ref().map(|found| found.value.to_vec())).collect();
    let seven = 7_i64.to_be_bytes().to_vec();
    assert_eq!(values, [Some(b"2".to_vec()), Some(b"3".to_vec()), None, Some(seven), None, Some(b"2".to_vec())]);
    ok(own.add_i64("h", 1));
    assert_eq!(number(ok(own.get("h").await)), 8);
    ok(own.merge("a", MergeOperator::Append, "+"));
    assert_eq!(ok(own.get("a").await).map(|found| found.value), Some("2+".into()));
    assert_value(&stored, "a", Some("1")).await;
    let version = ok(txn.commit().await);
    assert_value(&stored, "a", Some("2+")).await;
    assert_eq!(ok(stored.get("h").await).map(|found| (found.as_i64(), found.version)), Some((Some(8), version)));
    assert_value(&stored, "z", Some("3")).await;
}

pub(super) async fn scans_see_own_writes(client: Client) {
    let stored = table(&client, "scans").await;
    for key in ["b", "d", "h", "j", "q", "s"] {
        ok(stored.put(key, "0").await);
    }
    let txn = client.begin();
    let own = txn.table(stored.name());
    ok(own.put("a", "1"));
    ok(own.put("d", "1"));
    ok(own.delete("h"));
    ok(own.put("z", "1"));
    ok(own.delete_range(&KeyRange::new("q", Some("r")).expect("in order")));
    ok(own.put("qq", "1"));
    let all = || own.scan(KeyRange::all());
    assert_eq!(keys(&ok(all().rows().await)), ["a", "b", "d", "j", "qq", "s", "z"]);
    assert_eq!(keys(&ok(all().reverse().rows().await)), ["z", "s", "qq", "j", "d", "b", "a"]);
    assert_eq!(keys(&ok(all().limit(3).rows().await)), ["a", "b", "d"]);
    assert_eq!(keys(&ok(all().reverse().limit(2).rows().await)), ["z", "s"]);
    let rows = ok(own.scan_prefix("d").rows().await);
    assert_eq!((keys(&rows), &rows[0].value[..]), (vec!["d".to_owned()], &b"1"[..]));
    ok(txn.commit().await);
    let mut scan = stored.scan(KeyRange::all()).start();
    let mut left = Vec::new();
    while let Some(row) = scan.next().await {
        left.push(ok(row));
    }
    assert_eq!(keys(&left), ["a", "b", "d", "j", "qq", "s", "z"]);
}

pub(super) async fn what_was_read_is_validated(client: Client) {
    let stored = table(&client, "reads").await;
    ok(stored.put("a", "1").await);
    let changes: [(&str, &str); 3] = [("a", "put"), ("a", "delete"), ("q", "put")];
    for (key, how) in changes {
        for shared in ["a", "z"] {
            let txn = client.begin();
            let own = txn.table(stored.name());
            ok(own.multi_get(["a", "q"]).await);
            ok(own.put(shared, "mine"));
            match how {
                "put" => ok(stored.put(key, "other").await),
                _ => ok(stored.delete(key).await),
            };
            let error = refused(txn.commit().await, ErrorKind::Conflict);
            assert!(error.is_conflict() && !error.is_unknown() && error.position().is_some());
            assert!(value(&stored, "z").await.is_none(), "nothing was done");
        }
    }
    let txn = client.begin();
    let own = txn.table(stored.name());
    ok(own.multi_get(["a", "q"]).await);
    ok(own.put("z", "mine"));
    ok(stored.put("b", "nobody has read it").await);
    ok(txn.commit().await);
    assert_value(&stored, "z", Some("mine")).await;
}

pub(super) async fn ranges_have_no_phantoms(client: Client) {
    let stored = table(&client, "phantoms").await;
    for key in ["b", "h", "q"] {
        ok(stored.put(key, "0").await);
    }
    for (key, fits) in [("c", false), ("z", false), ("h", false)] {
        let txn = client.begin();
        let own = txn.table(stored.name());
        ok(own.scan(KeyRange::all()).rows().await);
        ok(own.put("sum", "x"));
        ok(stored.put(key, "1").await);
        assert_eq!(txn.commit().await.is_ok(), fits, "{key}");
    }
    // What lies behind the limit was not looked at.
    let txn = client.begin();
    let own = txn.table(stored.name());
    assert_eq!(ok(own.scan(KeyRange::all()).limit(2).rows().await).len(), 2);
    ok(own.put("sum", "y"));
    ok(stored.put("zz", "1").await);
    ok(txn.commit().await);
    assert_value(&stored, "sum", Some("y")).await;
}

pub(super) async fn counters_lose_nothing(client: Client) {
    let stored = table(&client, "counters").await;
    let name = stored.name();
    let callers = (0..3).map(|_| async {
        for _ in 0..4 {
            let add = |txn: crate::txn::Txn| async move {
                let own = txn.table(name);
                for key in ["a", "z"] {
                    let found = number(ok(own.get(key).await));
                    ok(own.put(key, (found + 1).to_be_bytes().to_vec()));
                }
                Ok::<(), Error>(())
            };
            ok(client.transact(add).await);
        }
    });
    join_all(callers).await;
    for key in ["a", "z"] {
        assert_eq!(number(ok(stored.get(key).await)), 12, "{key}");
    }
}

pub(super) async fn write_skew_does_not_happen(client: Client) {
    let stored = table(&client, "skew").await;
    for _ in 0..5 {
        for key in ["a", "z"] {
            ok(stored.put(key, "on call").await);
        }
        let leave = |key: &'static str| {
            let (client, name) = (&client, stored.name());
            async move {
                let txn = client.begin();
                let own = txn.table(name);
                let both = ok(own.multi_get(["a", "z"]).await);
                if both.iter().all(Option::is_some) {
                    ok(own.delete(key));
                }
                txn.commit().await
            }
        };
        let (one, other) = futures_util::future::join(leave("a"), leave("z")).await;
        for result in [one, other] {
            assert!(result.is_ok() || result.is_err_and(|error| error.is_conflict()));
        }
        let left = ok(stored.multi_get(["a", "z"]).await);
        assert!(left.iter().any(Option::is_some), "somebody stays on call");
    }
}

pub(super) async fn snapshots_stand_still(client: Client) {
    let stored = table(&client, "snapshots").await;
    ok(stored.put("a", "1").await);
    let snapshot = ok(client.snapshot().await);
    ok(stored.put("a", "2").await);
    ok(stored.put("z", "2").await);
    let at = snapshot.table(stored.name());
    assert_eq!(ok(at.get("a").await).map(|found| found.value), Some("1".into()));
    assert!(ok(at.multi_get(["a", "z"]).await)[1].is_none());
    let mut scan = at.scan(KeyRange::all()).start();
    assert_eq!(scan.next().await.map(|row| ok(row).value), Some("1".into()));
    assert!(scan.next().await.is_none());
    let again = client.snapshot_at(snapshot.version());
    assert_eq!(ok(again.table(stored.name()).get("a").await).map(|found| found.value), Some("1".into()));
    // A transaction reads at its own version, and may look at others beside.
    let txn = client.begin();
    let version = ok(txn.version().await);
    assert!(version > snapshot.version());
    ok(stored.put("a", "3").await);
    assert_eq!(ok(txn.table(stored.name()).get("a").await).map(|found| found.value), Some("2".into()));
    let past = txn.read_at(snapshot.version());
    assert_eq!(ok(past.table(stored.name()).get("a").await).map(|found| found.value), Some("1".into()));
    assert_eq!(ok(txn.commit().await), version, "without writes there is nothing to validate");
    let future = client.snapshot_at(Version(version.0 + (1 << 40)));
    refused(future.table(stored.name()).get("a").await, ErrorKind::VersionTooNew);
}

pub(super) async fn a_handle_commits_once(client: Client) {
    let stored = table(&client, "once").await;
    let txn = client.begin();
    ok(txn.table(stored.name()).add_i64("a", 1));
    let clone = txn.clone();
    let (one, other) = futures_util::future::join(txn.commit(), clone.commit()).await;
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|is_ok| **is_ok).count(), 1);
    refused(txn.commit().await, ErrorKind::Invalid);
    refused(txn.table(stored.name()).put("a", "late"), ErrorKind::Invalid);
    assert_eq!(number(ok(stored.get("a").await)), 1);
    drop(client.begin().table(stored.name()).put("b", "never committed"));
    assert!(value(&stored, "b").await.is_none());
}

pub(super) async fn what_is_required_is_judged_at_commit(client: Client) {
    let stored = [table(&client, "required_a").await, table(&client, "required_b").await];
    let tables = |txn: &crate::txn::Txn| stored.each_ref().map(|table| txn.table(table.name()));
    let require = WriteBatch::new;
    ok(stored[0].put("a", "1").await);
    // Own writes do not count, and a change of what is required is no conflict as long as it holds.
    let txn = client.begin();
    let [one, other] = tables(&txn);
    ok(one.put("h", "x"));
    ok(one.require(require().if_exists("a").if_absent("h")));
    ok(other.require(require().if_absent("a")));
    ok(stored[0].put("a", "2").await);
    ok(txn.commit().await);
    assert_value(&stored[0], "h", Some("x")).await;
    // Positions are counted in the order of the caller, whatever the tables are called and whatever was read.
    for [first, second] in [[0, 1], [1, 0]] {
        let txn = client.begin();
        let own = tables(&txn);
        ok(own[first].put("z", "never"));
        ok(own[first].require(require().if_absent("q")));
        ok(own[first].multi_get(["b", "q"]).await);
        ok(own[second].require(require().if_absent("q").if_exists("nothing")));
        ok(own[second].put("z", "never"));
        let error = refused(txn.commit().await, ErrorKind::ConditionFailed);
        assert_eq!(error.position(), Some(2), "{error}");
        let txn = client.begin();
        let own = tables(&txn);
        ok(own[second].put("b", "text"));
        ok(own[first].put("b", "text"));
        ok(own[second].add_i64("b", 1));
        let error = refused(txn.commit().await, ErrorKind::WrongKind);
        assert_eq!(error.position(), Some(2), "{error}");
    }
    assert!(value(&stored[0], "z").await.is_none() && value(&stored[1], "b").await.is_none(), "nothing was done");
    // Conditions alone are worth an answer.
    let txn = client.begin();
    ok(txn.table(stored[0].name()).require(require().if_value("a", "1")));
    assert_eq!(refused(txn.commit().await, ErrorKind::ConditionFailed).position(), Some(0));
    let txn = client.begin();
    let own = txn.table(stored[0].name());
    ok(own.require(require().if_value("a", "2")));
    ok(txn.commit().await);
    refused(client.begin().table(stored[0].name()).require(require().if_exists("a").put("a", "3")), ErrorKind::Invalid);
    // A table with its namespace and without is the same.
    let txn = client.begin();
    ok(txn.table(&format!("default.{}", stored[0].name())).put("a", "3"));
    let found = ok(txn.table(stored[0].name()).get("a").await);
    assert_eq!(found.map(|found| found.value), Some("3".into()));
}
