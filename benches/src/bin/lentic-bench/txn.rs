//! Transactions on a cluster of three nodes on this machine: money is moved between accounts.
//!
//! A transfer takes from one account and gives to another, by merges that are declared beforehand. Beside it, in the same
//! cluster: transfers within one shard (one entry in one log), transfers that read both accounts before they write, reads of
//! ten accounts at one version. And conditional writes of one shard beside etcd's, one cluster at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, Error, MergeOperator, Transaction, Txn, Value, WriteBatch};

use crate::Size;
use crate::cluster::{Etcd, Lentic};
use crate::drive::{self, Load, Seen, drive, scatter};
use crate::figures::{Figures, Target};

const ACCOUNTS: u64 = 10_000;
const SHARDS: u64 = 4;
const CALLERS: u64 = 256;
/// Callers on busy keys: each one more only waits for the others.
const BUSY_CALLERS: u64 = 64;
/// How uneven the choice of busy accounts is: YCSB's and Styx's setting.
const ZIPF: f64 = 0.999;
const READ_KEYS: u64 = 10;
const VALUE_BYTES: usize = 256;
const CONNECTIONS: usize = 16;
const TABLE: &str = "accounts";

/// What one cluster showed.
struct Round {
    within: Seen,
    across: Seen,
    put_alone: Seen,
    within_alone: Seen,
    across_alone: Seen,
    busy: Seen,
    busy_aborts: f64,
    reading: Seen,
    reading_aborts: f64,
    reads: Seen,
    read_entries: f64,
    rounds: f64,
    conditional: Seen,
}

pub(crate) fn run(size: Size, figures: &mut Figures) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let (mut lentic, mut etcd) = (Vec::new(), Vec::new());
    for _ in 0..size.repetitions {
        etcd.push(runtime.block_on(with_etcd(size)));
        lentic.push(runtime.block_on(with_lentic(size)));
    }
    report(figures, &lentic, &etcd);
}

fn load(size: Size, callers: u64) -> Load {
    let seconds = if size.quick { 2 } else { 6 };
    Load { callers, warm_up: Duration::from_secs(seconds / 2), measured: Duration::from_secs(seconds) }
}

fn report(figures: &mut Figures, lentic: &[Round], etcd: &[Seen]) {
    let of = |take: &dyn Fn(&Round) -> f64| lentic.iter().map(take).collect::<Vec<_>>();
    let ratio = |take: &dyn Fn(&Round) -> f64, to: &dyn Fn(&Round) -> f64| of(&|round| take(round) / to(round));
    let across_to_within = ratio(&|round| round.across.rate, &|round| round.within.rate);
    figures.add("across_rate_to_within", &across_to_within, "ratio", Target::AtLeast(0.4));
    let alone = ratio(&|round| round.across_alone.p50_ms, &|round| round.put_alone.p50_ms);
    figures.add("one_caller_across_p50_to_put", &alone, "ratio", Target::AtMost(1.6));
    figures.add("busy_rate", &of(&|round| round.busy.rate), "transfers/s", Target::AtLeast(2_000.0));
    figures.add("busy_aborts", &of(&|round| round.busy_aborts), "ratio", Target::AtMost(0.01));
    figures.add("rounds_before_answer", &of(&|round| round.rounds), "rounds", Target::AtMost(1.0));
    let conditional: Vec<_> = lentic.iter().zip(etcd).map(|(one, etcd)| one.conditional.rate / etcd.rate).collect();
    figures.add("conditional_rate_to_etcd", &conditional, "ratio", Target::AtLeast(5.0));
    // Those that are left are the oracle's: it asks for another window every few seconds.
    figures.add("read_only_entries", &of(&|round| round.read_entries), "entries/read", Target::AtMost(0.001));
    let etcd_rates: Vec<_> = etcd.iter().map(|seen| seen.rate).collect();
    figures.add("etcd_conditional_rate", &etcd_rates, "txn/s", Target::Stated);
    let mut state = |what: &str, unit: &str, take: &dyn Fn(&Round) -> f64| {
        figures.add(what, &of(take), unit, Target::Stated);
    };
    state("within_rate", "transfers/s", &|round| round.within.rate);
    state("within_p50", "ms", &|round| round.within.p50_ms);
    state("across_rate", "transfers/s", &|round| round.across.rate);
    state("across_p50", "ms", &|round| round.across.p50_ms);
    state("across_p99", "ms", &|round| round.across.p99_ms);
    state("one_caller_put_p50", "ms", &|round| round.put_alone.p50_ms);
    state("one_caller_within_p50", "ms", &|round| round.within_alone.p50_ms);
    state("one_caller_across_p50", "ms", &|round| round.across_alone.p50_ms);
    state("busy_p50", "ms", &|round| round.busy.p50_ms);
    state("busy_p99", "ms", &|round| round.busy.p99_ms);
    state("busy_reading_rate", "transfers/s", &|round| round.reading.rate);
    state("busy_reading_aborts", "ratio", &|round| round.reading_aborts);
    state("read_only_rate", "txn/s", &|round| round.reads.rate);
    state("read_only_p50", "ms", &|round| round.reads.p50_ms);
    state("conditional_rate", "txn/s", &|round| round.conditional.rate);
}

