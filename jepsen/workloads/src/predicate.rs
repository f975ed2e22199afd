//! Phantoms: a row is inserted only if a range of two shards has none, under a name that nobody else has.
//!
//! ```text
//!   T1   scans: the place is free     takes it as a     no two inserts touch the same key: only the ranges
//!   T2   scans: the place is free     takes it as b     that were read can tell that they exclude each other
//! ```

use lentic_client::{Error, Txn};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Runs, Step, World};

pub(crate) const NAME: &str = "predicate";

const PLACES: usize = 3;
const READERS: usize = 2;

/// Two callers want each place. Who has it gives it back, who finds it free takes it, and there is one at most.
pub(crate) async fn predicate(world: World) {
    let mut tasks = Tasks::default();
    for (place, side) in (0..PLACES).flat_map(|place| [(place, 0), (place, 1)]) {
        tasks.spawn(take_and_give(world.fork(), place, side));
    }
    for _ in 0..READERS {
        tasks.spawn(read(world.fork()));
    }
    tasks.all().await;
    let counts = world.tally().of(NAME);
    let words =
        format!("in {} turns and {} reads one had each place, {} met", counts.commits, counts.reads, counts.again);
    world.tally().show(NAME, words);
}

/// The shard where a side of a place has its rows: never that of the other, if there are enough.
const fn shard(place: usize, side: usize) -> usize {
    2 * place + side * (1 + place)
}

/// What the names of a side's rows begin with.
fn rows(place: usize, side: usize) -> String {
    format!("{NAME}/{place}/{side}/")
}

async fn take_and_give(world: World, place: usize, side: usize) {
    for number in 0_u64.. {
        if world.is_over() {
            return;
        }
        world.pause().await;
        let (client, runs) = (world.client(), Runs::default());
        let work = client.transact(|txn| turn(world.clone(), txn, runs.clone(), (place, side), number));
        let step = Step::new(NAME, Style::Reading, "turn", format!("{NAME}/{place}/{side}"));
        world.commit(step.in_shards(vec![shard(place, side)]).runs(&runs), work).await;
    }
}

async fn turn(world: World, txn: Txn, runs: Runs, (place, side): (usize, usize), number: u64) -> Result<(), Error> {
    runs.begin();
    let table = txn.table(world.table_name());
    let mut found = [Vec::new(), Vec::new()];
    for looked in [side, 1 - side] {
        let scan = table.scan_prefix(world.key(shard(place, looked), &rows(place, looked)));
        let scan = if world.one_in(2) { scan.reverse() } else { scan };
        found[looked] = scan.rows().await?;
    }
    let count = found.iter().map(Vec::len).sum::<usize>();
    let at = txn.version().await;
    assert!(count <= 1, "{NAME}: place {place} is taken {count} times, at {at:?}: {found:?}");
    if world.one_in(2) {
        world.think().await;
    }
    let own = world.key(shard(place, side), &format!("{}{number:08}", rows(place, side)));
    match (found[side].first(), count) {
        (Some(row), _) => table.delete(row.key.clone()),
        (None, 0) => table.put(own, "taken"),
        // Behind the rows, where nobody looks.
        (None, _) => table.put(world.key(shard(place, side), &format!("{NAME}/{place}/waits/{side}")), "waits"),
    }
}

async fn read(world: World) {
    while !world.is_over() {
        world.pause().await;
        let place = world.below(PLACES);
        let mut at = None;
        let work = async {
            let snapshot = world.snapshot().await?;
            at = Some(snapshot.version());
            let mut count = 0;
            for side in 0..2 {
                let prefix = world.key(shard(place, side), &rows(place, side));
                let mut scan = snapshot.table(world.table_name()).scan_prefix(prefix).start();
                while scan.next().await.transpose()?.is_some() {
                    count += 1;
                }
            }
            Ok(count)
        };
        let count: Option<u64> = world.read(NAME, &format!("place {place}"), work).await;
        let is_one_at_most = count.is_none_or(|count| count <= 1);
        assert!(is_one_at_most, "{NAME}: place {place} is taken {count:?} times, at {at:?}");
    }
}
