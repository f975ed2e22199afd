//! The order of commit versions is that of effects: each transaction reads the largest number, wherever it is, and
//! writes the next one.
//!
//! ```text
//!   version    101   104   109                  101   104   107
//!   number       1     2     3                    1     3     2     2 saw nothing of 3, and lies above it
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_client::{Error, Snapshot, Txn, Value, Version};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Runs, Step, World};

pub(crate) const NAME: &str = "monotonic";

/// Keys, each in another shard, over which the numbers are spread.
const KEYS: usize = 4;
const CALLERS: usize = 3;
/// One in so many callers is gone before the answer.
const GIVES_UP_ONE_IN: u64 = 12;
/// Transactions whose versions are read again at the end: the newest, for history is not kept for ever.
const AGAIN_MAX: usize = 30;

/// Numbers, each at its version.
type Numbers = Arc<Mutex<Vec<(Version, u64)>>>;

/// Counts on until all is over. Then the numbers, in the order of their versions, must rise, and each must be the largest
/// at its version.
pub(crate) async fn monotonic(world: World) {
    let (written, found) = (Numbers::default(), Numbers::default());
    let mut tasks = Tasks::default();
    for _ in 0..CALLERS {
        tasks.spawn(count(world.fork(), Arc::clone(&written)));
    }
    tasks.spawn(read(world.fork(), Arc::clone(&found)));
    tasks.all().await;
    let [mut written, found] =
        [written, found].map(|numbers| std::mem::take(&mut *numbers.lock().unwrap_or_else(PoisonError::into_inner)));
    written.sort_unstable();
    if let Some(words) = contradiction(&written, &found) {
        panic!("{NAME}: {words}");
    }
    for (version, number) in written.iter().rev().take(AGAIN_MAX) {
        let work = async { largest(&world, &world.client().snapshot_at(*version)).await };
        let found = world.read(NAME, &format!("the largest at {version}"), work).await;
        let is_same = found.is_none_or(|found| found == *number);
        assert!(is_same, "{NAME}: {number} was written at {version}, where the largest number is {found:?}");
    }
    let words = format!("{} numbers rise with their versions, {} reads fit", written.len(), found.len());
    world.tally().show(NAME, words);
}

/// What no order explains of numbers that were written, sorted, and of those that were found to be the largest.
fn contradiction(written: &[(Version, u64)], found: &[(Version, u64)]) -> Option<String> {
    let rises = |pair: &[(Version, u64)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
    if let Some(pair) = written.windows(2).find(|pair| !rises(pair)) {
        return Some(format!("versions and numbers of transactions that follow on each other: {pair:?}"));
    }
    found.iter().find_map(|(version, number)| {
        let after = written.partition_point(|(at, _)| at <= version);
        let (before, next) = (after.checked_sub(1).map(|place| written[place]), written.get(after));
        // Between them may be numbers whose writers were gone before they had an answer.
        let fits = before.is_none_or(|(_, least)| least <= *number) && next.is_none_or(|(_, above)| number < above);
        (!fits).then(|| format!("{number} was the largest at {version}, between {before:?} and {next:?}"))
    })
}

fn keys(world: &World) -> Vec<Bytes> {
    (0..KEYS).map(|key| world.key(key + 1, &format!("{NAME}/{key}"))).collect()
}

fn largest_of(found: &[Option<Value>]) -> u64 {
    let number = |found: &Value| u64::from_be_bytes(found.value[..].try_into().expect("eight bytes were written"));
    found.iter().flatten().map(number).max().unwrap_or(0)
}

async fn largest(world: &World, snapshot: &Snapshot) -> Result<u64, Error> {
    Ok(largest_of(&snapshot.table(world.table_name()).multi_get(keys(world)).await?))
}

async fn read(world: World, found: Numbers) {
    while !world.is_over() {
        world.pause().await;
        let mut at = None;
        let work = async {
            let snapshot = world.snapshot().await?;
            at = Some(snapshot.version());
            largest(&world, &snapshot).await
        };
        let Some(number) = world.read(NAME, "the largest", work).await else { continue };
        let read = (at.expect("it was read at a version"), number);
        found.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    }
}

async fn count(world: World, numbers: Numbers) {
    while !world.is_over() {
        world.pause().await;
        let (key, client, runs) = (world.below(KEYS), world.client(), Runs::default());
        let work = client.transact(|txn| next(world.clone(), txn, runs.clone(), key));
        let step = Step::new(NAME, Style::Reading, "next", format!("{NAME}/{key}")).in_shards(vec![key + 1]);
        let done = world.commit(step.gives_up(world.gives_up(GIVES_UP_ONE_IN)).runs(&runs), work).await;
        if let Done::Ok((number, version)) = done {
            numbers.lock().unwrap_or_else(PoisonError::into_inner).push((version, number));
        }
    }
}

async fn next(world: World, txn: Txn, runs: Runs, key: usize) -> Result<u64, Error> {
    runs.begin();
    let (table, keys) = (txn.table(world.table_name()), keys(&world));
    let number = 1 + largest_of(&table.multi_get(keys.clone()).await?);
    table.put(keys[key].clone(), number.to_be_bytes().to_vec())?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_numbers_rise_together() {
        let holds = |written: &[(u64, u64)], found: &[(u64, u64)]| {
            let [written, found] = [written, found].map(|all| all.iter().map(|(at, n)| (Version(*at), *n)).collect());
            let (written, found): (Vec<_>, Vec<_>) = (written, found);
            contradiction(&written, &found).is_none()
        };
        assert!(holds(&[(1, 5), (3, 6)], &[(1, 5), (2, 5), (0, 4), (3, 6), (9, 8)]));
        for written in [[(1, 5), (1, 6)], [(1, 6), (2, 6)], [(1, 6), (2, 5)]] {
            assert!(!holds(&written, &[]), "{written:?}");
        }
        for found in [(1, 4), (2, 6), (3, 5), (0, 5)] {
            assert!(!holds(&[(1, 5), (3, 6)], &[found]), "{found:?}");
        }
    }
}
