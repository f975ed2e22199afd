//! What happened, in order: two runs of a seed must have the same.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Most lines that are kept; the digest covers all.
const LINES_MAX: usize = 4_000_000;

/// A trace. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct Trace {
    started: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    keeps: bool,
    lines: Vec<String>,
    line: String,
    count: u64,
    hasher: DefaultHasher,
}

impl Trace {
    /// An empty trace that begins now. It keeps its lines if `keeps`, and a digest of them in any case.
    #[must_use]
    pub fn new(keeps: bool) -> Self {
        // The trace is compared, not defended: the hasher's keys are fixed.
        let hasher = DefaultHasher::new();
        let state = State { keeps, lines: Vec::new(), line: String::new(), count: 0, hasher };
        Self { started: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// Adds what happened now.
    pub fn add(&self, what: impl fmt::Display) {
        let mut state = self.lock();
        let State { keeps, lines, line, count, hasher } = &mut *state;
        line.clear();
        write!(line, "{:>9} {what}", self.started.elapsed().as_micros()).expect("a string takes all");
        *count += 1;
        hasher.write(line.as_bytes());
        if *keeps && lines.len() < LINES_MAX {
            lines.push(line.clone());
        }
    }

    /// How many things happened, and a digest of all of them.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        let state = self.lock();
        (state.count, state.hasher.finish())
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest of bytes, for a line.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
