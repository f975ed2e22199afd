//! Lentic beside etcd: clusters of three processes on this machine, with fsync, one cluster at a time, in turn.
//!
//! Both get the same keys, values and callers, from the same driver in this process, which shares the machine with them.
//! etcd gets the better of two ways in: puts go to the member that leads, reads to all members.

use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Table, WriteBatch};

use crate::Size;
use crate::ceiling;
use crate::cluster::{Etcd, Kv, Lentic};
use crate::drive::{self, Load, Seen, drive, scatter};
use crate::figures::{Figures, Target};

const VALUE_BYTES: usize = 256;
const KEYS: u64 = 100_000;
const CALLERS: u64 = 256;
const BATCH_KEYS: u64 = 100;
/// Callers with batches: enough to keep both busy.
const BATCH_CALLERS: u64 = 64;
/// Connections to etcd: with fewer, streams of one connection wait for each other.
const CONNECTIONS: usize = 16;
/// Shards of the table: as many as a table has that is made without a word about it.
const SHARDS: u32 = 1;

/// What one cluster showed.
struct Round {
    puts: Seen,
    batches: Seen,
    alone: Seen,
    reads: Seen,
    /// Processor time of the cluster for each put of a single key, in microseconds.
    put_cpu_us: f64,
}

pub(crate) fn run(size: Size, figures: &mut Figures) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let (mut etcd, mut lentic, mut ceiling) = (Vec::new(), Vec::new(), Vec::new());
    let Load { warm_up, measured, .. } = load(size, 0);
    for _ in 0..size.repetitions {
        ceiling.push(ceiling::keys_per_second(KEYS, BATCH_KEYS, VALUE_BYTES, warm_up, measured));
        etcd.push(runtime.block_on(with_etcd(size)));
        lentic.push(runtime.block_on(with_lentic(size)));
    }
    report(figures, &etcd, &lentic);
    let to_ceiling =
        lentic.iter().zip(&ceiling).map(|(lentic, ceiling)| lentic.batches.rate * BATCH_KEYS as f64 / ceiling);
    figures.add("batch_keys_rate_to_bare_stores", &to_ceiling.collect::<Vec<_>>(), "ratio", Target::Stated);
    let to_etcd = |per_call: u64, take: &dyn Fn(&Round) -> f64| {
        ceiling.iter().zip(&etcd).map(|(ceiling, etcd)| ceiling / (take(etcd) * per_call as f64)).collect::<Vec<_>>()
    };
    figures.add("bare_stores_keys_rate", &ceiling, "keys/s", Target::Stated);
    let to_txn = to_etcd(BATCH_KEYS, &|round| round.batches.rate);
    figures.add("bare_stores_keys_rate_to_etcd_txn", &to_txn, "ratio", Target::Stated);
    figures.add("bare_stores_keys_rate_to_etcd_puts", &to_etcd(1, &|round| round.puts.rate), "ratio", Target::Stated);
}

fn load(size: Size, callers: u64) -> Load {
    let seconds = if size.quick { 2 } else { 6 };
    Load { callers, warm_up: Duration::from_secs(seconds / 2), measured: Duration::from_secs(seconds) }
}

fn report(figures: &mut Figures, etcd: &[Round], lentic: &[Round]) {
    let of = |rounds: &[Round], take: &dyn Fn(&Round) -> f64| rounds.iter().map(take).collect::<Vec<_>>();
    let ratios = |take: &dyn Fn(&Round) -> f64| -> Vec<f64> {
        lentic.iter().zip(etcd).map(|(lentic, etcd)| take(lentic) / take(etcd)).collect()
    };
    figures.add("put_rate_to_etcd", &ratios(&|round| round.puts.rate), "ratio", Target::AtLeast(5.0));
    figures.add("put_p99_to_etcd", &ratios(&|round| round.puts.p99_ms), "ratio", Target::AtMost(1.0));
    figures.add("batch_keys_rate_to_etcd_txn", &ratios(&|round| round.batches.rate), "ratio", Target::AtLeast(5.0));
    let to_puts = |(lentic, etcd): (&Round, &Round)| lentic.batches.rate * BATCH_KEYS as f64 / etcd.puts.rate;
    let to_puts: Vec<_> = lentic.iter().zip(etcd).map(to_puts).collect();
    figures.add("batch_keys_rate_to_etcd_puts", &to_puts, "ratio", Target::AtLeast(25.0));
    figures.add("one_caller_put_p50_to_etcd", &ratios(&|round| round.alone.p50_ms), "ratio", Target::AtMost(1.2));
    figures.add("read_rate_to_etcd", &ratios(&|round| round.reads.rate), "ratio", Target::AtLeast(3.0));
    for (name, rounds) in [("etcd", etcd), ("lentic", lentic)] {
        let mut state = |what: &str, unit: &str, take: &dyn Fn(&Round) -> f64| {
            figures.add(&format!("{name}_{what}"), &of(rounds, take), unit, Target::Stated);
        };
        state("put_rate", "puts/s", &|round| round.puts.rate);
        state("put_p50", "ms", &|round| round.puts.p50_ms);
        state("put_p99", "ms", &|round| round.puts.p99_ms);
        state("put_cpu", "us", &|round| round.put_cpu_us);
        state("batch_keys_rate", "keys/s", &|round| round.batches.rate * BATCH_KEYS as f64);
        state("batch_p99", "ms", &|round| round.batches.p99_ms);
        state("one_caller_put_p50", "ms", &|round| round.alone.p50_ms);
        state("read_rate", "reads/s", &|round| round.reads.rate);
        state("read_p99", "ms", &|round| round.reads.p99_ms);
    }
}

