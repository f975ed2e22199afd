//! What is in the tables against what must be.

use lentic_client::{Client, KeyRange, Row};

use super::failure::Failure;
use super::ledger;
use super::oracle::Tables;

/// Bytes of a state's row before its key: key group and state.
const HEAD_BYTES: usize = 6;

/// Compares all rows of all tables with what they must be, byte for byte. Returns how many there are.
///
/// # Errors
/// The first row that is not as it must be.
pub(crate) async fn compare(client: &Client, tables: &Tables) -> Result<usize, Failure> {
    let snapshot = client.now().await?;
    let mut count = 0;
    for (table, expected) in tables {
        let mut scan = client.table(table).scan(KeyRange::all()).at(snapshot).start();
        let mut expected = expected.iter();
        while let Some(found) = scan.next().await {
            let found = found?;
            if *table != ledger::TABLE && is_description(&found) {
                continue;
            }
            let wanted = expected.next();
            if wanted.is_none_or(|(key, value)| *key != found.key || *value != found.value) {
                let found = (found.key.to_vec(), found.value.to_vec());
                return Err(differs(table, wanted, Some((&found.0, &found.1))));
            }
            count += 1;
        }
        if let Some(wanted) = expected.next() {
            return Err(differs(table, Some(wanted), None));
        }
    }
    Ok(count)
}

/// Whether a row is of the list of states: which task has it depends on the parallelism.
fn is_description(row: &Row) -> bool {
    row.key.get(2..HEAD_BYTES) == Some(&[0; 4])
}

fn differs(table: &str, wanted: Option<(&Vec<u8>, &Vec<u8>)>, found: Option<(&Vec<u8>, &Vec<u8>)>) -> Failure {
    let words = |row: Option<(&Vec<u8>, &Vec<u8>)>| match row {
        Some((key, value)) => format!("{} = {}", key.escape_ascii(), value.escape_ascii()),
        None => "the end of the table".to_owned(),
    };
    Failure::Wrong(format!("table {table}: expected {}, found {}", words(wanted), words(found)))
}
