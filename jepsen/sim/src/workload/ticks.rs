//! Versions rise in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lentic_runtime::spawn;

use super::world::World;

const CALLERS: usize = 3;

/// Asks for the version of now, from several clients: each is above all that were answered before it was asked for, and
/// above every write that was.
pub async fn ticks(world: World) {
    let newest = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS).map(|_| spawn(ask(world.fork(), Arc::clone(&newest)))).collect();
    for caller in callers {
        caller.await.expect("a panic ends the run");
    }
}

async fn ask(world: World, newest: Arc<AtomicU64>) {
    while !world.is_over() {
        world.pause(40).await;
        let before = newest.load(Ordering::Relaxed);
        let now = if world.dice.one_in(4) {
            let shard = world.dice.between(0..=world.shards() - 1);
            world.must("a write for its version", world.table().put(world.key(shard, "tick"), "")).await
        } else {
            world.must("a version", world.client().now()).await
        };
        assert!(now.0 > before, "version {now} was answered after {before}, which had been answered before the call");
        newest.fetch_max(now.0, Ordering::Relaxed);
    }
}
