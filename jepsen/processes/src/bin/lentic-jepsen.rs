//! `lentic-jepsen`: real processes, what is done to them, and whether they keep their promises.
//!
//! The binary `lentic` is taken from beside this one: `cargo xtask jepsen` builds both.

#![allow(clippy::print_stdout, reason = "a command-line tool answers on its standard output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lentic_jepsen::cases::{Away, Grows, Hostile, Pause, away, grows_and_shrinks, hostile, pause};
use lentic_jepsen::measure::{self, Measure};
use lentic_jepsen::suite::{faults_of, long, nodes_for, short, short_names, workloads_of};
use lentic_jepsen::{Report, Run, Stand, Verdict, run};

const USAGE: &str = "\
usage: lentic-jepsen --workload W[,W…] --faults F[,F…] [--time SECONDS] [--seed N] [--nodes N] [--shards N] [--small]
                                  workloads beside faults; `all` names all of either, `none` no fault; three nodes, or
                                  five if a fault needs more; --small has logs and stores turn over fast
       lentic-jepsen --suite short|long [--seed N]
                                  a minute each of what every change is tried with; or every fault under all workloads
                                  and every workload under all faults, two minutes each
       lentic-jepsen --case CASE [--seed N]
                                  a case with demands of its own: away, pause, grows, hostile
       lentic-jepsen --measure [NAME …]
                                  how long faults keep writes waiting, over twenty of each; on a machine that does
                                  nothing else. Without a name, all of them
";

/// How long a case, or a measurement, may take in all.
const CASE_MAX: Duration = Duration::from_secs(40 * 60);

/// What was asked for.
enum Asked {
    Runs(Vec<Run>),
    /// The case of this name, from this seed.
    Case(String, u64),
    Measure(Vec<&'static Measure>),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let asked = match parse(&words) {
        Ok(asked) => asked,
        Err(reason) => {
            eprint!("lentic-jepsen: {reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let stand = match stand() {
        Ok(stand) => stand,
        Err(reason) => {
            eprintln!("lentic-jepsen: {reason}");
            return ExitCode::from(2);
        }
    };
    println!("histories and logs: {}", stand.home.display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    runtime.block_on(async {
        match asked {
            Asked::Runs(runs) => all(&stand, runs).await,
            Asked::Case(name, seed) => {
                told(&timed(&name, case(&stand, &name, seed)).await);
                ExitCode::SUCCESS
            }
            Asked::Measure(measures) => {
                for measure in measures {
                    told(&timed(measure.name, measure::measure(&stand, measure)).await);
                }
                ExitCode::SUCCESS
            }
        }
    })
}

fn parse(words: &[&str]) -> Result<Asked, String> {
    let is_case = |name: &str| ["away", "pause", "grows", "hostile"].contains(&name);
    match words {
        ["--case", name] if is_case(name) => return Ok(Asked::Case((*name).to_owned(), u64::from(std::process::id()))),
        ["--case", name, "--seed", seed] if is_case(name) => {
            return Ok(Asked::Case((*name).to_owned(), number("--seed", seed)?));
        }
        ["--measure", names @ ..] => return measure::named(names).map(Asked::Measure),
        _ => {}
    }
    let (mut workloads, mut faults, mut suite) = (None, None, None);
    let (mut time, mut seed, mut nodes, mut shards, mut is_small) = (60, None, None, 6, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
        match *word {
            "--workload" | "--workloads" => workloads = Some(workloads_of(value()?)?),
            "--faults" | "--fault" => faults = Some(faults_of(value()?)?),
            "--suite" => suite = Some(value()?),
            "--time" => time = number(word, value()?)?,
            "--seed" => seed = Some(number(word, value()?)?),
            "--nodes" => nodes = Some(number(word, value()?)?),
            "--small" => is_small = true,
            "--shards" => shards = number(word, value()?)?,
            _ => return Err(format!("{word} is not understood")),
        }
    }
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    if nodes.is_some_and(|nodes| !(3..=9).contains(&nodes)) || !(1..=64).contains(&shards) {
        return Err(format!("expected 3 to 9 nodes and 1 to 64 shards, found {nodes:?} and {shards}"));
    }
    match (workloads, faults, suite) {
        (Some(workloads), Some(faults), None) => Ok(Asked::Runs(vec![Run {
            name: "run".to_owned(),
            workloads,
            time: Duration::from_secs(time),
            seed,
            nodes: nodes.map_or_else(|| nodes_for(&faults), |nodes| usize::try_from(nodes).expect("a few")),
            faults,
            shards: u32::try_from(shards).expect("a few"),
            is_small,
            takes_less: false,
        }])),
        (None, None, Some("short")) => Ok(Asked::Runs(short_names().map(|name| short(name, seed)).collect())),
        (None, None, Some("long")) => Ok(Asked::Runs(long(seed))),
        _ => Err("expected workloads and faults, a suite, a case or a measurement".to_owned()),
    }
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{word} needs a number, found {value}"))
}

/// Runs one after the other; the exit code says whether every promise was kept in all of them.
async fn all(stand: &Stand, runs: Vec<Run>) -> ExitCode {
    let mut broken = Vec::new();
    for next in runs {
        let name = next.name.clone();
        match timed(&name, run(stand, next)).await {
            Verdict::Kept(report) => told(&report),
            Verdict::Broken(words) => {
                println!("BROKEN {words}\n");
                broken.push(name);
            }
        }
    }
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("broken: {}", broken.join(", "));
    ExitCode::FAILURE
}

fn told(report: &Report) {
    println!("{report}");
}

async fn timed<T>(name: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = tokio::time::timeout(CASE_MAX, work).await.expect("it ends in time");
    println!("{name} took {:.0} s", began.elapsed().as_secs_f64());
    done
}

/// The binary beside this one, and a directory for this run beside both.
fn stand() -> Result<Stand, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program is not to be found: {error}"))?;
    let program = own.with_file_name("lentic");
    if !program.exists() {
        return Err(format!("{} is missing; run `cargo xtask jepsen`, which builds it", program.display()));
    }
    let target = own.ancestors().nth(2).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let home = target.join("jepsen").join(std::process::id().to_string());
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    Ok(Stand { program, home })
}

/// Runs a case. A promise that is broken ends the program with its words.
async fn case(stand: &Stand, name: &str, seed: u64) -> Report {
    let second = Duration::from_secs(1);
    match name {
        "away" => away(stand, Away { short: second * 3 }).await,
        "grows" => grows_and_shrinks(stand, Grows { seed, rest: second * 5 }).await,
        "pause" => pause(stand, Pause { length: second * 30, times: 4 }).await,
        _ => hostile(stand, Hostile { connections: 10_000, scans: 200, gap_max: second * 5 }).await,
    }
}
