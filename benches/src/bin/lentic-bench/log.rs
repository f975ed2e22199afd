//! The shared log: sixteen groups that append at once, beside one fdatasync for each append.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use bytes::Bytes;
use lentic_log::{DiskFs, Log, LogOptions, Stats, WriterThread};
use lentic_types::{ClusterId, GroupId, Index};

use crate::Size;
use crate::figures::{Figures, Target, median};
use crate::load::seconds;

/// Groups on the node.
pub(crate) const GROUPS: u64 = 16;
const ENTRY_BYTES: usize = 256;
const CLUSTER: ClusterId = ClusterId([7; 16]);

pub(crate) fn run(size: Size, figures: &mut Figures) {
    appends(size, figures);
}

/// Opens the log in `directory`, new or not.
pub(crate) fn open(directory: &Path) -> (Log, WriterThread) {
    let options = LogOptions::default();
    let (log, writer) = Log::open(Arc::new(DiskFs::new(directory)), CLUSTER, options, Box::new(|_| {})).expect("opens");
    (log, writer.spawn())
}

/// Figures of one number of appends in flight for each group.
struct Row {
    depth: u64,
    ratios: Vec<f64>,
    rates: Vec<f64>,
    per_sync: Vec<f64>,
}

fn appends(size: Size, figures: &mut Figures) {
    let alone_count = size.pick(4_000, 1_000);
    let each = size.pick(4_000, 1_000) as u64;
    let (mut alone_rates, mut sync_micros) = (Vec::new(), Vec::new());
    let mut rows = [1, 16].map(|depth| Row { depth, ratios: vec![], rates: vec![], per_sync: vec![] });
    for _ in 0..size.repetitions {
        let (alone, sync) = one_sync_each(alone_count);
        alone_rates.push(alone);
        sync_micros.push(sync);
        for row in &mut rows {
            let (rate, stats) = together(each * row.depth, row.depth);
            row.ratios.push(rate / alone);
            row.rates.push(rate);
            row.per_sync.push(stats.entries as f64 / stats.gathers as f64);
        }
    }
    figures.add("disk_fdatasync_p50", &sync_micros, "us", Target::Stated);
    figures.add("one_fdatasync_per_append_rate", &alone_rates, "appends/s", Target::Stated);
    for Row { depth, ratios, rates, per_sync } in rows {
        figures.add(&format!("log_append_ratio_16_groups_{depth}_in_flight"), &ratios, "ratio", Target::AtLeast(10.0));
        figures.add(&format!("log_append_rate_16_groups_{depth}_in_flight"), &rates, "appends/s", Target::Stated);
        figures.add(
            &format!("log_entries_per_fdatasync_{depth}_in_flight"),
            &per_sync,
            "entries",
            Target::AtLeast(8.0),
        );
    }
}

/// Appends of one entry, each with its own fdatasync, to a file made as the log makes its own: reserved in advance.
fn one_sync_each(appends: usize) -> (f64, f64) {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let file = File::create(directory.path().join("peer")).expect("target is writable");
    file.write_all_at(&vec![0; appends * ENTRY_BYTES], 0).expect("there is room");
    file.sync_all().expect("the disk works");
    let mut syncs = Vec::with_capacity(appends);
    let elapsed = seconds(|| {
        for append in 0..appends {
            file.write_all_at(&[1; ENTRY_BYTES], (append * ENTRY_BYTES) as u64).expect("there is room");
            let start = Instant::now();
            file.sync_data().expect("the disk works");
            syncs.push(start.elapsed().as_secs_f64() * 1e6);
        }
    });
    (appends as f64 / elapsed, median(&syncs))
}

/// Appends by one thread a group, each with at most `depth` of its appends unacknowledged.
fn together(each: u64, depth: u64) -> (f64, Stats) {
    let directory = tempfile::tempdir_in("target").expect("target is writable");
    let (log, writer) = open(directory.path());
    let elapsed = seconds(|| {
        std::thread::scope(|scope| {
            for group in 1..=GROUPS {
                let log = log.clone();
                scope.spawn(move || append_all(&log, GroupId(group), each, depth));
            }
        });
    });
    let stats = log.stats().expect("the log works");
    writer.close().expect("the log works");
    ((GROUPS * each) as f64 / elapsed, stats)
}

fn append_all(log: &Log, group: GroupId, count: u64, depth: u64) {
    let (done, acknowledged) = sync_channel(usize::try_from(depth).expect("small"));
    let mut open = 0;
    for index in 1..=count {
        if open == depth {
            acknowledged.recv().expect("the writer answers");
            open -= 1;
        }
        let done = done.clone();
        let entry = Bytes::from(vec![1; ENTRY_BYTES]);
        let completion = Box::new(move |result: Result<(), _>| {
            result.expect("the disk works");
            done.send(()).expect("the appender waits");
        });
        log.append(group, Index(index), vec![entry], completion).expect("there is room");
        open += 1;
    }
    (0..open).for_each(|_| acknowledged.recv().expect("the writer answers"));
}
