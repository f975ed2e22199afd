//! Puts of 100 bytes in batches of 100, through apply, beside bare write batches of the same keys and values.

use bytes::Bytes;
use lentic_engine::Store;
use rocksdb::WriteBatch;

use crate::figures::{Figures, Target};
use crate::load::{self, BATCH, Subject, seconds};
use crate::{Size, peer};

pub(crate) fn run(size: Size, figures: &mut Figures) {
    let batches = size.pick(10_000, 2_000);
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.repetitions {
        let rows: Vec<Vec<(Bytes, Bytes)>> = (0..batches as u64)
            .map(|batch| {
                (0..BATCH as u64)
                    .map(|row| batch * BATCH as u64 + row)
                    .map(|n| (load::key(n), load::value(n)))
                    .collect()
            })
            .collect();
        let puts = (batches * BATCH) as f64;
        let raw = puts / raw_seconds(&rows);
        let subject = puts / subject_seconds(rows);
        ratios.push(subject / raw);
        ours.push(subject);
        theirs.push(raw);
    }
    figures.add("engine_put_ratio_to_raw_rocksdb", &ratios, "ratio", Target::AtLeast(0.6));
    figures.add("engine_put_rate", &ours, "puts/s", Target::Stated);
    figures.add("raw_rocksdb_put_rate", &theirs, "puts/s", Target::Stated);
}

fn raw_seconds(rows: &[Vec<(Bytes, Bytes)>]) -> f64 {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let db = peer::open(directory.path(), false);
    seconds(|| {
        for batch in rows {
            let mut changes = WriteBatch::default();
            batch.iter().for_each(|(key, value)| changes.put(key, value));
            peer::write(&db, changes);
        }
    })
}

fn subject_seconds(rows: Vec<Vec<(Bytes, Bytes)>>) -> f64 {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let mut subject = Subject::open(directory.path());
    let entries: Vec<_> = rows.into_iter().map(|batch| subject.puts(batch.into_iter())).collect();
    let elapsed = seconds(|| entries.iter().for_each(|entry| subject.apply(entry)));
    // Not counted on either side: what is left in memory.
    subject.store.flush().expect("the store works");
    elapsed
}
