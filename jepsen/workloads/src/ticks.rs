//! Versions rise in real time, and no two writes of a shard have the same.
//!
//! ```text
//!   caller 1   now ├──┤ 105
//!   caller 2                write ├──┤ 103       its place in the order is before a moment that was over
//! ```
//!
//! Transactions over several shards may commit at the same version, for it is the highest of those that their shards give
//! out. Where they write the same key blindly, their ids order them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_client::{Transaction, Version, WriteBatch};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Step, World};

pub(crate) const NAME: &str = "ticks";

const CALLERS: usize = 4;

/// What was answered.
#[derive(Debug, Default)]
struct Answered {
    newest: AtomicU64,
    /// The versions of writes of single shards.
    written: Mutex<BTreeSet<(usize, Version)>>,
}

/// Asks for versions, from several clients: of now, and of writes. Each is above all that were answered before it was
/// asked for.
pub(crate) async fn ticks(world: World) {
    let answered = Arc::new(Answered::default());
    let mut callers = Tasks::default();
    for _ in 0..CALLERS {
        callers.spawn(ask(world.fork(), Arc::clone(&answered)));
    }
    callers.all().await;
    let ok = world.tally().of(NAME).ok();
    world.tally().show(NAME, format!("{ok} versions rose in real time"));
}

async fn ask(world: World, answered: Arc<Answered>) {
    while !world.is_over() {
        world.pause().await;
        let before = answered.newest.load(Ordering::SeqCst);
        let now = if world.one_in(2) { write(&world, &answered).await } else { now(&world).await };
        let Some(now) = now else { continue };
        let rises = now.0 > before;
        assert!(rises, "{NAME}: version {now} was answered after {before}, which had been answered before the call");
        answered.newest.fetch_max(now.0, Ordering::SeqCst);
    }
}

async fn now(world: &World) -> Option<Version> {
    let client = world.client();
    world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok()
}

fn key(world: &World, shard: usize) -> Bytes {
    world.key(shard, NAME)
}

/// Writes a key that others write too, alone or with the next shard's.
async fn write(world: &World, answered: &Answered) -> Option<Version> {
    let shard = world.below(world.shards());
    let next = (shard + 1) % world.shards();
    let is_single = world.one_in(2) || next == shard;
    let places = if is_single { vec![shard] } else { vec![shard, next] };
    let batch = places.iter().fold(WriteBatch::new(), |batch, place| batch.put(key(world, *place), "tick"));
    let (client, step) = (world.client(), Step::new(NAME, Style::OneShot, "write", format!("{NAME}/{places:?}")));
    let work = client.commit(Transaction::new().with(world.table_name(), batch));
    let version = world.write(step.in_shards(places), work).await.ok()?;
    let mut written = answered.written.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = !is_single || written.insert((shard, version));
    assert!(is_new, "{NAME}: two writes of one key in shard {shard} were answered with version {version}");
    Some(version)
}
