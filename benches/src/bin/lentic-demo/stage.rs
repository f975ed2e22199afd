//! The cluster, the commands, and the end of both.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::Failure;

/// Longer than any command takes that works.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// How long processes may take to end when they are asked to; then they are killed.
const END_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether something has come to be.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A node as `lentic dev` tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) http_address: String,
    pub(crate) pid: u32,
    pub(crate) data: String,
}

/// All that runs for the demo, and all that it puts on disk.
pub(crate) struct Stage {
    lentic: PathBuf,
    /// The example of stream jobs.
    flights: PathBuf,
    home: TempDir,
    cluster: Option<Child>,
    /// It stays open, as a terminal does.
    told: Option<BufReader<ChildStdout>>,
    /// Nodes that were started again, with the processes that they were.
    revived: Vec<(u32, Child)>,
    nodes: Vec<Node>,
}

impl Stage {
    /// An empty stage.
    pub(crate) fn set() -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| format!("this program is not to be found: {error}"))?;
        let (lentic, flights) = (program.with_file_name("lentic"), program.with_file_name("examples").join("flights"));
        if let Some(missing) = [&lentic, &flights].into_iter().find(|path| !path.exists()) {
            return Err(format!("expected the binary {}; cargo xtask demo builds it", missing.display()));
        }
        let home = tempfile::Builder::new().prefix("lentic-demo-").tempdir();
        let home = home.map_err(|error| format!("no temporary directory can be made: {error}"))?;
        Ok(Self { lentic, flights, home, cluster: None, told: None, revived: Vec::new(), nodes: Vec::new() })
    }

    /// A directory for files, which goes away at the end.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The nodes of the cluster.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Starts a cluster by `lentic dev`, and waits until it is one.
    pub(crate) async fn start_cluster(&mut self, nodes: usize) -> Result<(), Failure> {
        let (count, data) = (nodes.to_string(), self.home().join("cluster").display().to_string());
        let words = ["dev", "--nodes", &count, "--port", "0", "--data", &data];
        shown(&words);
        let mut command = self.command(&words);
        let mut cluster = command.args(["--output", "plain"]).spawn().map_err(|error| self.unstarted(&error))?;
        let stdout = cluster.stdout.take().expect("it is piped");
        self.cluster = Some(cluster);
        let mut lines = BufReader::new(stdout).lines();
        for _ in 0..nodes {
            let line = timeout(COMMAND_MAX, lines.next_line()).await;
            let line = line.map_err(|_| "the cluster did not start in time")?.map_err(|error| error.to_string())?;
            let Some(line) = line else { return Err(self.why_cluster_ended().await) };
            self.nodes.push(node(&line).ok_or_else(|| format!("lentic dev said what was not expected: {line}"))?);
        }
        self.told = Some(lines.into_inner());
        Ok(())
    }

    async fn why_cluster_ended(&mut self) -> Failure {
        let Some(cluster) = self.cluster.take() else { return "there is no cluster".to_owned() };
        match cluster.wait_with_output().await {
            Ok(output) => format!("the cluster did not start: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => format!("the cluster did not start: {error}"),
        }
    }

    /// Runs a command, shows it with its answer, and returns that.
    pub(crate) async fn show(&self, words: &[&str]) -> Result<String, Failure> {
        shown(words);
        let answer = self.begin(words)?.answer().await?;
        answer.lines().for_each(|line| println!("    {line}"));
        println!();
        Ok(answer)
    }

    /// Begins a command, whose answer is waited for later.
    pub(crate) fn begin(&self, words: &[&str]) -> Result<Running, Failure> {
        let child = self.command(words).spawn().map_err(|error| self.unstarted(&error))?;
        Ok(Running { words: words.join(" "), child })
    }

    /// Starts the example of stream jobs, shown as it would be typed.
    pub(crate) fn start_jobs(&self, words: &[&str]) -> Result<Jobs, Failure> {
        println!("  $ cargo run --release --example flights -- {}", words.join(" "));
        let mut command = quiet(&self.flights, words);
        let mut child =
            command.spawn().map_err(|error| format!("{} cannot be started: {error}", self.flights.display()))?;
        let stdout = child.stdout.take().expect("it is piped");
        Ok(Jobs { child, lines: BufReader::new(stdout).lines() })
    }

    /// Kills a node as a power cut would: it gets no chance to say or write anything.
    pub(crate) fn kill(&self, node: &Node) -> Result<(), Failure> {
        send(node.pid, Signal::KILL).map_err(|error| format!("n{} cannot be killed: {error}", node.id))
    }

    /// Starts a node again that was killed, on what it had on disk.
    pub(crate) fn revive(&mut self, node: &Node) -> Result<(), Failure> {
        let at = |address: &str| address.trim_start_matches("http://").to_owned();
        let (listen, http_listen) = (at(&node.address), at(&node.http_address));
        let words = ["serve", "--data", &node.data, "--listen", &listen, "--http-listen", &http_listen];
        shown(&words);
        let mut command = self.command(&words);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.revived.push((node.pid, child.map_err(|error| self.unstarted(&error))?));
        Ok(())
    }

    /// Whether a node was started again.
    pub(crate) fn has_revived(&self, node: &Node) -> bool {
        self.revived.iter().any(|(pid, _)| *pid == node.pid)
    }

    /// Ends all processes and removes all files.
    ///
    /// # Errors
    /// Something did not end as it should. It is gone nevertheless.
    pub(crate) async fn clear(mut self) -> Result<(), Failure> {
        let mut faults = Vec::new();
        for child in self.revived.drain(..).map(|(_, child)| child).chain(self.cluster.take()) {
            faults.extend(end(child).await.err());
        }
        for node in &self.nodes {
            if !until(END_MAX, || !runs(node.pid)).await {
                faults.push(format!("n{}, process {}, did not end and was killed", node.id, node.pid));
                // It may have ended just now.
                let _ = send(node.pid, Signal::KILL);
            }
        }
        let path = self.home.path().to_path_buf();
        faults.extend(self.home.close().err().map(|error| format!("{} is left: {error}", path.display())));
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = quiet(&self.lentic, words);
        let addresses: Vec<&str> = self.nodes.iter().map(|node| &*node.address).collect();
        command.env_remove("LENTIC_SERVER");
        if !addresses.is_empty() {
            command.env("LENTIC_SERVER", addresses.join(","));
        }
        command
    }

    fn unstarted(&self, error: &std::io::Error) -> Failure {
        format!("{} cannot be started: {error}", self.lentic.display())
    }
}

