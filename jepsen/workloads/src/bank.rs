//! Money is moved between shards, and never made or lost.
//!
//! ```text
//!   shard A   100 ─ 30 ──┐ at one version        a reader who sees 70 and 100 sees a total that never was
//!   shard B   100 + 30 ◄─┘
//! ```
//!
//! It is moved by merges that are sent at once, by transactions that look for funds first, and by callers who are gone
//! before the answer. All accounts are read at one version: by their keys, or by scans; and later once more.

use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Error, MergeOperator, Snapshot, Transaction, Txn, Value, Version, WriteBatch};
use tokio::time::sleep;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Runs, Step, World};

pub(crate) const NAME: &str = "bank";

const MERGERS: usize = 2;
const CHECKERS: usize = 3;
const READERS: usize = 2;
/// Accounts from which money is taken by those who look first: never below zero. As many again have no such limit.
const CHECKED: usize = 6;
const ACCOUNTS: usize = 2 * CHECKED;
const EACH: i64 = 100;
const TOTAL: i64 = EACH * 12;
/// One in so many callers is gone before the answer.
const GIVES_UP_ONE_IN: u64 = 5;
/// One in so many totals is read again, after so long.
const AGAIN_ONE_IN: u64 = 6;
const AGAIN_AFTER: Duration = Duration::from_millis(700);

/// Moves money until all is over. Whoever reads all accounts at one version finds the same total, and no account with a
/// limit below it.
pub(crate) async fn bank(world: World) {
    let accounts = (0..ACCOUNTS).map(|account| (key(&world, account), number(EACH))).collect();
    if !world.open(NAME, accounts).await {
        return;
    }
    let mut tasks = Tasks::default();
    for _ in 0..MERGERS {
        tasks.spawn(merge(world.fork()));
    }
    for _ in 0..CHECKERS {
        tasks.spawn(check(world.fork()));
    }
    for _ in 0..READERS {
        tasks.spawn(read(world.fork()));
    }
    tasks.all().await;
    // Those who were gone have left nothing that keeps others from reading for long.
    total(&world, None, false).await;
    total(&world, None, true).await;
    for account in 0..ACCOUNTS {
        one(&world, account).await;
    }
    let reads = world.tally().of(NAME).reads;
    world.tally().show(NAME, format!("{reads} reads saw a total of {TOTAL}, or an account that keeps its limit"));
}

fn key(world: &World, account: usize) -> Bytes {
    world.key(account, &format!("{NAME}/{account:02}"))
}

fn number(amount: i64) -> Vec<u8> {
    amount.to_be_bytes().to_vec()
}

fn amount(found: Option<&Value>) -> i64 {
    found.and_then(Value::as_i64).expect("an account has a number")
}

fn transfer(world: &World, style: Style, from: usize, to: usize, amount: i64) -> Step {
    let step = Step::new(NAME, style, "transfer", format!("{NAME}/{from} to {to}")).value(amount);
    step.in_shards(vec![from, to]).gives_up(world.gives_up(GIVES_UP_ONE_IN))
}

/// Another account.
fn other(world: &World, than: usize) -> usize {
    (than + 1 + world.below(ACCOUNTS - 1)) % ACCOUNTS
}

fn some_amount(world: &World, max: u64) -> i64 {
    i64::try_from(world.between(1..=max)).expect("small")
}

async fn merge(world: World) {
    while !world.is_over() {
        world.pause().await;
        let from = CHECKED + world.below(ACCOUNTS - CHECKED);
        let (to, amount) = (other(&world, from), some_amount(&world, 9));
        let add = |batch: WriteBatch, account, amount| {
            batch.merge(key(&world, account), MergeOperator::AddI64, number(amount))
        };
        let batch = add(add(WriteBatch::new(), from, -amount), to, amount);
        let client = world.client();
        let work = client.commit(Transaction::new().with(world.table_name(), batch));
        world.write(transfer(&world, Style::OneShot, from, to, amount), work).await;
    }
}

