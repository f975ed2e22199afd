//! What a script does in its transaction.

use lentic_client::{Txn, TxnTable, Version, WriteBatch};

use super::committed::{Found, Read};
use super::statement::{Action, Condition, Statement};
use crate::commands::written::end_at;
use crate::failure::Failure;
use crate::output::ShownRow;
use crate::text::Span;

/// Performs the statements in their order, and returns what they read. It may be called again, in another transaction.
/// Values with an end live from `now` on.
pub(super) async fn perform(statements: &[Statement], txn: Txn, now: Option<Version>) -> Result<Vec<Read>, Failure> {
    let (mut reads, mut number) = (Vec::new(), 0);
    // Gets that follow each other are asked for together.
    let groups =
        statements.chunk_by(|one, next| one.table == next.table && key_of(one).is_some() && key_of(next).is_some());
    for group in groups {
        let Some(first) = group.first() else { continue };
        let table = txn.table(&first.table);
        let mut read = |number, found| reads.push(Read { number, table: first.table.clone(), found });
        match &first.action {
            Action::Get { .. } => {
                let keys: Vec<_> = group.iter().filter_map(key_of).cloned().collect();
                let values = table.multi_get(keys.clone()).await?;
                for (place, (key, value)) in keys.into_iter().zip(values).enumerate() {
                    read(number + place, Found::Key(ShownRow { key: key.into(), value }));
                }
            }
            Action::Scan { range, limit } => {
                let scan = table.scan(range.clone());
                let limited = limit.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
                let rows = if let Some(rows) = limited { scan.limit(rows) } else { scan }.rows().await?;
                read(number, Found::Rows(rows.into_iter().map(ShownRow::from).collect()));
            }
            action => note(&table, action, now)?,
        }
        number += group.len();
    }
    Ok(reads)
}

/// The key of a statement that gets one.
const fn key_of(statement: &Statement) -> Option<&bytes::Bytes> {
    match &statement.action {
        Action::Get { key } => Some(key),
        _ => None,
    }
}

/// Notes what is for the commit to do.
fn note(table: &TxnTable, action: &Action, now: Option<Version>) -> Result<(), Failure> {
    let end = |ttl: &Option<Span>| ttl.zip(now).map(|(ttl, now)| end_at(ttl, now)).transpose();
    match action {
        Action::Put { key, value, ttl } => match end(ttl)? {
            Some(end) => table.put_with(key.clone(), value.clone(), end)?,
            None => table.put(key.clone(), value.clone())?,
        },
        Action::Delete { key } => table.delete(key.clone())?,
        Action::DeleteRange { range } => table.delete_range(range)?,
        Action::Merge { key, operator, operand, ttl } => match end(ttl)? {
            Some(end) => table.merge_with(key.clone(), *operator, operand.clone(), end)?,
            None => table.merge(key.clone(), *operator, operand.clone())?,
        },
        Action::Require { key, condition } => {
            let (batch, key) = (WriteBatch::new(), key.clone());
            table.require(match condition {
                Condition::Exists => batch.if_exists(key),
                Condition::Absent => batch.if_absent(key),
                Condition::Value(value) => batch.if_value(key, value.clone()),
                Condition::Version(version) => batch.if_version(key, *version),
            })?;
        }
        Action::Fence { token } => table.fence(*token)?,
        Action::Get { .. } | Action::Scan { .. } => {}
    }
    Ok(())
}
