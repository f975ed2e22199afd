//! Point gets of the newest of ten versions, and full scans, beside bare iterators over the same records.

use lentic_engine::keys::data;
use lentic_engine::{Cursor, Direction, Family, ReadStats, ScanLimits, Store, View};
use lentic_types::{KeyRange, Version};
use rocksdb::{DB, ReadOptions, WriteBatch};

use crate::figures::{Figures, Target};
use crate::load::{self, BATCH, Subject, TABLE, scramble, seconds};
use crate::{Size, peer};

pub(crate) fn run(size: Size, figures: &mut Figures) {
    for (versions, name) in [(10, "10_versions"), (1, "1_version")] {
        let keys = size.pick(200_000, 20_000) as u64;
        let directory = tempfile::tempdir_in("target").expect("target is writable");
        let subject = loaded(&directory.path().join("subject"), keys, versions);
        let raw = copied(&directory.path().join("peer"), &subject);
        let (mut get_ratios, mut scan_ratios) = (Vec::new(), Vec::new());
        let (mut gets_ours, mut gets_theirs, mut rows_ours, mut records_theirs) = (vec![], vec![], vec![], vec![]);
        for repetition in 0..size.repetitions as u64 {
            let order: Vec<u64> = (0..keys).map(|n| scramble(n ^ repetition << 40) % keys).collect();
            let (theirs, ours) = (raw_gets(&raw, &order), subject_gets(&subject, &order));
            get_ratios.push(theirs / ours);
            gets_ours.push(keys as f64 / ours);
            gets_theirs.push(keys as f64 / theirs);
            let (theirs, ours) = (raw_scan(&raw, keys * versions), subject_scan(&subject, keys));
            scan_ratios.push(theirs / ours);
            rows_ours.push(keys as f64 / ours);
            records_theirs.push((keys * versions) as f64 / theirs);
        }
        let target = if versions == 10 { Target::AtLeast(0.8) } else { Target::Stated };
        figures.add(&format!("engine_get_ratio_to_raw_seek_{name}"), &get_ratios, "ratio", target);
        figures.add(&format!("engine_get_rate_{name}"), &gets_ours, "gets/s", Target::Stated);
        figures.add(&format!("raw_rocksdb_seek_rate_{name}"), &gets_theirs, "seeks/s", Target::Stated);
        figures.add(&format!("engine_scan_ratio_to_raw_scan_{name}"), &scan_ratios, "ratio", Target::AtLeast(0.5));
        figures.add(&format!("engine_scan_rate_{name}"), &rows_ours, "rows/s", Target::Stated);
        figures.add(&format!("raw_rocksdb_scan_rate_{name}"), &records_theirs, "records/s", Target::Stated);
    }
}

/// A shard with `versions` of each of `keys`, flushed and compacted.
fn loaded(directory: &std::path::Path, keys: u64, versions: u64) -> Subject {
    let mut subject = Subject::open(directory);
    for version in 0..versions {
        for start in (0..keys).step_by(BATCH) {
            let numbers = start..keys.min(start + BATCH as u64);
            let entry = subject.puts(numbers.map(|n| (load::key(n), load::value(n ^ version << 32))));
            subject.apply(&entry);
        }
    }
    subject.store.flush().expect("the store works");
    subject.store.compact(&lentic_engine::Span::all(Family::Data)).expect("the store works");
    subject
}

/// A bare RocksDB with the same records under the same keys.
fn copied(directory: &std::path::Path, subject: &Subject) -> DB {
    let db = peer::open(directory, true);
    let mut cursor =
        subject.store.cursor(Family::Data, data::bounds(TABLE, &KeyRange::all())).expect("the store works");
    cursor.seek(&[]).expect("the store works");
    let mut batch = WriteBatch::default();
    while let Some((key, value)) = cursor.entry() {
        batch.put(key, value);
        if batch.len() == 1_000 {
            peer::write(&db, std::mem::take(&mut batch));
        }
        cursor.next().expect("the store works");
    }
    peer::write(&db, batch);
    db.flush().expect("the store works");
    db.compact_range(None::<&[u8]>, None::<&[u8]>);
    db
}

fn raw_gets(db: &DB, order: &[u64]) -> f64 {
    let mut target = Vec::new();
    seconds(|| {
        for number in order {
            target.clear();
            data::put(&mut target, TABLE, &load::key(*number), Version::MAX);
            let mut options = ReadOptions::default();
            options.set_prefix_same_as_start(true);
            let mut rows = db.raw_iterator_opt(options);
            rows.seek(&target);
            let value = rows.value().expect("every key was written").to_vec();
            assert!(value.len() > load::VALUE_BYTES);
        }
    })
}

fn subject_gets(subject: &Subject, order: &[u64]) -> f64 {
    let at = subject.shard.read_at(Version::MAX);
    seconds(|| {
        for number in order {
            let found = at.get(&subject.store, &load::key(*number), &mut ReadStats::default());
            assert_eq!(found.expect("the store works").expect("every key was written").value.len(), load::VALUE_BYTES);
        }
    })
}

fn raw_scan(db: &DB, records: u64) -> f64 {
    seconds(|| {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut rows = db.raw_iterator_opt(options);
        let (mut count, mut bytes) = (0, 0);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            // What any caller does with a row: take it.
            let row = (key.to_vec(), value.to_vec());
            bytes += row.0.len() + row.1.len();
            count += 1;
            rows.next();
        }
        assert!(count == records && bytes > 0);
    })
}

fn subject_scan(subject: &Subject, keys: u64) -> f64 {
    let at = subject.shard.read_at(Version::MAX);
    seconds(|| {
        let (mut rest, mut rows) = (Some(KeyRange::all()), 0);
        while let Some(range) = rest {
            let limits = ScanLimits { rows_max: 1_000, ..ScanLimits::default() };
            let page = at.scan(&subject.store, &range, Direction::Forward, &limits, &mut ReadStats::default());
            let page = page.expect("the store works");
            rows += page.rows.len() as u64;
            rest = page.rest;
        }
        assert_eq!(rows, keys);
    })
}
