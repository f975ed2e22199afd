//! Predicates: a row is inserted only if a range of two shards has none, under a name that nobody else has.
//!
//! No two inserts touch the same key, so that only the ranges that were read can tell that they exclude each other.

use lentic_client::{Error, Txn};
use tokio::task::JoinSet;

use super::scene::{Runs, Scene, Step, TABLE, all};
use super::tally::Style;

pub(super) const NAME: &str = "predicate";

const PLACES: usize = 3;
const READERS: usize = 2;
/// The pause between two operations of a caller, and of a body that thinks, at most.
const PAUSE_MS_MAX: u64 = 20;
const THINKS_MS_MAX: u64 = 5;

/// Two callers want each place. Who has it gives it back, who finds it free takes it, and there is one at most.
pub(super) async fn predicate(scene: Scene) {
    let mut tasks = JoinSet::new();
    for (place, side) in (0..PLACES).flat_map(|place| [(place, 0), (place, 1)]) {
        tasks.spawn(take_and_give(scene.clone(), place, side));
    }
    for _ in 0..READERS {
        tasks.spawn(read(scene.clone()));
    }
    all(tasks).await;
}

/// The shard where a side of a place has its rows: never that of the other.
const fn shard(place: usize, side: usize) -> usize {
    2 * place + side * (1 + place)
}

/// What the names of a side's rows begin with.
fn rows(place: usize, side: usize) -> String {
    format!("predicate/{place}/{side}/")
}

async fn take_and_give(scene: Scene, place: usize, side: usize) {
    for number in 0_u64.. {
        if scene.is_over() {
            return;
        }
        scene.pause(PAUSE_MS_MAX).await;
        let client = scene.client();
        let runs = Runs::default();
        let work = client.transact(|txn| turn(scene.clone(), txn, runs.clone(), (place, side), number));
        let does = ("turn", format!("{side} at place {place}"));
        let shards = vec![shard(place, side)];
        scene
            .commit(
                Step { workload: NAME, style: Style::Reading, does, shards, gives_up: None, runs: runs.clone() },
                work,
            )
            .await;
    }
}

async fn turn(scene: Scene, txn: Txn, runs: Runs, (place, side): (usize, usize), number: u64) -> Result<(), Error> {
    runs.begin();
    let table = txn.table(TABLE);
    let mut found = [Vec::new(), Vec::new()];
    for looked in [side, 1 - side] {
        let scan = table.scan_prefix(scene.key(shard(place, looked), &rows(place, looked)));
        let scan = if scene.one_in(2) { scan.reverse() } else { scan };
        found[looked] = scan.rows().await?;
    }
    let count = found.iter().map(Vec::len).sum::<usize>();
    assert!(count <= 1, "place {place} is taken {count} times, at {:?}: {found:?}", txn.version().await);
    if scene.one_in(2) {
        scene.pause(THINKS_MS_MAX).await;
    }
    let own = scene.key(shard(place, side), &format!("{}{number:08}", rows(place, side)));
    match (found[side].first(), count) {
        (Some(row), _) => table.delete(row.key.clone()),
        (None, 0) => table.put(own, "taken"),
        // Behind the rows, where nobody looks.
        (None, _) => table.put(scene.key(shard(place, side), &format!("predicate/{place}/waits/{side}")), "waits"),
    }
}

async fn read(scene: Scene) {
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let place = scene.below(PLACES);
        let mut at = None;
        let work = async {
            let snapshot = scene.snapshot(PAUSE_MS_MAX).await?;
            at = Some(snapshot.version());
            let mut count = 0;
            for side in 0..2 {
                let prefix = scene.key(shard(place, side), &rows(place, side));
                let mut scan = snapshot.table(TABLE).scan_prefix(prefix).start();
                while scan.next().await.transpose()?.is_some() {
                    count += 1;
                }
            }
            Ok(count)
        };
        let count: u64 = scene.read(NAME, &format!("place {place}"), work).await;
        assert!(count <= 1, "place {place} is taken {count} times, at {at:?}");
    }
}
