//! What callers rely on when there are many of them.

use futures_util::future::join_all;
use lentic_types::ErrorKind;

use super::{ok, refused, table, value, version};
use crate::batch::WriteBatch;
use crate::client::Client;
use crate::merge::MergeOperator;
use crate::table::Table;
use crate::write;

pub(super) async fn a_version_of_now_divides_writes(client: Client) {
    let table = table(&client, "now").await;
    for key in ["a", "h", "q"] {
        let written = ok(table.put(key, "1").await);
        let now = ok(client.now().await);
        assert!(written < now, "{written} was acknowledged before {now}");
        let later = ok(table.put(key, "2").await);
        assert!(now < later, "{later} began after {now}");
        assert_eq!(ok(table.get_at(key, now).await).map(|found| found.value), Some("1".into()));
    }
}

pub(super) async fn adders_lose_nothing(client: Client) {
    let table = table(&client, "adders").await;
    let adder = |number: i64| {
        let table = table.clone();
        async move {
            for key in ["a", "h", "q", "a", "b"] {
                ok(table.add_i64(key, number).await);
            }
        }
    };
    join_all((1..=100).map(adder)).await;
    let totals = ok(table.multi_get(["a", "b", "h", "q"]).await);
    let totals: Vec<_> = totals.iter().map(|found| found.as_ref().and_then(crate::read::Value::as_i64)).collect();
    assert_eq!(totals, [Some(10_100), Some(5_050), Some(5_050), Some(5_050)]);
}

pub(super) async fn a_copy_of_a_write_has_no_second_effect(client: Client) {
    let table = table(&client, "copies").await;
    let add = WriteBatch::new().merge("sum", MergeOperator::AddI64, 1i64.to_be_bytes().to_vec());
    let [first, second] = write::twice(table.core(), table.entry(), add, table.deadline()).await;
    assert_eq!(ok(first), ok(second), "a copy has the answer of the first");
    assert_eq!(ok(table.get("sum").await).and_then(|found| found.as_i64()), Some(1));
    let once = WriteBatch::new().if_absent("k").put("k", "x");
    let [first, second] = write::twice(table.core(), table.entry(), once, table.deadline()).await;
    assert_eq!(ok(first), ok(second), "though the condition does not hold any more");
    let fails = WriteBatch::new().if_absent("k").delete("k");
    let [first, second] = write::twice(table.core(), table.entry(), fails, table.deadline()).await;
    let kind = ErrorKind::ConditionFailed;
    assert_eq!(refused(first, kind), refused(second, kind));
    assert!(value(&table, "k").await.is_some());
}

pub(super) async fn one_winner_of_a_race(client: Client) {
    let table = table(&client, "race").await;
    for key in ["a", "h", "q"] {
        let racer = |number: u8| {
            let (table, batch) = (table.clone(), WriteBatch::new().if_absent(key).put(key, vec![number]));
            async move { table.write(batch).await.map(|_| number) }
        };
        let (won, lost): (Vec<_>, Vec<_>) = join_all((0..32).map(racer)).await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 31), "one of all that find no value");
        lost.into_iter().for_each(|lost| drop(refused(lost, ErrorKind::ConditionFailed)));
        let winner = won.into_iter().next().map(ok).expect("there is one");
        assert_eq!(ok(table.get(key).await).map(|found| found.value), Some(vec![winner].into()));
    }
    let at = version(&table, "a").await;
    let swap = |value: &'static str| table.write(WriteBatch::new().if_version("a", at).put("a", value));
    let swapped = join_all(["x", "y", "z"].map(swap)).await;
    assert_eq!(swapped.iter().filter(|result| result.is_ok()).count(), 1, "one of all that know the version");
}

/// A writer raises the first key before the second, in another shard: no reader sees the second ahead of the first.
pub(super) async fn readers_see_writes_in_their_order(client: Client) {
    let table = table(&client, "order").await;
    ok(table.write_in_parts(WriteBatch::new().put("a", number(0)).put("q", number(0))).await);
    let writer = async {
        for round in 1..=50 {
            ok(table.put("a", number(round)).await);
            ok(table.put("q", number(round)).await);
        }
    };
    let reader = async {
        loop {
            let found = ok(table.multi_get(["a", "q"]).await);
            let [first, second] = [0, 1].map(|place| found[place].as_ref().and_then(crate::read::Value::as_i64));
            assert!(first >= second, "the second key is ahead: {first:?} < {second:?}");
            let (first, second) = scanned(&table).await;
            assert!(first >= second, "the second key is ahead in a scan: {first} < {second}");
            if second == 50 {
                break;
            }
        }
    };
    join_all([Box::pin(writer) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>, Box::pin(reader)]).await;
}

async fn scanned(table: &Table) -> (i64, i64) {
    let mut scan = table.scan_prefix("").page_bytes(1).start();
    let mut numbers = Vec::new();
    while let Some(row) = scan.next().await {
        numbers.push(i64::from_be_bytes(ok(row).value[..].try_into().expect("a number")));
    }
    (numbers[0], numbers[1])
}

fn number(value: i64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}
