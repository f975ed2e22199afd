//! Transactions over lists are strictly serializable, as a checker of whole histories finds.

use std::sync::Arc;

use bytes::Bytes;
use lentic_check::history::Micro;
use lentic_client::{Error, MergeOperator, Transaction, Txn, Value, WriteBatch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::record::{LISTS, Record};
use super::scene::{Runs, Scene, Step, TABLE, all};
use super::tally::Style;

pub(super) const NAME: &str = "lists";

const CALLERS: u32 = 12;
/// The pause between two operations of a caller, and between two steps of one, at most.
const PAUSE_MS_MAX: u64 = 60;
const STEP_MS_MAX: u64 = 10;
/// One in so many callers is gone before the answer, after so long at most.
const GIVES_UP_ONE_IN: u64 = 12;
const GIVES_UP_MS_MAX: u64 = 60;

/// Reads and appends to several lists at a time, until all is over.
pub(super) async fn lists(scene: Scene, record: Arc<Record>) {
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        tasks.spawn(call(scene.clone(), Arc::clone(&record)));
    }
    all(tasks).await;
}

async fn call(scene: Scene, record: Arc<Record>) {
    let mut process = record.process();
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let micros = record.micros(&scene);
        let step = step(&scene, &micros);
        let began = record.invoke(process, &micros);
        let work = run(&scene, step.style, micros);
        let result = match step.gives_up {
            Some(after) => timeout(after, work).await.ok(),
            None => Some(work.await),
        };
        if record.answer(process, result.as_ref()) {
            process = record.process();
        }
        scene.settle(&step, began, result);
    }
}

fn step(scene: &Scene, micros: &[Micro]) -> Step {
    let is_append = |micro: &Micro| matches!(micro, Micro::Append { .. });
    let style = match (micros.iter().any(is_append), micros.iter().all(is_append)) {
        (false, _) => Style::ReadOnly,
        // What only appends can be sent at once, or like the others.
        (true, true) if scene.one_in(2) => Style::OneShot,
        (true, _) => Style::Reading,
    };
    let shards = micros.iter().filter_map(|micro| match micro {
        Micro::Append { key, .. } => Some(shard(*key)),
        Micro::Read { .. } => None,
    });
    let gives_up = scene.gives_up(GIVES_UP_ONE_IN, GIVES_UP_MS_MAX);
    Step {
        workload: NAME,
        style,
        does: ("txn", format!("{micros:?}")),
        shards: shards.collect(),
        gives_up,
        runs: Runs::default(),
    }
}

/// The place of the shard of a list.
fn shard(key: i64) -> usize {
    usize::try_from(key).expect("lists are counted from 0") % LISTS
}

fn place(scene: &Scene, key: i64) -> Bytes {
    scene.key(shard(key), &format!("list/{key:08}"))
}

/// Runs a transaction once, and returns what it has read.
async fn run(scene: &Scene, style: Style, micros: Vec<Micro>) -> Result<Vec<Micro>, Error> {
    let client = scene.client();
    if style == Style::OneShot {
        let batch = micros.iter().fold(WriteBatch::new(), |batch, micro| match micro {
            Micro::Append { key, value } => {
                batch.merge(place(scene, *key), MergeOperator::Append, value.to_be_bytes().to_vec())
            }
            Micro::Read { .. } => batch,
        });
        client.commit(Transaction::new().with(TABLE, batch)).await?;
        return Ok(micros);
    }
    let txn = client.begin();
    let done = step_all(scene, &txn, micros).await?;
    txn.commit().await?;
    Ok(done)
}

async fn step_all(scene: &Scene, txn: &Txn, micros: Vec<Micro>) -> Result<Vec<Micro>, Error> {
    let lists = txn.table(TABLE);
    let mut done = Vec::with_capacity(micros.len());
    for micro in micros {
        done.push(match micro {
            Micro::Read { key, .. } => {
                let found = lists.get(place(scene, key)).await?;
                Micro::Read { key, list: Some(values(found.as_ref())) }
            }
            Micro::Append { key, value } => {
                lists.merge(place(scene, key), MergeOperator::Append, value.to_be_bytes().to_vec())?;
                Micro::Append { key, value }
            }
        });
        if scene.one_in(3) {
            scene.pause(STEP_MS_MAX).await;
        }
    }
    Ok(done)
}

fn values(found: Option<&Value>) -> Vec<i64> {
    let bytes = found.map_or(&[][..], |found| &found.value[..]);
    assert!(bytes.len().is_multiple_of(8), "a list has {} bytes, of values of 8", bytes.len());
    bytes.chunks_exact(8).map(|chunk| i64::from_be_bytes(chunk.try_into().expect("eight bytes"))).collect()
}
