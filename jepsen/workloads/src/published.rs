//! Snapshots: what was published reads the same, from any node, whole or in pages, for as long as it is kept; and what is
//! not kept any more is an error, never a part.
//!
//! ```text
//!   retention 400 ms          S1 ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━● dropped
//!   watermark of the table    ╌╌╌╌╌╌╌╌╌╌╌▶╌╌╌╌╌╌╌╌╌╌▶╌╌╌╌╌╌╌╌╌▶             S1 is read below it
//! ```
//!
//! Reads are answered by leaders and by any other node that knows that it has all up to the version: the bytes are the same.
//!
//! The table is this workload's own: history is kept for so short a time that all of it would go, but for what is
//! published. Money is moved in it without being read, so no transaction is older than the history.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{
    Error, ErrorKind, KeyRange, MergeOperator, ReadFrom, SnapshotOptions, Table, TableOptions, Transaction, Value,
    Version, WriteBatch,
};
use tokio::time::sleep;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Step, World};

pub(crate) const NAME: &str = "published";

/// How long history is kept.
const RETENTION: Duration = Duration::from_millis(400);
/// Accounts, in shards of their own: there are as many as letters.
const ACCOUNTS: usize = 9;
/// What each begins with.
const OPENED: i64 = 100;
const TOTAL: i64 = OPENED * ACCOUNTS as i64;
const MOVERS: usize = 2;
const READERS: usize = 2;
/// Snapshots beyond which the oldest are dropped.
const KEPT_MAX: usize = 5;
/// The pause between two snapshots, at most.
const PUBLISHES_MS_MAX: u64 = 300;
/// Pages of a row or two.
const PAGE_BYTES: u32 = 48;
/// How far back a version without a name is read at most, in milliseconds.
const BACK_MS_MAX: u64 = 1_200;
/// How far back a version is read at most that nodes may not have heard of yet, in milliseconds.
const RECENT_MS_MAX: u64 = 250;

/// What an account had.
type Balances = Vec<(Bytes, Bytes)>;

/// A snapshot.
#[derive(Clone, Debug)]
struct Published {
    name: String,
    version: Version,
    /// When its lease ends, if it has one.
    expires: Option<Version>,
    /// Whether somebody has begun to drop it.
    is_dropped: bool,
    /// What it was when it was read first.
    balances: Option<Balances>,
}

/// Snapshots, the newest last.
type Shelf = Arc<Mutex<Vec<Published>>>;

/// How a snapshot is read.
#[derive(Clone, Copy, Debug)]
enum How {
    Whole,
    InPages,
    ByKeys,
}

/// Publishes, drops and reads until all is over. Then everything that is still kept is read once more.
pub(crate) async fn published(world: World) {
    if !open(&world).await {
        return;
    }
    let (shelf, mut tasks) = (Shelf::default(), Tasks::default());
    for _ in 0..MOVERS {
        tasks.spawn(move_money(world.fork()));
    }
    tasks.spawn(publish(world.fork(), Arc::clone(&shelf)));
    for _ in 0..READERS {
        tasks.spawn(read(world.fork(), Arc::clone(&shelf)));
    }
    tasks.spawn(look_back(world.fork()));
    tasks.all().await;
    let kept: Vec<_> = lock(&shelf).iter().filter(|published| !published.is_dropped).cloned().collect();
    for published in &kept {
        for how in [How::Whole, How::InPages, How::ByKeys] {
            for from in [ReadFrom::Leader, ReadFrom::Any] {
                read_one(&world, &shelf, published, how, from).await;
            }
        }
    }
    let (work, step) = (async { world.client().history(Some(NAME)).await }, Step::read(NAME, "history"));
    let history = world.run(step, work, |shards| shards.len().into()).await.ok().unwrap_or_default();
    let watermark = history.iter().map(|shard| shard.watermark).min().unwrap_or(Version::ZERO);
    let below = kept.iter().filter(|published| published.version < watermark).count();
    let reads = world.tally().of(NAME).reads;
    let words =
        format!("{reads} reads, {} snapshots kept to the end, {below} of them below all watermarks", kept.len());
    world.tally().show(NAME, words);
}

/// Makes the table and its accounts. `false` if the world was over before.
async fn open(world: &World) -> bool {
    let points = (1..ACCOUNTS).step_by(3).map(|account| Bytes::from(vec![b'a' + letter(account)])).collect();
    let options = TableOptions { split_points: points, retention: Some(RETENTION), ..TableOptions::default() };
    let accounts = (0..ACCOUNTS).map(|account| (key(account), OPENED.to_be_bytes().to_vec())).collect();
    world.make(NAME, &options).await && world.open_in(NAME, NAME, accounts).await
}