/// The key of a number: eight bytes, spread evenly over all keys.
fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&scatter(number % KEYS).to_be_bytes())
}

/// A key for an operation.
fn some_key(caller: u64, number: u64) -> Bytes {
    key(scatter(caller << 40 | number))
}

/// A value of the size that both get.
fn value(number: u64) -> Bytes {
    drive::value(number, VALUE_BYTES)
}

async fn with_etcd(size: Size) -> Round {
    let cluster = Etcd::start().await;
    let (leader, all) = (cluster.to_leader(CONNECTIONS).await, cluster.to_all(CONNECTIONS).await);
    let one_of = |connections: &[Kv], caller: u64| {
        connections[usize::try_from(caller).expect("few callers") % connections.len()].clone()
    };
    for first in (0..KEYS / BATCH_KEYS).map(|batch| batch * BATCH_KEYS) {
        let pairs = (first..first + BATCH_KEYS).map(|number| (key(number), value(number))).collect();
        leader[0].put_all(pairs).await.expect("etcd takes puts");
    }
    let put = {
        let leader = leader.clone();
        move |caller, number| {
            let kv = one_of(&leader, caller);
            async move { kv.put(some_key(caller, number), value(number)).await.expect("etcd takes puts") }
        }
    };
    let (before, began) = (cluster.processes.cpu_seconds(), std::time::Instant::now());
    let puts = drive(load(size, CALLERS), put.clone()).await;
    let put_cpu_us = (cluster.processes.cpu_seconds() - before) / (puts.rate * began.elapsed().as_secs_f64()) * 1e6;
    let alone = drive(load(size, 1), put).await;
    let batches = drive(load(size, BATCH_CALLERS), move |caller, number| {
        let kv = one_of(&leader, caller);
        async move {
            // A transaction puts each key once.
            let first = scatter(caller << 40 | number) % KEYS;
            let pairs = (0..BATCH_KEYS).map(|offset| (key(first + offset), value(first + offset))).collect();
            kv.put_all(pairs).await.expect("etcd takes transactions");
        }
    })
    .await;
    let reads = drive(load(size, CALLERS), move |caller, number| {
        let kv = one_of(&all, caller);
        async move { assert!(kv.get(some_key(caller, number)).await.expect("etcd answers"), "the key is there") }
    })
    .await;
    Round { puts, batches, alone, reads, put_cpu_us }
}

async fn with_lentic(size: Size) -> Round {
    let cluster = Lentic::start().await;
    let client = cluster.client().await;
    cluster.table(&client, "bench", SHARDS).await;
    let table = client.table("bench");
    for first in (0..KEYS).step_by(1_000) {
        let put = |batch: WriteBatch, number| batch.put(key(number), value(number));
        let batch = (first..first + 1_000).fold(WriteBatch::new(), put);
        table.write_in_parts(batch).await.expect("the cluster takes writes");
    }
    let put = {
        let table = table.clone();
        move |caller, number| {
            let table: Table = table.clone();
            async move {
                table.put(some_key(caller, number), value(number)).await.expect("the cluster takes writes");
            }
        }
    };
    let (before, began) = (cluster.processes.cpu_seconds(), std::time::Instant::now());
    let puts = drive(load(size, CALLERS), put.clone()).await;
    let put_cpu_us = (cluster.processes.cpu_seconds() - before) / (puts.rate * began.elapsed().as_secs_f64()) * 1e6;
    let alone = drive(load(size, 1), put).await;
    let of_table = table.clone();
    let batches = drive(load(size, BATCH_CALLERS), move |caller, number| {
        let table = of_table.clone();
        async move {
            let batch = one_shard_batch(scatter(caller << 40 | number));
            table.write(batch).await.expect("the cluster takes writes");
        }
    })
    .await;
    let reads = drive(load(size, CALLERS), move |caller, number| {
        let table = table.clone();
        async move {
            let found = table.get(some_key(caller, number)).await.expect("the cluster answers");
            assert!(found.is_some(), "the key is there");
        }
    })
    .await;
    Round { puts, batches, alone, reads, put_cpu_us }
}

/// A batch that takes effect as one, as etcd's transaction does: its keys lie in one shard.
fn one_shard_batch(seed: u64) -> WriteBatch {
    let in_shard = u64::MAX / u64::from(SHARDS);
    let shard = seed % u64::from(SHARDS);
    (0..BATCH_KEYS).fold(WriteBatch::new(), |batch, offset| {
        let key = shard * in_shard + scatter((seed.wrapping_add(offset)) % KEYS) % in_shard;
        batch.put(key.to_be_bytes().to_vec(), value(seed.wrapping_add(offset)))
    })
}
