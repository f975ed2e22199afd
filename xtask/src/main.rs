//! The workspace's chores, run as `cargo xtask NAME`.
//!
//! A chore is a list of stages and a stage is data ([`chores`]), so that what `ci` does can be read off one function.
//! The crate has no dependencies: it is compiled at the head of every loop.

#![allow(clippy::print_stdout, reason = "a command-line tool answers on its standard output")]

mod bench;
mod chores;
mod codegen;
mod mutants;
mod stage;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask CHORE

  check [--all]       read-only: fmt, tidy, codegen, clippy, tests of all that does not link RocksDB
                      --all adds the rest: rustdoc, and clippy of the crates that link RocksDB
  fix                 writes: generated files, clippy's suggestions, fmt
  test                every test of the workspace (needs libclang and a C++ compiler: make deps)
  tidy                the rules of the house: edges, owners, sizes, words, documents
  codegen [--check]   writes the generated files; --check only compares them
  bench               lists the benchmarks
  bench NAME [--quick]  runs one of them; `bench micro` runs the criterion benches
  sim --seeds N [--from K] [--meta] [--first]
                      runs simulated clusters, one a seed, and says which fail; --meta runs each twice and compares
  sim --seed S [--lines]
                      runs one seed twice and compares; --lines prints what happened
                      with --rocks, either has its stores on RocksDB, where digests of snapshots differ
  mutants [NAME ...]  plants bugs in the product, and says which seed, or which run of real processes, catches each
  jepsen --workload W --faults F [--time S] [--seed N]
                      workloads beside faults on real processes; `jepsen` alone tells of suites, cases and measurements
  demo                shows Lentic at work: three processes, a month of flights, a kill -9
  ci                  what .ci/run calls: check --all and test, each stage once
  help                this page
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let done = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ["check"] => chores::check(&root, false),
        ["check", "--all"] => chores::check(&root, true),
        ["fix"] => chores::fix(&root),
        ["test"] => chores::test(&root),
        ["tidy"] => chores::tidy(&root),
        ["codegen"] => chores::codegen(&root, codegen::Mode::Write),
        ["codegen", "--check"] => chores::codegen(&root, codegen::Mode::Compare),
        ["demo"] => chores::demo(&root),
        ["ci"] => chores::ci(&root),
        ["jepsen", rest @ ..] => chores::jepsen(&root, rest),
        ["sim", rest @ ..] => chores::sim(&root, rest),
        ["mutants", rest @ ..] => mutants::run(&root, rest),
        ["bench", rest @ ..] => match bench::parse(rest) {
            Ok(bench::Request::List) => {
                print!("{}", bench::list());
                return ExitCode::SUCCESS;
            }
            Ok(bench::Request::Run(stages)) => chores::bench(&root, &stages),
            Err(message) => return refuse(&message),
        },
        _ => return refuse(&format!("unknown chore `{}`; `cargo xtask help` lists them", words.join(" "))),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says why nothing was done.
fn refuse(message: &str) -> ExitCode {
    eprintln!("xtask: {message}");
    ExitCode::from(2)
}

/// The workspace's root: the folder above this crate's.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask is a folder of the workspace").to_path_buf()
}
