//! What a benchmark says: a line for each figure, and the same as JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Stated, for it explains the others or has no target of its own.
    Stated,
}

/// The figures of one run.
pub(crate) struct Figures {
    name: String,
    quick: bool,
    rows: Vec<String>,
}

impl Figures {
    pub(crate) fn new(name: &str, quick: bool) -> Self {
        Self { name: name.to_owned(), quick, rows: Vec::new() }
    }

    /// Prints a figure: the median of `values`, one from each repetition.
    pub(crate) fn add(&mut self, name: &str, values: &[f64], unit: &str, target: Target) {
        let value = median(values);
        let (word, bound, verdict) = match target {
            Target::AtLeast(bound) => (">=", Some(bound), value >= bound),
            Target::AtMost(bound) => ("<=", Some(bound), value <= bound),
            Target::Stated => ("", None, true),
        };
        match bound {
            Some(bound) => {
                let verdict = if verdict { "met" } else { "missed" };
                println!("{name} {} {unit} target {word}{bound} {verdict}", plain(value));
            }
            None => println!("{name} {} {unit} target none stated", plain(value)),
        }
        let all = values.iter().map(|value| plain(*value)).collect::<Vec<_>>().join(",");
        let bound = bound.map_or_else(|| "null".to_owned(), |bound| format!("\"{word}{bound}\""));
        self.rows.push(format!(
            "{{\"name\":\"{name}\",\"value\":{},\"unit\":\"{unit}\",\"target\":{bound},\"met\":{verdict},\"values\":[{all}]}}",
            plain(value)
        ));
    }

    /// Keeps the run in target/bench/NAME.json.
    pub(crate) fn keep(&self) {
        let mut json = String::new();
        let (name, quick) = (&self.name, self.quick);
        let (machine, commit) = (machine(), commit());
        let _ =
            write!(json, "{{\"bench\":\"{name}\",\"quick\":{quick},\"machine\":\"{machine}\",\"commit\":\"{commit}\",");
        let _ = write!(json, "\"figures\":[\n{}\n]}}\n", self.rows.join(",\n"));
        let directory = Path::new("target/bench");
        let path = directory.join(format!("{name}.json"));
        let kept = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, json));
        match kept {
            Ok(()) => println!("kept in {}", path.display()),
            Err(error) => println!("not kept in {}: {error}", path.display()),
        }
    }
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// The middle value; with an even count the lower of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

fn plain(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {}", model.trim_start_matches([' ', '\t', ':'])).replace('"', "'")
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
