//! Values of a table with a TTL: never gone early and never seen late, at whatever version and however they are read.
//!
//! ```text
//!   written at v                      ends at v + TTL, unless its writer says when
//!   ╌╌●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━○╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌▶ versions
//!         read here: it is there        read here: it is not
//!           S a snapshot from here shows it for as long as it is kept
//! ```
//!
//! Time is that of versions: clocks that leap take it along, and it stands still until they are where it is. So an end is
//! exact at a version. Who asks for the newest value takes a tick before and one after, and his read lies between them.
//!
//! A key is written by one caller, once or twice, and then not again: what must be there is known, but for keys of which
//! a write was not answered, which are let alone.

use std::time::Duration;

use bytes::Bytes;
use lentic_client::{
    Error, ErrorKind, KeyRange, MergeOperator, SnapshotOptions, Table, TableOptions, Transaction, Value, Version,
    WriteBatch,
};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Step, World};

pub(crate) const NAME: &str = "expiry";

/// How long values live by themselves.
const TTL: Duration = Duration::from_millis(300);
/// How long history is kept: ended values are collected while others are looked at.
const RETENTION: Duration = Duration::from_millis(900);
/// How long a value lives at most whose writer says so.
const OWN_MS_MAX: u64 = 700;
const CALLERS: usize = 4;
/// How often a key is looked at, at most.
const LOOKS_MAX: u64 = 8;
/// Where the table is cut, and what keys in the parts begin with.
const CUTS: [&str; 2] = ["h", "p"];
const LETTERS: [&str; 3] = ["a", "k", "t"];

/// What is known of a key.
#[derive(Clone, Debug)]
struct Life {
    key: Bytes,
    value: &'static str,
    version: Version,
    /// The millisecond of its end.
    ends_ms: u64,
}

impl Life {
    fn is_there_at(&self, at: Version) -> bool {
        self.version <= at && at.ms() < self.ends_ms
    }
}

/// Writes and looks until all is over. Then nothing is there that has ended.
pub(crate) async fn expiry(world: World) {
    if !open(&world).await {
        return;
    }
    let mut tasks = Tasks::default();
    for caller in 0..CALLERS {
        tasks.spawn(live(world.fork(), caller));
    }
    tasks.all().await;
    let client = world.client();
    let Some(now) = world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok() else { return };
    let work = async {
        let (mut scan, mut rows) = (client.table(NAME).scan(KeyRange::all()).at(now).start(), Vec::new());
        while let Some(row) = scan.next().await.transpose()? {
            rows.push((row.key, row.expires_unix_ms));
        }
        Ok(rows)
    };
    let step = Step::read(NAME, "all that is left");
    let Some(rows) = world.run(step, work, |rows| rows.len().into()).await.ok() else { return };
    for (key, ends) in &rows {
        let ends_ms = ends.map(ms_of);
        assert!(
            ends_ms.is_some_and(|ends| ends > now.ms()),
            "{NAME}: {key:?} is there at {now} and ends at {ends_ms:?}"
        );
    }
    let counts = world.tally().of(NAME);
    let words = format!("{} writes, {} reads, {} keys had not ended", counts.commits, counts.reads, rows.len());
    world.tally().show(NAME, words);
}

/// Makes the table. `false` if the world was over before.
async fn open(world: &World) -> bool {
    let options = TableOptions {
        split_points: CUTS.map(Bytes::from).to_vec(),
        retention: Some(RETENTION),
        ttl: Some(TTL),
        ..TableOptions::default()
    };
    world.make(NAME, &options).await
}

