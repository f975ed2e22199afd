//! Money is moved between shards, and never made or lost.

use bytes::Bytes;
use lentic_client::{Error, MergeOperator, Transaction, Txn, Value, WriteBatch};
use tokio::task::JoinSet;

use super::scene::{Runs, Scene, Step, TABLE, all};
use super::tally::Style;

pub(super) const NAME: &str = "bank";

const MERGERS: usize = 3;
const CHECKERS: usize = 4;
const READERS: usize = 2;
/// Accounts from which money is taken by those who look first: never below zero. As many again have no such limit.
const CHECKED: usize = 6;
const ACCOUNTS: usize = 2 * CHECKED;
const EACH: i64 = 100;
const TOTAL: i64 = EACH * 12;
/// The pause between two operations of a caller, at most.
const PAUSE_MS_MAX: u64 = 40;
/// One in so many callers is gone before the answer, after so long at most.
const GIVES_UP_ONE_IN: u64 = 5;
const GIVES_UP_MS_MAX: u64 = 40;

/// Moves money by merges that are sent at once, by transactions that look for funds first, and by callers who are gone
/// before the answer. Whoever reads all accounts at one version finds the same total, and no account with a limit below
/// it.
pub(super) async fn bank(scene: Scene) {
    let open = (0..ACCOUNTS).fold(WriteBatch::new(), |batch, account| batch.put(key(&scene, account), number(EACH)));
    scene.client().commit(Transaction::new().with(TABLE, open)).await.expect("accounts are opened");
    let mut tasks = JoinSet::new();
    for _ in 0..MERGERS {
        tasks.spawn(merge(scene.clone()));
    }
    for _ in 0..CHECKERS {
        tasks.spawn(check(scene.clone()));
    }
    for _ in 0..READERS {
        tasks.spawn(read(scene.clone()));
    }
    all(tasks).await;
    // Those who were gone have left nothing that keeps others from reading for long.
    total(&scene, 0).await;
    for account in 0..ACCOUNTS {
        one(&scene, account).await;
    }
}

fn key(scene: &Scene, account: usize) -> Bytes {
    scene.key(account, &format!("bank/{account:02}"))
}

fn number(amount: i64) -> Vec<u8> {
    amount.to_be_bytes().to_vec()
}

fn amount(found: Option<&Value>) -> i64 {
    found.and_then(Value::as_i64).expect("an account has a number")
}

fn transfer(scene: &Scene, style: Style, from: usize, to: usize, amount: i64) -> Step {
    let does = ("transfer", format!("{amount} from {from} to {to}"));
    let gives_up = scene.gives_up(GIVES_UP_ONE_IN, GIVES_UP_MS_MAX);
    Step { workload: NAME, style, does, shards: vec![from, to], gives_up, runs: Runs::default() }
}

/// Another account.
fn other(scene: &Scene, than: usize) -> usize {
    (than + 1 + scene.below(ACCOUNTS - 1)) % ACCOUNTS
}

fn some_amount(scene: &Scene, max: u64) -> i64 {
    i64::try_from(scene.between(1..=max)).expect("small")
}

async fn merge(scene: Scene) {
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let from = CHECKED + scene.below(ACCOUNTS - CHECKED);
        let (to, amount) = (other(&scene, from), some_amount(&scene, 9));
        let add = |batch: WriteBatch, account, amount| {
            batch.merge(key(&scene, account), MergeOperator::AddI64, number(amount))
        };
        let batch = add(add(WriteBatch::new(), from, -amount), to, amount);
        let client = scene.client();
        let work = client.commit(Transaction::new().with(TABLE, batch));
        let step = transfer(&scene, Style::OneShot, from, to, amount);
        scene.commit(step, async { work.await.map(|version| ((), version)) }).await;
    }
}

async fn check(scene: Scene) {
    while !scene.is_over() {
        scene.pause(PAUSE_MS_MAX).await;
        let from = scene.below(CHECKED);
        let (to, amount, client) = (other(&scene, from), some_amount(&scene, 60), scene.client());
        let runs = Runs::default();
        let work = client.transact(|txn| with_funds(scene.clone(), txn, runs.clone(), (from, to), amount));
        let step = Step { runs: runs.clone(), ..transfer(&scene, Style::Reading, from, to, amount) };
        scene.commit(step, work).await;
    }
}

/// Moves as much as there is, up to the amount.
async fn with_funds(scene: Scene, txn: Txn, runs: Runs, (from, to): (usize, usize), wanted: i64) -> Result<(), Error> {
    runs.begin();
    let accounts = txn.table(TABLE);
    let (from, to) = (key(&scene, from), key(&scene, to));
    let found = accounts.multi_get([from.clone(), to.clone()]).await?;
    let (funds, there) = (amount(found[0].as_ref()), amount(found[1].as_ref()));
    assert!(funds >= 0, "an account with a limit has {funds}, at {:?}", txn.version().await);
    let moved = wanted.min(funds);
    accounts.put(from, number(funds - moved))?;
    accounts.put(to, number(there + moved))
}

async fn read(scene: Scene) {
    for way in 0.. {
        if scene.is_over() {
            return;
        }
        scene.pause(PAUSE_MS_MAX).await;
        if way % 3 == 2 {
            one(&scene, scene.below(ACCOUNTS)).await;
        } else {
            total(&scene, way % 3).await;
        }
    }
}

/// Reads the newest value of an account.
async fn one(scene: &Scene, account: usize) {
    let work = async { Ok(amount(scene.table().get(key(scene, account)).await?.as_ref())) };
    let found = scene.read(NAME, &format!("{account}"), work).await;
    assert!(found >= 0 || account >= CHECKED, "account {account} has a limit, and {found}");
}

/// Reads all accounts at one version: by their keys, or shard by shard all that is there.
async fn total(scene: &Scene, way: usize) {
    let mut at = None;
    let work = async {
        let snapshot = scene.snapshot(PAUSE_MS_MAX).await?;
        at = Some(snapshot.version());
        let table = snapshot.table(TABLE);
        if way == 0 {
            let found = table.multi_get((0..ACCOUNTS).map(|account| key(scene, account))).await?;
            return Ok(found.iter().map(|found| amount(found.as_ref())).collect::<Vec<i64>>());
        }
        let mut found = vec![0; ACCOUNTS];
        for shard in 0..scene.shards() {
            let mut rows = table.scan_prefix(scene.key(shard, "bank/")).start();
            while let Some(row) = rows.next().await.transpose()? {
                let account = (0..ACCOUNTS).find(|account| key(scene, *account) == row.key);
                found[account.expect("there are accounts only")] = row.as_i64().expect("an account has a number");
            }
        }
        Ok(found)
    };
    let what = if way == 0 { "all by keys" } else { "all by scans" };
    let found = scene.read(NAME, what, work).await;
    assert_eq!(found.iter().sum::<i64>(), TOTAL, "the total at {at:?} ({what}): {found:?}");
    let checked = &found[..CHECKED];
    assert!(checked.iter().all(|amount| *amount >= 0), "an account with a limit is below it at {at:?}: {found:?}");
}
