//! Acknowledged is there, once; refused is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lentic_client::{ErrorKind, WriteBatch};
use lentic_runtime::spawn;

use super::world::World;

const ADDERS: u64 = 3;
const COUNTERS: u64 = 4;

/// What was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    counters: BTreeMap<Vec<u8>, i64>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Adds one to counters, and puts rows that were not there, until all is over. Every addition and every row must be
/// there once. A row that is put only if absent tells a retry that took effect twice: it would find itself.
pub async fn counters(world: World) {
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let adders: Vec<_> = (0..ADDERS).map(|id| spawn(add(world.fork(), id, Arc::clone(&acknowledged)))).collect();
    for adder in adders {
        adder.await.expect("a panic ends the run");
    }
    let Acknowledged { counters, rows } =
        std::mem::take(&mut *acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    for (key, expected) in counters {
        let found = world.must("the last read of a counter", world.table().get(key.clone())).await;
        let found = found.and_then(|found| found.as_i64());
        assert_eq!(found, Some(expected), "counter {} against what was acknowledged", key.escape_ascii());
    }
    for shard in 0..world.shards() {
        let prefix = world.key(shard, "row/");
        let mut scan = world.table().scan_prefix(prefix.clone()).start();
        let mut found = BTreeMap::new();
        while let Some(row) = world.must("the last scan of rows", async { scan.next().await.transpose() }).await {
            found.insert(row.key.to_vec(), row.value.to_vec());
        }
        let of_shard = |key: &Vec<u8>| key.starts_with(&prefix);
        let expected: BTreeMap<_, _> = rows.clone().into_iter().filter(|(key, _)| of_shard(key)).collect();
        let lost: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).collect();
        assert!(lost.is_empty(), "rows that were acknowledged are lost: {lost:?}");
        let refused: Vec<_> = found.keys().filter(|key| !expected.contains_key(*key)).collect();
        assert!(refused.is_empty(), "rows that were refused are there: {refused:?}");
        assert!(found == expected, "rows have the values that were acknowledged");
    }
}

async fn add(world: World, id: u64, acknowledged: Arc<Mutex<Acknowledged>>) {
    for number in 0.. {
        if world.is_over() {
            return;
        }
        world.pause(60).await;
        let shard = world.dice.between(0..=world.shards() - 1);
        let table = world.table();
        if world.dice.one_in(2) {
            let counter = world.dice.between(0..=COUNTERS - 1);
            let key = world.key(shard, &format!("counter/{counter}"));
            world.must("an addition", table.add_i64(key.clone(), 1)).await;
            *acknowledged.lock().unwrap_or_else(PoisonError::into_inner).counters.entry(key).or_default() += 1;
            continue;
        }
        let key = world.key(shard, &format!("row/{id}/{number:06}"));
        let value = format!("{id} {number}").into_bytes();
        let put = WriteBatch::new().if_absent(key.clone()).put(key.clone(), value.clone());
        world.must("a new row", table.write(put)).await;
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).rows.insert(key.clone(), value);
        if world.dice.one_in(4) {
            let twin = world.key(shard, &format!("row/{id}/{number:06}/refused"));
            let put = WriteBatch::new().if_absent(key.clone()).put(twin, "never").put(key, "never");
            let refused = world.timed("a row that is there", table.write(put)).await;
            let kind = refused.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::ConditionFailed), "a row is not put twice");
        }
    }
}
