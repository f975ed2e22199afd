//! Processes that end with the value that holds them, and their directories with them.

use std::fs::{DirEntry, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Processes with a directory of their own on the disk of the build.
pub(crate) struct Processes {
    children: Vec<(Child, PathBuf)>,
    directory: TempDir,
}

impl Processes {
    /// None yet.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in("target").expect("target is writable");
        Self { children: Vec::new(), directory }
    }

    /// Where the processes keep their files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts one, and keeps what it says in a file beside its data.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) {
        let log = self.directory.path().join(format!("{name}.log"));
        let file = File::create(&log).expect("target is writable");
        let err = file.try_clone().expect("a file can be shared");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        self.children.push((child, log));
    }

    /// Bytes on disk of all that the processes keep.
    pub(crate) fn disk_bytes(&self) -> i64 {
        disk_bytes(self.directory.path())
    }

    /// Processor time that all have taken until now, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.children.iter().map(|(child, _)| cpu_seconds(&child.id().to_string())).sum()
    }

    /// Waits until the processes have done what they put off, compactions above all: until they write less than a megabyte a
    /// second together. What they take of the processor does not tell it: many idle shards take some of it for ever.
    pub(crate) async fn settle(&self) {
        loop {
            let before = self.written_bytes();
            tokio::time::sleep(Duration::from_secs(2)).await;
            if self.written_bytes() - before < 2_000_000 {
                return;
            }
        }
    }

    fn written_bytes(&self) -> u64 {
        self.children.iter().map(|(child, _)| written_bytes(child.id())).sum()
    }

    /// Panics with the words of a process that has ended.
    pub(crate) fn check(&mut self) {
        for (child, log) in &mut self.children {
            if let Ok(Some(status)) = child.try_wait() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<_> = said.lines().rev().take(10).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                panic!("{} has ended: {status}\n{}", log.display(), tail.join("\n"));
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            // One that has ended already is what is wanted.
            let _ = child.kill();
        }
        for (child, _) in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Bytes on disk of what is below a directory. What goes away meanwhile counts as nothing.
fn disk_bytes(directory: &Path) -> i64 {
    const BLOCK_BYTES: u64 = 512;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let of_entry = |entry: DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
        Ok(found) => i64::try_from(found.blocks() * BLOCK_BYTES).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    entries.map(of_entry).sum()
}

/// Bytes that a process has had written to disks until now.
fn written_bytes(process: u32) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{process}/io")).expect("a process of ours");
    let bytes = told.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    bytes.expect("Linux tells it")
}

/// Threads for each of so many processes that share this machine's cores.
pub(crate) fn share_of_cores(processes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / processes).max(1)
}

/// Processor time of a process, or of this one as `self`, in seconds.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in brackets, may hold blanks. User and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Ports that are free now.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports")).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}
