//! An effect is never seen without its cause, across shards.

use bytes::Bytes;
use lentic_client::{Error, Transaction, Value, WriteBatch};
use tokio::task::JoinSet;

use super::scene::{Runs, Scene, Step, TABLE, all};
use super::tally::Style;

pub(super) const NAME: &str = "causal";

/// Pairs of a cause and its effect, each with one writer and one reader.
const PAIRS: usize = 3;
/// The pause of a writer and of a reader, and of a reader that has its version, at most.
const PAUSE_MS_MAX: u64 = 20;

/// Writes a cause in one shard and, once it is acknowledged, its effect in another; readers read both at one version.
pub(super) async fn causal(scene: Scene) {
    let mut tasks = JoinSet::new();
    for pair in 0..PAIRS {
        tasks.spawn(write(scene.clone(), pair));
        tasks.spawn(read(scene.clone(), pair));
    }
    all(tasks).await;
}

/// The shards of a cause and of its effect. The effect's comes first in one pair.
const fn places(pair: usize) -> (usize, usize) {
    if pair == 0 { (5, 2) } else { (pair - 1, pair + 2) }
}

fn keys(scene: &Scene, pair: usize) -> (Bytes, Bytes) {
    let (cause, effect) = places(pair);
    (scene.key(cause, &format!("causal/{pair}/cause")), scene.key(effect, &format!("causal/{pair}/effect")))
}

async fn write(scene: Scene, pair: usize) {
    let (cause, effect) = keys(&scene, pair);
    for number in 1_u64.. {
        if scene.is_over() {
            return;
        }
        put(&scene, &cause, places(pair).0, number).await;
        put(&scene, &effect, places(pair).1, number).await;
        scene.pause(PAUSE_MS_MAX).await;
    }
}

/// Writes by some client: the news of a cause may have gone any way. Half of the writes are transactions over two shards.
async fn put(scene: &Scene, key: &Bytes, place: usize, number: u64) {
    let client = scene.client();
    let value = number.to_be_bytes().to_vec();
    let beside = scene.one_in(2).then_some(place + 1);
    let does = ("write", format!("{number} to {}", key.escape_ascii()));
    let shards = std::iter::once(place).chain(beside).collect();
    let work = async {
        let batch = WriteBatch::new().put(key.clone(), value.clone());
        let version = match beside {
            Some(place) => {
                let batch = batch.put(scene.key(place, &format!("beside/{}", key.escape_ascii())), value);
                client.commit(Transaction::new().with(TABLE, batch)).await?
            }
            None => client.table(TABLE).write(batch).await?,
        };
        Ok(((), version))
    };
    scene
        .commit(
            Step { workload: NAME, style: Style::OneShot, does, shards, gives_up: None, runs: Runs::default() },
            work,
        )
        .await;
}

async fn read(scene: Scene, pair: usize) {
    let mut newest = (0, 0);
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let mut at = None;
        let work = async {
            let snapshot = scene.snapshot(PAUSE_MS_MAX).await?;
            at = Some(snapshot.version());
            both(&scene, &snapshot.table(TABLE), pair).await
        };
        let found = scene.read(NAME, &format!("pair {pair}"), work).await;
        let (cause, effect) = (found[0], found[1]);
        assert!(effect <= cause, "at {at:?} effect {effect} of pair {pair} is there without its cause, at {cause}");
        assert!(
            cause <= effect + 1,
            "at {at:?} cause {cause} of pair {pair} is there, but effect {effect} had been answered before it"
        );
        assert!(newest <= (cause, effect), "pair {pair} at {at:?}: {cause}, {effect}; before it was {newest:?}");
        newest = (cause, effect);
    }
}

/// The cause and the effect, read together or one after the other.
async fn both(scene: &Scene, table: &lentic_client::SnapshotTable, pair: usize) -> Result<Vec<u64>, Error> {
    let (cause, effect) = keys(scene, pair);
    let number = |found: Option<&Value>| {
        found.map_or(0, |found| u64::from_be_bytes(found.value[..].try_into().expect("eight bytes were written")))
    };
    if scene.one_in(2) {
        let found = table.multi_get([cause, effect]).await?;
        return Ok(found.iter().map(|found| number(found.as_ref())).collect());
    }
    let effect = table.get(effect).await?;
    scene.pause(PAUSE_MS_MAX).await;
    let cause = table.get(cause).await?;
    Ok(vec![number(cause.as_ref()), number(effect.as_ref())])
}