/// The key of an account: the first byte places it in a shard, evenly.
fn account(number: u64) -> Bytes {
    let number = number % ACCOUNTS;
    let mut key = vec![u8::try_from(number * 256 / ACCOUNTS).expect("below 256")];
    key.extend_from_slice(&number.to_be_bytes());
    key.into()
}

/// Two accounts of different shards.
fn far_apart(seed: u64) -> (u64, u64) {
    let from = scatter(seed) % ACCOUNTS;
    let in_shard = ACCOUNTS / SHARDS;
    let shards_on = 1 + scatter(seed ^ 0xabcd) % (SHARDS - 1);
    let place = scatter(seed ^ 0x1234) % in_shard;
    (from, ((from / in_shard + shards_on) % SHARDS) * in_shard + place)
}

/// Two accounts of one shard.
fn close_by(seed: u64) -> (u64, u64) {
    let (from, in_shard) = (scatter(seed) % ACCOUNTS, ACCOUNTS / SHARDS);
    let shard = from / in_shard;
    let place = (from % in_shard + 1 + scatter(seed ^ 0x1234) % (in_shard - 1)) % in_shard;
    (from, shard * in_shard + place)
}

fn transfer((from, to): (u64, u64), amount: i64) -> Transaction {
    let change = |amount: i64| amount.to_be_bytes().to_vec();
    let batch = WriteBatch::new().merge(account(from), MergeOperator::AddI64, change(-amount)).merge(
        account(to),
        MergeOperator::AddI64,
        change(amount),
    );
    Transaction::new().with(TABLE, batch)
}

/// The accounts by how busy they are: the share of choices of the first so many.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Self {
        let mut sum = 0.0;
        let shares = (1..=ACCOUNTS).map(|rank| {
            sum += 1.0 / (rank as f64).powf(ZIPF);
            sum
        });
        let mut shares: Vec<f64> = shares.collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Self(shares)
    }

    /// An account: its rank is spread over the shards.
    fn choose(&self, seed: u64) -> u64 {
        let point = (scatter(seed) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = self.0.partition_point(|share| *share < point) as u64;
        scatter(rank) % ACCOUNTS
    }

    fn pair(&self, seed: u64) -> (u64, u64) {
        let from = self.choose(seed);
        let others = (1..).map(|next| self.choose(scatter(seed) ^ next));
        let to = others.take(100).find(|to| *to != from).unwrap_or(from + 1);
        (from, to)
    }
}

async fn with_lentic(size: Size) -> Round {
    let cluster = Lentic::start().await;
    let client = cluster.client().await;
    cluster.table(&client, TABLE, u32::try_from(SHARDS).expect("few")).await;
    fill(&client).await;
    let seed = |caller: u64, number: u64| caller << 40 | number;
    let transfers = |pair: fn(u64) -> (u64, u64)| {
        let client = client.clone();
        move |caller, number| {
            let client = client.clone();
            async move {
                client.commit(transfer(pair(seed(caller, number)), 1)).await.expect("the transfer commits");
            }
        }
    };
    let within = drive(load(size, CALLERS), transfers(close_by)).await;
    let before = (cluster.metric("lentic_node_txn_commits_count"), cluster.metric("lentic_node_txn_rounds_count"));
    let across = drive(load(size, CALLERS), transfers(far_apart)).await;
    let commits = cluster.metric("lentic_node_txn_commits_count") - before.0;
    let rounds = (cluster.metric("lentic_node_txn_rounds_count") - before.1) / commits;
    let table = client.table(TABLE);
    let put_alone = drive(load(size, 1), move |caller, number| {
        let table = table.clone();
        async move {
            let value = 1_000_i64.to_be_bytes().to_vec();
            table.put(account(scatter(seed(caller, number))), value).await.expect("the put commits");
        }
    })
    .await;
    let within_alone = drive(load(size, 1), transfers(close_by)).await;
    let across_alone = drive(load(size, 1), transfers(far_apart)).await;
    let zipf = Arc::new(Zipf::new());
    let (busy, busy_aborts) = busy(size, &client, &zipf, false).await;
    let (reading, reading_aborts) = self::busy(size, &client, &zipf, true).await;
    // What the transfers have left to do is no work of the reads.
    while cluster.metric("lentic_node_txn_open_count") > 0.0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = cluster.metric("lentic_raft_entries_sent_count");
    let reads = reads(size, &client).await;
    let read_entries = cluster.metric("lentic_raft_entries_sent_count") - entries;
    let conditional = conditional(size, &client, &cluster).await;
    Round {
        within,
        across,
        put_alone,
        within_alone,
        across_alone,
        busy,
        busy_aborts,
        reading,
        reading_aborts,
        read_entries: read_entries / (reads.rate * load(size, 1).measured.as_secs_f64()),
        reads,
        rounds,
        conditional,
    }
}

