//! A feed tells every commit once, in order, and what it has told is what is there.
//!
//! Followers replay what a feed tells, of all of the table or of a shard, while everybody writes. Now and then one goes on
//! with another client, by the token that it has; which may be in the middle of a version:
//!
//! ```text
//!   told      c c c R c c c c R c │ token ─► another client │ c c R c c …      c: a change, R: resolved
//!   checked   in its shard each comes after the last, and above R
//!             at some R the table, read at that version, is what was replayed
//!   at last   every commit that was acknowledged was told
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lentic_client::{
    Error, ErrorKind, Feed, FeedChange, FeedEvent, FeedToken, KeyRange, MergeOperator, Transaction, Version, WriteBatch,
};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "feed";

const WRITERS: usize = 2;
const FOLLOWERS: usize = 2;
/// Rows over all shards, and counters, so that feeds tell what merges come to.
const ROWS: usize = 16;
const COUNTERS: usize = 8;
/// After so many events a follower goes on by its token.
const RESUMES_ONE_IN: u64 = 25;
/// At so many resolved versions what was replayed is compared with the table.
const COMPARES_ONE_IN: u64 = 12;

/// Keys that were written at a version, as was acknowledged.
type Ledger = Arc<Mutex<Vec<(Version, Vec<Bytes>)>>>;

fn lock(ledger: &Ledger) -> MutexGuard<'_, Vec<(Version, Vec<Bytes>)>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes and follows until all is over, then compares what was told with what was acknowledged.
pub(crate) async fn feed(world: World) {
    let ledger = Ledger::default();
    let mut writers = Tasks::default();
    for _ in 0..WRITERS {
        writers.spawn(write(world.fork(), Arc::clone(&ledger)));
    }
    let mut followers = Tasks::default();
    for number in 0..FOLLOWERS {
        followers.spawn(follow(world.fork(), number, Arc::clone(&ledger)));
    }
    writers.all().await;
    followers.all().await;
    let commits = lock(&ledger).len();
    world.tally().show(NAME, format!("{commits} acknowledged commits were told to {FOLLOWERS} followers, each once"));
}

fn row(world: &World, number: usize) -> Bytes {
    world.key(number, &format!("{NAME}/row/{number:02}"))
}

fn counter(world: &World, number: usize) -> Bytes {
    world.key(number, &format!("{NAME}/counter/{number:02}"))
}

async fn write(world: World, ledger: Ledger) {
    while !world.is_over() {
        world.pause().await;
        // Rows of one shard, or of any; a row of a few may be deleted.
        let first = world.below(ROWS);
        let stride = if world.one_in(2) { world.shards() } else { 1 };
        let count = 1 + world.below(4);
        let numbers: BTreeSet<usize> = (0..count).map(|step| (first + step * stride) % ROWS).collect();
        let moment = world.moment();
        let mut keys: Vec<Bytes> = numbers.iter().map(|number| row(&world, *number)).collect();
        let mut batch = WriteBatch::new();
        for key in &keys {
            let value = moment.to_be_bytes().to_vec();
            batch = if world.one_in(6) { batch.delete(key.clone()) } else { batch.put(key.clone(), value) };
        }
        let mut shards: Vec<usize> = numbers.into_iter().collect();
        if world.one_in(2) {
            let number = world.below(COUNTERS);
            keys.push(counter(&world, number));
            shards.push(number);
            batch = batch.merge(counter(&world, number), MergeOperator::AddI64, 1_i64.to_be_bytes().to_vec());
        }
        let step =
            Step::new(NAME, Style::OneShot, "write", format!("{NAME}/{first:02}")).value(moment).in_shards(shards);
        let client = world.client();
        let work = client.commit(Transaction::new().with(world.table_name(), batch));
        if let Done::Ok(version) = world.write(step, work).await {
            lock(&ledger).push((version, keys));
        }
    }
}

/// Keys with version, value and end.
type Rows = BTreeMap<Bytes, (Version, Bytes, Option<u64>)>;

/// A value with its end.
type Told = (Bytes, Option<u64>);

/// What a follower knows.
struct Replay {
    range: KeyRange,
    /// What was there when it began, at this version, and what was told since, up to what is resolved.
    began: Version,
    rows: Rows,
    /// What was told above it: shards are not equally far.
    ahead: BTreeMap<(Version, Bytes), Option<Told>>,
    /// The last change of each shard.
    last: BTreeMap<Bytes, (Version, Bytes)>,
    resolved: Version,
    /// Changes of this workload's keys.
    told: BTreeSet<(Version, Bytes)>,
}