/// Writes keys, one after the other, and looks at each until it has ended.
async fn live(world: World, caller: usize) {
    let mut number = 0;
    while !world.is_over() {
        world.pause().await;
        number += 1;
        let name = |part: usize| Bytes::from(format!("{}{caller}/{number}", LETTERS[part]));
        let Some(mut lives) = write(&world, name).await else { continue };
        let snapshot = if world.one_in(4) { publish(&world, &format!("{NAME}/{caller}/{number}")).await } else { None };
        for look in 0..world.between(1..=LOOKS_MAX) {
            world.pause().await;
            let place = world.below(lives.len());
            if look == 1 && world.one_in(3) {
                let renewed = renew(&world, &lives[place]).await;
                match renewed {
                    Some(renewed) => lives[place] = renewed,
                    // Nobody knows what is there.
                    None => drop(lives.swap_remove(place)),
                }
                if lives.is_empty() {
                    break;
                }
                continue;
            }
            if world.one_in(2) {
                look_at_newest(&world, &lives[place]).await;
            } else {
                look_back(&world, &lives[place]).await;
            }
        }
        if let Some((name, version)) = snapshot {
            for life in lives.iter().filter(|life| life.version <= version) {
                look_at(&world, life, version, "snapshot").await;
            }
            let client = world.client();
            let work = async { client.drop_snapshot(&name).await };
            world.run(Step::new(NAME, Style::OneShot, "drop", &*name), work, |()| true.into()).await;
        }
    }
}

/// Writes a key, or two together. `None` if nobody knows whether it was written.
async fn write(world: &World, name: impl Fn(usize) -> Bytes) -> Option<Vec<Life>> {
    let (client, part) = (world.client(), world.below(LETTERS.len()));
    let (table, key) = (client.table(NAME), name(part));
    let step = |f| Step::new(NAME, Style::OneShot, f, format!("{NAME}/{key:?}"));
    let ttl_ms = u64::try_from(TTL.as_millis()).expect("short");
    let life = |key: &Bytes, version: Version| {
        let ends_ms = version.ms() + ttl_ms;
        Life { key: key.clone(), value: "1", version, ends_ms }
    };
    match world.below(4) {
        0 => {
            let version = world.write(step("put"), table.put(key.clone(), "1")).await.ok()?;
            Some(vec![life(&key, version)])
        }
        1 => {
            let work = table.merge(key.clone(), MergeOperator::Append, "1");
            let version = world.write(step("merge"), work).await.ok()?;
            Some(vec![life(&key, version)])
        }
        2 => {
            let now = world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok()?;
            let ends_ms = now.ms() + world.between(0..=OWN_MS_MAX);
            let work = table.put_with(key.clone(), "1", ends_ms + Version::UNIX_MS_AT_ZERO);
            let version = world.write(step("put until"), work).await.ok()?;
            Some(vec![Life { ends_ms, ..life(&key, version) }])
        }
        _ => {
            let other = name((part + 1) % LETTERS.len());
            let batch = WriteBatch::new().put(key.clone(), "1").put(other.clone(), "1");
            let work = client.commit(Transaction::new().with(NAME, batch));
            let version = world.write(step("put two"), work).await.ok()?;
            Some(vec![life(&key, version), life(&other, version)])
        }
    }
}

/// Merges something into a value, which lives on from then: or into nothing, if it has ended.
async fn renew(world: &World, life: &Life) -> Option<Life> {
    let (client, key) = (world.client(), life.key.clone());
    let step = Step::new(NAME, Style::OneShot, "merge", format!("{NAME}/{key:?}"));
    let table = client.table(NAME);
    let version = world.write(step, table.merge(key.clone(), MergeOperator::Append, "2")).await.ok()?;
    let value = if life.is_there_at(version) { "12" } else { "2" };
    Some(Life { key, value, version, ends_ms: version.ms() + u64::try_from(TTL.as_millis()).expect("short") })
}

/// Names the version of this moment.
async fn publish(world: &World, name: &str) -> Option<(String, Version)> {
    let client = world.client();
    let options = SnapshotOptions { tables: vec![NAME.to_owned()], owner: NAME.to_owned(), lease: None };
    let work = async { client.create_snapshot(name, options).await };
    let step = Step::new(NAME, Style::OneShot, "publish", name);
    let pin = world.run(step, work, |pin| pin.version.0.into()).await.ok()?;
    Some((name.to_owned(), pin.version))
}

