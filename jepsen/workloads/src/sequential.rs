//! One writer writes the keys of a chain, each when the one before is acknowledged, in different shards. Whoever then
//! reads the newest values from the last key to the first never finds a later one without an earlier one.
//!
//! ```text
//!   writer    k1 ──► k2 ──► k3            the reader asks for k2 after it has seen k3:
//!   reader    k3 there, k2 missing        a shard answered with less than was acknowledged before
//! ```

use bytes::Bytes;
use lentic_client::Error;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "sequential";

/// Chains at a time, each with one writer and its readers.
const LANES: usize = 2;
const READERS: usize = 1;
/// Keys of a chain.
const LINKS: usize = 4;

/// Writes one chain after the other, and reads each, until all is over.
pub(crate) async fn sequential(world: World) {
    let mut tasks = Tasks::default();
    for lane in 0..LANES {
        tasks.spawn(chains(world.fork(), lane));
    }
    tasks.all().await;
    let reads = world.tally().of(NAME).reads;
    world.tally().show(NAME, format!("{reads} reads saw no later write without an earlier one"));
}

async fn chains(world: World, lane: usize) {
    for number in 0.. {
        if world.is_over() {
            return;
        }
        let name = format!("{NAME}/{lane}/{number:06}");
        let (ended, is_ended) = tokio::sync::watch::channel(false);
        let mut readers = Tasks::default();
        for _ in 0..READERS {
            let (world, name, is_ended) = (world.fork(), name.clone(), is_ended.clone());
            readers.spawn(async move {
                while !*is_ended.borrow() {
                    read(&world, lane, &name).await;
                }
                // All that was written before this is seen.
                read(&world, lane, &name).await;
            });
        }
        write(&world, lane, &name).await;
        ended.send_replace(true);
        readers.all().await;
    }
}

fn key(world: &World, lane: usize, name: &str, link: usize) -> Bytes {
    world.key(lane + link * (lane + 1), &format!("{name}/{link}"))
}

/// Writes a chain, as far as each link is acknowledged.
async fn write(world: &World, lane: usize, name: &str) {
    for link in 0..LINKS {
        let step = Step::new(NAME, Style::OneShot, "write", format!("{name}/{link}"));
        let step = step.in_shards(vec![lane + link * (lane + 1)]);
        let table = world.table();
        let put = table.put(key(world, lane, name, link), "there");
        let Done::Ok(_) = world.write(step, put).await else { return };
        world.think().await;
    }
}

/// Reads a chain backwards, each link in a way of its own.
async fn read(world: &World, lane: usize, name: &str) {
    let work = async {
        let (mut seen, mut how) = (Vec::with_capacity(LINKS), Vec::with_capacity(LINKS));
        for link in (0..LINKS).rev() {
            let (is_there, asked) = is_there(world, key(world, lane, name, link)).await?;
            seen.push(is_there);
            how.push(asked);
            if world.one_in(3) {
                world.think().await;
            }
        }
        seen.reverse();
        how.reverse();
        assert!(
            is_explained(&seen),
            "{NAME}: of {name}, read from the last to the first, these were there, told from the first on: {seen:?} {how:?}"
        );
        Ok(seen)
    };
    // Whether it was answered or not, the next read comes later.
    let _ = world.read(NAME, name, work).await;
    world.pause().await;
}

/// Whether a key is there, and how that was asked: for the message, should it be wrong.
async fn is_there(world: &World, key: Bytes) -> Result<(bool, String), Error> {
    let table = world.table();
    let (found, how) = match world.between(0..=2) {
        0 => (table.get(key).await?, "get".to_owned()),
        1 => (table.multi_get([key]).await?.remove(0), "multi-get".to_owned()),
        _ => {
            let now = table.client().now().await?;
            (table.get_at(key, now).await?, format!("get at {now}"))
        }
    };
    let version = found.map(|found| found.version);
    Ok((version.is_some(), format!("{how}: {version:?}")))
}

/// Whether no link is missing before one that is there, and was read before it.
fn is_explained(seen: &[bool]) -> bool {
    seen.is_sorted_by(|one, next| one >= next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_missing_is_seen() {
        for seen in [[false; 3], [true; 3], [true, false, false], [true, true, false]] {
            assert!(is_explained(&seen), "{seen:?}");
        }
        for seen in [[false, true, true], [true, false, true], [false, false, true]] {
            assert!(!is_explained(&seen), "{seen:?}");
        }
    }
}
