//! Owned ranges: who was replaced writes no more, and a job that goes back to a checkpoint finds what it left there, in all
//! shards at once.
//!
//! ```text
//!   attempt 1   take all ───► +1 +1 ──► checkpoint ──► +1 +1 +1 ──╳   its writers go on until they are fenced
//!   attempt 2                              take a..j ◄── back ────┤ ──► +1 ──► checkpoint ──► …
//!                                          take j..z ◄── back ────┘
//! ```
//!
//! Counters are over three shards, and as many tasks as an attempt has own parts of them that are cut otherwise than shards
//! are. Each count says which attempt wrote it. Readers look at all counters at one version meanwhile, and each must show
//! what the last taking at or below that version went back to, or what was written under its fence.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lentic_client::{Checkpoint, ErrorKind, Fence, KeyRange, Table, TableOptions, Take, Version, WriteBatch};

use serde_json::Value;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "owners";

/// The counters.
const KEYS: [&str; 9] = ["a", "c", "e", "h", "j", "l", "q", "s", "u"];
/// Where the table is cut into shards.
const CUTS: [&str; 2] = ["g", "p"];
/// How the tasks of an attempt share the counters, by how many there are.
const PARTS: [&[(&str, &str)]; 3] = [&[("a", "z")], &[("a", "j"), ("j", "z")], &[("a", "e"), ("e", "q"), ("q", "z")]];
/// Counts of an attempt, at most, and how many of them come between two checkpoints.
const COUNTS_MAX: u64 = 12;
const CHECKPOINT_EVERY: u64 = 4;
/// Counts that those who were replaced try to write.
const ZOMBIE_COUNTS: u64 = 6;
/// Checkpoints that are read again at the end: the newest.
const AGAIN_MAX: usize = 10;

/// What a counter shows: which attempt wrote it, and the count.
type Count = Option<(u64, u64)>;
type Counts = [Count; KEYS.len()];

/// A version of all counters that the job can come back to.
#[derive(Clone, Debug)]
struct Named {
    parts: Vec<(KeyRange, Checkpoint)>,
    counts: Counts,
}

/// A range that was taken, or may have been.
#[derive(Clone, Debug)]
struct Taken {
    range: KeyRange,
    attempt: u64,
    /// What it went back to.
    counts: Counts,
    /// Not before this version.
    after: Version,
    /// At this one; `None` if nobody knows whether it was.
    at: Option<Version>,
}

/// What is noted for the end.
#[derive(Debug, Default)]
struct Notes {
    taken: Vec<Taken>,
    read: Vec<(Version, Counts)>,
    named: Vec<Named>,
    replaced: u64,
}

