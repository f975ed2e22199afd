//! Transactions whose reads and writes are known beforehand.

use futures_util::future::join_all;
use lentic_types::{ErrorKind, Version};

use super::{assert_value, ok, refused, table, three_shards, unique, value, version};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::merge::MergeOperator;
use crate::table::Table;
use crate::transaction::{self, Transaction};

fn add(addend: i64) -> Vec<u8> {
    addend.to_be_bytes().to_vec()
}

async fn two_tables(client: &Client, case: &str) -> (Table, Table) {
    let one = table(client, case).await;
    let name = unique(client, case).await;
    ok(client.create_table(&name, three_shards()).await);
    (one, client.table(&name))
}

pub(super) async fn a_transaction_spans_tables_and_shards(client: Client) {
    let (one, other) = two_tables(&client, "spans").await;
    let transaction = Transaction::new()
        .with(one.name(), WriteBatch::new().put("a", "1").put("h", "2").put("z", "3").put("a", "4"))
        .with(other.name(), WriteBatch::new().if_absent("a").put("a", "5").merge("q", MergeOperator::AddI64, add(7)));
    let before = ok(client.now().await);
    let at = ok(client.commit(transaction).await);
    assert!(at > before, "its version lies above every version that was known before it began");
    for (table, key, expected) in [(&one, "a", "4"), (&one, "h", "2"), (&one, "z", "3"), (&other, "a", "5")] {
        assert_value(table, key, Some(expected)).await;
        assert_eq!(version(table, key).await, at, "one version for all");
        assert!(ok(table.get_at(key, before).await).is_none());
        assert!(ok(table.get_at(key, Version(at.0 - 1)).await).is_none(), "nothing of it shows before");
    }
    assert_eq!(ok(other.get("q").await).and_then(|found| found.as_i64()), Some(7));
    let range = lentic_types::KeyRange::all();
    ok(client.commit(Transaction::new().with(one.name(), WriteBatch::new().delete_range(&range).put("m", "6"))).await);
    for key in ["a", "h", "z"] {
        assert_value(&one, key, None).await;
    }
    assert_value(&one, "m", Some("6")).await;
}

pub(super) async fn conditions_decide_for_all_shards(client: Client) {
    let (one, other) = two_tables(&client, "decide").await;
    let a = ok(one.put("a", "1").await);
    let puts = |batch: WriteBatch| {
        Transaction::new().with(one.name(), WriteBatch::new().if_exists("a").put("h", "x")).with(other.name(), batch)
    };
    let fails = [
        WriteBatch::new().put("q", "x").if_exists("h"),
        WriteBatch::new().put("q", "x").if_value("a", "1"),
        WriteBatch::new().put("q", "x").if_version("z", a),
    ];
    for batch in fails {
        let error = refused(client.commit(puts(batch)).await, ErrorKind::ConditionFailed);
        assert_eq!(error.position(), Some(1), "conditions are counted over all tables: {error}");
        assert!(!error.is_unknown());
    }
    let wrong = puts(WriteBatch::new().put("b", "text").merge("b", MergeOperator::AddI64, add(1)));
    assert_eq!(refused(client.commit(wrong).await, ErrorKind::WrongKind).position(), Some(2));
    // Conditions without an operation are worth an answer, too.
    ok(client.commit(Transaction::new().with(one.name(), WriteBatch::new().if_version("a", a).if_absent("z"))).await);
    for (table, key) in [(&one, "h"), (&other, "q"), (&other, "b")] {
        assert!(value(table, key).await.is_none(), "nothing was done");
    }
    ok(client.commit(puts(WriteBatch::new().if_absent("h").put("q", "x"))).await);
    assert_value(&one, "h", Some("x")).await;
    assert_value(&other, "q", Some("x")).await;
}

pub(super) async fn a_table_that_is_not_there_stops_all(client: Client) {
    let one = table(&client, "there").await;
    let transaction = Transaction::new()
        .with(one.name(), WriteBatch::new().put("a", "1"))
        .with("conformance_no_such_table", WriteBatch::new().put("a", "1"))
        .with(one.name(), WriteBatch::new().put("z", "1"));
    let error = refused(client.commit(transaction).await, ErrorKind::NotFound);
    assert!(error.message().contains("conformance_no_such_table"), "{error}");
    assert!(value(&one, "a").await.is_none() && value(&one, "z").await.is_none());
}

