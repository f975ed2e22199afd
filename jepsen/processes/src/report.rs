//! What a case found, in lines and in a file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cluster::Settings;
use crate::recorder::Recorder;

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
        Settings { program: self.program.clone(), home: self.home_of(name), nodes, knobs }
    }
}

/// What a case found. That there is one says that every promise was kept.
#[derive(Clone, Debug)]
pub struct Report {
    name: &'static str,
    lines: Vec<(String, String)>,
}

impl Report {
    /// An empty report of the case `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, lines: Vec::new() }
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
    pub fn close(mut self, home: &Path, recorder: &Recorder) -> Self {
        recorder.flush();
        let counts = recorder.counts();
        self.add("operations", format!("{} ok, {} failed, {} unknown", counts.ok, counts.fail, counts.info));
        let lines: Map<String, Value> =
            self.lines.iter().map(|(what, found)| (what.clone(), found.clone().into())).collect();
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
