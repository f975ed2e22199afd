//! A node: a process that is started, hurt and looked at.

use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http;
use crate::memory::Memory;
use crate::wait::until;

/// Bytes from the end of a log that are shown when something is wrong.
const TAIL_BYTES: usize = 6 << 10;
/// How long the kernel may take to stop or continue a process.
const SIGNAL_WITHIN: Duration = Duration::from_secs(5);

/// A node of a cluster. Its process ends with this value.
#[derive(Debug)]
pub struct Node {
    name: String,
    program: PathBuf,
    listen: SocketAddrV4,
    http: SocketAddrV4,
    data: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// The node `name`, not started yet: its data and its log are in `home`. `arguments` follow those of its place.
    pub(crate) fn new(
        program: &Path,
        home: &Path,
        name: &str,
        listen: SocketAddrV4,
        http: SocketAddrV4,
        arguments: Vec<String>,
    ) -> Self {
        let (data, log) = (home.join(name), home.join(format!("{name}.log")));
        Self { name: name.to_owned(), program: program.to_owned(), listen, http, data, log, arguments, child: None }
    }

    /// Its name in messages and histories.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients speak to it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Where it listens.
    #[must_use]
    pub const fn listen(&self) -> SocketAddrV4 {
        self.listen
    }

    /// Starts the process on what the directory holds.
    ///
    /// # Panics
    /// If it runs, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("the home can be written to");
        let out = log.try_clone().expect("a file has two handles");
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", &self.listen.to_string(), "--http-listen", &self.http.to_string()]);
        command.args(["--stop-with-parent", &std::process::id().to_string(), "--data"]).arg(&self.data);
        command.args(&self.arguments).env_remove("LENTIC_SERVER");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Whether a process was started and not ended from here.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// The id of its process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        i32::try_from(child.id()).expect("ids of processes are small")
    }

    /// Ends the process where it stands: kill -9.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // One that has ended by itself needs no more.
        let _ = child.kill();
        child.wait().expect("a child can be waited for");
    }

    /// Asks the process to stop in order, and waits for it.
    ///
    /// # Panics
    /// If it has not ended after `within`.
    pub async fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let what = format!("the end of {}", self.name);
        let status = until(&what, within, || {
            let child = self.child.as_mut().expect("it ran a moment ago");
            let status = child.try_wait().map_err(|error| error.to_string());
            std::future::ready(status.and_then(|status| status.ok_or_else(|| "it runs on".to_owned())))
        })
        .await;
        self.child = None;
        status
    }

    /// Pauses the process: SIGSTOP. When it returns, nothing of it runs any more.
    ///
    /// # Panics
    /// If the process does not run.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        self.await_state(true);
    }

    /// Lets the process go on: SIGCONT.
    ///
    /// # Panics
    /// If the process does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
        self.await_state(false);
    }

    /// What it holds of the machine's memory.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory::of(self.pid())
    }

    /// Forgets the peak of its memory.
    pub fn reset_memory_peak(&self) {
        Memory::reset_peak(self.pid());
    }

    /// Whether it says that it can serve, and what keeps it from that.
    ///
    /// # Errors
    /// Its own words, or why there are none.
    pub async fn ready(&self) -> Result<(), String> {
        match http::get(self.http, "/readyz").await? {
            (200, _) => Ok(()),
            (status, words) => Err(format!("{}: {status} {}", self.name, words.trim())),
        }
    }

    /// The value of one of its metrics.
    ///
    /// # Errors
    /// It was not reached, or has no such metric.
    pub async fn metric(&self, metric: &str) -> Result<f64, String> {
        let (_, page) = http::get(self.http, "/metrics").await?;
        http::metric(&page, metric).ok_or_else(|| format!("{} has no metric {metric}", self.name))
    }

    /// All that it has logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let from = (log.len().saturating_sub(TAIL_BYTES)..log.len()).find(|at| log.is_char_boundary(*at));
        log[from.unwrap_or(0)..].to_owned()
    }

    /// Checks that the process lives, and that nothing in it has panicked since its first start.
    ///
    /// # Panics
    /// If not.
    pub fn check_well(&mut self) {
        if let Some(child) = self.child.as_mut() {
            let ended = child.try_wait().expect("a child can be asked for");
            assert!(ended.is_none(), "{} has ended by itself: {ended:?}", self.name);
        }
        let log = self.log();
        let panicked = log.lines().position(|line| line.contains("panicked at"));
        if let Some(at) = panicked {
            let lines: Vec<&str> = log.lines().skip(at).take(6).collect();
            panic!("{} has panicked: {}", self.name, lines.join("\n"));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid()).expect("the id of a process is not 0");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} takes no signal: {error}", self.name));
    }

    fn await_state(&self, stopped: bool) {
        let deadline = Instant::now() + SIGNAL_WITHIN;
        while is_stopped(self.pid()) != stopped {
            assert!(Instant::now() < deadline, "{} has not heeded its signal", self.name);
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the kernel has stopped a process: the letter behind its name.
fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
