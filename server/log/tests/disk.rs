//! The log on a real file system, with its writer on a thread.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lentic_log::{DiskFs, Log, LogOptions, OpenError, Poisoned, SimFs, SimOp, SubmitError, WriterThread};
use lentic_types::{ClusterId, GroupId, Index};
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

const CLUSTER: ClusterId = ClusterId([9; 16]);

fn options() -> LogOptions {
    LogOptions { segment_bytes: 64 << 10, bytes_max: 1 << 20, ..LogOptions::default() }
}

fn open(directory: &Path) -> Result<(Log, WriterThread), OpenError> {
    let (log, writer) = Log::open(Arc::new(DiskFs::new(directory)), CLUSTER, options(), Box::new(|_| ()))?;
    Ok((log, writer.spawn()))
}

/// Appends and waits.
fn append(log: &Log, group: u64, index: u64, data: Vec<u8>) -> Result<(), Poisoned> {
    let (sender, receiver) = mpsc::channel();
    let done = Box::new(move |result| sender.send(result).expect("the test waits"));
    log.append(GroupId(group), Index(index), vec![Bytes::from(data)], done).expect("the entry is next");
    receiver.recv().expect("a completion is called")
}

#[test]
fn groups_append_at_once_and_find_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/demand");
    let (log, thread) = open(&path).unwrap();
    std::thread::scope(|scope| {
        for group in 1..=8 {
            let log = &log;
            scope.spawn(move || {
                for index in 1..=100 {
                    append(log, group, index, vec![u8::try_from(group).unwrap(); 300]).unwrap();
                    if index % 40 == 0 {
                        let done = Box::new(|result: Result<(), Poisoned>| result.unwrap());
                        log.purge(GroupId(group), Index(index - 10), Bytes::from_static(b"id"), done).unwrap();
                    }
                }
            });
        }
    });
    let stats = log.stats().unwrap();
    assert_eq!(stats.entries, 800);
    assert!(stats.rolls > 2 && stats.released > 0, "segments came and went: {stats:?}");
    thread.close().unwrap();
    assert!(matches!(log.state(GroupId(1)), Err(Poisoned { .. })), "closed is closed");

    let (log, _thread) = open(&path).unwrap();
    for group in 1..=8 {
        let state = log.state(GroupId(group)).unwrap().unwrap();
        assert_eq!(state.range, Some((Index(71), Index(100))));
        let entries = log.read(GroupId(group), Index(71)..Index(101), usize::MAX).unwrap();
        assert!(entries.len() == 30 && entries.iter().all(|entry| **entry == [u8::try_from(group).unwrap(); 300]));
    }
}

#[test]
fn a_directory_in_use_names_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let held = open(directory.path()).unwrap();
    let message = open(directory.path()).err().unwrap().to_string();
    let expected = format!("is in use by process {}; stop it first", std::process::id());
    assert!(message.contains(&expected), "{message}");
    drop(held);
    open(directory.path()).unwrap();
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a log").unwrap();
    assert!(matches!(open(&file.join("log")), Err(OpenError::Io { .. })));
    // A foreign file beside the log is left alone; one under a segment's name is not taken for one.
    let (_, thread) = open(directory.path()).unwrap();
    thread.close().unwrap();
    fs::write(directory.path().join("00000077.log"), vec![b'x'; 9000]).unwrap();
    let message = open(directory.path()).err().unwrap().to_string();
    assert!(
        message.contains("00000077.log is damaged at offset 0: this is not a segment of a Lentic log"),
        "{message}"
    );
    assert_eq!(fs::read(&file).unwrap(), b"not a log");
}

#[test]
fn files_behave_as_the_seam_says() {
    let directory = tempfile::tempdir().unwrap();
    for fs in [Arc::new(DiskFs::new(directory.path())) as Arc<dyn lentic_log::Fs>, Arc::new(SimFs::new())] {
        let _lock = fs.lock().unwrap();
        let file = fs.create("a").unwrap();
        assert!(fs.create("a").is_err(), "a name is given once");
        file.allocate(10_000).unwrap();
        file.write_at(b"hello", 9_000).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.length().unwrap(), 10_000);
        file.allocate(5).unwrap();
        assert_eq!(file.length().unwrap(), 10_000, "allocating never cuts");
        fs.rename("a", "b").unwrap();
        fs.sync_dir().unwrap();
        let mut buffer = [1; 7];
        fs.open("b").unwrap().read_at(&mut buffer, 8_999).unwrap();
        assert_eq!(&buffer, b"\0hello\0");
        assert!(file.read_at(&mut buffer, 9_995).is_err(), "a read beyond the end fails");
        fs.remove("b").unwrap();
        file.read_at(&mut buffer, 9_000).unwrap();
        assert!(fs.open("b").is_err() && !fs.list().unwrap().contains(&"b".to_owned()));
        file.cut(3).unwrap();
        assert_eq!(file.length().unwrap(), 3);
    }
}

/// While one sync runs, everything that arrives waits, and is the next gather.
#[test]
fn one_sync_serves_all_that_waited() {
    let disk = SimFs::new();
    let (entered, gate) = (mpsc::channel(), mpsc::channel::<()>());
    let (log, writer) = Log::open(Arc::new(disk.clone()), CLUSTER, options(), Box::new(|_| ())).unwrap();
    let (entered_sender, gate_receiver) = (Mutex::new(entered.0), Mutex::new(gate.1));
    disk.set_hook(move |op, _| {
        if op == SimOp::Sync {
            let _ = entered_sender.lock().unwrap().send(());
            let _ = gate_receiver.lock().unwrap().recv();
        }
    });
    let thread = writer.spawn();
    let (sender, receiver) = mpsc::channel();
    let submit = |group: u64| {
        let sender = sender.clone();
        let done = Box::new(move |result: Result<(), Poisoned>| sender.send((group, result.is_ok())).unwrap());
        log.append(GroupId(group), Index(1), vec![Bytes::from_static(b"entry")], done).unwrap();
    };
    submit(0);
    entered.1.recv().unwrap();
    (1..=50).for_each(submit);
    assert!(receiver.try_recv().is_err(), "nothing is acknowledged before its sync");
    drop(gate.0);
    let order: Vec<_> = (0..=50).map(|_| receiver.recv().unwrap()).collect();
    assert_eq!(order, (0..=50).map(|group| (group, true)).collect::<Vec<_>>());
    assert_eq!(log.stats().unwrap().gathers, 2);
    thread.close().unwrap();
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing() {
    let disk = SimFs::new();
    let (log, writer) = Log::open(Arc::new(disk.clone()), CLUSTER, options(), Box::new(|_| ())).unwrap();
    let thread = writer.spawn();
    append(&log, 1, 1, vec![1; 1000]).unwrap();
    disk.set_capacity_bytes(70_000);
    let mut index = 1;
    let stopped = loop {
        index += 1;
        if let Err(poisoned) = append(&log, 1, index, vec![2; 10_000]) {
            break poisoned;
        }
    };
    assert!(stopped.to_string().contains("free space or enlarge the volume"), "{stopped}");
    let refused = log.append(GroupId(1), Index(index), vec![], Box::new(drop));
    assert_eq!(refused, Err(SubmitError::Poisoned(stopped)));
    drop(thread);
    let fs = disk.crash(1);
    fs.heal();
    let (log, _writer) = Log::open(Arc::new(fs), CLUSTER, options(), Box::new(|_| ())).unwrap();
    assert_eq!(log.state(GroupId(1)).unwrap().unwrap().range, Some((Index(1), Index(index - 1))));
}
