//! Write skew: of two on call one at least stays, though each may go who sees the other there.
//!
//! ```text
//!   T1   reads: both are there     a goes        neither writes what the other does,
//!   T2   reads: both are there     b goes        and nobody is there
//! ```

use bytes::Bytes;
use lentic_client::{Error, Txn, Value};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Runs, Step, World};

pub(crate) const NAME: &str = "skew";

const PAIRS: usize = 3;
const READERS: usize = 2;

/// Both of each pair look at both, in different shards, and go if the other is there; else they come back.
pub(crate) async fn skew(world: World) {
    let keys = (0..PAIRS).flat_map(|pair| [(pair, 0), (pair, 1)]);
    let all = keys.clone().map(|(pair, side)| (key(&world, pair, side), b"on call".to_vec())).collect();
    if !world.open(NAME, all).await {
        return;
    }
    let mut tasks = Tasks::default();
    for (pair, side) in keys {
        tasks.spawn(go_and_come(world.fork(), pair, side));
    }
    for _ in 0..READERS {
        tasks.spawn(read(world.fork()));
    }
    tasks.all().await;
    let counts = world.tally().of(NAME);
    let words =
        format!("in {} turns and {} reads one of two was there, {} met", counts.commits, counts.reads, counts.again);
    world.tally().show(NAME, words);
}

/// The shard of one of a pair: never that of the other, if there are enough.
const fn place(pair: usize, side: usize) -> usize {
    pair + side * (1 + pair % 2)
}

fn key(world: &World, pair: usize, side: usize) -> Bytes {
    world.key(place(pair, side), &format!("{NAME}/{pair}/{side}"))
}

fn is_there(found: Option<&Value>) -> bool {
    found.is_some_and(|found| &found.value[..] == b"on call")
}

async fn go_and_come(world: World, pair: usize, side: usize) {
    while !world.is_over() {
        world.pause().await;
        let (client, runs) = (world.client(), Runs::default());
        let work = client.transact(|txn| turn(world.clone(), txn, runs.clone(), (pair, side)));
        let step = Step::new(NAME, Style::Reading, "turn", format!("{NAME}/{pair}/{side}"));
        world.commit(step.in_shards(vec![place(pair, side)]).runs(&runs), work).await;
    }
}

async fn turn(world: World, txn: Txn, runs: Runs, (pair, side): (usize, usize)) -> Result<(), Error> {
    runs.begin();
    let table = txn.table(world.table_name());
    let (own, other) = (key(&world, pair, side), key(&world, pair, 1 - side));
    let found = table.multi_get([own.clone(), other]).await?;
    let (own_there, other_there) = (is_there(found[0].as_ref()), is_there(found[1].as_ref()));
    assert!(own_there || other_there, "{NAME}: both of pair {pair} are gone, at {:?}", txn.version().await);
    if world.one_in(2) {
        world.think().await;
    }
    match own_there && other_there {
        true if world.one_in(2) => table.delete(own),
        true => table.put(own, "away"),
        false => table.put(own, "on call"),
    }
}

async fn read(world: World) {
    while !world.is_over() {
        world.pause().await;
        let pair = world.below(PAIRS);
        let mut at = None;
        let work = async {
            let snapshot = world.snapshot().await?;
            at = Some(snapshot.version());
            let keys = [0, 1].map(|side| key(&world, pair, side));
            let found = snapshot.table(world.table_name()).multi_get(keys).await?;
            Ok(found.iter().map(|found| is_there(found.as_ref())).collect::<Vec<bool>>())
        };
        let Some(found) = world.read(NAME, &format!("pair {pair}"), work).await else { continue };
        assert!(found.contains(&true), "{NAME}: both of pair {pair} are gone, at {at:?}: {found:?}");
    }
}