/// Runs a job, attempt after attempt, until all is over. Then every read must fit what was taken, and checkpoints show what
/// they did.
pub(crate) async fn owners(world: World) {
    let name = format!("{}_{NAME}", world.table_name());
    let options = TableOptions { split_points: CUTS.map(Bytes::from).into(), ..TableOptions::default() };
    let made = async { world.client().create_table(&name, options).await.map(|_| Version::ZERO) };
    // Made or not, it is found out by who takes a range of it; and nobody knows of it if it is not.
    if !matches!(world.write(Step::new(NAME, Style::OneShot, "create", NAME), made).await, Done::Ok(_)) {
        return;
    }
    let notes = Arc::new(Mutex::new(Notes::default()));
    let mut tasks = Tasks::default();
    tasks.spawn(run_job(world.fork(), name.clone(), Arc::clone(&notes)));
    tasks.spawn(read(world.fork(), name.clone(), Arc::clone(&notes)));
    tasks.all().await;
    let notes = std::mem::take(&mut *lock(&notes));
    for (version, counts) in &notes.read {
        if let Some(words) = contradiction(&notes.taken, *version, counts) {
            panic!("{NAME}: at {version}, {words}");
        }
    }
    for Named { parts, counts } in notes.named.iter().rev().take(AGAIN_MAX) {
        for (range, checkpoint) in parts {
            let found = counts_at(&world, &world.client().table(&name), checkpoint.version).await;
            let is_same = |key: usize| found.is_none_or(|found| found[key] == counts[key]);
            let differs = keys_in(range).find(|key| !is_same(*key));
            assert!(differs.is_none(), "{NAME}: a checkpoint of {range:?} was {counts:?}, and is {found:?}");
        }
    }
    let words = format!(
        "{} ranges taken, {} checkpoints, {} writers replaced, {} reads fit",
        notes.taken.len(),
        notes.named.len(),
        notes.replaced,
        notes.read.len()
    );
    world.tally().show(NAME, words);
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn range((start, end): (&'static str, &'static str)) -> KeyRange {
    KeyRange::new(start, Some(end)).expect("in order")
}

fn keys_in(range: &KeyRange) -> impl Iterator<Item = usize> {
    (0..KEYS.len()).filter(|key| range.contains(KEYS[*key].as_bytes()))
}

/// Why a read does not fit what was taken.
fn contradiction(taken: &[Taken], version: Version, counts: &Counts) -> Option<String> {
    (0..KEYS.len()).find_map(|key| {
        let of_key = |taken: &&Taken| taken.range.contains(KEYS[key].as_bytes());
        let last = taken.iter().rposition(|one| of_key(&one) && one.at.is_some_and(|at| at <= version));
        // What nobody knows of may have come since, however long ago it was asked for.
        if taken.iter().filter(of_key).any(|one| one.at.is_none() && one.after <= version) {
            return None;
        }
        let found = counts[key];
        let Some(last) = last.map(|last| &taken[last]) else {
            return found.map(|found| format!("{} shows {found:?} before anybody owned it", KEYS[key]));
        };
        let before = last.counts[key];
        let is_newer = found
            .is_some_and(|(attempt, count)| attempt == last.attempt && before.is_none_or(|(_, before)| count > before));
        let fits = found == before || is_newer;
        (!fits).then(|| format!("{} shows {found:?}, and attempt {} began with {before:?}", KEYS[key], last.attempt))
    })
}

async fn run_job(world: World, name: String, notes: Arc<Mutex<Notes>>) {
    let (mut attempt, mut replaced) = (0, Tasks::default());
    while !world.is_over() {
        attempt += 1;
        let Some(owned) = begin(&world, &name, attempt, &notes).await else { continue };
        let mut counts = owned.counts;
        if lock(&notes).named.is_empty() && !checkpoint(&world, &name, &owned, counts, &notes).await {
            continue;
        }
        for number in 1..=world.between(1..=COUNTS_MAX) {
            if world.is_over() || !count(&world, &name, &owned, &mut counts, &notes).await {
                break;
            }
            if number.is_multiple_of(CHECKPOINT_EVERY) && !checkpoint(&world, &name, &owned, counts, &notes).await {
                break;
            }
        }
        // Its writers do not know that they will be replaced.
        replaced.sweep();
        replaced.spawn(go_on(world.fork(), name.clone(), owned, counts, Arc::clone(&notes)));
    }
    replaced.all().await;
}

/// What an attempt owns.
#[derive(Clone, Debug)]
struct Attempt {
    number: u64,
    parts: Vec<(KeyRange, Fence)>,
    counts: Counts,
}

impl Attempt {
    fn fence_of(&self, key: usize) -> Fence {
        let part = self.parts.iter().find(|(range, _)| range.contains(KEYS[key].as_bytes()));
        part.map(|(_, fence)| *fence).expect("an attempt owns all keys")
    }
}

/// Takes all counters, as they were at the last checkpoint. `None` if not all of them could be had.
async fn begin(world: &World, name: &str, number: u64, notes: &Mutex<Notes>) -> Option<Attempt> {
    let last = lock(notes).named.last().cloned();
    let counts = last.as_ref().map_or(Counts::default(), |named| named.counts);
    let mut parts = Vec::new();
    for part in PARTS[world.below(PARTS.len())] {
        let (range, table) = (range(*part), world.client().table(name));
        let mut take = Take::new(range.clone(), "job");
        for (old, checkpoint) in last.iter().flat_map(|named| &named.parts) {
            if let Some(back) = old.intersection(&range) {
                take = take.restore(&back, checkpoint.token.clone());
            }
        }
        let after = now(world).await?;
        let taken = Taken { range: range.clone(), attempt: number, counts, after, at: None };
        let place = {
            let mut notes = lock(notes);
            notes.taken.push(taken);
            notes.taken.len() - 1
        };
        let work = async { table.take(take).await.map(|fence| Version(fence.0)) };
        match world.write(Step::new(NAME, Style::OneShot, "take", part.0), work).await {
            Done::Ok(at) => {
                lock(notes).taken[place].at = Some(at);
                parts.push((range, Fence(at.0)));
            }
            Done::Refused(_) => {
                lock(notes).taken.remove(place);
                return None;
            }
            Done::Unknown => return None,
        }
    }
    let attempt = Attempt { number, parts, counts };
    // Only its own tasks write from now on, and they do not yet.
    let table = world.client().table(name);
    let newest = attempt.parts.iter().map(|(_, fence)| Version(fence.0)).max().expect("it has parts");
    let is_in_doubt = lock(notes).taken.iter().any(|taken| taken.at.is_none());
    if let Some(found) = counts_at(world, &table, newest).await.filter(|_| !is_in_doubt) {
        assert_eq!(found, counts, "{NAME}: attempt {number} took all counters back, and finds others at {newest}");
    }
    Some(attempt)
}

/// Counts some counters of one task on, together. False if the attempt cannot go on.
async fn count(world: &World, name: &str, owned: &Attempt, counts: &mut Counts, notes: &Mutex<Notes>) -> bool {
    world.pause().await;
    let key = world.below(KEYS.len());
    let (mut next, step) = (*counts, Step::new(NAME, Style::Fenced, "count", KEYS[key]));
    let (table, batch) = (world.client().table(name), counted(owned, &mut next, key));
    match world.write(step, table.write(batch)).await {
        Done::Ok(_) => *counts = next,
        done => {
            check_fenced(&done, owned, notes);
            return false;
        }
    }
    true
}

/// Nobody takes anything from the attempt that is under way, but for an earlier one of which nobody knows whether it did.
fn check_fenced<T>(done: &Done<T>, owned: &Attempt, notes: &Mutex<Notes>) {
    let is_in_doubt = || lock(notes).taken.iter().any(|taken| taken.at.is_none());
    if let Done::Refused(error) = done
        && error.kind() == ErrorKind::Fenced
    {
        assert!(is_in_doubt(), "{NAME}: attempt {} was fenced, and nobody else has taken anything", owned.number);
    }
}

/// A batch that counts a key on.
fn counted(owned: &Attempt, counts: &mut Counts, key: usize) -> WriteBatch {
    let count = counts[key].map_or(0, |(_, count)| count) + 1;
    counts[key] = Some((owned.number, count));
    let value = [owned.number.to_be_bytes(), count.to_be_bytes()].concat();
    WriteBatch::new().fence(owned.fence_of(key)).put(KEYS[key], value)
}

/// Names what all tasks have written. False if the attempt cannot go on.
async fn checkpoint(world: &World, name: &str, owned: &Attempt, counts: Counts, notes: &Mutex<Notes>) -> bool {
    let mut parts = Vec::new();
    for (range, fence) in &owned.parts {
        let (table, mut named) = (world.client().table(name), None);
        let work = async {
            let checkpoint = table.checkpoint(range, *fence, owned.number).await?;
            let version = checkpoint.version.0;
            named = Some(checkpoint);
            Ok(version)
        };
        let step = Step::new(NAME, Style::Fenced, "checkpoint", owned.number.to_string());
        let done = world.run(step, work, |version| Value::from(*version)).await;
        if !matches!(done, Done::Ok(_)) {
            check_fenced(&done, owned, notes);
            return false;
        }
        parts.push((range.clone(), named.expect("it was read")));
    }
    lock(notes).named.push(Named { parts, counts });
    true
}

/// Goes on as if nothing had happened, until it is fenced: none of its writes may take effect once others own the keys.
async fn go_on(world: World, name: String, owned: Attempt, mut counts: Counts, notes: Arc<Mutex<Notes>>) {
    for _ in 0..ZOMBIE_COUNTS {
        world.pause().await;
        let key = world.below(KEYS.len());
        let batch = counted(&owned, &mut counts, key);
        match world.client().table(&name).write(batch).await {
            Ok(version) => {
                let notes = lock(&notes);
                let own = Version(owned.fence_of(key).0);
                let is_newer = |at: Version| at > own && at <= version;
                let of_key = |taken: &&Taken| taken.range.contains(KEYS[key].as_bytes());
                let newer = notes.taken.iter().filter(of_key).find(|taken| taken.at.is_some_and(is_newer));
                assert!(newer.is_none(), "{NAME}: a write under {own} took effect at {version}, after {newer:?}");
            }
            Err(error) if error.kind() == ErrorKind::Fenced => {
                lock(&notes).replaced += 1;
                return;
            }
            // Its caller is as good as dead.
            Err(_) => {}
        }
    }
}

async fn read(world: World, name: String, notes: Arc<Mutex<Notes>>) {
    while !world.is_over() {
        world.pause().await;
        let Some(now) = now(&world).await else { continue };
        if let Some(counts) = counts_at(&world, &world.client().table(&name), now).await {
            lock(&notes).read.push((now, counts));
        }
    }
}

async fn now(world: &World) -> Option<Version> {
    let client = world.client();
    world.read(NAME, "now", async { client.now().await.map(|now| now.0) }).await.map(Version)
}

/// All counters at a version; `None` if they could not be read.
async fn counts_at(world: &World, table: &Table, version: Version) -> Option<Counts> {
    let mut counts = Counts::default();
    let work = async {
        let found = table.multi_get_at(KEYS, version).await?;
        counts = std::array::from_fn(|key| found[key].as_ref().map(count_of));
        Ok(format!("{counts:?}"))
    };
    world.read(NAME, &format!("all at {version}"), work).await.map(|_| counts)
}

fn count_of(value: &lentic_client::Value) -> (u64, u64) {
    let word = |at: usize| u64::from_be_bytes(value.value[at..at + 8].try_into().expect("two words were written"));
    (word(0), word(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(part: (&'static str, &'static str), attempt: u64, counts: Counts, at: Option<u64>) -> Taken {
        Taken { range: range(part), attempt, counts, after: Version(at.unwrap_or(25)), at: at.map(Version) }
    }

    fn one(count: (u64, u64)) -> Counts {
        let mut counts = Counts::default();
        counts[0] = Some(count);
        counts
    }

    #[test]
    fn a_counter_shows_what_its_owner_began_with_or_wrote() {
        let all = [taken(("a", "z"), 1, Counts::default(), Some(10)), taken(("a", "j"), 2, one((1, 4)), Some(20))];
        let fits = |at, counts| contradiction(&all, Version(at), &counts).is_none();
        assert!(fits(5, Counts::default()) && fits(15, one((1, 9))) && fits(19, one((1, 5))));
        assert!(fits(20, one((1, 4))) && fits(30, one((2, 5))));
        for (at, found) in [(5, (1, 1)), (20, (1, 5)), (30, (1, 9)), (30, (2, 4)), (30, (3, 5)), (30, (1, 3))] {
            assert!(!fits(at, one(found)), "{found:?} at {at}");
        }
        assert!(!fits(30, Counts::default()), "what it went back to is there");
        let doubt = [all.to_vec(), vec![taken(("a", "e"), 3, one((2, 9)), None)]].concat();
        assert!(contradiction(&doubt, Version(30), &one((3, 10))).is_none(), "nobody knows");
        assert!(contradiction(&doubt, Version(24), &one((3, 10))).is_some(), "not yet");
    }

    #[test]
    fn parts_are_all_of_the_counters() {
        for parts in PARTS {
            let keys: Vec<usize> = parts.iter().flat_map(|part| keys_in(&range(*part)).collect::<Vec<_>>()).collect();
            assert_eq!(keys, (0..KEYS.len()).collect::<Vec<_>>());
        }
    }
}
