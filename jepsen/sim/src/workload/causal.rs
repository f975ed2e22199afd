//! An effect is never seen without its cause, across shards.
//!
//! This is what local clocks would not give: the cause commits on one shard at 100 by its clock and is acknowledged, then
//! the effect on another at 50; who reads both at 75 sees the effect alone. Rules W and R forbid it.

use lentic_client::Value;
use lentic_runtime::spawn;

use super::world::World;

const READERS: usize = 2;

/// Writes a cause on one shard and, once it is acknowledged, its effect on another; readers take a version and read both
/// at it.
pub async fn causal(world: World) {
    let cause = world.key(0, "cause");
    let effect = world.key(world.shards() / 2, "effect");
    let writer = spawn(write(world.fork(), cause.clone(), effect.clone()));
    let readers: Vec<_> = (0..READERS).map(|_| spawn(read(world.fork(), cause.clone(), effect.clone()))).collect();
    for task in readers.into_iter().chain([writer]) {
        task.await.expect("a panic ends the run");
    }
}

async fn write(world: World, cause: Vec<u8>, effect: Vec<u8>) {
    for number in 1_u64.. {
        if world.is_over() {
            return;
        }
        world.must("a cause", world.table().put(cause.clone(), number.to_be_bytes().to_vec())).await;
        // Another client: the news may have gone any way.
        world.must("an effect", world.table().put(effect.clone(), number.to_be_bytes().to_vec())).await;
        world.pause(20).await;
    }
}

async fn read(world: World, cause: Vec<u8>, effect: Vec<u8>) {
    let mut newest = (0, 0);
    while !world.is_over() {
        world.pause(60).await;
        let now = world.must("a version", world.client().now()).await;
        // Time passes between the version and the read: what is written meanwhile must not be seen.
        world.pause(30).await;
        let keys = [effect.clone(), cause.clone()];
        let found = world.must("a read of both", world.table().multi_get_at(keys, now)).await;
        let (effect, cause) = (number(found[0].as_ref()), number(found[1].as_ref()));
        assert!(effect <= cause, "at {now} effect {effect} is there without its cause, which is at {cause}");
        assert!(
            cause <= effect + 1,
            "at {now} cause {cause} is there, but effect {effect} had been answered before it"
        );
        assert!(newest <= (cause, effect), "at {now}: {cause}, {effect}; before it was {newest:?}");
        newest = (cause, effect);
    }
}

fn number(found: Option<&Value>) -> u64 {
    found.map_or(0, |found| u64::from_be_bytes(found.value[..].try_into().expect("eight bytes were written")))
}
