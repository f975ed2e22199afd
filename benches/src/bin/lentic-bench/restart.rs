//! Coming back after a kill with a gigabyte of log: opening the log, and applying all of it to an empty store.

use std::io::{BufRead, BufReader, Write as _};
use std::ops::Range;
use std::path::Path;
use std::process::{Command as Process, ExitCode, Stdio};
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use lentic_engine::gc::GcHandle;
use lentic_engine::{Batch, Store};
use lentic_log::Log;
use lentic_machine::shard::{Action, Descriptor, HeadsOptions, Operation, Write};
use lentic_machine::{Command, Request, Shard};
use lentic_rocks::{RocksStore, StoreOptions};
use lentic_types::{ClusterId, Epoch, GroupId, Index, KeyRange, TableId, Version};

use crate::Size;
use crate::figures::{Figures, Target};
use crate::load::{self, BATCH, seconds};
use crate::log::{GROUPS, open};

/// Bytes of entries that one read of the log takes.
const READ_BYTES: usize = 16 << 20;

pub(crate) fn run(size: Size, figures: &mut Figures) {
    let bytes = size.pick(1 << 30, 64 << 20);
    let gibibytes = bytes as f64 / f64::from(1 << 30);
    let (mut opens, mut replays) = (Vec::new(), Vec::new());
    for _ in 0..size.repetitions.min(3) {
        let directory = tempfile::tempdir_in("target").expect("target is writable");
        let log_directory = directory.path().join("log");
        std::fs::create_dir(&log_directory).expect("target is writable");
        kill_a_writer(&log_directory, bytes);
        let mut opened = None;
        opens.push(seconds(|| opened = Some(open(&log_directory))) / gibibytes);
        let (log, writer) = opened.expect("it was opened");
        let mut applied_bytes = 0;
        replays.push(seconds(|| applied_bytes = replay(&log, &directory.path().join("store"))) / gibibytes);
        assert!(applied_bytes >= bytes, "{applied_bytes} bytes came back");
        writer.close().expect("the log works");
    }
    figures.add("log_open_after_kill", &opens, "s/GiB", Target::AtMost(5.0));
    figures.add("node_replay_after_kill", &replays, "s/GiB", Target::AtMost(60.0));
}

/// Applies everything in the log to a new store, group after group. Returns the bytes of its entries.
fn replay(log: &Log, directory: &Path) -> usize {
    let store = RocksStore::open(directory, ClusterId([7; 16]), &StoreOptions::default(), GcHandle::new());
    let store = store.expect("a new directory opens");
    let mut bytes = 0;
    for group in (1..=GROUPS).map(GroupId) {
        let mut shard = new_shard(&store, group);
        let (_, last) =
            log.state(group).expect("the log works").and_then(|state| state.range).expect("there are entries");
        while shard.applied() < last {
            let range = Range { start: shard.applied().next(), end: last.next() };
            for entry in log.read(group, range, READ_BYTES).expect("the log works") {
                let command = Command::decode(&entry).expect("an entry of this release");
                let applied = shard.apply(shard.applied().next(), &command, &store).expect("no fault");
                store.write(&applied.batch).expect("the store works");
                bytes += entry.len();
            }
        }
    }
    bytes
}

fn new_shard(store: &RocksStore, group: GroupId) -> Shard {
    let mut batch = Batch::new();
    let table = table_of(group);
    let (range, epoch, watermark) = (KeyRange::all(), Epoch(1), Version::ZERO);
    Shard::create(&mut batch, group, &Descriptor { table, range, epoch, watermark, ttl_ms: 0 });
    store.write(&batch).expect("the store works");
    Shard::load(store, group, &HeadsOptions::default()).expect("the store works").expect("the shard was created")
}

fn table_of(group: GroupId) -> TableId {
    TableId(u32::try_from(group.0).expect("few groups"))
}

/// Has a child write so many bytes of entries, and kills it once they are acknowledged.
fn kill_a_writer(directory: &Path, bytes: usize) {
    let program = std::env::current_exe().expect("this program has a path");
    let words = ["log-writer".as_ref(), directory.as_os_str(), bytes.to_string().as_ref()].map(ToOwned::to_owned);
    let mut child = Process::new(program).args(words).stdout(Stdio::piped()).spawn().expect("this program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("the child writes");
    assert_eq!(line, "written\n");
    child.kill().expect("the child runs");
    child.wait().expect("the child was started");
}

/// The child: appends, says so, and waits to be killed.
pub(crate) fn write_until_killed(directory: &str, bytes: &str) -> ExitCode {
    let Ok(bytes) = bytes.parse::<usize>() else { return ExitCode::from(2) };
    let (log, _writer) = open(Path::new(directory));
    let each = bytes / usize::try_from(GROUPS).expect("few groups") + 1;
    std::thread::scope(|scope| {
        for group in (1..=GROUPS).map(GroupId) {
            let log = log.clone();
            scope.spawn(move || append(&log, group, each));
        }
    });
    println!("written");
    std::io::stdout().flush().expect("the parent reads");
    loop {
        std::thread::park();
    }
}

/// Appends entries of a hundred puts, sixteen at a time, until they have so many bytes.
fn append(log: &Log, group: GroupId, bytes: usize) {
    let (mut written, mut next) = (0, Index(1));
    while written < bytes {
        let entries: Vec<Bytes> = (next.0..next.0 + 16).map(|index| entry(group, index)).collect();
        written += entries.iter().map(Bytes::len).sum::<usize>();
        let (done, acknowledged) = sync_channel(1);
        let completion = Box::new(move |result: Result<(), _>| {
            result.expect("the disk works");
            done.send(()).expect("the appender waits");
        });
        log.append(group, next, entries, completion).expect("there is room");
        acknowledged.recv().expect("the writer answers");
        next = Index(next.0 + 16);
    }
}

fn entry(group: GroupId, index: u64) -> Bytes {
    let number = |row: u64| (group.0 << 48) + index * BATCH as u64 + row;
    let put = |row| Operation::Put { key: load::key(number(row)), value: load::value(number(row)), expiry: None };
    let write = Write { operations: (0..BATCH as u64).map(put).collect(), ..Write::default() };
    let version = Version::tick(index, 0).expect("a short run");
    let request = Request { version, key: None, action: Action::Write(write) };
    Command { epoch: Epoch(1), requests: vec![request] }.encode().into()
}
