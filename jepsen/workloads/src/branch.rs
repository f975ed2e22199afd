//! Branches: a branch shows what its parent held, whole, from any node and however it is read; then both go their own ways;
//! and what is let go of with a branch is its own alone.
//!
//! ```text
//!   branch            ──────●────────●──────────▶      money moves in each of them, so each has the same total, always
//!   branch/1                ╰────●───┆──────────▶      at its own version each reads as its parent does, whatever either
//!   branch/2                     ╰───┆───× dropped     has done since
//!   branch/3                         ╰──────────▶
//! ```
//!
//! History is kept for so short a time that all that a branch reads would go from its parent, but for the branch. Money is
//! moved without being read, so no transaction is older than the history.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{
    Error, ErrorKind, KeyRange, MergeOperator, Table, TableOptions, Transaction, Value, Version, WriteBatch,
};
use tokio::time::sleep;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Step, World};

pub(crate) const NAME: &str = "branch";

/// How long history is kept.
const RETENTION: Duration = Duration::from_millis(400);
/// Accounts, in shards of their own: there are as many as letters.
const ACCOUNTS: usize = 9;
/// What each begins with.
const OPENED: i64 = 100;
const TOTAL: i64 = OPENED * ACCOUNTS as i64;
const MOVERS: usize = 3;
const READERS: usize = 2;
/// Branches beyond which one that has none is dropped.
const KEPT_MAX: usize = 5;
/// How deep branches go.
const DEPTH_MAX: usize = 3;
/// The pause between two branches, at most.
const GROWS_MS_MAX: u64 = 300;
/// How far back a branch is made at most, in milliseconds.
const BACK_MS_MAX: u64 = 300;
/// Pages of a row or two.
const PAGE_BYTES: u32 = 48;

/// A note beside the accounts, which is deleted in some branches.
const NOTE: &[u8] = b"b9";

/// What an account had.
type Balances = Vec<(Bytes, Bytes)>;

/// A table: the first, or a branch.
#[derive(Clone, Debug)]
struct Grown {
    name: String,
    depth: usize,
    /// The parent, and the version of the branch.
    of: Option<(String, Version)>,
    /// Whether somebody has begun to drop it.
    is_dropped: bool,
    /// Whether its note was deleted in it.
    is_cleared: bool,
    /// What it was at its version when that was read first.
    based: Option<Balances>,
}

/// All tables, parents before their branches.
type Tree = Arc<Mutex<Vec<Grown>>>;

/// How a table is read.
#[derive(Clone, Copy, Debug)]
enum How {
    Whole,
    Backward,
    InPages,
    ByKeys,
}

const WAYS: [How; 4] = [How::Whole, How::Backward, How::InPages, How::ByKeys];

/// Branches, moves, reads and drops until all is over. Then everything that is still there is read once more.
pub(crate) async fn branch(world: World) {
    let Some(opened) = open(&world).await else { return };
    let root = Grown { name: NAME.to_owned(), depth: 0, of: None, is_dropped: false, is_cleared: false, based: None };
    let (tree, mut tasks) = (Arc::new(Mutex::new(vec![root])), Tasks::default());
    for _ in 0..MOVERS {
        tasks.spawn(move_money(world.fork(), Arc::clone(&tree)));
    }
    tasks.spawn(grow(world.fork(), Arc::clone(&tree), opened));
    for _ in 0..READERS {
        tasks.spawn(read(world.fork(), Arc::clone(&tree)));
    }
    tasks.all().await;
    let kept: Vec<_> = lock(&tree).iter().filter(|grown| !grown.is_dropped).cloned().collect();
    for grown in &kept {
        for how in WAYS {
            read_now(&world, &tree, grown, how).await;
            read_base(&world, &tree, grown, how).await;
        }
    }
    let (reads, grown) = (world.tally().of(NAME).reads, lock(&tree).len() - 1);
    world.tally().show(NAME, format!("{reads} reads, {grown} branches, {} kept to the end", kept.len() - 1));
}

/// Makes the table and its accounts; a version at which they are there. `None` if the world was over before.
async fn open(world: &World) -> Option<Version> {
    let points = (1..ACCOUNTS).step_by(3).map(|account| Bytes::from(vec![b'a' + letter(account)])).collect();
    let options = TableOptions { split_points: points, retention: Some(RETENTION), ..TableOptions::default() };
    let accounts = (0..ACCOUNTS).map(|account| (key(account), OPENED.to_be_bytes().to_vec()));
    let rows = accounts.chain([(Bytes::from(NOTE), b"a note".to_vec())]).collect();
    if !world.make(NAME, &options).await || !world.open_in(NAME, NAME, rows).await {
        return None;
    }
    while !world.is_over() {
        let client = world.client();
        if let Some(now) = world.run(Step::read(NAME, "now"), client.now(), |now| now.0.into()).await.ok() {
            return Some(now);
        }
        world.pause().await;
    }
    None
}

