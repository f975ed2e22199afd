//! Nodes as children of this process.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::layout::Place;
use crate::failure::Failure;

/// How long a node may take to stop in order, before it is killed: acknowledged writes are on disk at any time.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Bytes from the end of a log that are shown when its node has ended too soon.
const TAIL_BYTES_MAX: u64 = 4 << 10;

/// Nodes that run.
pub(super) struct Processes {
    program: PathBuf,
    watchers: JoinSet<Ended>,
    stop: watch::Sender<bool>,
}

/// A node that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Which one, from 1.
    pub(super) number: usize,
    pub(super) status: io::Result<ExitStatus>,
}

impl Ended {
    /// How it ended, in words.
    pub(super) fn words(&self) -> String {
        match &self.status {
            Ok(status) => status.to_string(),
            Err(error) => format!("unknown: {error}"),
        }
    }
}

impl Processes {
    /// No nodes yet. They are this program, started anew.
    pub(super) fn new() -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Failure::usage(format!("this program is not to be found: {error}")))?;
        Ok(Self { program, watchers: JoinSet::new(), stop: watch::Sender::new(false) })
    }

    /// Starts `lentic serve` with `arguments`, and writes what it says to its log. Returns its process id.
    pub(super) fn start(&mut self, place: &Place, arguments: &[String]) -> Result<u32, Failure> {
        let log = File::options().create(true).append(true).open(&place.log);
        let logs = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = logs.map_err(|error| Failure::file(&place.log.display().to_string(), &error))?;
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        // In a group of its own, so that Ctrl-C reaches this process alone, which then stops the nodes.
        command.process_group(0);
        let child = command.spawn();
        let child = child.map_err(|error| Failure::file(&self.program.display().to_string(), &error))?;
        let pid = child.id().expect("a child that nobody has waited for has an id");
        self.watchers.spawn(watch(child, place.number, self.stop.subscribe()));
        Ok(pid)
    }

    /// Waits until a node ends; for ever if none runs.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.watchers.join_next().await {
            Some(ended) => ended.expect("a watcher does not panic"),
            None => std::future::pending().await,
        }
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.watchers.len()
    }

    /// Stops all, and waits for them.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.watchers.join_next().await.is_some() {}
    }
}

/// Waits for a child. When it is to stop, asks it to, and after a while does not ask.
async fn watch(mut child: Child, number: usize, mut stop: watch::Receiver<bool>) -> Ended {
    let asked = async {
        // Without a sender nobody will wait for it either.
        drop(stop.wait_for(|stop| *stop).await);
    };
    tokio::select! {
        biased;
        status = child.wait() => return Ended { number, status },
        () = asked => {}
    }
    terminate(&child);
    let status = match tokio::time::timeout(STOP_MAX, child.wait()).await {
        Ok(status) => status,
        Err(_) => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    Ended { number, status }
}

/// Asks a child to end in order. One that has ended has no id any more.
fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // One that has ended meanwhile is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_else(|error| error.to_string().into_bytes());
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &Path) -> Place {
        Place { number: 1, port: 1, http_port: 2, data: directory.join("data"), log: directory.join("log") }
    }

    fn shell(script: &str) -> (Processes, Vec<String>) {
        let mut processes = Processes::new().unwrap();
        processes.program = "/bin/sh".into();
        (processes, vec!["-c".to_owned(), script.to_owned()])
    }

    #[tokio::test]
    async fn a_node_that_ends_is_told_with_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        let (mut processes, arguments) = shell("echo out; echo err >&2; exit 3");
        processes.start(&place, &arguments).unwrap();
        let ended = processes.ended().await;
        assert_eq!((ended.number, ended.words()), (1, "exit status: 3".to_owned()));
        assert_eq!(tail(&place.log), "out\nerr");
        assert_eq!(processes.running(), 0);
    }

    #[tokio::test]
    async fn nodes_are_asked_to_stop_and_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        let (mut processes, arguments) =
            shell("trap 'echo stopped; exit 0' TERM; echo up; while :; do sleep 0.01; done");
        processes.start(&place, &arguments).unwrap();
        while tail(&place.log) != "up" {
            tokio::task::yield_now().await;
        }
        assert_eq!(processes.running(), 1);
        processes.stop().await;
        assert_eq!(tail(&place.log), "up\nstopped");
    }

    #[test]
    fn a_tail_is_short() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "x\n".repeat(10_000)).unwrap();
        assert!(tail(&path).len() as u64 <= TAIL_BYTES_MAX);
        assert!(tail(&directory.path().join("none")).contains("No such file"));
    }
}
