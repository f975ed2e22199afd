//! What is there, against what was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use lentic_client::{KeyRange, Table};
use tokio::time::timeout;

use crate::ledger::{Ledger, Row, Sum};
use crate::load::value_of;

/// How long reading everything may take.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Rows that had to be there, and are.
    pub rows: usize,
    /// Counters with the sum that was acknowledged.
    pub counters: usize,
}

/// Reads the whole table, and compares it with the ledger of a load with values of `value_bytes`: every acknowledged row
/// is there with its value, nothing else is, and every counter has the acknowledged sum.
///
/// # Panics
/// If not: a write was lost, or took effect twice.
pub async fn verify(table: &Table, ledger: &Ledger, value_bytes: usize) -> Verified {
    let found = timeout(READ_WITHIN, read(table)).await.expect("everything is read in time");
    let mut verified = Verified { rows: 0, counters: 0 };
    for (key, row) in &ledger.rows {
        let (name, there) = (key.escape_ascii(), found.get(key));
        match (row, there) {
            (Row::Acknowledged, None) => panic!("row {name} was acknowledged and is lost"),
            (Row::Refused, Some(_)) => panic!("row {name} was refused and is there"),
            (_, Some(value)) => assert!(*value == value_of(key, value_bytes), "row {name} has another value"),
            (_, None) => {}
        }
        verified.rows += usize::from(*row == Row::Acknowledged);
    }
    for (key, Sum { acknowledged, unknown }) in &ledger.counters {
        let name = key.escape_ascii();
        let there =
            found.get(key).map(|value| i64::from_be_bytes(value[..].try_into().expect("counters have 8 bytes")));
        let there = there.unwrap_or(0);
        let expected = *acknowledged..=acknowledged + unknown;
        let what = if there < *acknowledged { "additions are lost" } else { "additions took effect twice" };
        assert!(expected.contains(&there), "{what}: counter {name} is {there}, expected {expected:?}");
        verified.counters += 1;
    }
    let foreign = found.keys().find(|key| !ledger.rows.contains_key(*key) && !ledger.counters.contains_key(*key));
    assert!(foreign.is_none(), "nobody wrote {}", foreign.expect("it was found").escape_ascii());
    verified
}

async fn read(table: &Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut scan = table.scan(KeyRange::all()).start();
    while let Some(row) = scan.next().await {
        let row = row.expect("a cluster that is well can be read");
        found.insert(row.key.to_vec(), row.value.to_vec());
    }
    found
}
