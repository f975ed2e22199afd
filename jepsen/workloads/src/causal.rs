//! An effect is never seen without its cause, across shards.
//!
//! This is what local clocks would not give:
//!
//! ```text
//!   shard A   cause ─ commits at 100 by its clock, is acknowledged ─┐
//!   shard B                                                         └─ effect ─ commits at 50
//!   reader    both at 75: the effect alone
//! ```

use bytes::Bytes;
use lentic_client::{Error, ErrorKind, SnapshotTable, Transaction, Value, WriteBatch};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "causal";

/// Pairs of a cause and its effect, each with one writer and one reader.
const PAIRS: usize = 3;

/// Writes a cause in one shard and, once it is acknowledged, its effect in another; readers read both at one version.
pub(crate) async fn causal(world: World) {
    let mut tasks = Tasks::default();
    for pair in 0..PAIRS {
        tasks.spawn(write(world.fork(), pair));
        tasks.spawn(read(world.fork(), pair));
    }
    tasks.all().await;
    let reads = world.tally().of(NAME).reads;
    world.tally().show(NAME, format!("{reads} reads saw no effect without its cause"));
}

/// The shards of a cause and of its effect. The effect's comes first in one pair.
const fn places(pair: usize) -> (usize, usize) {
    if pair == 0 { (5, 2) } else { (pair - 1, pair + 2) }
}

fn keys(world: &World, pair: usize) -> (Bytes, Bytes) {
    let (cause, effect) = places(pair);
    (world.key(cause, &format!("{NAME}/{pair}/cause")), world.key(effect, &format!("{NAME}/{pair}/effect")))
}

async fn write(world: World, pair: usize) {
    let (cause, effect) = keys(&world, pair);
    for number in 1_u64.. {
        for (key, place) in [(&cause, places(pair).0), (&effect, places(pair).1)] {
            if world.is_over() || !put(&world, key, place, number).await {
                return;
            }
        }
        world.pause().await;
    }
}

/// Puts the number that follows, by some client, for the news of a cause may have gone any way. Half of the writes are
/// transactions over two shards. `false` if it is not known to be there when all is over.
async fn put(world: &World, key: &Bytes, place: usize, number: u64) -> bool {
    let (value, name) = (number.to_be_bytes().to_vec(), key.escape_ascii().to_string());
    let mut may_be_there = false;
    loop {
        let client = world.client();
        let beside = world.one_in(2).then_some(place + 1);
        let shards = std::iter::once(place).chain(beside).collect();
        let step = Step::new(NAME, Style::Conditional, "write", &name).value(number).in_shards(shards);
        let batch = match number - 1 {
            0 => WriteBatch::new().if_absent(key.clone()),
            before => WriteBatch::new().if_value(key.clone(), before.to_be_bytes().to_vec()),
        };
        let batch = batch.put(key.clone(), value.clone());
        let work = async {
            match beside {
                Some(place) => {
                    let batch = batch.put(world.key(place, &format!("beside/{name}")), value.clone());
                    client.commit(Transaction::new().with(world.table_name(), batch)).await
                }
                None => client.table(world.table_name()).write(batch).await,
            }
        };
        match world.write(step, work).await {
            Done::Ok(_) => return true,
            Done::Refused(error) if error.kind() == ErrorKind::ConditionFailed => {
                assert!(may_be_there, "{NAME}: {name} is not {} before {number}: {error}", number - 1);
                // An earlier sending, of which nobody knew, or it would not be so.
                return true;
            }
            Done::Refused(_) | Done::Unknown if world.is_over() => return false,
            Done::Refused(_) => {}
            Done::Unknown => may_be_there = true,
        }
        world.pause().await;
    }
}

async fn read(world: World, pair: usize) {
    let mut newest = (0, 0);
    while !world.is_over() {
        world.pause().await;
        let mut at = None;
        let work = async {
            let snapshot = world.snapshot().await?;
            at = Some(snapshot.version());
            both(&world, &snapshot.table(world.table_name()), pair).await
        };
        let Some(found) = world.read(NAME, &format!("pair {pair}"), work).await else { continue };
        let found = (found[0], found[1]);
        if let Some(words) = contradiction(newest, found) {
            panic!("{NAME}: pair {pair} at {at:?}: {words}");
        }
        newest = found;
    }
}

/// What no order of the writes explains of a cause and an effect that were read after `newest`.
fn contradiction(newest: (u64, u64), (cause, effect): (u64, u64)) -> Option<String> {
    match () {
        () if effect > cause => Some(format!("effect {effect} is there without its cause, which is at {cause}")),
        () if cause > effect + 1 => {
            Some(format!("cause {cause} is there, but effect {effect} is not that which was answered before it"))
        }
        () if newest > (cause, effect) => Some(format!("{cause} and {effect} are there, after {newest:?} were")),
        () => None,
    }
}

/// The cause and the effect, read together or one after the other.
async fn both(world: &World, table: &SnapshotTable, pair: usize) -> Result<Vec<u64>, Error> {
    let (cause, effect) = keys(world, pair);
    let number = |found: Option<&Value>| {
        found.map_or(0, |found| u64::from_be_bytes(found.value[..].try_into().expect("eight bytes were written")))
    };
    if world.one_in(2) {
        let found = table.multi_get([cause, effect]).await?;
        return Ok(found.iter().map(|found| number(found.as_ref())).collect());
    }
    let effect = table.get(effect).await?;
    world.think().await;
    let cause = table.get(cause).await?;
    Ok(vec![number(cause.as_ref()), number(effect.as_ref())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_alone_is_seen_and_so_is_what_goes_back() {
        for (newest, found) in [((0, 0), (0, 0)), ((3, 3), (4, 3)), ((4, 3), (4, 4)), ((4, 4), (4, 4))] {
            assert_eq!(contradiction(newest, found), None);
        }
        let words = |newest, found| contradiction(newest, found).unwrap_or_default();
        assert!(words((3, 3), (3, 4)).contains("without its cause"));
        assert!(words((3, 3), (5, 3)).contains("answered before it"));
        assert!(words((4, 4), (4, 3)).contains("after (4, 4) were"));
    }
}