/// A command that runs. Dropped, it ends.
pub(crate) struct Running {
    words: String,
    child: Child,
}

impl Running {
    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its answer.
    ///
    /// # Errors
    /// It failed, or took too long.
    pub(crate) async fn answer(self) -> Result<String, Failure> {
        let words = self.words;
        let output = timeout(COMMAND_MAX, self.child.wait_with_output()).await;
        let output = output.map_err(|_| format!("`lentic {words}` takes longer than {COMMAND_MAX:?}"))?;
        let output = output.map_err(|error| format!("`lentic {words}`: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`lentic {words}` failed with {}: {}", output.status, said.trim_end()));
        }
        String::from_utf8(output.stdout).map_err(|_| format!("`lentic {words}` did not answer in text"))
    }
}

/// Stream jobs that run. Dropped, they end.
pub(crate) struct Jobs {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Jobs {
    /// What they say next; `None` when they have said all.
    pub(crate) async fn next_line(&mut self) -> Result<Option<String>, Failure> {
        match timeout(COMMAND_MAX, self.lines.next_line()).await {
            Ok(line) => line.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the jobs have said nothing for {COMMAND_MAX:?}")),
        }
    }

    /// Waits for their end.
    ///
    /// # Errors
    /// Something was not as it must be.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        let output = self.child.wait_with_output().await.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("the jobs ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}

/// A program that neither sees nor has the terminal.
fn quiet(program: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    // In a group of its own: Ctrl-C is for this program, which ends the others in their order.
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits until `is_so`; false if it takes longer than `most`.
async fn until(most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > most {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// Asks a process to end, and sees to it that it does.
async fn end(mut child: Child) -> Result<(), Failure> {
    let Some(pid) = child.id() else { return Ok(()) };
    // One that has ended meanwhile is what is wanted.
    let _ = send(pid, Signal::TERM);
    match timeout(END_MAX, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("process {pid} ended with {status}, expected it to end in order")),
        Ok(Err(error)) => Err(format!("process {pid} cannot be waited for: {error}")),
        Err(_) => {
            // It is told to the caller; there is nothing else to be done about it.
            let _ = child.kill().await;
            Err(format!("process {pid} did not end for {END_MAX:?} and was killed"))
        }
    }
}

fn send(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    kill_process(pid_of(pid), signal)
}

fn runs(pid: u32) -> bool {
    test_kill_process(pid_of(pid)).is_ok()
}

fn pid_of(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a small id above 0")
}

fn node(line: &str) -> Option<Node> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().map(str::to_owned);
    let (id, address, http_address) = (next()?.parse().ok()?, next()?, next()?);
    Some(Node { id, address, http_address, pid: next()?.parse().ok()?, data: next()? })
}

/// Shows a command as it would be typed.
pub(crate) fn shown(words: &[&str]) {
    let quoted = words.iter().map(|word| match word.contains(['{', ' ', '*']) {
        true => format!("'{word}'"),
        false => (*word).to_owned(),
    });
    println!("  $ lentic {}", quoted.collect::<Vec<_>>().join(" "));
}
