//! A node: a process that is started, hurt and looked at.

use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lentic_faults::disk::{self, Disk};
use lentic_faults::net::Network;
use lentic_faults::process::Preload;
use rustix::process::{Pid, Signal, kill_process};

use crate::http;
use crate::memory::Memory;
use crate::wait::until;

/// Bytes from the end of a log that are shown when something is wrong.
const TAIL_BYTES: usize = 6 << 10;
/// How long the kernel may take to stop or continue a process.
const SIGNAL_WITHIN: Duration = Duration::from_secs(5);

/// Where a node is, and what it stands on.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its name in messages and histories.
    pub(crate) name: String,
    /// The binary `lentic`.
    pub(crate) program: PathBuf,
    /// The network that it is on, and where, if that is not the plain one.
    pub(crate) network: Option<(Arc<Network>, usize)>,
    /// Where it serves clients and nodes.
    pub(crate) listen: SocketAddrV4,
    /// Where it has its pages.
    pub(crate) http: SocketAddrV4,
    /// What it logs, over all starts.
    pub(crate) log: PathBuf,
    /// Its data.
    pub(crate) data: PathBuf,
    /// The disk that its data is on, if that is its own.
    pub(crate) disk: Option<Disk>,
    /// What stands between it and the kernel, if anything does.
    pub(crate) calls: Option<Preload>,
    /// What follows the arguments of its place.
    pub(crate) arguments: Vec<String>,
}

/// A node of a cluster. Its process ends with this value.
#[derive(Debug)]
pub struct Node {
    place: Place,
    child: Option<Child>,
}

impl Node {
    /// A node, not started yet.
    pub(crate) const fn new(place: Place) -> Self {
        Self { place, child: None }
    }

    /// Its name in messages and histories.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Where clients speak to it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.place.listen)
    }

    /// Where it listens.
    #[must_use]
    pub const fn listen(&self) -> SocketAddrV4 {
        self.place.listen
    }

    /// Starts the process on what the directory holds.
    ///
    /// # Panics
    /// If it runs, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.place.name);
        let Place { program, network, listen, http, log, data, calls, arguments, .. } = &self.place;
        let log = File::options().create(true).append(true).open(log).expect("the home can be written to");
        let out = log.try_clone().expect("a file has two handles");
        let mut command = match network {
            Some((network, place)) => network.command(*place, program),
            None => Command::new(program),
        };
        if let Some(calls) = calls {
            calls.apply(&mut command);
        }
        command.args(["serve", "--listen", &listen.to_string(), "--http-listen", &http.to_string()]);
        command.args(["--stop-with-parent", &std::process::id().to_string(), "--data"]).arg(data);
        command.args(arguments).env_remove("LENTIC_SERVER");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.place.name));
        self.child = Some(child);
    }

    /// Whether a process was started and not ended from here.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// How its process ended by itself, if it has. It is not up then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut()?.try_wait().expect("a child can be asked for");
        if ended.is_some() {
            self.child = None;
        }
        ended
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.place.data
    }

    /// The disk that its data is on, if that is its own.
    pub const fn disk(&mut self) -> Option<&mut Disk> {
        self.place.disk.as_mut()
    }

    /// What that disk is.
    pub(crate) fn disk_kind(&self) -> Option<disk::Kind> {
        self.place.disk.as_ref().map(Disk::kind)
    }

    /// What stands between it and the kernel, if anything does.
    #[must_use]
    pub const fn calls(&self) -> Option<&Preload> {
        self.place.calls.as_ref()
    }

    /// The id of its process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.place.name));
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
        let what = format!("the end of {}", self.place.name);
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
        match http::get(self.place.http, "/readyz").await? {
            (200, _) => Ok(()),
            (status, words) => Err(format!("{}: {status} {}", self.place.name, words.trim())),
        }
    }

    /// The value of one of its metrics.
    ///
    /// # Errors
    /// It was not reached, or has no such metric.
    pub async fn metric(&self, metric: &str) -> Result<f64, String> {
        let (_, page) = http::get(self.place.http, "/metrics").await?;
        http::metric(&page, metric).ok_or_else(|| format!("{} has no metric {metric}", self.place.name))
    }

    /// All that it has logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.place.log).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
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
            assert!(ended.is_none(), "{} has ended by itself: {ended:?}", self.place.name);
        }
        let log = self.log();
        let panicked = log.lines().position(|line| line.contains("panicked at"));
        if let Some(at) = panicked {
            let lines: Vec<&str> = log.lines().skip(at).take(6).collect();
            panic!("{} has panicked: {}", self.place.name, lines.join("\n"));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid()).expect("the id of a process is not 0");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} takes no signal: {error}", self.place.name));
    }

    fn await_state(&self, stopped: bool) {
        let deadline = Instant::now() + SIGNAL_WITHIN;
        while is_stopped(self.pid()) != stopped {
            assert!(Instant::now() < deadline, "{} has not heeded its signal", self.place.name);
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
