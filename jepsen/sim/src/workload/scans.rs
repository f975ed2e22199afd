//! A version reads the same for everybody, for ever.

use lentic_client::{Error, KeyRange, Row, Table, Version};
use lentic_runtime::spawn;

use super::world::World;

const READERS: usize = 2;
const KEYS: u64 = 12;

/// Scans at a version while others write, and again later by another client: the same rows.
pub async fn scans(world: World) {
    let writer = spawn(write(world.fork()));
    let readers: Vec<_> = (0..READERS).map(|_| spawn(read(world.fork()))).collect();
    for task in readers.into_iter().chain([writer]) {
        task.await.expect("a panic ends the run");
    }
}

async fn write(world: World) {
    while !world.is_over() {
        world.pause(30).await;
        let number = world.dice.between(0..=KEYS - 1);
        let key = world.key(number, &format!("scan/{number}"));
        if world.dice.one_in(5) {
            world.must("a delete", world.table().delete(key)).await;
        } else {
            world.must("a put", world.table().put(key, vec![7; 40])).await;
        }
    }
}

async fn read(world: World) {
    while !world.is_over() {
        world.pause(200).await;
        let table = world.table();
        let now = world.must("a version", world.client().now()).await;
        let first = world.must("a scan", scan(table, now)).await;
        world.pause(1_500).await;
        let again = world.must("the same scan", scan(world.table(), now)).await;
        assert!(first == again, "at {now} there were {} rows, then {} rows or others", first.len(), again.len());
        assert!(first.iter().all(|row| row.version <= now), "a scan at {now} gives what was written after it");
    }
}

async fn scan(table: Table, at: Version) -> Result<Vec<Row>, Error> {
    let mut scan = table.scan(KeyRange::all()).at(at).page_bytes(256).start();
    let mut rows = Vec::new();
    while let Some(row) = scan.next().await {
        rows.push(row?);
    }
    Ok(rows)
}
