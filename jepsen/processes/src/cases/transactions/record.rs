//! The history of transactions on lists: kept for the checker, and written to `transactions.jsonl` as it happens.
//!
//! An invocation is written before the request leaves, a completion after the answer is here, under one lock and one
//! clock. Who does not wait for the answer, or gets none that says what became of it, writes `info` and is retired.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_check::history::{Builder, Event, History, Kind, Micro, Outcome};
use lentic_client::Error;
use serde_json::json;

use super::scene::Scene;
use crate::recorder::Recorder;

/// Lists that are alive at a time.
pub(super) const LISTS: usize = 8;
/// A list has so many appends, then another takes its place.
const APPENDS: i64 = 24;
/// Most steps of a transaction.
const STEPS_MAX: u64 = 4;

/// The history, and which lists there are.
pub(super) struct Record {
    recorder: Recorder,
    state: Mutex<State>,
}

struct State {
    builder: Builder,
    file: BufWriter<File>,
    /// Of each list, how many have had its place, and what was appended last.
    lists: Vec<(i64, i64)>,
    processes: u32,
    /// What each process has asked for.
    asked: Vec<Vec<Micro>>,
}

impl Record {
    /// A new history in the directory `home`, whose clock is that of `recorder`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub(super) fn new(home: &Path, recorder: &Recorder) -> Self {
        let file = File::create(home.join("transactions.jsonl")).expect("the home can be written to");
        let state = State {
            builder: Builder::new(),
            file: BufWriter::new(file),
            lists: vec![(0, 0); LISTS],
            processes: 0,
            asked: Vec::new(),
        };
        Self { recorder: recorder.clone(), state: Mutex::new(state) }
    }

    /// A new process.
    pub(super) fn process(&self) -> u32 {
        let mut state = self.state();
        state.processes += 1;
        state.asked.push(Vec::new());
        state.processes - 1
    }

    /// Steps of a transaction: half of them read, and no two append the same.
    pub(super) fn micros(&self, scene: &Scene) -> Vec<Micro> {
        let mut state = self.state();
        (0..scene.between(1..=STEPS_MAX)).map(|_| state.micro(scene)).collect()
    }

    /// A process asks for a transaction. Returns the time.
    pub(super) fn invoke(&self, process: u32, micros: &[Micro]) -> Duration {
        let mut state = self.state();
        let at = self.recorder.now();
        state.asked[process as usize] = micros.to_vec();
        state.push(Kind::Invoke, process, at, micros.to_vec());
        at
    }

    /// A process has its answer, or none. Returns whether it is retired.
    pub(super) fn answer(&self, process: u32, result: Option<&Result<Vec<Micro>, Error>>) -> bool {
        let mut state = self.state();
        let at = self.recorder.now();
        let asked = std::mem::take(&mut state.asked[process as usize]);
        let (outcome, micros) = match result {
            Some(Ok(done)) => (Outcome::Ok, done.clone()),
            Some(Err(error)) if !error.is_unknown() => (Outcome::Fail, asked),
            Some(Err(_)) | None => (Outcome::Info, asked),
        };
        state.push(Kind::Answer(outcome), process, at, micros);
        outcome == Outcome::Info
    }

    /// Something was done to the nodes: `f`, and to whom.
    pub(super) fn nemesis(&self, f: &str, value: &str) {
        let mut state = self.state();
        let at = self.recorder.now();
        state.builder.skip();
        let line = json!({"type": "info", "process": "nemesis", "f": f, "value": value, "time": nanos(at)});
        writeln!(state.file, "{line}").expect("the history can be written");
    }

    /// The history, of which nothing is open any more.
    pub(super) fn finish(&self) -> History {
        let mut state = self.state();
        state.file.flush().expect("the history can be written");
        std::mem::take(&mut state.builder).finish().expect("who records a history keeps to its contract")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, kind: Kind, process: u32, at: Duration, micros: Vec<Micro>) {
        let event = Event { kind, process, time_ns: nanos(at), micros };
        writeln!(self.file, "{}", event.write()).expect("the history can be written");
        self.builder.push(event).expect("who records a history keeps to its contract");
    }

    fn micro(&mut self, scene: &Scene) -> Micro {
        let place = scene.below(self.lists.len());
        let (generation, last) = &mut self.lists[place];
        if *last >= APPENDS {
            (*generation, *last) = (*generation + 1, 0);
        }
        let count = |number: usize| i64::try_from(number).expect("few");
        let key = *generation * count(LISTS) + count(place);
        if scene.one_in(2) {
            return Micro::Read { key, list: None };
        }
        *last += 1;
        Micro::Append { key, value: *last }
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).expect("a run of less than centuries")
}