pub(super) async fn transactions_have_limits(client: Client) {
    let one = table(&client, "limits").await;
    refused(client.commit(Transaction::new()).await, ErrorKind::Invalid);
    refused(client.commit(Transaction::new().with(one.name(), WriteBatch::new())).await, ErrorKind::Invalid);
    let many = (0..100_001_u32).fold(WriteBatch::new(), |batch, number| batch.delete(number.to_be_bytes().to_vec()));
    refused(client.commit(Transaction::new().with(one.name(), many)).await, ErrorKind::Invalid);
    let batch = WriteBatch::new().put("a", "1").put("z", vec![0; (8 << 20) + 1]);
    refused(client.commit(Transaction::new().with(one.name(), batch)).await, ErrorKind::Invalid);
    let future = Version(ok(client.now().await).0 + (1 << 40));
    let batch = WriteBatch::new().if_unchanged("h", future).put("a", "1");
    refused(client.commit(Transaction::new().with(one.name(), batch)).await, ErrorKind::VersionTooNew);
    assert!(value(&one, "a").await.is_none());
}

pub(super) async fn a_copy_of_a_transaction_has_no_second_effect(client: Client) {
    let one = table(&client, "copies").await;
    let batch = WriteBatch::new().merge("a", MergeOperator::AddI64, add(1)).merge("z", MergeOperator::AddI64, add(1));
    let results = transaction::twice(client.core(), Transaction::new().with(one.name(), batch)).await;
    let [first, second] = results.map(ok);
    assert_eq!(first, second, "the copy gets the answer of the first");
    for key in ["a", "z"] {
        assert_eq!(ok(one.get(key).await).and_then(|found| found.as_i64()), Some(1));
    }
}

pub(super) async fn transfers_keep_the_total(client: Client) {
    const ACCOUNTS: usize = 9;
    let (one, other) = two_tables(&client, "transfers").await;
    let key = |account: usize| format!("{}", char::from(b'b' + u8::try_from(account).expect("few") * 3));
    let place = |account: usize| if account.is_multiple_of(2) { &one } else { &other };
    for account in 0..ACCOUNTS {
        ok(place(account).put(key(account), add(100)).await);
    }
    let total = || async {
        let snapshot = ok(client.snapshot().await);
        let mut total = 0;
        for account in 0..ACCOUNTS {
            let found = ok(snapshot.table(place(account).name()).get(key(account)).await);
            total += found.and_then(|found| found.as_i64()).expect("an account has a number");
        }
        total
    };
    let transfers = (0..5).map(|caller| {
        let (client, place, key) = (&client, &place, &key);
        async move {
            for step in 0..5 {
                let (from, to) = ((caller + step) % ACCOUNTS, (caller * 3 + step * 5 + 1) % ACCOUNTS);
                let amount = i64::try_from(step).expect("small") + 1;
                let minus = WriteBatch::new().merge(key(from), MergeOperator::AddI64, add(-amount));
                let plus = WriteBatch::new().merge(key(to), MergeOperator::AddI64, add(amount));
                let transfer = Transaction::new().with(place(from).name(), minus).with(place(to).name(), plus);
                ok(client.commit(transfer).await);
            }
        }
    });
    let reads = async {
        for _ in 0..6 {
            assert_eq!(total().await, 900, "every read at one version sees the total");
        }
    };
    futures_util::future::join(join_all(transfers), reads).await;
    assert_eq!(total().await, 900);
}

pub(super) async fn merges_of_many_do_not_conflict(client: Client) {
    let one = table(&client, "hot").await;
    let commits = (0..24).map(|caller: i64| {
        let (client, name) = (client.clone(), one.name().to_owned());
        async move {
            let other = ["b", "h", "z"][usize::try_from(caller % 3).expect("small")];
            let batch = WriteBatch::new()
                .merge("hot", MergeOperator::AddI64, add(1))
                .merge(other, MergeOperator::MaxI64, add(caller))
                .put(format!("{other}{caller}"), "done");
            ok(client.commit(Transaction::new().with(&name, batch)).await)
        }
    });
    join_all(commits).await;
    assert_eq!(ok(one.get("hot").await).and_then(|found| found.as_i64()), Some(24));
    assert_eq!(ok(one.get("b").await).and_then(|found| found.as_i64()), Some(21));
}