async fn check(world: World) {
    while !world.is_over() {
        world.pause().await;
        let from = world.below(CHECKED);
        let (to, amount, client) = (other(&world, from), some_amount(&world, 60), world.client());
        let runs = Runs::default();
        let work = client.transact(|txn| with_funds(world.clone(), txn, runs.clone(), (from, to), amount));
        world.commit(transfer(&world, Style::Reading, from, to, amount).runs(&runs), work).await;
    }
}

/// Moves as much as there is, up to the amount.
async fn with_funds(world: World, txn: Txn, runs: Runs, (from, to): (usize, usize), wanted: i64) -> Result<(), Error> {
    runs.begin();
    let accounts = txn.table(world.table_name());
    let (from, to) = (key(&world, from), key(&world, to));
    let found = accounts.multi_get([from.clone(), to.clone()]).await?;
    let (funds, there) = (amount(found[0].as_ref()), amount(found[1].as_ref()));
    assert!(funds >= 0, "{NAME}: an account with a limit has {funds}, at {:?}", txn.version().await);
    let moved = wanted.min(funds);
    accounts.put(from, number(funds - moved))?;
    accounts.put(to, number(there + moved))
}

async fn read(world: World) {
    while !world.is_over() {
        world.pause().await;
        if world.one_in(3) {
            one(&world, world.below(ACCOUNTS)).await;
            continue;
        }
        let Some((at, found)) = total(&world, None, world.one_in(2)).await else { continue };
        if world.one_in(AGAIN_ONE_IN) {
            sleep(AGAIN_AFTER).await;
            let again = total(&world, Some(at), world.one_in(2)).await;
            let is_same = again.as_ref().is_none_or(|(_, again)| *again == found);
            assert!(is_same, "{NAME}: accounts at {at} were {found:?}, and are {again:?} later");
        }
    }
}

/// Reads the newest value of an account.
async fn one(world: &World, account: usize) {
    let work = async { Ok(amount(world.table().get(key(world, account)).await?.as_ref())) };
    let found = world.read(NAME, &format!("{account}"), work).await;
    let keeps = found.is_none_or(|found| found >= 0) || account >= CHECKED;
    assert!(keeps, "{NAME}: account {account} has a limit, and {found:?}");
}

/// Reads all accounts at one version, a new one if none is given: by their keys, or shard by shard all that is there.
async fn total(world: &World, at: Option<Version>, by_scans: bool) -> Option<(Version, Vec<i64>)> {
    let mut read_at = None;
    let work = async {
        let snapshot = match at {
            Some(at) => world.client().snapshot_at(at),
            None => world.snapshot().await?,
        };
        read_at = Some(snapshot.version());
        all(world, &snapshot, by_scans).await
    };
    let what = if by_scans { "all by scans" } else { "all by keys" };
    let found = world.read(NAME, what, work).await?;
    let at = read_at.expect("it was read at a version");
    assert_eq!(found.iter().sum::<i64>(), TOTAL, "{NAME}: the total at {at} ({what}): {found:?}");
    let checked = &found[..CHECKED];
    let keep = checked.iter().all(|amount| *amount >= 0);
    assert!(keep, "{NAME}: an account with a limit is below it at {at} ({what}): {found:?}");
    Some((at, found))
}

async fn all(world: &World, snapshot: &Snapshot, by_scans: bool) -> Result<Vec<i64>, Error> {
    let table = snapshot.table(world.table_name());
    if !by_scans {
        let found = table.multi_get((0..ACCOUNTS).map(|account| key(world, account))).await?;
        return Ok(found.iter().map(|found| amount(found.as_ref())).collect());
    }
    let mut found = vec![0; ACCOUNTS];
    for shard in 0..world.shards() {
        let mut rows = table.scan_prefix(world.key(shard, &format!("{NAME}/"))).start();
        while let Some(row) = rows.next().await.transpose()? {
            let account = (0..ACCOUNTS).find(|account| key(world, *account) == row.key);
            found[account.expect("there are accounts only")] = row.as_i64().expect("an account has a number");
        }
    }
    Ok(found)
}