async fn fill(client: &Client) {
    let thousand = 1_000_i64.to_be_bytes().to_vec();
    let batch = (0..ACCOUNTS).fold(WriteBatch::new(), |batch, number| batch.put(account(number), thousand.clone()));
    client.table(TABLE).write_in_parts(batch).await.expect("the cluster takes writes");
}

/// Transfers between busy accounts, by merges or by reads before writes; and how many did not commit.
async fn busy(size: Size, client: &Client, zipf: &Arc<Zipf>, reads: bool) -> (Seen, f64) {
    let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let (client, zipf, counted) = (client.clone(), Arc::clone(zipf), Arc::clone(&counts));
    let seen = drive(load(size, BUSY_CALLERS), move |caller, number| {
        let (client, zipf, counts) = (client.clone(), Arc::clone(&zipf), Arc::clone(&counted));
        async move {
            let pair = zipf.pair(caller << 40 | number);
            let done = match reads {
                false => client.commit(transfer(pair, 1)).await.map(drop),
                true => client.transact(|txn| with_reads(txn, pair)).await.map(drop),
            };
            counts.0.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = done {
                assert!(error.is_conflict() || error.is_retryable(), "a transfer failed: {error}");
                counts.1.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    let aborts = counts.1.load(Ordering::Relaxed) as f64 / counts.0.load(Ordering::Relaxed) as f64;
    (seen, aborts)
}

/// Takes only what is there.
async fn with_reads(txn: Txn, (from, to): (u64, u64)) -> Result<(), Error> {
    let accounts = txn.table(TABLE);
    let found = accounts.multi_get([account(from), account(to)]).await?;
    let amount = |place: usize| found[place].as_ref().and_then(Value::as_i64).expect("an account has a number");
    let paid = amount(0).min(1);
    accounts.put(account(from), (amount(0) - paid).to_be_bytes().to_vec())?;
    accounts.put(account(to), (amount(1) + paid).to_be_bytes().to_vec())
}

/// Ten accounts of four shards at one version.
async fn reads(size: Size, client: &Client) -> Seen {
    let client = client.clone();
    drive(load(size, CALLERS), move |caller, number| {
        let client = client.clone();
        async move {
            let seed = scatter(caller << 40 | number);
            let step = ACCOUNTS / READ_KEYS;
            let keys = (0..READ_KEYS).map(|place| account(seed % step + place * step));
            let snapshot = client.snapshot().await.expect("the cluster answers");
            let found = snapshot.table(TABLE).multi_get(keys).await.expect("the cluster answers");
            assert!(found.iter().all(Option::is_some), "the accounts are there");
        }
    })
    .await
}

/// Puts to keys that must be there, in a table of one shard as etcd's is.
async fn conditional(size: Size, client: &Client, cluster: &Lentic) -> Seen {
    cluster.table(client, "conditional", 1).await;
    let table = client.table("conditional");
    for first in (0..ACCOUNTS).step_by(1_000) {
        let put = |batch: WriteBatch, number| batch.put(account(number), drive::value(number, VALUE_BYTES));
        let batch = (first..first + 1_000).fold(WriteBatch::new(), put);
        table.write_in_parts(batch).await.expect("the cluster takes writes");
    }
    drive(load(size, CALLERS), move |caller, number| {
        let table = table.clone();
        async move {
            let key = account(scatter(caller << 40 | number));
            let batch = WriteBatch::new().if_exists(key.clone()).put(key, drive::value(number, VALUE_BYTES));
            table.write(batch).await.expect("the key is there");
        }
    })
    .await
}

async fn with_etcd(size: Size) -> Seen {
    let cluster = Etcd::start().await;
    let leader = cluster.to_leader(CONNECTIONS).await;
    for first in (0..ACCOUNTS).step_by(100) {
        let pairs = (first..first + 100).map(|number| (account(number), drive::value(number, VALUE_BYTES))).collect();
        leader[0].put_all(pairs).await.expect("etcd takes puts");
    }
    drive(load(size, CALLERS), move |caller, number| {
        let kv = leader[usize::try_from(caller).expect("few callers") % leader.len()].clone();
        async move {
            let key = account(scatter(caller << 40 | number));
            let was_there = kv.put_if_there(key, drive::value(number, VALUE_BYTES)).await;
            assert!(was_there.expect("etcd takes transactions"), "the key is there");
        }
    })
    .await
}
