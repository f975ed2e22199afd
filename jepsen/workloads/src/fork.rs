//! Long forks: writers that know nothing of each other each write one key of a group, all in different shards. Readers may
//! see none, some or all of them, but never in opposite orders.
//!
//! ```text
//!   reader 1   sees a, not b        so a was before b
//!   reader 2   sees b, not a        so b was before a: no order explains both
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_client::{Transaction, WriteBatch};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "fork";

/// Groups at a time.
const LANES: usize = 2;
/// Keys of a group.
const KEYS: usize = 3;
const READERS: usize = 3;
/// Reads of each reader of a group.
const READS: usize = 4;

/// What is known of a group: what was read and written, by the order of calls and answers.
#[derive(Debug, Default)]
struct Group {
    seen: Vec<Seen>,
    written: Vec<Written>,
}

/// A read of all keys of a group.
#[derive(Clone, Copy, Debug)]
struct Seen {
    called: u64,
    answered: u64,
    /// A bit for each key that was there.
    keys: u8,
}

/// A key that was written.
#[derive(Clone, Copy, Debug)]
struct Written {
    answered: u64,
    key: usize,
}

/// Writes and reads one group after the other, until all is over.
pub(crate) async fn fork(world: World) {
    let mut tasks = Tasks::default();
    for lane in 0..LANES {
        tasks.spawn(groups(world.fork(), lane));
    }
    tasks.all().await;
    let reads = world.tally().of(NAME).reads;
    world.tally().show(NAME, format!("one order of the writes explains {reads} reads"));
}

async fn groups(world: World, lane: usize) {
    for number in 0.. {
        if world.is_over() {
            return;
        }
        let name = format!("{NAME}/{lane}/{number:06}");
        // Neighbours, or shards that are far from each other.
        let (first, step) = (world.below(world.shards()), 1 + number % 2);
        let places = [first, first + step, first + 2 * step];
        let group = Arc::<Mutex<Group>>::default();
        let mut tasks = Tasks::default();
        for key in 0..KEYS {
            tasks.spawn(write(world.fork(), Arc::clone(&group), name.clone(), places, key));
        }
        for _ in 0..READERS {
            tasks.spawn(read(world.fork(), Arc::clone(&group), name.clone(), places));
        }
        tasks.all().await;
        let group = group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = group.contradiction() {
            panic!("{NAME}: {name} in shards {places:?}: {words}");
        }
    }
}

fn key(world: &World, name: &str, places: [usize; KEYS], key: usize) -> Bytes {
    world.key(places[key], &format!("{name}/{key}"))
}

async fn write(world: World, group: Arc<Mutex<Group>>, name: String, places: [usize; KEYS], place: usize) {
    world.think().await;
    let mut batch = WriteBatch::new().put(key(&world, &name, places, place), "there");
    let mut shards = vec![places[place]];
    // Half of the writers are transactions over two shards, of which readers look at one.
    if world.one_in(2) {
        let beside = places[place] + 1;
        batch = batch.put(world.key(beside, &format!("{name}/beside/{place}")), "there");
        shards.push(beside);
    }
    let (client, step) = (world.client(), Step::new(NAME, Style::OneShot, "write", format!("{name}/{place}")));
    let work = client.commit(Transaction::new().with(world.table_name(), batch));
    if let Done::Ok(_) = world.write(step.in_shards(shards), work).await {
        let answered = world.moment();
        group.lock().unwrap_or_else(PoisonError::into_inner).written.push(Written { answered, key: place });
    }
}

async fn read(world: World, group: Arc<Mutex<Group>>, name: String, places: [usize; KEYS]) {
    let keys: Vec<Bytes> = (0..KEYS).map(|place| key(&world, &name, places, place)).collect();
    for _ in 0..READS {
        world.think().await;
        let called = world.moment();
        let work = async {
            let found = world.snapshot().await?.table(world.table_name()).multi_get(keys.clone()).await?;
            Ok(found.iter().enumerate().fold(0_u8, |keys, (key, found)| keys | (u8::from(found.is_some()) << key)))
        };
        let Some(keys) = world.read(NAME, &name, work).await else { continue };
        let answered = world.moment();
        group.lock().unwrap_or_else(PoisonError::into_inner).seen.push(Seen { called, answered, keys });
    }
}

impl Group {
    /// What no order of the writes explains.
    fn contradiction(&self) -> Option<String> {
        let holds = |more: u8, less: u8| more & less == less;
        for (place, one) in self.seen.iter().enumerate() {
            for other in &self.seen[place + 1..] {
                if !holds(one.keys, other.keys) && !holds(other.keys, one.keys) {
                    return Some(format!("{one:?} and {other:?} see writes in opposite orders"));
                }
                let (before, after) = if one.answered < other.called { (one, other) } else { (other, one) };
                if before.answered < after.called && !holds(after.keys, before.keys) {
                    return Some(format!("{after:?} does not see what {before:?} had seen before"));
                }
            }
            let missed = |written: &&Written| written.answered < one.called && one.keys & (1 << written.key) == 0;
            if let Some(written) = self.written.iter().find(missed) {
                return Some(format!("{one:?} does not see {written:?}, which was before it"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(called: u64, answered: u64, keys: u8) -> Seen {
        Seen { called, answered, keys }
    }

    #[test]
    fn a_long_fork_is_seen_and_so_is_a_stale_read() {
        let words = |seen: &[Seen], written: &[Written]| {
            Group { seen: seen.to_vec(), written: written.to_vec() }.contradiction().unwrap_or_default()
        };
        assert_eq!(words(&[seen(1, 5, 0b000), seen(2, 6, 0b100), seen(3, 7, 0b110), seen(4, 8, 0b111)], &[]), "");
        assert!(words(&[seen(1, 5, 0b001), seen(2, 6, 0b000), seen(3, 7, 0b010)], &[]).contains("opposite orders"));
        assert!(words(&[seen(1, 2, 0b011), seen(3, 4, 0b001)], &[]).contains("had seen before"));
        assert!(words(&[seen(3, 4, 0b001), seen(1, 2, 0b011)], &[]).contains("had seen before"), "in any order");
        assert_eq!(words(&[seen(1, 3, 0b011), seen(2, 4, 0b001)], &[]), "", "at the same time either may be first");
        let written = Written { answered: 2, key: 1 };
        assert!(words(&[seen(3, 4, 0b001)], &[written]).contains("which was before it"));
        assert_eq!(words(&[seen(1, 4, 0b001)], &[written]), "", "it was called before");
    }
}
