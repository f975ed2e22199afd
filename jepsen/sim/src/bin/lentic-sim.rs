//! Runs seeds from the command line.

#![allow(clippy::print_stdout, reason = "a command-line tool answers on its standard output")]

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use lentic_sim::{FaultCounts, Report, seed};

const USAGE: &str = "\
usage: lentic-sim --seeds N [--from K]   runs N seeds, from seed K on (default 1)
       lentic-sim --seed S [--lines]     runs one seed twice and compares the traces; --lines prints what happened
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match parse(&words) {
        Some((None, Some(number), _, lines)) => one(number, lines),
        Some((Some(count), None, from, _)) => many(from, count),
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Seeds, seed, from, lines.
fn parse(words: &[String]) -> Option<(Option<u64>, Option<u64>, u64, bool)> {
    let (mut numbers, mut lines, mut words) = (BTreeMap::new(), false, words.iter());
    while let Some(word) = words.next() {
        match &**word {
            "--lines" => lines = true,
            "--seeds" | "--seed" | "--from" => {
                numbers.insert(&**word, words.next()?.parse().ok()?);
            }
            _ => return None,
        }
    }
    let number = |name| numbers.get(name).copied();
    Some((number("--seeds"), number("--seed"), number("--from").unwrap_or(1), lines))
}

fn one(number: u64, lines: bool) -> ExitCode {
    let (first, second) = (seed(number, true), seed(number, true));
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
        Err(reason) => return failed(number, &reason),
    }
    if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(number: u64, reason: &str) -> ExitCode {
    println!("seed {number} at commit {}: {reason}", commit());
    println!("run it again: cargo xtask sim --seed {number}");
    ExitCode::FAILURE
}

fn many(from: u64, count: u64) -> ExitCode {
    let (next, began) = (AtomicU64::new(from), Instant::now());
    let (failures, reports) = (Mutex::new(0_u64), Mutex::new(Vec::<Report>::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= from.saturating_add(count) {
                        return;
                    }
                    match seed(number, false).value {
                        Ok(report) => reports.lock().expect("no thread panics").push(report),
                        Err(reason) => {
                            failed(number, &reason);
                            *failures.lock().expect("no thread panics") += 1;
                        }
                    }
                }
            });
        }
    });
    let (failures, reports) =
        (failures.into_inner().expect("no thread panics"), reports.into_inner().expect("no thread panics"));
    let mut faults = FaultCounts::default();
    reports.iter().for_each(|report| faults += report.faults);
    let operations: u64 = reports.iter().map(|report| report.tally.operations).sum();
    let healed = reports.iter().map(|report| report.tally.longest_healed).max().unwrap_or_default();
    let took: f64 = reports.iter().map(|report| report.took.as_secs_f64()).sum();
    println!("{count} seeds, {failures} failed, {operations} operations, {took:.0} virtual seconds");
    println!("took {:.1} s; longest operation with no fault left {healed:?}", began.elapsed().as_secs_f64());
    faults.rows().iter().for_each(|(name, found)| println!("{found:>9} {name}"));
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was run.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