async fn follow(world: World, number: usize, ledger: Ledger) {
    let starts = world.starts();
    let range = match number {
        0 => KeyRange::all(),
        _ => {
            let shard = world.below(starts.len());
            KeyRange::new(starts[shard].clone(), starts.get(shard + 1).cloned()).expect("shards are in order")
        }
    };
    let mut replay = begin(&world, range).await;
    let mut feed = world.table().subscribe(replay.range.clone()).from(replay.began).start();
    let mut token = None;
    loop {
        let is_over = world.is_over();
        let end = match is_over {
            // Everything that was acknowledged by now lies below.
            true => Some(must(&world, "now", || async { world.client().now().await }).await),
            false => None,
        };
        let told = until_resolved(&world, &mut replay, &mut feed, &mut token, end).await;
        let Ok(resolved) = told else {
            // As far as is known, a feed goes on where it was.
            feed = resume(&world, &replay, token.clone());
            continue;
        };
        if end.is_some() || world.one_in(COMPARES_ONE_IN) {
            compare(&world, &replay, resolved).await;
        }
        if end.is_some() {
            return replay.check_all_told(&lock(&ledger), resolved);
        }
    }
}

/// The table as a follower finds it.
async fn begin(world: &World, range: KeyRange) -> Replay {
    let at = must(world, "now", || async { world.client().now().await }).await;
    let rows = must(world, "rows", || rows_at(world, &range, at)).await;
    Replay::new(range, at, rows)
}

/// Reads until it works: with faults an error may be no one's fault.
async fn must<T, F: Future<Output = Result<T, Error>>>(world: &World, what: &str, read: impl Fn() -> F) -> T {
    loop {
        let step = Step::read(NAME, what);
        if let Some(found) = world.run(step, read(), |_| serde_json::Value::Null).await.ok() {
            return found;
        }
        world.pause().await;
    }
}

async fn rows_at(world: &World, range: &KeyRange, at: Version) -> Result<Rows, Error> {
    let (mut rows, mut scan) = (Rows::new(), world.table().scan(range.clone()).at(at).start());
    while let Some(row) = scan.next().await.transpose()? {
        rows.insert(row.key, (row.version, row.value, row.expires_unix_ms));
    }
    Ok(rows)
}

/// Goes on with another client, where the last one was.
fn resume(world: &World, replay: &Replay, token: Option<String>) -> Feed {
    match token {
        Some(text) => {
            let token: FeedToken = text.parse().expect("a token is read as it was written");
            world.table().resume(token).start()
        }
        None => world.table().subscribe(replay.range.clone()).from(replay.began).start(),
    }
}

/// Replays events until a version is resolved, or that one. Now and then it goes on by a token.
async fn until_resolved(
    world: &World,
    replay: &mut Replay,
    feed: &mut Feed,
    token: &mut Option<String>,
    end: Option<Version>,
) -> Result<Version, ()> {
    let work = async {
        loop {
            let event = feed.next().await.expect("a feed does not end by itself")?;
            // Whoever keeps a token keeps it with what was told.
            *token = Some(feed.token().expect("something was told").to_string());
            let resolved = replay.take(world, event);
            if world.one_in(RESUMES_ONE_IN) {
                *feed = resume(world, replay, token.clone());
            }
            if let Some(resolved) = resolved.filter(|resolved| end.is_none_or(|end| *resolved >= end)) {
                return Ok(resolved);
            }
        }
    };
    let step = Step::read(NAME, "what happens");
    match world.run(step, work, |resolved: &Version| resolved.0.into()).await {
        Done::Ok(resolved) => Ok(resolved),
        Done::Refused(error) => {
            assert!(error.kind() != ErrorKind::Invalid, "{NAME}: a token is refused: {error}");
            Err(())
        }
        Done::Unknown => Err(()),
    }
}

impl Replay {
    fn new(range: KeyRange, began: Version, rows: Rows) -> Self {
        let (ahead, last, told) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { range, began, rows, ahead, last, resolved: began, told }
    }

    /// Takes an event, and checks that it may come now. The version, if it resolves one.
    fn take(&mut self, world: &World, event: FeedEvent) -> Option<Version> {
        match event {
            FeedEvent::Resolved(version) => {
                let resolved = self.resolved;
                // A feed that was resumed may say again how far it was.
                assert!(version >= resolved, "{NAME}: {version} is resolved after {resolved}");
                self.resolve(version);
                Some(version)
            }
            FeedEvent::Change(change) => {
                self.change(world.order_of(&change.key), change);
                None
            }
            FeedEvent::RolledBack { range, to, version } => {
                panic!("{NAME}: nobody rolls {range} back to {to}, as is told at {version}")
            }
        }
    }

    fn change(&mut self, order: Bytes, change: FeedChange) {
        let FeedChange { key, version, value, expires_unix_ms } = change;
        let (range, resolved, at) = (&self.range, self.resolved, (version, key.clone()));
        assert!(range.contains(&key), "{NAME}: {key:?} is told, which is not in {range}");
        assert!(version > resolved, "{NAME}: {key:?} is told at {version}, after {resolved} was resolved");
        if let Some(last) = self.last.insert(order, at.clone()) {
            assert!(last < at, "{NAME}: of one shard, {at:?} is told after {last:?}");
        }
        if key.windows(NAME.len()).any(|part| part == NAME.as_bytes()) {
            self.told.insert(at.clone());
        }
        self.ahead.insert(at, value.map(|value| (value, expires_unix_ms)));
    }

