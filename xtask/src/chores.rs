//! The chores: which stages each consists of.
//!
//! "Fast" crates are the workspace's default members; "heavy" ones are the rest, which link RocksDB. The split is read
//! from the root manifest, so it is decided in one place.

use std::path::Path;

use crate::codegen::Mode;
use crate::stage::{self, Stage, Work};
use crate::tidy::{Tree, Workspace};

/// Read-only: all that can be judged in seconds, and with `all` also what links RocksDB.
pub(crate) fn check(root: &Path, all: bool) -> bool {
    with_packages(root, |packages| {
        let mut stages = fast_checks();
        if all {
            stages.extend(heavy_checks(packages));
        }
        stage::run("check", root, &stages)
    })
}

/// Writes what can be put right without thought. Generated files first, fmt last: each may undo the form of the other.
pub(crate) fn fix(root: &Path) -> bool {
    let stages = [
        Stage { name: "codegen", work: Work::Codegen(Mode::Write) },
        wire(Mode::Write),
        Stage::cargo("clippy", "clippy --fix --allow-dirty --allow-staged --all-targets"),
        Stage::cargo("fmt", "fmt --all"),
    ];
    stage::run("fix", root, &stages)
}

/// Every test of the workspace.
pub(crate) fn test(root: &Path) -> bool {
    with_packages(root, |packages| stage::run("test", root, &[fast_tests(), heavy_tests(packages)]))
}

/// Simulated clusters: seeds of `lentic-sim`, which knows the words; with `--rocks` on RocksDB.
pub(crate) fn sim(root: &Path, words: &[&str]) -> bool {
    const ROCKS: &str = "--rocks";
    let program = if words.contains(&ROCKS) { "lentic-sim-rocks" } else { "lentic-sim" };
    let words: Vec<_> = words.iter().copied().filter(|word| *word != ROCKS).collect();
    let line = format!("run --quiet -p {program} --bin {program} -- {}", words.join(" "));
    stage::run("sim", root, &[Stage::cargo("sim", &line)])
}

/// Faults on real processes: cases of `lentic-jepsen`, which knows the words. Both binaries come from one build, so that
/// they lie side by side and are of the same sources.
pub(crate) fn jepsen(root: &Path, words: &[&str]) -> bool {
    let built = [Stage::cargo("build", "build --quiet --release -p lentic-cli -p lentic-jepsen --bins")];
    stage::run("build", root, &built) && stage::run("jepsen", root, &[Stage::built("jepsen", "lentic-jepsen", words)])
}

/// What .ci/run calls: every check and every test, each once. Speed is not judged here, for shared machines lie.
pub(crate) fn ci(root: &Path) -> bool {
    with_packages(root, |packages| {
        let mut stages = fast_checks();
        stages.extend(heavy_checks(packages));
        stages.push(heavy_tests(packages));
        stage::run("ci", root, &stages)
    })
}

/// The rules of the house alone.
pub(crate) fn tidy(root: &Path) -> bool {
    stage::run("tidy", root, &[Stage { name: "tidy", work: Work::Tidy }])
}

/// The generated files alone.
pub(crate) fn codegen(root: &Path, mode: Mode) -> bool {
    stage::run("codegen", root, &[Stage { name: "codegen", work: Work::Codegen(mode) }, wire(mode)])
}

/// One benchmark, and before it what it needs.
pub(crate) fn bench(root: &Path, stages: &[Stage]) -> bool {
    stage::run("bench", root, stages)
}

/// Lentic at work: the binary `lentic` and the program that shows it, which then takes the place of this one, so that
/// Ctrl-C is for it alone. Returns if it cannot.
pub(crate) fn demo(root: &Path) -> bool {
    let packages = "-p lentic-cli -p lentic-bench -p lentic-client";
    let build = Stage::cargo("build", &format!("build --quiet --release {packages} --bins --example flights"));
    stage::run("build", root, &[build]) && stage::become_built(root, "lentic-demo")
}

fn fast_checks() -> Vec<Stage> {
    vec![
        Stage::cargo("fmt", "fmt --all --check"),
        Stage { name: "tidy", work: Work::Tidy },
        Stage { name: "codegen", work: Work::Codegen(Mode::Compare) },
        wire(Mode::Compare),
        Stage::cargo("clippy", "clippy --quiet --all-targets -- -D warnings"),
        fast_tests(),
    ]
}

/// The Rust of the wire contract. Its generator is a crate of its own, for it has dependencies.
fn wire(mode: Mode) -> Stage {
    let check = if mode == Mode::Compare { " -- --check" } else { "" };
    Stage::cargo("codegen, wire", &format!("run --quiet -p lentic-proto-codegen{check}"))
}

fn heavy_checks(packages: &str) -> Vec<Stage> {
    vec![
        Stage::cargo("rustdoc", "doc --quiet --no-deps --document-private-items"),
        Stage::cargo("clippy, heavy", &format!("clippy --quiet --all-targets {packages} -- -D warnings")),
    ]
}

fn fast_tests() -> Stage {
    Stage::cargo("tests", "test --quiet --no-fail-fast")
}

/// In the dev profile like everything else here, so that RocksDB is compiled once.
fn heavy_tests(packages: &str) -> Stage {
    Stage::cargo("tests, heavy", &format!("test --quiet --no-fail-fast {packages}"))
}

/// Calls `work` with the `-p` options that select the heavy crates.
fn with_packages(root: &Path, work: impl FnOnce(&str) -> bool) -> bool {
    match Tree::load(root).and_then(|tree| Workspace::read(&tree).map_err(|finding| finding.to_string())) {
        Ok(workspace) => {
            let options: Vec<_> = workspace.heavy().map(|name| format!("-p {name}")).collect();
            work(&options.join(" "))
        }
        Err(message) => {
            eprintln!("xtask: {message}");
            false
        }
    }
}
