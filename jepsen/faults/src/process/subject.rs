//! A process to try faults on: it makes the one call that it is told, and says what came of it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs, process};

use super::preload::Preload;

/// The program, compiled with this crate.
const PROGRAM: &str = concat!(env!("OUT_DIR"), "/lentic-subject");

/// The process. It ends with this value, and after a minute in any case, so that nobody waits for good.
#[derive(Debug)]
pub(super) struct Subject {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It returned, with this.
    Done(String),
    /// It failed, with this error number.
    Failed(i32),
    /// It did not return.
    Ended(ExitStatus),
}

impl Subject {
    /// Starts it with the library and the page.
    pub(super) fn start(preload: &Preload) -> io::Result<Self> {
        let mut command = Command::new(PROGRAM);
        preload.apply(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for")
        };
        Ok(Self { child, ask, answers: BufReader::new(answers) })
    }

    /// Makes it do `call`, and waits for it.
    pub(super) fn ask(&mut self, call: &str) -> io::Result<Answer> {
        let mut line = String::new();
        // If it has ended there is nobody to ask, and no answer.
        let _ = self.ask.write_all(format!("{call}\n").as_bytes());
        if self.answers.read_line(&mut line)? == 0 {
            return Ok(Answer::Ended(self.child.wait()?));
        }
        let line = line.trim_end_matches('\n');
        match line.split_once(' ') {
            Some(("ok", result)) => Ok(Answer::Done(result.to_owned())),
            Some(("error", number)) => Ok(Answer::Failed(number.parse().map_err(io::Error::other)?)),
            _ => Err(io::Error::other(format!("answered {line:?}"))),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for one probe or test. It goes with this value.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("lentic-faults-{}-{number}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
