//! A version reads the same for everybody: whole or in pages, at once or later.
//!
//! ```text
//!   page 1 at 100 ├──┤   a row of page 2 is deleted   page 2 at 100 ├──┤   the row must be there all the same
//! ```

use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Error, KeyRange, Row, Version, prefix_range};
use serde_json::Value;
use tokio::time::sleep;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Step, World};

pub(crate) const NAME: &str = "scans";

const WRITERS: usize = 2;
const READERS: usize = 2;
/// Keys, over all shards.
const KEYS: usize = 24;
/// When a version is read once more.
const AGAIN_AFTER: Duration = Duration::from_millis(1_200);
/// Pages of a few rows: of this workload's, and of the whole table.
const PAGE_BYTES: u32 = 256;
const TABLE_PAGE_BYTES: u32 = 4 << 10;

/// What is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The rows of this workload, shard by shard.
    Own,
    /// The rows of all workloads, in one scan over all shards.
    Table,
}

/// Scans at a version while others write, in two ways, and again later by another client: the same rows.
pub(crate) async fn scans(world: World) {
    let mut tasks = Tasks::default();
    for _ in 0..WRITERS {
        tasks.spawn(write(world.fork()));
    }
    for _ in 0..READERS {
        tasks.spawn(read(world.fork()));
    }
    tasks.all().await;
    let reads = world.tally().of(NAME).reads;
    world.tally().show(NAME, format!("{reads} reads of versions that read the same, later too"));
}

fn name(number: usize) -> String {
    format!("{NAME}/{number:02}")
}

async fn write(world: World) {
    while !world.is_over() {
        world.pause().await;
        let number = world.below(KEYS);
        let (table, key) = (world.table(), world.key(number, &name(number)));
        let (f, value) = if world.one_in(4) { ("delete", None) } else { ("write", Some(world.moment())) };
        let step = Step::new(NAME, Style::OneShot, f, name(number)).value(value).in_shards(vec![number]);
        let filled = |value: u64| value.to_be_bytes().repeat(world.pace().value_bytes.div_ceil(8));
        let work = async {
            match value {
                Some(value) => table.put(key, filled(value)).await,
                None => table.delete(key).await,
            }
        };
        world.write(step, work).await;
    }
}

async fn read(world: World) {
    while !world.is_over() {
        world.pause().await;
        let client = world.client();
        let step = Step::read(NAME, "now");
        let Some(now) = world.run(step, client.now(), |now| now.0.into()).await.ok() else { continue };
        // What is written meanwhile lies above it.
        world.think().await;
        let scope = if world.one_in(2) { Scope::Own } else { Scope::Table };
        let Some(first) = scan(&world, now, scope, false).await else { continue };
        let late = first.iter().find(|row| row.version > now);
        assert!(late.is_none(), "{NAME}: a scan at {now} gives what was written after it: {late:?}");
        same(now, &first, scan(&world, now, scope, true).await, "in pages");
        if scope == Scope::Own {
            same(now, &first, gets(&world, now).await, "by keys");
        }
        sleep(AGAIN_AFTER).await;
        same(now, &first, scan(&world, now, scope, world.one_in(2)).await, "later");
    }
}

fn same(at: Version, first: &[Row], again: Option<Vec<Row>>, how: &str) {
    let Some(again) = again else { return };
    if let Some(words) = difference(first, &again) {
        panic!("{NAME}: version {at} reads differently {how}: {words}");
    }
}

fn difference(first: &[Row], again: &[Row]) -> Option<String> {
    let place = first.iter().zip(again).position(|(one, other)| one != other);
    let place = place.or((first.len() != again.len()).then_some(first.len().min(again.len())))?;
    let (one, other) = (first.get(place), again.get(place));
    Some(format!("of {} rows and {}, {one:?} is {other:?}", first.len(), again.len()))
}

/// All rows at a version, each shard's at once or in pages.
async fn scan(world: &World, at: Version, scope: Scope, in_pages: bool) -> Option<Vec<Row>> {
    let (ranges, page_bytes): (Vec<KeyRange>, u32) = match scope {
        Scope::Own => {
            let own = |shard| prefix_range(world.key(shard, &format!("{NAME}/")));
            ((0..world.shards()).map(own).collect(), PAGE_BYTES)
        }
        Scope::Table => (vec![KeyRange::all()], TABLE_PAGE_BYTES),
    };
    let work = async {
        let mut rows = Vec::new();
        for range in ranges {
            let scan = world.table().scan(range).at(at);
            let mut scan = if in_pages { scan.page_bytes(page_bytes) } else { scan }.start();
            while let Some(row) = scan.next().await.transpose()? {
                rows.push(row);
            }
        }
        Ok(rows)
    };
    let step = Step::read(NAME, &format!("{scope:?} at {at}"));
    world.run(step, work, |rows| Value::from(rows.len())).await.ok()
}

/// All rows at a version, by their keys.
async fn gets(world: &World, at: Version) -> Option<Vec<Row>> {
    let keys: Vec<_> = (0..world.shards())
        .flat_map(|shard| (0..KEYS).filter(move |number| number % world.shards() == shard))
        .map(|number| world.key(number, &name(number)))
        .collect();
    let work = get_all(world, keys, at);
    let step = Step::read(NAME, &format!("all keys at {at}"));
    world.run(step, work, |rows| Value::from(rows.len())).await.ok()
}

async fn get_all(world: &World, keys: Vec<Bytes>, at: Version) -> Result<Vec<Row>, Error> {
    let found = world.table().multi_get_at(keys.clone(), at).await?;
    let rows = keys.into_iter().zip(found).filter_map(|(key, found)| {
        let found = found?;
        let expires_unix_ms = found.expires_unix_ms;
        Some(Row { key, value: found.value, version: found.version, expires_unix_ms })
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told() {
        let row = |key: &'static str, version| Row {
            key: key.into(),
            value: "v".into(),
            version: Version(version),
            expires_unix_ms: None,
        };
        let first = [row("a", 1), row("b", 2)];
        assert_eq!(difference(&first, &first), None);
        assert!(difference(&first, &first[..1]).unwrap().contains("is None"));
        assert!(difference(&first, &[row("a", 1), row("b", 3)]).is_some());
        assert!(difference(&first, &[row("a", 1), row("c", 2)]).is_some());
        assert!(difference(&[], &first).is_some());
    }
}
