//! One caller: operations one after the other, until the end.

use std::sync::Arc;
use std::time::Duration;

use lentic_client::{Error, Table, WriteBatch};
use tokio::time::Instant;

use super::keys::{Dice, Keys, Values};
use super::measured::{Kind, Measured};
use super::pace::Pace;

/// How long a caller pauses after an error, so that errors that come at once do not come by the million.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// What all callers share.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) table: Table,
    pub(super) keys: Keys,
    pub(super) values: Values,
    /// Which share of the operations are gets.
    pub(super) read_fraction: f64,
    pub(super) pace: Pace,
    /// When measuring begins.
    pub(super) measure_from: Instant,
    pub(super) measured: Measured,
}

/// Calls until the end.
pub(super) async fn call(work: Arc<Work>, caller: usize, mut dice: Dice) {
    while let Some(begin) = work.pace.next().await {
        let kind = if dice.unit() < work.read_fraction { Kind::Get } else { Kind::Put };
        let group = dice.below(work.keys.groups);
        let result = match kind {
            Kind::Put => put(&work, group, &mut dice).await,
            Kind::Get => get(&work, group).await,
        };
        let latency = (begin >= work.measure_from).then(|| begin.elapsed());
        work.measured.add(caller, kind, latency, &result);
        if result.is_err() {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

/// Puts the keys of a group.
pub(super) async fn put(work: &Work, group: u64, dice: &mut Dice) -> Result<u64, Error> {
    let mut keys = work.keys.group(group);
    if work.keys.group_keys == 1 {
        let key = keys.next().expect("a group has a key");
        work.table.put(key, work.values.next(dice)).await?;
    } else {
        let batch = keys.fold(WriteBatch::new(), |batch, key| batch.put(key, work.values.next(dice)));
        work.table.write_in_parts(batch).await?;
    }
    Ok(0)
}

/// Gets the keys of a group. How many have no value.
async fn get(work: &Work, group: u64) -> Result<u64, Error> {
    let mut keys = work.keys.group(group);
    if work.keys.group_keys == 1 {
        let key = keys.next().expect("a group has a key");
        return Ok(u64::from(work.table.get(key).await?.is_none()));
    }
    let values = work.table.multi_get(keys).await?;
    Ok(values.iter().filter(|value| value.is_none()).count() as u64)
}
