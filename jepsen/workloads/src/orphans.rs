//! A caller who dies in the middle of a commit leaves nothing by halves, and nothing that keeps others for long.
//!
//! ```text
//!   dying     prepare A ── prepare B ─ ✝                    A and B are locked
//!   another                              reads, writes: waits for whoever finds that nobody comes ──► done in 3 s
//! ```
//!
//! What it had committed is there in all its keys, or in none; one that is only slow is not undone by halves.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Error, Transaction, Txn, Value, WriteBatch};
use tokio::time::sleep;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Runs, Step, World};

pub(crate) const NAME: &str = "orphans";

const LANES: usize = 2;
/// Keys of a lane, each in another shard.
const KEYS: usize = 3;
/// How long a healed cluster may take until every shard is led.
const LED_WITHIN: Duration = Duration::from_secs(2);
/// How long others may wait for what a dead caller has left: two seconds until it is looked for, and one to end it.
const FREE_WITHIN: Duration = Duration::from_secs(3);
/// Rounds at the end, when nothing breaks any more.
const LAST_ROUNDS: u64 = 3;

/// What may be there.
#[derive(Debug, Default)]
struct Known {
    /// The last number that is known to have been there.
    certain: u64,
    /// Numbers of which nobody knows: each may show at any time.
    open: BTreeSet<u64>,
}

/// Lets callers die, and others read and write the same keys after them, until all is over; and a few times after that.
pub(crate) async fn orphans(world: World) {
    let mut lanes = Tasks::default();
    for lane in 0..LANES {
        lanes.spawn(die(world.fork(), lane));
    }
    lanes.all().await;
    let info = world.tally().of(NAME).info;
    world.tally().show(NAME, format!("{info} callers died, and left nothing by halves"));
}

async fn die(world: World, lane: usize) {
    let mut known = Known::default();
    let mut number = 0;
    while !world.is_over() {
        round(&world, lane, &mut known, &mut number).await;
        world.pause().await;
    }
    let led = world.healed().unwrap_or_default() + LED_WITHIN;
    sleep(led.saturating_sub(world.now())).await;
    for _ in 0..LAST_ROUNDS {
        round(&world, lane, &mut known, &mut number).await;
    }
}

/// One caller dies, another reads, and then writes.
async fn round(world: &World, lane: usize, known: &mut Known, number: &mut u64) {
    *number += 1;
    let dies = world.gives_up(1);
    let done = put(world, lane, *number, dies).await;
    known.note(*number, &done);
    let called = world.now();
    if let Some(found) = read(world, lane).await {
        is_free(world, called, "a read");
        if let Some(words) = known.contradiction(&found) {
            panic!("{NAME}: keys of lane {lane} after a caller died with {number}: {words}");
        }
    }
    *number += 1;
    let called = world.now();
    let done = put(world, lane, *number, None).await;
    if let Done::Ok(()) = done {
        is_free(world, called, "a write");
    }
    known.note(*number, &done);
}

/// What was called then did not wait too long.
fn is_free(world: &World, called: Duration, what: &str) {
    let took = world.now().saturating_sub(called);
    let is_led = world.healed().is_some_and(|healed| called >= healed + LED_WITHIN);
    assert!(!is_led || took <= FREE_WITHIN, "{NAME}: {what} took {took:?} after a caller had died, with no fault left");
}

fn keys(world: &World, lane: usize) -> Vec<Bytes> {
    (0..KEYS).map(|key| world.key(lane + key, &format!("{NAME}/{lane}/{key}"))).collect()
}

/// Writes a number to all keys, at once or with reads before.
async fn put(world: &World, lane: usize, number: u64, dies: Option<Duration>) -> Done<()> {
    let (client, runs, reads) = (world.client(), Runs::default(), world.one_in(2));
    let style = if reads { Style::Reading } else { Style::OneShot };
    let step = Step::new(NAME, style, "write", format!("{NAME}/{lane}")).value(number);
    let step = step.in_shards((lane..lane + KEYS).collect()).gives_up(dies).runs(&runs);
    let work = async {
        if reads {
            return client.transact(|txn| body(world.clone(), txn, runs.clone(), lane, number)).await;
        }
        let value = number.to_be_bytes().to_vec();
        let batch = keys(world, lane).into_iter().fold(WriteBatch::new(), |batch, key| batch.put(key, value.clone()));
        client.commit(Transaction::new().with(world.table_name(), batch)).await.map(|version| ((), version))
    };
    match world.commit(step, work).await {
        Done::Ok(((), _)) => Done::Ok(()),
        Done::Refused(error) => Done::Refused(error),
        Done::Unknown => Done::Unknown,
    }
}

async fn body(world: World, txn: Txn, runs: Runs, lane: usize, number: u64) -> Result<(), Error> {
    runs.begin();
    let table = txn.table(world.table_name());
    for key in keys(&world, lane) {
        table.get(key.clone()).await?;
        table.put(key, number.to_be_bytes().to_vec())?;
    }
    Ok(())
}

async fn read(world: &World, lane: usize) -> Option<Vec<u64>> {
    let work = async {
        let found = world.snapshot().await?.table(world.table_name()).multi_get(keys(world, lane)).await?;
        Ok(found.iter().map(|found| number_in(found.as_ref())).collect::<Vec<u64>>())
    };
    world.read(NAME, &format!("{lane}"), work).await
}

fn number_in(found: Option<&Value>) -> u64 {
    found.map_or(0, |found| u64::from_be_bytes(found.value[..].try_into().expect("eight bytes were written")))
}

impl Known {
    fn note(&mut self, number: u64, done: &Done<()>) {
        match done {
            Done::Ok(()) => self.certain = number,
            Done::Unknown => drop(self.open.insert(number)),
            Done::Refused(_) => {}
        }
    }

    /// What cannot be there, of what was read of all keys at one version.
    fn contradiction(&mut self, found: &[u64]) -> Option<String> {
        let first = found[0];
        if found.iter().any(|number| *number != first) {
            return Some(format!("a commit is there by halves: {found:?}"));
        }
        if first != self.certain && !self.open.contains(&first) {
            return Some(format!("{first} is there, expected {} or one of {:?}", self.certain, self.open));
        }
        // It is no longer open, and what was certain is gone.
        self.open.remove(&first);
        self.certain = first;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_what_was_undone_are_seen() {
        let mut known = Known::default();
        known.note(1, &Done::Ok(()));
        known.note(2, &Done::Unknown);
        assert!(known.contradiction(&[1, 2, 1]).unwrap().contains("by halves"));
        assert!(known.contradiction(&[0, 0, 0]).unwrap().contains("expected 1 or one of {2}"));
        assert_eq!(known.contradiction(&[1, 1, 1]), None);
        assert_eq!(known.contradiction(&[2, 2, 2]), None);
        assert!(known.contradiction(&[1, 1, 1]).is_some(), "it was gone");
        known.note(3, &Done::Ok(()));
        assert!(known.contradiction(&[2, 2, 2]).is_some(), "so was that");
    }
}