/// The newest value: it has not ended before the read began, or it has before the read was over.
async fn look_at_newest(world: &World, life: &Life) {
    let client = world.client();
    let tick = || world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into());
    let Some(before) = tick().await.ok() else { return };
    let key = life.key.clone();
    let step = Step::read(NAME, &format!("{key:?}"));
    let table = client.table(NAME);
    let Some(found) = world.run(step, table.get(key), |found| found.is_some().into()).await.ok() else { return };
    match found {
        Some(found) => {
            judge(life, &found, "newest");
            assert!(life.ends_ms > before.ms(), "{NAME}: {life:?} is seen late, after {before}");
        }
        None => {
            let Some(after) = tick().await.ok() else { return };
            assert!(life.ends_ms <= after.ms(), "{NAME}: {life:?} is gone early, before {after}");
        }
    }
}

/// A version near one of the ends of a life, or anywhere in it.
async fn look_back(world: &World, life: &Life) {
    let client = world.client();
    let Some(now) = world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok() else { return };
    let end = Version::tick(life.ends_ms, 0).expect("a time to come");
    let at = match world.below(5) {
        0 => life.version,
        1 => Version(end.0 - 1),
        2 => end,
        3 => now,
        _ => Version(world.between(life.version.0..=now.0.max(life.version.0))),
    };
    if at <= now && at >= life.version {
        look_at(world, life, at, "version").await;
    }
}

/// A version, in one way or another. History may not go back to it any more, unless it is a snapshot's.
async fn look_at(world: &World, life: &Life, at: Version, what: &str) {
    let (client, way) = (world.client(), world.below(3));
    let step = Step::read(NAME, &format!("{:?} at {what} {at}", life.key));
    let work = async {
        match read(&client.table(NAME), &life.key, at, way).await {
            Err(error) if error.kind() == ErrorKind::VersionTooOld && what == "version" => Ok(None),
            found => found.map(Some),
        }
    };
    let Some(Some(found)) = world.run(step, work, |found| found.is_some().into()).await.ok() else { return };
    match found {
        Some(found) => {
            judge(life, &found, what);
            assert!(life.is_there_at(at), "{NAME}: {life:?} is seen late, at {what} {at}");
        }
        None => assert!(!life.is_there_at(at), "{NAME}: {life:?} is gone early, at {what} {at}"),
    }
}

async fn read(table: &Table, key: &Bytes, at: Version, way: usize) -> Result<Option<Value>, Error> {
    match way {
        0 => table.get_at(key.clone(), at).await,
        1 => Ok(table.multi_get_at([key.clone()], at).await?.pop().flatten()),
        _ => {
            let mut scan = table.scan_prefix(key.clone()).at(at).start();
            while let Some(row) = scan.next().await.transpose()? {
                if row.key == *key {
                    let (value, version, expires_unix_ms) = (row.value, row.version, row.expires_unix_ms);
                    return Ok(Some(Value { value, version, expires_unix_ms }));
                }
            }
            Ok(None)
        }
    }
}

fn judge(life: &Life, found: &Value, what: &str) {
    let told = (&found.value[..], found.version, found.expires_unix_ms.map(ms_of));
    let expected = (life.value.as_bytes(), life.version, Some(life.ends_ms));
    assert_eq!(told, expected, "{NAME}: {:?} read at {what}", life.key);
}

/// A time since 1970 as one of versions.
fn ms_of(unix_ms: u64) -> u64 {
    unix_ms.saturating_sub(Version::UNIX_MS_AT_ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_from_its_version_to_the_millisecond_of_its_end() {
        let at = |ms| Version::tick(ms, 0).unwrap();
        let life = Life { key: "k".into(), value: "1", version: at(100), ends_ms: 400 };
        assert!(life.is_there_at(at(100)) && life.is_there_at(Version(at(400).0 - 1)));
        assert!(!life.is_there_at(Version(at(100).0 - 1)) && !life.is_there_at(at(400)));
    }

    #[test]
    #[should_panic(expected = "read at newest")]
    fn another_end_is_noticed() {
        let life = Life { key: "k".into(), value: "1", version: Version(1), ends_ms: 400 };
        let expires_unix_ms = Some(Version::UNIX_MS_AT_ZERO + 401);
        judge(&life, &Value { value: "1".into(), version: Version(1), expires_unix_ms }, "newest");
    }
}