fn letter(account: usize) -> u8 {
    u8::try_from(account * 2).expect("few accounts")
}

fn key(account: usize) -> Bytes {
    Bytes::from(vec![b'a' + letter(account), b'1'])
}

fn lock(shelf: &Shelf) -> MutexGuard<'_, Vec<Published>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn move_money(world: World) {
    while !world.is_over() {
        world.pause().await;
        let from = world.below(ACCOUNTS);
        let to = (from + 1 + world.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = i64::try_from(world.between(1..=9)).expect("small");
        let add = |batch: WriteBatch, account, amount: i64| {
            batch.merge(key(account), MergeOperator::AddI64, amount.to_be_bytes().to_vec())
        };
        let batch = add(add(WriteBatch::new(), from, -amount), to, amount);
        let client = world.client();
        let work = client.commit(Transaction::new().with(NAME, batch));
        let step = Step::new(NAME, Style::OneShot, "transfer", format!("{NAME}/{from} to {to}")).value(amount);
        world.write(step, work).await;
    }
}

async fn publish(world: World, shelf: Shelf) {
    let mut number = 0;
    while !world.is_over() {
        sleep(Duration::from_millis(world.between(1..=PUBLISHES_MS_MAX))).await;
        number += 1;
        let name = format!("{NAME}/{number}");
        // Some go by themselves: long after they were read first, or before.
        let lease = world.one_in(4).then(|| Duration::from_millis(world.between(1..=3_000)));
        let options = SnapshotOptions { tables: vec![NAME.to_owned()], owner: NAME.to_owned(), lease };
        let client = world.client();
        let work = async { client.create_snapshot(&name, options).await };
        let made =
            world.run(Step::new(NAME, Style::OneShot, "publish", &*name), work, |pin| pin.version.0.into()).await;
        let Some(made) = made.ok() else { continue };
        let (version, expires) = (made.version, made.expires);
        let published = Published { name, version, expires, is_dropped: false, balances: None };
        lock(&shelf).push(published.clone());
        if world.one_in(2) {
            read_one(&world, &shelf, &published, How::Whole, from(&world)).await;
        }
        drop_one(&world, &shelf).await;
    }
}

/// Drops one of the oldest, if there are too many.
async fn drop_one(world: &World, shelf: &Shelf) {
    let dropped = {
        let mut shelf = lock(shelf);
        let kept = shelf.iter().filter(|published| !published.is_dropped && published.expires.is_none()).count();
        let place = world.below(3);
        let candidate =
            shelf.iter_mut().filter(|published| !published.is_dropped && published.expires.is_none()).nth(place);
        candidate.filter(|_| kept > KEPT_MAX).map(|published| {
            published.is_dropped = true;
            published.name.clone()
        })
    };
    let Some(name) = dropped else { return };
    let client = world.client();
    let work = async { client.drop_snapshot(&name).await };
    world.run(Step::new(NAME, Style::OneShot, "drop", &*name), work, |()| true.into()).await;
}

async fn read(world: World, shelf: Shelf) {
    while !world.is_over() {
        world.pause().await;
        let chosen = {
            let shelf = lock(&shelf);
            // The newest more often: the others are those that were dropped long ago.
            let len = shelf.len().min(2 * KEPT_MAX);
            (len > 0).then(|| shelf[shelf.len() - 1 - world.below(len)].clone())
        };
        let Some(published) = chosen else { continue };
        let how = [How::Whole, How::InPages, How::ByKeys][world.below(3)];
        read_one(&world, &shelf, &published, how, from(&world)).await;
    }
}

/// By whom something is read.
fn from(world: &World) -> ReadFrom {
    if world.one_in(2) { ReadFrom::Any } else { ReadFrom::Leader }
}

