//! What was asked and answered, and what was done to nodes, in Elle's format.
//!
//! `history.jsonl` has one event a line: `invoke`, and then `ok`, `fail` or `info` of the same process. Its order is the
//! order of real time: an invocation is written before the request leaves, a completion after the answer is here, under
//! one lock and one clock. A process has one open operation at most, and is retired by an `info`: the outcome is not
//! known and may still come to be. Faults are written by the process `nemesis`, here and in `nemesis.jsonl`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// An operation, as the history has it.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it does: `read`, `write`, `insert`, `add`.
    pub f: &'static str,
    /// The key.
    pub key: String,
    /// What it writes, if it does.
    pub value: Value,
}

/// How operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Took effect.
    pub ok: u64,
    /// Had no effect.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

/// Writes a history. Clones write the same one.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    history: BufWriter<File>,
    nemesis: BufWriter<File>,
    /// Processes without an open operation.
    free: Vec<u64>,
    processes: u64,
    counts: Counts,
}

impl Recorder {
    /// A new history in the directory `home`.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        fs::create_dir_all(home).expect("the home can be made");
        let file = |name| BufWriter::new(File::create(home.join(name)).expect("the home can be written to"));
        let (history, nemesis) = (file("history.jsonl"), file("nemesis.jsonl"));
        let state = State { history, nemesis, free: Vec::new(), processes: 0, counts: Counts::default() };
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
        state.write("invoke", process, &call, &call.value, at);
        Recording { recorder: self.clone(), process, call, is_open: true }
    }

    /// Something was done to the nodes: `f`, and to whom.
    pub fn nemesis(&self, f: &str, value: &str) -> Duration {
        let mut state = self.state();
        let at = self.now();
        let line = json!({"type": "info", "process": "nemesis", "f": f, "value": value, "time": nanos(at)});
        let state = &mut *state;
        for file in [&mut state.history, &mut state.nemesis] {
            writeln!(file, "{line}").expect("the history can be written");
        }
        // Faults are few, and who looks into a run that failed looks for them first.
        state.nemesis.flush().expect("the history can be written");
        at
    }

    /// How operations ended so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Writes all that is not in its file yet.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn flush(&self) {
        let mut state = self.state();
        state.history.flush().expect("the history can be written");
        state.nemesis.flush().expect("the history can be written");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, kind: &str, process: u64, call: &Call, value: &Value, at: Duration) {
        let line = json!({
            "type": kind, "process": process, "f": call.f, "key": call.key, "value": value, "time": nanos(at),
        });
        writeln!(self.history, "{line}").expect("the history can be written");
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

/// An operation that is open. Dropped without an end, its outcome is not known.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    process: u64,
    call: Call,
    is_open: bool,
}

impl Recording {
    /// It took effect, and read `value` if it reads. Returns the time.
    pub fn ok(mut self, value: Value) -> Duration {
        self.end("ok", value)
    }

    /// It had no effect.
    pub fn fail(mut self, reason: &str) -> Duration {
        self.end("fail", reason.into())
    }

    /// Nobody knows whether it had.
    pub fn info(mut self, reason: &str) -> Duration {
        self.end("info", reason.into())
    }

    fn end(&mut self, kind: &str, value: Value) -> Duration {
        self.is_open = false;
        let mut state = self.recorder.state();
        let at = self.recorder.now();
        let value =
            if kind == "ok" && value.is_null() && self.call.f != "read" { self.call.value.clone() } else { value };
        state.write(kind, self.process, &self.call, &value, at);
        match kind {
            "ok" => state.counts.ok += 1,
            "fail" => state.counts.fail += 1,
            _ => state.counts.info += 1,
        }
        // Its operation may still take effect: the number is not used again.
        if kind != "info" {
            state.free.push(self.process);
        }
        at
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.is_open {
            self.end("info", "nobody waited for the answer".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(f: &'static str) -> Call {
        Call { f, key: "k".to_owned(), value: 7.into() }
    }

    #[test]
    fn a_process_has_one_open_operation_and_none_after_an_unknown_one() {
        let home = std::env::temp_dir().join(format!("lentic-recorder-{}", std::process::id()));
        let recorder = Recorder::new(&home);
        let (first, second) = (recorder.invoke(call("write")), recorder.invoke(call("read")));
        assert_eq!((first.process, second.process), (0, 1));
        first.ok(Value::Null);
        drop(second);
        recorder.nemesis("kill", "n1");
        let third = recorder.invoke(call("add"));
        assert_eq!(third.process, 0, "a free number is used again");
        let fourth = recorder.invoke(call("add"));
        assert_eq!(fourth.process, 2, "that of an unknown outcome is not");
        third.fail("refused");
        fourth.info("lost");
        recorder.flush();
        assert_eq!(recorder.counts(), Counts { ok: 1, fail: 1, info: 2 });
        let lines = fs::read_to_string(home.join("history.jsonl")).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["invoke", "invoke", "ok", "info", "info", "invoke", "invoke", "fail", "info"]);
        assert!(lines.is_sorted_by_key(|line| line["time"].as_u64()));
        assert_eq!((&lines[2]["value"], &lines[4]["process"]), (&json!(7), &json!("nemesis")));
        fs::remove_dir_all(home).unwrap();
    }
}
