//! Stages: what a chore is made of, and the loop that runs them.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::codegen::{self, Mode};
use crate::tidy;

/// Debian's compiler links of ccache. They go in front of PATH and never into CXX: RocksDB's build script watches CXX,
/// so a plain `cargo build` and a chore would compile RocksDB against each other.
const CCACHE_LINKS: &str = "/usr/lib/ccache";

/// One step of a chore.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Its name in headings and in the closing line.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) work: Work,
}

/// What a stage does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Runs cargo with these arguments, RUSTDOCFLAGS set so that a warning of rustdoc is an error.
    Cargo(Vec<String>),
    /// Runs a release binary of this workspace, which an earlier stage has built, with these arguments.
    Built(&'static str, Vec<String>),
    /// Judges the tree by the rules of [`tidy`].
    Tidy,
    /// Writes or compares the generated files.
    Codegen(Mode),
    /// Installs what `xtask/deps.sh` knows by this name, if it is missing.
    Install(&'static str),
}

impl Stage {
    /// A stage that runs cargo with the words of `line`, which holds no quoted blanks.
    pub(crate) fn cargo(name: &'static str, line: &str) -> Self {
        Self { name, work: Work::Cargo(line.split_whitespace().map(str::to_owned).collect()) }
    }

    /// A stage that runs the release binary `program` of this workspace.
    pub(crate) fn built(name: &'static str, program: &'static str, words: &[&str]) -> Self {
        Self { name, work: Work::Built(program, words.iter().map(|word| (*word).to_owned()).collect()) }
    }
}

/// Runs all stages and says how it went. A failed stage does not stop the next, so one run shows all that is wrong.
///
/// True if every stage passed.
pub(crate) fn run(chore: &str, root: &Path, stages: &[Stage]) -> bool {
    let started = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    for stage in stages {
        eprintln!("xtask: {}", stage.name);
        let began = Instant::now();
        let outcome = work(root, &stage.work);
        if let Err(message) = &outcome {
            eprintln!("xtask: {} failed: {message}", stage.name);
        }
        rows.push((stage.name, began.elapsed(), outcome.is_ok()));
    }
    print!("{}", summary(chore, &rows, started.elapsed()));
    rows.iter().all(|row| row.2)
}

/// A stage that ran: its name, how long it took, whether it passed.
type Row = (&'static str, Duration, bool);

/// The durations of the stages, when there are several, and the closing line.
fn summary(chore: &str, rows: &[Row], total: Duration) -> String {
    let mut text = String::new();
    if rows.len() > 1 {
        for (name, took, passed) in rows {
            let verdict = if *passed { "ok" } else { "FAILED" };
            text += &format!("  {name:<14} {:>7.1} s  {verdict}\n", took.as_secs_f64());
        }
    }
    let failed: Vec<_> = rows.iter().filter(|row| !row.2).map(|row| row.0).collect();
    let seconds = total.as_secs_f64();
    text += &match failed.as_slice() {
        [] => format!("{chore}: ok ({seconds:.1} s)\n"),
        names => format!("{chore}: FAILED in {} ({seconds:.1} s)\n", names.join(", ")),
    };
    text
}

fn work(root: &Path, work: &Work) -> Result<(), String> {
    match work {
        Work::Cargo(arguments) => cargo(root, arguments),
        Work::Built(program, arguments) => built(root, program, arguments),
        Work::Codegen(mode) => codegen::run(root, *mode),
        Work::Tidy => tidy::run(root),
        Work::Install(what) => run_program(root.join("xtask/deps.sh").as_os_str(), root, &[(*what).to_owned()]),
    }
}

fn cargo(root: &Path, arguments: &[String]) -> Result<(), String> {
    run_program(&program(), root, arguments)
}

fn built(root: &Path, program: &str, arguments: &[String]) -> Result<(), String> {
    run_program(path_of_built(program)?.as_os_str(), root, arguments)
}

/// This program lies in the target directory, wherever that is: `debug/xtask`, beside `release`.
fn path_of_built(program: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program is not to be found: {error}"))?;
    let target = own.ancestors().nth(2).ok_or("this program lies in no target directory")?;
    Ok(target.join("release").join(program))
}

/// Runs a program that an earlier stage has built in the place of this process. Returns only if it cannot: false. To
/// have cargo run it would build it anew: another selection of crates is another set of features of what they share.
pub(crate) fn become_built(root: &Path, program: &str) -> bool {
    let message = match path_of_built(program) {
        Ok(path) => format!("cannot start {}: {}", path.display(), command(path.as_os_str(), root, &[]).exec()),
        Err(message) => message,
    };
    eprintln!("xtask: {message}");
    false
}

fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn command(program: &OsStr, root: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root).env("PATH", path_with_ccache()).env("RUSTDOCFLAGS", "-D warnings");
    command
}

fn run_program(program: &OsStr, root: &Path, arguments: &[String]) -> Result<(), String> {
    let status = command(program, root, arguments).status();
    let status = status.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let line = || format!("`{} {}`", Path::new(program).file_name().unwrap_or(program).display(), arguments.join(" "));
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", line())) }
}

fn path_with_ccache() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !Path::new(CCACHE_LINKS).is_dir() {
        return path;
    }
    let mut longer = OsString::from(CCACHE_LINKS);
    longer.push(":");
    longer.push(path);
    longer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_names_what_failed() {
        let second = Duration::from_secs(1);
        let rows = [("fmt", second, true), ("tidy", second, false), ("tests", second, false)];
        assert!(summary("check", &rows, second * 3).ends_with("check: FAILED in tidy, tests (3.0 s)\n"));
        assert!(summary("check", &rows[..1], second).ends_with("check: ok (1.0 s)\n"));
    }

    #[test]
    fn a_failed_command_is_an_error() {
        let root = crate::root();
        assert!(run_program(OsStr::new("false"), &root, &[]).is_err());
        assert!(run_program(OsStr::new("no such program"), &root, &[]).is_err());
        assert_eq!(run_program(OsStr::new("true"), &root, &[]), Ok(()));
    }
}
