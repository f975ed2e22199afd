//! The binary as a process: run to its end, or left running.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

const LENTIC: &str = env!("CARGO_BIN_EXE_lentic");

/// Longest wait for something that happens soon.
const SOON: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its stdout, if it succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Its stdout as JSON lines.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}"))).collect()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes text");
        let code = output.status.code().expect("it ends by itself");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

pub(crate) fn command(server: &str, words: &[&str]) -> Command {
    let mut command = Command::new(LENTIC);
    command.args(words).env_remove("LENTIC_SERVER").env("COLUMNS", "100");
    if !server.is_empty() {
        command.env("LENTIC_SERVER", server);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `lentic` to its end. An empty `server` is none.
pub(crate) fn lentic(server: &str, words: &[&str]) -> Ended {
    command(server, words).output().unwrap().into()
}

/// Runs `lentic` to its end, with bytes on its stdin.
pub(crate) fn lentic_with(server: &str, words: &[&str], stdin: &[u8]) -> Ended {
    let mut child = command(server, words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: i64, signal: Signal) {
    kill_process(pid_of(pid), signal).unwrap();
}

fn pid_of(pid: i64) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Waits until `is_so`.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "{what} has not come to be");
        std::thread::yield_now();
    }
}

/// Waits until a process is gone.
pub(crate) fn until_gone(pid: i64) {
    until("the end of a process", || test_kill_process(pid_of(pid)).is_err());
}

/// A cluster by `lentic dev`. It ends with this value.
pub(crate) struct Cluster {
    child: Child,
    /// It stays open, as a terminal does.
    _stdout: BufReader<ChildStdout>,
    /// What it told when it was up.
    pub(crate) told: Value,
    pub(crate) home: TempDir,
}

impl Cluster {
    pub(crate) fn start(nodes: &str) -> Self {
        Self::start_with(nodes, &[])
    }

    /// With further arguments. Timing is lax, for tests share the machine.
    pub(crate) fn start_with(nodes: &str, more: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self::start_in(home, nodes, more)
    }

    pub(crate) fn start_in(home: TempDir, nodes: &str, more: &[&str]) -> Self {
        let data = home.path().join("data").display().to_string();
        let mut words = vec!["dev", "--nodes", nodes, "--port", "0", "--data", &data, "--output", "json"];
        words.extend(more);
        let mut child = command("", &words).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("the cluster did not start: {:?}", Ended::from(child.wait_with_output().unwrap()));
        }
        Self { child, _stdout: stdout, told: serde_json::from_str(&line).unwrap(), home }
    }

    /// What `LENTIC_SERVER` should be.
    pub(crate) fn server(&self) -> &str {
        self.told["server"].as_str().unwrap()
    }

    pub(crate) fn lentic(&self, words: &[&str]) -> Ended {
        lentic(self.server(), words)
    }

    /// The process ids of its nodes, by the number of the node.
    pub(crate) fn pids(&self) -> Vec<(u64, i64)> {
        let node = |node: &Value| (node["node"].as_u64().unwrap(), node["pid"].as_i64().unwrap());
        self.told["nodes"].as_array().unwrap().iter().map(node).collect()
    }

    pub(crate) fn signal(&self, number: Signal) {
        signal(self.child.id().into(), number);
    }

    /// Waits for its end. Returns the exit code, what it wrote to stderr, and where its data was.
    pub(crate) fn wait(mut self) -> (Option<i32>, String, TempDir) {
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        let home = std::mem::replace(&mut self.home, tempfile::tempdir().unwrap());
        (code, stderr, home)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            self.child.wait().unwrap();
        }
    }
}