fn letter(account: usize) -> u8 {
    u8::try_from(account * 2).expect("few accounts")
}

fn key(account: usize) -> Bytes {
    Bytes::from(vec![b'a' + letter(account), b'1'])
}

fn lock(tree: &Tree) -> MutexGuard<'_, Vec<Grown>> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the tables that are there, a late one more often.
fn choose(world: &World, tree: &Tree) -> Grown {
    let tree = lock(tree);
    let live: Vec<_> = tree.iter().filter(|grown| !grown.is_dropped).collect();
    live[world.below(live.len()).max(world.below(live.len()))].clone()
}

/// Whether a table may be gone by now.
fn is_dropped(tree: &Tree, name: &str) -> bool {
    lock(tree).iter().any(|grown| grown.name == name && grown.is_dropped)
}

async fn move_money(world: World, tree: Tree) {
    while !world.is_over() {
        world.pause().await;
        let table = choose(&world, &tree).name;
        let from = world.below(ACCOUNTS);
        let to = (from + 1 + world.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = i64::try_from(world.between(1..=9)).expect("small");
        let add = |batch: WriteBatch, account, amount: i64| {
            batch.merge(key(account), MergeOperator::AddI64, amount.to_be_bytes().to_vec())
        };
        let batch = add(add(WriteBatch::new(), from, -amount), to, amount);
        let client = world.client();
        let work = async {
            match client.commit(Transaction::new().with(&table, batch)).await {
                // What was sent, nobody can ask any more.
                Err(error)
                    if (error.kind() == ErrorKind::NotFound || error.is_unknown()) && is_dropped(&tree, &table) =>
                {
                    Ok(None)
                }
                other => other.map(Some),
            }
        };
        let step = Step::new(NAME, Style::OneShot, "transfer", format!("{table}/{from} to {to}")).value(amount);
        world.run(step, work, |moved| moved.is_some().into()).await;
    }
}

async fn grow(world: World, tree: Tree, opened: Version) {
    let mut number = 0;
    while !world.is_over() {
        sleep(Duration::from_millis(world.between(1..=GROWS_MS_MAX))).await;
        let parent = choose(&world, &tree);
        if parent.depth == DEPTH_MAX {
            continue;
        }
        number += 1;
        let (name, client) = (format!("{NAME}_{number}"), world.client());
        let back = world.one_in(2).then(|| world.between(0..=BACK_MS_MAX));
        let work = async {
            let at = match back {
                Some(back) => Some(opened.max(client.now().await?.minus_ms(back))),
                None => None,
            };
            unless_too_old(client.branch(&name, &parent.name, at).await)
        };
        let step = Step::new(NAME, Style::OneShot, "branch", format!("{name} of {} from {back:?}", parent.name));
        let made = world.run(step, work, |made| made.is_some().into()).await;
        let Some(Some(made)) = made.ok() else { continue };
        let of = made.table.branch_of.expect("it is a branch");
        let grown = Grown {
            name,
            depth: parent.depth + 1,
            of: Some((parent.name.clone(), of.version)),
            is_dropped: false,
            is_cleared: false,
            based: None,
        };
        lock(&tree).push(grown.clone());
        if world.one_in(2) {
            clear(&world, &tree, &grown.name).await;
        }
        if world.one_in(2) {
            read_base(&world, &tree, &grown, How::Whole).await;
        }
        drop_one(&world, &tree).await;
    }
}

/// Deletes the note in a branch. Only this task drops branches, so it is there.
async fn clear(world: &World, tree: &Tree, name: &str) {
    let client = world.client();
    let work = async { client.table(name).delete(NOTE).await };
    let step = Step::new(NAME, Style::OneShot, "clear", format!("{name}/note"));
    if world.write(step, work).await.ok().is_some() {
        lock(tree).iter_mut().filter(|grown| grown.name == name).for_each(|grown| grown.is_cleared = true);
    }
}

/// Drops a branch that has none, if there are too many.
async fn drop_one(world: &World, tree: &Tree) {
    let dropped = {
        let mut tree = lock(tree);
        let live: Vec<_> = tree.iter().filter(|grown| !grown.is_dropped && grown.depth > 0).cloned().collect();
        let is_parent = |one: &Grown| live.iter().any(|other| other.of.as_ref().is_some_and(|of| of.0 == one.name));
        let leaves: Vec<_> = live.iter().filter(|one| !is_parent(one)).collect();
        let chosen = (live.len() > KEPT_MAX).then(|| leaves[world.below(leaves.len())].name.clone());
        tree.iter_mut().find(|grown| Some(&grown.name) == chosen.as_ref()).map(|grown| {
            grown.is_dropped = true;
            grown.name.clone()
        })
    };
    let Some(name) = dropped else { return };
    let client = world.client();
    let work = async {
        match client.drop_table(&name).await {
            // A branch of it was made of which nobody knew.
            Err(error) if error.kind() == ErrorKind::InUse => Ok(false),
            other => other.map(|()| true),
        }
    };
    world.run(Step::new(NAME, Style::OneShot, "drop", &*name), work, |gone| (*gone).into()).await;
}

async fn read(world: World, tree: Tree) {
    while !world.is_over() {
        world.pause().await;
        let (grown, how) = (choose(&world, &tree), WAYS[world.below(WAYS.len())]);
        if world.one_in(2) {
            read_now(&world, &tree, &grown, how).await;
        } else {
            read_base(&world, &tree, &grown, how).await;
        }
    }
}

/// Reads a table as it is now.
async fn read_now(world: &World, tree: &Tree, grown: &Grown, how: How) {
    let (client, name) = (world.client(), &grown.name);
    let work = async {
        let now = client.now().await?;
        Ok((now, unless_too_old(balances(&client.table(name), now, how).await)?))
    };
    let found = world.run(Step::read(NAME, &format!("{name}, {how:?}")), work, |found| found.1.is_some().into()).await;
    match found.ok() {
        Some((at, Some(balances))) => {
            assert_eq!(total(&balances), TOTAL, "{NAME}: the total of {name} at {at}, {how:?}: {balances:?}");
            let has_note = balances.iter().any(|(key, _)| key == NOTE);
            assert!(!has_note || !grown.is_cleared, "{NAME}: what was deleted in {name} is there at {at}, {how:?}");
        }
        // It may have taken longer than history is kept for.
        Some((_, None)) | None => drop(is_dropped(tree, name)),
    }
}

/// Reads a branch at its own version, and its parent there.
async fn read_base(world: &World, tree: &Tree, grown: &Grown, how: How) {
    let Some((parent, version)) = &grown.of else { return };
    let (client, name) = (world.client(), &grown.name);
    let is_of_parent = world.one_in(3);
    let read = if is_of_parent { parent } else { name };
    let work = async { unless_too_old(balances(&client.table(read), *version, how).await) };
    let step = Step::read(NAME, &format!("{read} at {version} of {name}, {how:?}"));
    let Some(found) = world.run(step, work, |found| found.is_some().into()).await.ok() else { return };
    let Some(balances) = found else {
        // What a branch has of its parent is kept for as long as the branch is there. Of the branch itself, only the newest
        // is, once its history has gone.
        let is_kept = is_of_parent && !is_dropped(tree, name);
        assert!(!is_kept, "{NAME}: {read} cannot be read at {version}, of which there is the branch {name}");
        return;
    };
    assert_eq!(total(&balances), TOTAL, "{NAME}: the total of {read} at {version}, {how:?}: {balances:?}");
    let mut tree = lock(tree);
    let known = tree.iter_mut().find(|one| one.name == *name).expect("it was made");
    let first = known.based.get_or_insert_with(|| balances.clone());
    assert_eq!(*first, balances, "{NAME}: {read} reads differently at {version} of {name}, {how:?}");
}

fn unless_gone<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What is there, unless its history or the table itself is gone.
fn unless_too_old<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.kind() == ErrorKind::VersionTooOld => Ok(None),
        other => unless_gone(other),
    }
}

async fn balances(table: &Table, at: Version, how: How) -> Result<Balances, Error> {
    if let How::ByKeys = how {
        let mut keys: Vec<_> = (0..ACCOUNTS).map(key).chain([Bytes::from_static(NOTE)]).collect();
        keys.sort();
        let found: Vec<Option<Value>> = table.multi_get_at(keys.clone(), at).await?;
        return Ok(keys.into_iter().zip(found).filter_map(|(key, found)| Some((key, found?.value))).collect());
    }
    let scan = table.scan(KeyRange::all()).at(at);
    let scan = match how {
        How::InPages => scan.page_bytes(PAGE_BYTES),
        How::Backward => scan.reverse(),
        How::Whole | How::ByKeys => scan,
    };
    let (mut scan, mut rows) = (scan.start(), Vec::new());
    while let Some(row) = scan.next().await.transpose()? {
        rows.push((row.key, row.value));
    }
    if let How::Backward = how {
        rows.reverse();
    }
    Ok(rows)
}

fn total(balances: &Balances) -> i64 {
    let number = |value: &Bytes| value[..].try_into().map_or(0, i64::from_be_bytes);
    balances.iter().map(|(_, value)| number(value)).sum()
}
