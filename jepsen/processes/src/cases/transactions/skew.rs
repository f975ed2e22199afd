//! Write skew: of two on call one at least stays, though each may go who sees the other there.

use bytes::Bytes;
use lentic_client::{Error, Txn, Value};
use tokio::task::JoinSet;

use super::scene::{Runs, Scene, Step, TABLE, all};
use super::tally::Style;

pub(super) const NAME: &str = "skew";

const PAIRS: usize = 4;
const READERS: usize = 2;
/// The pause between two operations of a caller, and of a body that thinks, at most.
const PAUSE_MS_MAX: u64 = 20;
const THINKS_MS_MAX: u64 = 5;

/// Both of each pair look at both, in different shards, and go if the other is there; else they come back.
pub(super) async fn skew(scene: Scene) {
    for pair in 0..PAIRS {
        for side in 0..2 {
            scene.table().put(key(&scene, pair, side), "on call").await.expect("all are on call at first");
        }
    }
    let mut tasks = JoinSet::new();
    for (pair, side) in (0..PAIRS).flat_map(|pair| [(pair, 0), (pair, 1)]) {
        tasks.spawn(go_and_come(scene.clone(), pair, side));
    }
    for _ in 0..READERS {
        tasks.spawn(read(scene.clone()));
    }
    all(tasks).await;
}

/// The shard of one of a pair: never that of the other.
const fn place(pair: usize, side: usize) -> usize {
    pair + side * (1 + pair % 2)
}

fn key(scene: &Scene, pair: usize, side: usize) -> Bytes {
    scene.key(place(pair, side), &format!("skew/{pair}/{side}"))
}

fn is_there(found: Option<&Value>) -> bool {
    found.is_some_and(|found| &found.value[..] == b"on call")
}

async fn go_and_come(scene: Scene, pair: usize, side: usize) {
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let client = scene.client();
        let runs = Runs::default();
        let work = client.transact(|txn| turn(scene.clone(), txn, runs.clone(), (pair, side)));
        let does = ("turn", format!("{side} of pair {pair}"));
        let shards = vec![place(pair, side)];
        scene
            .commit(
                Step { workload: NAME, style: Style::Reading, does, shards, gives_up: None, runs: runs.clone() },
                work,
            )
            .await;
    }
}

async fn turn(scene: Scene, txn: Txn, runs: Runs, (pair, side): (usize, usize)) -> Result<(), Error> {
    runs.begin();
    let table = txn.table(TABLE);
    let (own, other) = (key(&scene, pair, side), key(&scene, pair, 1 - side));
    let found = table.multi_get([own.clone(), other]).await?;
    let (own_there, other_there) = (is_there(found[0].as_ref()), is_there(found[1].as_ref()));
    assert!(own_there || other_there, "both of pair {pair} are gone, at {:?}", txn.version().await);
    if scene.one_in(2) {
        scene.pause(THINKS_MS_MAX).await;
    }
    match own_there && other_there {
        true if scene.one_in(2) => table.delete(own),
        true => table.put(own, "away"),
        false => table.put(own, "on call"),
    }
}

async fn read(scene: Scene) {
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let pair = scene.below(PAIRS);
        let mut at = None;
        let work = async {
            let snapshot = scene.snapshot(PAUSE_MS_MAX).await?;
            at = Some(snapshot.version());
            let found = snapshot.table(TABLE).multi_get([0, 1].map(|side| key(&scene, pair, side))).await?;
            Ok(found.iter().map(|found| is_there(found.as_ref())).collect::<Vec<bool>>())
        };
        let found = scene.read(NAME, &format!("pair {pair}"), work).await;
        assert!(found.contains(&true), "both of pair {pair} are gone, at {at:?}: {found:?}");
    }
}