    /// Everything up to a version was told, and so it is what is there.
    fn resolve(&mut self, resolved: Version) {
        self.resolved = resolved;
        while let Some(first) = self.ahead.first_entry().filter(|first| first.key().0 <= resolved) {
            let ((version, key), value) = first.remove_entry();
            match value {
                Some((value, expires_unix_ms)) => drop(self.rows.insert(key, (version, value, expires_unix_ms))),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    /// Every commit up to a version that was acknowledged, in the range and since it began, was told.
    fn check_all_told(&self, ledger: &[(Version, Vec<Bytes>)], resolved: Version) {
        let since = ledger.iter().filter(|(version, _)| *version > self.began && *version <= resolved);
        for (version, keys) in since {
            for key in keys.iter().filter(|key| self.range.contains(key)) {
                let is_told = self.told.contains(&(*version, key.clone()));
                assert!(
                    is_told,
                    "{NAME}: {key:?} was committed at {version}, and a feed of {} has not told it",
                    self.range
                );
            }
        }
    }
}

/// The table at a version is what was replayed up to it.
async fn compare(world: &World, replay: &Replay, at: Version) {
    let found = must(world, "rows", || rows_at(world, &replay.range, at)).await;
    let is_there = |ends: Option<u64>| ends.is_none_or(|ends| ends > at.ms() + Version::UNIX_MS_AT_ZERO);
    let expected: Rows =
        replay.rows.iter().filter(|(_, row)| is_there(row.2)).map(|(key, row)| (key.clone(), row.clone())).collect();
    if let Some(words) = difference(&expected, &found) {
        panic!("{NAME}: the table at {at} is not what was told up to it: {words}");
    }
}

fn difference(told: &Rows, found: &Rows) -> Option<String> {
    let keys: BTreeSet<_> = told.keys().chain(found.keys()).collect();
    let key = keys.into_iter().find(|key| told.get(*key) != found.get(*key))?;
    Some(format!("{key:?} is told as {:?} and found as {:?}", told.get(key), found.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay() -> Replay {
        Replay::new(KeyRange::new("a", Some("n")).unwrap(), Version(10), Rows::new())
    }

    fn change(key: &'static str, version: u64) -> FeedChange {
        let (version, value) = (Version(version), Some(Bytes::from_static(b"v")));
        FeedChange { key: key.into(), version, value, expires_unix_ms: None }
    }

    fn is_refused(key: &'static str, version: u64) -> bool {
        let taken = std::panic::catch_unwind(|| {
            let mut replay = replay();
            replay.change(Bytes::new(), change("feed/b", 20));
            replay.resolved = Version(15);
            replay.change(Bytes::new(), change(key, version));
        });
        taken.is_err()
    }

    #[test]
    fn what_comes_again_late_or_from_elsewhere_is_noticed() {
        assert!(!is_refused("feed/c", 20) && !is_refused("feed/a", 21));
        assert!(is_refused("feed/b", 20), "again");
        assert!(is_refused("feed/a", 20), "out of order");
        assert!(is_refused("feed/z", 15), "below what is resolved");
        assert!(is_refused("z", 30), "out of range");
    }

    #[test]
    fn what_is_told_ahead_is_there_when_it_is_resolved() {
        let mut replay = replay();
        replay.change(Bytes::new(), change("feed/b", 30));
        replay.change("p".into(), change("feed/c", 20));
        replay.resolve(Version(25));
        assert_eq!(replay.rows.keys().collect::<Vec<_>>(), ["feed/c"]);
        replay.change("p".into(), FeedChange { value: None, ..change("feed/c", 28) });
        replay.resolve(Version(30));
        assert_eq!(replay.rows.keys().collect::<Vec<_>>(), ["feed/b"]);
    }

    #[test]
    fn what_is_not_told_is_noticed() {
        let ledger = [
            (Version(9), vec![Bytes::from("feed/a")]),
            (Version(20), vec!["feed/b".into(), "z".into()]),
            (Version(30), vec!["feed/c".into()]),
        ];
        let mut told = replay();
        let check = |replay: &Replay| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replay.check_all_told(&ledger, Version(25))))
                .is_ok()
        };
        assert!(!check(&told), "a commit is missing");
        told.change(Bytes::new(), change("feed/b", 20));
        assert!(check(&told), "what was there before, and what is out of range or not resolved, need not be told");
    }

    #[test]
    fn what_differs_is_told() {
        let row = |version| (Version(version), Bytes::from_static(b"v"), None);
        let told = Rows::from([("a".into(), row(1)), ("b".into(), row(2))]);
        assert_eq!(difference(&told, &told), None);
        let mut found = told.clone();
        found.insert("b".into(), row(3));
        assert!(difference(&told, &found).unwrap().contains("found as Some((Version(3)"));
        found.remove(&Bytes::from("b"));
        assert!(difference(&told, &found).unwrap().contains("found as None"));
    }
}
