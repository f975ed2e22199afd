//! Money is moved between shards, and never made or lost.

use std::time::Duration;

use lentic_client::{Client, Error, KeyRange, MergeOperator, Transaction, Txn, WriteBatch};
use lentic_runtime::spawn;
use tokio::time::timeout;

use super::world::{TABLE, World};

const MOVERS: usize = 4;
const READERS: usize = 2;
const ACCOUNTS: u64 = 6;
const EACH: i64 = 100;
/// How long a caller waits who then forgets what it was about.
const FORGETS_MS_MAX: u64 = 40;

/// Moves money in every way there is: by merges that share keys, by transactions that read first, by callers that are gone
/// before the answer. Whoever reads all accounts at one version finds the same total.
pub async fn bank(world: World) {
    let start = (0..ACCOUNTS).fold(WriteBatch::new(), |batch, account| batch.put(key(&world, account), number(EACH)));
    let open = Transaction::new().with(TABLE, start);
    world.must("the opening of accounts", world.client().commit(open)).await;
    let movers = (0..MOVERS).map(|_| spawn(transfers(world.fork())));
    let readers = (0..READERS).map(|_| spawn(read(world.fork())));
    let tasks: Vec<_> = movers.chain(readers).collect();
    for task in tasks {
        task.await.expect("a panic ends the run");
    }
    let total = world.must("the last total", total(&world, &world.client())).await;
    assert_eq!(total, EACH * i64::try_from(ACCOUNTS).expect("few"), "the last total");
}

fn key(world: &World, account: u64) -> Vec<u8> {
    world.key(account, &format!("account/{account}"))
}

fn number(amount: i64) -> Vec<u8> {
    amount.to_be_bytes().to_vec()
}

async fn transfers(world: World) {
    while !world.is_over() {
        world.pause(60).await;
        let (from, to) = (world.dice.between(0..=ACCOUNTS - 1), world.dice.between(0..=ACCOUNTS - 1));
        let amount = i64::try_from(world.dice.between(1..=9)).expect("small");
        let (from, to, client) = (key(&world, from), key(&world, to), world.client());
        let forgets = world.dice.one_in(5).then(|| Duration::from_millis(world.dice.between(0..=FORGETS_MS_MAX)));
        let transfer = async {
            if world.dice.one_in(2) {
                return client.commit(by_merges(&from, &to, amount)).await.map(drop);
            }
            client.transact(|txn| by_reads(txn, from.clone(), to.clone(), amount)).await.map(drop)
        };
        match forgets {
            // What became of it is for the total to say.
            Some(after) => drop(timeout(after, transfer).await),
            None => match world.timed("a transfer", transfer).await {
                Ok(()) => {}
                // Others were faster each time: nothing was done.
                Err(error) if error.is_conflict() => {}
                Err(error) => panic!("a transfer failed: {error}"),
            },
        }
    }
}

fn by_merges(from: &[u8], to: &[u8], amount: i64) -> Transaction {
    let batch = WriteBatch::new().merge(from.to_vec(), MergeOperator::AddI64, number(-amount)).merge(
        to.to_vec(),
        MergeOperator::AddI64,
        number(amount),
    );
    Transaction::new().with(TABLE, batch)
}

async fn by_reads(txn: Txn, from: Vec<u8>, to: Vec<u8>, amount: i64) -> Result<(), Error> {
    let accounts = txn.table(TABLE);
    for (key, change) in [(from, -amount), (to, amount)] {
        let found = accounts.get(key.clone()).await?.and_then(|found| found.as_i64());
        accounts.put(key, number(found.expect("an account has a number") + change))?;
    }
    Ok(())
}

async fn read(world: World) {
    while !world.is_over() {
        world.pause(100).await;
        let client = world.client();
        let total = world.must("a total", total(&world, &client)).await;
        assert_eq!(total, EACH * i64::try_from(ACCOUNTS).expect("few"), "a total at one version");
    }
}

async fn total(world: &World, client: &Client) -> Result<i64, Error> {
    let snapshot = client.snapshot().await?;
    let table = snapshot.table(TABLE);
    let keys: Vec<_> = (0..ACCOUNTS).map(|account| key(world, account)).collect();
    let found = if world.dice.one_in(2) {
        table.multi_get(keys).await?.into_iter().map(|found| found.and_then(|found| found.as_i64())).collect()
    } else {
        let mut rows = Vec::new();
        for key in keys {
            let end = [&key[..], &[0]].concat();
            let mut scan = table.scan(KeyRange::new(key, Some(end)).expect("a key and the next one")).start();
            rows.push(scan.next().await.transpose()?.and_then(|row| row.as_i64()));
        }
        rows
    };
    let found: Vec<Option<i64>> = found;
    Ok(found.into_iter().map(|found| found.expect("an account has a number")).sum())
}
