//! What was asked and answered, and what was done to nodes, in Elle's format.
//!
//! `history.jsonl` has one event a line: `invoke`, and then `ok`, `fail` or `info` of the same process. Its order is the
//! order of real time: an invocation is written before the request leaves, a completion after the answer is here, under
//! one lock and one clock, which is tokio's. A process has one open operation at most, and is retired by an `info`: the
//! outcome is not known and may still come to be. Faults are written by the process `nemesis`, here and in
//! `nemesis.jsonl`.
//!
//! ```text
//! {"f":"write","key":"k","process":1,"time":10,"type":"invoke","value":7}
//! {"f":"txn","process":2,"time":17,"type":"invoke","value":[["append",1,7],["r",2,null]]}
//! {"f":"txn","process":2,"time":29,"type":"ok","value":[["append",1,7],["r",2,[5,6]]]}
//! {"error":"no answer","f":"write","key":"k","process":1,"time":31,"type":"info","value":7}
//! ```
//!
//! The lines whose `f` is `txn` are the history of transactions on lists, as a checker of such histories takes it.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// An operation, as the history has it.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it does: `read`, `write`, `insert`, `add`, `txn`.
    pub f: &'static str,
    /// What it does it to; empty if its value says so.
    pub key: String,
    /// What it writes, if it does.
    pub value: Value,
}

/// Writes a history, or only counts and forgets. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    files: Option<Files>,
    /// Processes without an open operation.
    free: Vec<u32>,
    processes: u32,
}

#[derive(Debug)]
struct Files {
    history: BufWriter<File>,
    nemesis: BufWriter<File>,
}

impl Recorder {
    /// A new history in the directory `home`.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn to_files(home: &Path) -> Self {
        fs::create_dir_all(home).expect("the home can be made");
        let file = |name| BufWriter::new(File::create(home.join(name)).expect("the home can be written to"));
        Self::new(Some(Files { history: file("history.jsonl"), nemesis: file("nemesis.jsonl") }))
    }

    /// A history that nobody reads: it has a clock and processes, and no lines.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(None)
    }

    fn new(files: Option<Files>) -> Self {
        let state = State { files, free: Vec::new(), processes: 0 };
        Self(Arc::new(Shared { began: Instant::now(), state: Mutex::new(state) }))
    }

    /// The time of the history.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// An operation begins: call it before the request leaves.
    #[must_use]
    pub fn invoke(&self, call: Call) -> Recording {
        let mut state = self.state();
        let process = state.free.pop().unwrap_or_else(|| {
            state.processes += 1;
            state.processes - 1
        });
        let at = self.now();
        state.write("invoke", process, &call, &call.value, None, at);
        Recording { recorder: self.clone(), process, called: at, call, is_open: true }
    }

    /// Something was done to the nodes: `f`, and to whom. Returns the time.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn nemesis(&self, f: &str, value: &str) -> Duration {
        let mut state = self.state();
        let at = self.now();
        if let Some(files) = &mut state.files {
            let line = json!({"type": "info", "process": "nemesis", "f": f, "value": value, "time": nanos(at)});
            for file in [&mut files.history, &mut files.nemesis] {
                writeln!(file, "{line}").expect("the history can be written");
            }
            // Faults are few, and who looks into a run that failed looks for them first.
            files.nemesis.flush().expect("the history can be written");
        }
        at
    }

    /// Writes all that is not in its file yet.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn flush(&self) {
        if let Some(files) = &mut self.state().files {
            files.history.flush().expect("the history can be written");
            files.nemesis.flush().expect("the history can be written");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, kind: &str, process: u32, call: &Call, value: &Value, error: Option<&str>, at: Duration) {
        let Some(files) = &mut self.files else { return };
        let mut line = json!({"type": kind, "process": process, "f": call.f, "value": value, "time": nanos(at)});
        if !call.key.is_empty() {
            line["key"] = call.key.clone().into();
        }
        if let Some(error) = error {
            line["error"] = error.into();
        }
        writeln!(files.history, "{line}").expect("the history can be written");
    }
}

/// A time as histories have it.
pub(crate) fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).expect("a run of less than centuries")
}

/// An operation that is open. Dropped without an end, its outcome is not known.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    process: u32,
    called: Duration,
    call: Call,
    is_open: bool,
}

impl Recording {
    /// Whose operation it is.
    #[must_use]
    pub const fn process(&self) -> u32 {
        self.process
    }

    /// When it began.
    #[must_use]
    pub const fn called(&self) -> Duration {
        self.called
    }

    /// It took effect, and read `value` if it reads. Returns the time.
    pub fn ok(mut self, value: Value) -> Duration {
        let value = if value.is_null() && self.call.f != "read" { self.call.value.clone() } else { value };
        self.end("ok", &value, None)
    }

    /// It had no effect. Returns the time.
    pub fn fail(mut self, reason: &str) -> Duration {
        self.end_without("fail", reason)
    }

    /// Nobody knows whether it had. Returns the time.
    pub fn info(mut self, reason: &str) -> Duration {
        self.end_without("info", reason)
    }

    fn end_without(&mut self, kind: &str, reason: &str) -> Duration {
        let value = self.call.value.clone();
        self.end(kind, &value, Some(reason))
    }

    fn end(&mut self, kind: &str, value: &Value, error: Option<&str>) -> Duration {
        self.is_open = false;
        let mut state = self.recorder.state();
        let at = self.recorder.now();
        state.write(kind, self.process, &self.call, value, error, at);
        // After an `info` its operation may still take effect: the number is not used again.
        if kind != "info" {
            state.free.push(self.process);
        }
        at
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.is_open {
            self.end_without("info", "nobody waited for the answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is removed when the test ends.
    struct Home(std::path::PathBuf);

    impl Drop for Home {
        fn drop(&mut self) {
            // What cannot be removed is no concern of the test.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn call(f: &'static str) -> Call {
        Call { f, key: "k".to_owned(), value: 7.into() }
    }

    #[test]
    fn a_process_has_one_open_operation_and_none_after_an_unknown_one() {
        let home = Home(std::env::temp_dir().join(format!("lentic-workloads-recorder-{}", std::process::id())));
        let recorder = Recorder::to_files(&home.0);
        let (first, second) = (recorder.invoke(call("write")), recorder.invoke(call("read")));
        assert_eq!((first.process(), second.process()), (0, 1));
        first.ok(Value::Null);
        drop(second);
        recorder.nemesis("kill", "n1");
        let third = recorder.invoke(call("add"));
        assert_eq!(third.process(), 0, "a free number is used again");
        let fourth = recorder.invoke(Call { key: String::new(), ..call("txn") });
        assert_eq!(fourth.process(), 2, "that of an unknown outcome is not");
        third.fail("refused");
        fourth.info("lost");
        recorder.flush();
        let lines = fs::read_to_string(home.0.join("history.jsonl")).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["invoke", "invoke", "ok", "info", "info", "invoke", "invoke", "fail", "info"]);
        assert!(lines.is_sorted_by_key(|line| line["time"].as_u64()));
        assert_eq!((&lines[2]["value"], &lines[4]["process"]), (&json!(7), &json!("nemesis")));
        assert_eq!((&lines[7]["value"], &lines[7]["error"]), (&json!(7), &json!("refused")));
        assert_eq!((lines[7].get("key"), lines[8].get("key")), (Some(&json!("k")), None));
    }

    #[test]
    fn without_files_there_are_processes_all_the_same() {
        let recorder = Recorder::in_memory();
        recorder.invoke(call("write")).info("lost");
        assert_eq!(recorder.invoke(call("write")).process(), 1);
    }
}
