//! Runs seeds from the command line.

#![allow(clippy::print_stdout, reason = "a command-line tool answers on its standard output")]

use std::process::{Command, ExitCode};

use crate::host::SimStore;
use crate::scenario::seed_on;
use crate::sweep::{Failure, Plan, Sweep, sweep_on};

const USAGE: &str = "\
usage: lentic-sim --seeds N [--from K] [--meta] [--first]
                                   runs N seeds, from seed K on (default 1)
                                   --meta runs each twice and compares the traces; --first ends with the first that fails
       lentic-sim --seed S [--lines]
                                   runs one seed twice and compares the traces; --lines prints what happened
In a build with planted bugs, --mutant NAME plants one before.
";

/// What was asked for.
#[derive(Default)]
struct Words {
    seeds: Option<u64>,
    seed: Option<u64>,
    from: Option<u64>,
    meta: bool,
    first: bool,
    lines: bool,
    mutant: Option<String>,
}

/// Runs the seeds that the command line asks for, with stores of this kind.
#[must_use]
pub fn command<S: SimStore>() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words = Words::parse(&words);
    if let Some(name) = words.as_mut().and_then(|words| words.mutant.take())
        && !lentic_types::mutant::plant(&name)
    {
        eprintln!("this build has no bugs to plant; use cargo xtask mutants");
        return ExitCode::from(2);
    }
    match words {
        Some(Words { seeds: None, seed: Some(number), from: None, meta: false, first: false, lines, .. }) => {
            one::<S>(number, lines)
        }
        Some(Words { seeds: Some(count), seed: None, from, meta, first, lines: false, .. }) => {
            many::<S>(Plan { from: from.unwrap_or(1), count, twice: meta, stops_at_first: first })
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

impl Words {
    fn parse(words: &[String]) -> Option<Self> {
        let (mut parsed, mut words) = (Self::default(), words.iter());
        while let Some(word) = words.next() {
            match &**word {
                "--lines" => parsed.lines = true,
                "--meta" => parsed.meta = true,
                "--first" => parsed.first = true,
                "--mutant" => parsed.mutant = Some(words.next()?.clone()),
                "--seeds" => parsed.seeds = Some(words.next()?.parse().ok()?),
                "--seed" => parsed.seed = Some(words.next()?.parse().ok()?),
                "--from" => parsed.from = Some(words.next()?.parse().ok()?),
                _ => return None,
            }
        }
        Some(parsed)
    }
}

fn one<S: SimStore>(number: u64, lines: bool) -> ExitCode {
    let (first, second) = (seed_on::<S>(number, true), seed_on::<S>(number, true));
    if lines {
        first.lines.iter().for_each(|line| println!("{line}"));
    }
    let differs = first.lines.iter().zip(&second.lines).position(|(one, other)| one != other);
    if let Some(place) = differs {
        println!("two runs differ at line {place}:\n{}\n{}", first.lines[place], second.lines[place]);
    } else if first.digest != second.digest {
        println!("two runs differ: {:?} and {:?}", first.digest, second.digest);
    }
    let is_same = first.digest == second.digest;
    match first.value {
        Ok(report) => println!("seed {number}: {report:?}"),
        Err(reason) => {
            tell(&Failure { seed: number, reason });
            return ExitCode::FAILURE;
        }
    }
    if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(failure: &Failure) {
    println!("seed {} at commit {}: {}\nrun it again: {}", failure.seed, commit(), failure.reason, failure.again());
}

fn many<S: SimStore>(plan: Plan) -> ExitCode {
    let Sweep { failures, passed, operations, virtual_time, faults, longest_healed, took } = sweep_on::<S>(plan, tell);
    let seeds = passed + failures.len() as u64;
    let (virtual_s, real_s) = (virtual_time.as_secs_f64(), took.as_secs_f64());
    println!("{seeds} seeds, {} failed, {operations} operations, {virtual_s:.0} virtual seconds", failures.len());
    println!("took {real_s:.1} s; longest operation with no fault left {longest_healed:?}");
    faults.rows().iter().for_each(|(name, found)| println!("{found:>9} {name}"));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was run.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
