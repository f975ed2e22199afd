//! What replication could come to at most on this machine: the stores and logs of three replicas and nothing else.
//!
//! Three threads, each with a bare RocksDB set up as the store is and a bare log file, write the same batches as the
//! callers of a cluster do: into the log with an fdatasync for [`GATHERED`] of them, then into the store. No consensus, no
//! network, no clients, nothing decoded, nothing judged. Making keys and values is part of it, so the bound is a little low.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use rocksdb::WriteBatch;

use crate::drive::{scatter, value};
use crate::peer;

const REPLICAS: usize = 3;
/// Batches that share an fdatasync: what one log entry of the proposer holds under such a load.
const GATHERED: usize = 16;
/// The log file is written anew from its beginning after so many bytes, as segments are recycled.
const LOG_BYTES: u64 = 64 << 20;

/// Keys a second that each of the replicas takes, all at once, in batches of `batch_keys`.
pub(crate) fn keys_per_second(
    keys: u64,
    batch_keys: u64,
    value_bytes: usize,
    warm_up: Duration,
    measured: Duration,
) -> f64 {
    let (began, end) = (Instant::now(), warm_up + measured);
    let write_all = || {
        let (mut replica, mut written) = (Replica::new(), 0);
        loop {
            replica.write(keys, batch_keys, value_bytes);
            match began.elapsed() {
                now if now > end => return written,
                now if now > warm_up => written += GATHERED as u64 * batch_keys,
                _ => {}
            }
        }
    };
    let written: u64 = thread::scope(|scope| {
        let replicas: Vec<_> = (0..REPLICAS).map(|_| scope.spawn(write_all)).collect();
        replicas.into_iter().map(|replica| replica.join().expect("a replica failed")).sum()
    });
    written as f64 / REPLICAS as f64 / measured.as_secs_f64()
}

struct Replica {
    store: rocksdb::DB,
    log: File,
    version: u64,
    // Last, for it is removed when it is dropped.
    _directory: tempfile::TempDir,
}

impl Replica {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("target").expect("target is writable");
        let mut log = File::create(directory.path().join("log")).expect("target is writable");
        log.write_all(&vec![0; usize::try_from(LOG_BYTES).expect("it fits")]).expect("the disk has room");
        log.sync_all().expect("the disk works");
        let store = peer::open(&directory.path().join("store"), true);
        Self { store, log, version: 0, _directory: directory }
    }

    fn write(&mut self, keys: u64, batch_keys: u64, value_bytes: usize) {
        let (mut batches, mut entry) = (Vec::new(), Vec::new());
        for _ in 0..GATHERED {
            self.version += 1;
            let first = scatter(self.version) % keys;
            let mut batch = WriteBatch::default();
            for number in first..first + batch_keys {
                let mut key = scatter(number % keys).to_be_bytes().to_vec();
                key.extend((!self.version).to_be_bytes());
                let value = value(number, value_bytes);
                entry.extend_from_slice(&key);
                entry.extend_from_slice(&value);
                batch.put(key, value);
            }
            batches.push(batch);
        }
        if self.log.stream_position().expect("a file has a position") + entry.len() as u64 > LOG_BYTES {
            self.log.seek(SeekFrom::Start(0)).expect("a file has a beginning");
        }
        self.log.write_all(&entry).expect("the disk has room");
        self.log.sync_data().expect("the disk works");
        batches.into_iter().for_each(|batch| peer::write(&self.store, batch));
    }
}