/// Reads a snapshot and judges what came of it.
async fn read_one(world: &World, shelf: &Shelf, published: &Published, how: How, from: ReadFrom) {
    let Published { name, version, expires, .. } = published;
    let client = world.client();
    let by_name = world.one_in(3);
    let work = async {
        let table = client.table(NAME).read_from(from);
        if by_name {
            // It is looked up first, and may be gone by then.
            let snapshot = table.at_snapshot(name).await;
            match snapshot {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                other => drop(other?),
            }
        }
        unless_too_old(balances(&table, *version, how).await)
    };
    let step = Step::read(NAME, &format!("{name} at {version}, {how:?} from {from:?}"));
    let found = world.run(step, work, |found| found.is_some().into()).await;
    let Some(found) = found.ok() else { return };
    let Some(balances) = found else {
        let step = Step::read(NAME, "now");
        let is_over = match expires {
            None => false,
            // The end may have come while it was read: who does not know what time it is says nothing.
            Some(end) => world.run(step, client.now(), |now| now.0.into()).await.ok().is_none_or(|now| now >= *end),
        };
        let is_dropped = lock(shelf).iter().any(|one| one.version == *version && one.is_dropped);
        assert!(is_over || is_dropped, "{NAME}: snapshot {name} at {version} is kept, and cannot be read");
        return;
    };
    assert_eq!(
        total(&balances),
        TOTAL,
        "{NAME}: the total of {name} at {version}, {how:?} from {from:?}: {balances:?}"
    );
    let mut shelf = lock(shelf);
    let known = shelf.iter_mut().find(|one| one.version == *version).expect("it was published");
    let first = known.balances.get_or_insert_with(|| balances.clone());
    assert_eq!(*first, balances, "{NAME}: snapshot {name} at {version} reads differently {how:?} from {from:?}");
}

/// Reads versions that nobody has named: all of it, the same from any node, or an error once they are older than the
/// history.
async fn look_back(world: World) {
    while !world.is_over() {
        world.pause().await;
        let client = world.client();
        let Some(now) = world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok() else {
            continue;
        };
        let back = world.between(0..=if world.one_in(2) { RECENT_MS_MAX } else { BACK_MS_MAX });
        let Some(version) = Version::tick(now.ms().saturating_sub(back), 0) else { continue };
        let table = client.table(NAME).read_from(ReadFrom::Any);
        let work = async {
            let found = unless_too_old(balances(&table, version, How::InPages).await)?;
            // Leaders are asked afterwards: what they tell must have been there.
            let table = table.clone().read_from(ReadFrom::Leader);
            match unless_too_old(balances(&table, version, How::Whole).await)? {
                Some(later) => assert!(
                    found.as_ref().is_none_or(|found| *found == later),
                    "{NAME}: at {version} any node has {found:?}, and leaders have {later:?}"
                ),
                None => return Ok(None),
            }
            Ok(found)
        };
        let step = Step::read(NAME, &format!("{back} ms back, at {version}"));
        match world.run(step, work, |found| found.is_some().into()).await.ok() {
            Some(Some(balances)) if !balances.is_empty() => {
                assert_eq!(total(&balances), TOTAL, "{NAME}: the total at {version}: {balances:?}");
            }
            // It was before the accounts were opened.
            Some(Some(_)) => {}
            Some(None) => {
                let later = world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok();
                let is_old = later.is_none_or(|later| old(version, later));
                assert!(is_old, "{NAME}: {version} cannot be read at {later:?}, and history is kept for longer");
            }
            None => {}
        }
    }
}

/// Whether a version is older than history is kept for.
fn old(version: Version, now: Version) -> bool {
    u128::from(now.ms().saturating_sub(version.ms())) >= RETENTION.as_millis()
}

fn unless_too_old(read: Result<Balances, Error>) -> Result<Option<Balances>, Error> {
    match read {
        Err(error) if error.kind() == ErrorKind::VersionTooOld => Ok(None),
        read => read.map(Some),
    }
}

async fn balances(table: &Table, at: Version, how: How) -> Result<Balances, Error> {
    if let How::ByKeys = how {
        let keys: Vec<_> = (0..ACCOUNTS).map(key).collect();
        let found: Vec<Option<Value>> = table.multi_get_at(keys.clone(), at).await?;
        return Ok(keys.into_iter().zip(found).filter_map(|(key, found)| Some((key, found?.value))).collect());
    }
    let scan = table.scan(KeyRange::all()).at(at);
    let scan = if let How::InPages = how { scan.page_bytes(PAGE_BYTES) } else { scan };
    let (mut scan, mut rows) = (scan.start(), Vec::new());
    while let Some(row) = scan.next().await.transpose()? {
        rows.push((row.key, row.value));
    }
    Ok(rows)
}

fn total(balances: &Balances) -> i64 {
    let number = |value: &Bytes| value[..].try_into().map_or(0, i64::from_be_bytes);
    balances.iter().map(|(_, value)| number(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_old() {
        let at = |ms| Version::tick(ms, 0).unwrap();
        assert!(old(at(100), at(500)) && !old(at(101), at(500)) && !old(at(500), at(100)));
    }

    #[test]
    fn a_part_has_another_total() {
        let row = |amount: i64| (Bytes::from("k"), Bytes::from(amount.to_be_bytes().to_vec()));
        assert_eq!(total(&vec![row(60), row(-5)]), 55);
        assert_eq!(total(&Vec::new()), 0);
    }
}
