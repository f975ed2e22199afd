//! Single functions on the hot paths: they explain a macro figure and prove nothing alone.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lentic_engine::keys::{data, escape};
use lentic_engine::record::Record;
use lentic_engine::{Batch, Mask, MaskSet, MemStore, MergeOperator, ReadAt, ReadStats, Store, write};
use lentic_machine::shard::{Action, Descriptor, HeadsOptions, Operation, Write};
use lentic_machine::{Command, Request, Shard};
use lentic_types::{Epoch, GroupId, KeyRange, TableId, Version};

const TABLE: TableId = TableId(1);
const GROUP: GroupId = GroupId(1);

fn key(number: u64) -> Bytes {
    Bytes::from(format!("user-{:012}", number.wrapping_mul(7_919) % 1_000_000))
}

fn keys(c: &mut Criterion) {
    let mut out = Vec::with_capacity(64);
    c.bench_function("data_key_encode_17_bytes", |b| {
        let key = key(1);
        b.iter(|| {
            out.clear();
            data::put(&mut out, TABLE, black_box(&key), Version(7));
        });
    });
    c.bench_function("escaped_key_decode_17_bytes", |b| {
        let mut encoded = Vec::new();
        escape::put(&mut encoded, &key(1));
        b.iter(|| escape::decode(black_box(&encoded)));
    });
    c.bench_function("record_decode_100_bytes", |b| {
        let mut bytes = Vec::new();
        Record::Put { value: &[7; 100], expiry: None }.encode(&mut bytes);
        b.iter(|| Record::decode(black_box(&bytes)).map(|record| record.expiry()));
    });
}

fn masks(c: &mut Criterion) {
    for rollbacks in [1u64, 100, 1_000] {
        let masks =
            (1..=rollbacks).map(|n| Mask { range: KeyRange::all(), from: Version(n * 10), end: Version(n * 10 + 5) });
        let set: MaskSet = masks.collect();
        c.bench_function(&format!("masks_hidden_from_after_{rollbacks}_rollbacks"), |b| {
            b.iter(|| set.of_key(black_box(b"k")).hidden_from(Version(7), Version::MAX));
        });
    }
}

fn shard() -> (MemStore, Shard) {
    let (store, mut batch) = (MemStore::new(), Batch::new());
    let descriptor =
        Descriptor { table: TABLE, range: KeyRange::all(), epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 };
    Shard::create(&mut batch, GROUP, &descriptor);
    store.write(&batch).expect("the store works");
    let shard = Shard::load(&store, GROUP, &HeadsOptions::default()).expect("the store works");
    (store, shard.expect("the shard was created"))
}

fn command(version: u64, operations: Vec<Operation>) -> Command {
    let action = Action::Write(Write { operations, ..Write::default() });
    Command { epoch: Epoch(1), requests: vec![Request { version: Version(version), key: None, action }] }
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply_100_operations");
    group.throughput(Throughput::Elements(100));
    let put = |n| Operation::Put { key: key(n), value: Bytes::from_static(&[7; 100]), expiry: None };
    let one = Bytes::from(1i64.to_be_bytes().to_vec());
    let add = |n| Operation::Merge { key: key(n), operator: MergeOperator::AddI64, operand: one.clone(), expiry: None };
    let kinds: [(&str, Vec<Operation>); 2] =
        [("put", (0..100).map(put).collect()), ("merge", (0..100).map(add).collect())];
    for (name, operations) in kinds {
        group.bench_function(name, |b| {
            let (store, mut shard) = shard();
            let mut version = 0;
            b.iter(|| {
                version += 1;
                // The batch is not written: what is timed is the decision alone.
                shard.apply(shard.applied().next(), &command(version, operations.clone()), &store).expect("no fault")
            });
        });
    }
    group.bench_function("decode", |b| {
        let encoded = Bytes::from(command(1, (0..100).map(put).collect()).encode());
        b.iter(|| Command::decode(black_box(&encoded)));
    });
    group.finish();
}

fn reads(c: &mut Criterion) {
    let (store, mut batch) = (MemStore::new(), Batch::new());
    for version in 1..=10 {
        for number in 0..1_000 {
            let record = Record::Put { value: &[7; 100], expiry: None };
            write::record(&mut batch, TABLE, &key(number), Version(version), &record);
        }
    }
    store.write(&batch).expect("the store works");
    let masks = MaskSet::new();
    c.bench_function("get_in_memory_10_versions", |b| {
        let at = ReadAt { table: TABLE, version: Version::MAX, masks: &masks, layers: &[] };
        let mut number = 0;
        b.iter(|| {
            number = (number + 1) % 1_000;
            at.get(&store, &key(number), &mut ReadStats::default())
        });
    });
}

criterion_group!(micro, keys, masks, apply, reads);
criterion_main!(micro);
