//! Signals, sent to a process of its own.

#![expect(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use lentic_serve::signals;

const ROLE: &str = "LENTIC_SERVE_TEST_ROLE";

/// A role: this binary as another process. It stops at the first signal, but not before it is told.
#[test]
fn role_waits_for_signals() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stopped = runtime.block_on(async {
        let shutdown = signals::shutdown().unwrap();
        println!("up");
        let signal = shutdown.await;
        println!("stopping by {signal}");
        // A shutdown that takes until somebody says a word.
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
        signal
    });
    println!("stopped by {stopped}");
    std::process::exit(0);
}

/// How long a process may take: then it is killed, and its test fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _done: Sender<()>,
}

fn start() -> Process {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["role_waits_for_signals", "--exact", "--nocapture"])
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (done, is_done) = channel();
    let id = child.id();
    std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            send("-KILL", id);
        }
    });
    Process { child, lines, _done: done }
}

impl Process {
    fn expect(&mut self, text: &str) {
        let said = self.lines.any(|line| line.unwrap().ends_with(text));
        assert!(said, "the process ended before it said {text:?}");
    }
}

fn send(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

#[test]
fn the_first_signal_asks() {
    for (signal, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        let mut process = start();
        process.expect("up");
        send(signal, process.child.id());
        process.expect(&format!("stopping by {name}"));
        drop(process.child.stdin.take());
        process.expect(&format!("stopped by {name}"));
        assert!(process.child.wait().unwrap().success());
    }
}

#[test]
fn the_second_signal_insists() {
    for (second, status) in [("-TERM", 143), ("-INT", 130)] {
        let mut process = start();
        // Held: its end would be the word that the process waits for.
        let _stdin = process.child.stdin.take();
        process.expect("up");
        send("-INT", process.child.id());
        process.expect("stopping by SIGINT");
        send(second, process.child.id());
        assert_eq!(process.child.wait().unwrap().code(), Some(status));
    }
}
