//! What a case found, in lines and in a file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use lentic_workloads::Recorder;
use serde_json::{Map, Value};

use crate::cluster::Settings;
use crate::ground::Ground;

/// What cases stand on: a binary, and a directory for what they leave behind.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The binary `lentic`.
    pub program: PathBuf,
    /// The directory. Each case has a part of it, with the nodes' logs, the history and the verdict.
    pub home: PathBuf,
}

impl Stand {
    /// The directory of the case `name`.
    #[must_use]
    pub fn home_of(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// The settings of a cluster for the case `name`.
    #[must_use]
    pub fn settings(&self, name: &str, nodes: usize, knobs: &[&str]) -> Settings {
        let knobs = knobs.iter().map(|knob| (*knob).to_owned()).collect();
        Settings { program: self.program.clone(), home: self.home_of(name), nodes, knobs, ground: Ground::default() }
    }
}

/// What a case found. That there is one says that every promise was kept.
#[derive(Clone, Debug)]
pub struct Report {
    name: String,
    lines: Vec<(String, String)>,
}

impl Report {
    /// An empty report of the case `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Vec::new() }
    }

    /// Adds a finding.
    pub fn add(&mut self, what: impl Into<String>, found: impl fmt::Display) {
        self.lines.push((what.into(), found.to_string()));
    }

    /// Closes the history, and writes the verdict beside it.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn close(self, home: &Path, recorder: &Recorder) -> Self {
        recorder.flush();
        let mut lines: Map<String, Value> = Map::new();
        for (what, found) in &self.lines {
            let all = lines.entry(what).or_insert_with(|| Value::Array(Vec::new()));
            all.as_array_mut().expect("it was made one").push(found.clone().into());
        }
        let verdict = serde_json::json!({ "case": self.name, "valid": true, "found": lines });
        fs::write(home.join("verdict.json"), format!("{verdict:#}\n")).expect("the home can be written to");
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.name)?;
        self.lines.iter().try_for_each(|(what, found)| writeln!(f, "  {what}: {found}"))
    }
}
