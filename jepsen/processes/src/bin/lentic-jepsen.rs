//! `lentic-jepsen`: runs cases on real processes, long ones if it is told to, and prints what they found.
//!
//! The binary `lentic` is taken from beside this one: `cargo xtask jepsen` builds both.

#![allow(clippy::print_stdout, reason = "a command-line tool answers on its standard output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lentic_jepsen::cases::{
    Away, Blackout, Hostile, Kills, Pause, Rolling, Transactions, away, blackout, hostile, kills, pause, rolling,
    transactions,
};
use lentic_jepsen::{Pace, Report, Stand};

const USAGE: &str = "\
usage: lentic-jepsen [--long] [CASE ...]

  cases: kills, transactions, blackout, away, pause, rolling, hostile; without one, all of them
  --long    more kills, longer pauses: the run whose figures count
";

/// How long a case may take in all.
const CASE_MAX: Duration = Duration::from_secs(20 * 60);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_long = words.iter().any(|word| word == "--long");
    let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--long").collect();
    let all = ["kills", "transactions", "blackout", "away", "pause", "rolling", "hostile"];
    if let Some(unknown) = named.iter().find(|word| !all.contains(word)) {
        eprint!("lentic-jepsen: there is no case {unknown}\n{USAGE}");
        return ExitCode::from(2);
    }
    let cases = if named.is_empty() { all.to_vec() } else { named };
    let stand = match stand() {
        Ok(stand) => stand,
        Err(reason) => {
            eprintln!("lentic-jepsen: {reason}");
            return ExitCode::from(2);
        }
    };
    println!("histories and logs: {}", stand.home.display());
    for case in cases {
        let began = Instant::now();
        let report = run(&stand, case, is_long);
        println!("{report}  took: {:.0} s\n", began.elapsed().as_secs_f64());
    }
    ExitCode::SUCCESS
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

/// Runs one case. A promise that is broken ends the program with its words.
fn run(stand: &Stand, case: &str, is_long: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let (pace, second) = (Pace::default(), Duration::from_secs(1));
    let times = |short, long| if is_long { long } else { short };
    runtime.block_on(async {
        let case = async {
            match case {
                "kills" => {
                    let kills_count = times(4, 20);
                    kills(stand, Kills { kills: kills_count, gap_half_max: second * 2, gap_max: second * 5, pace })
                        .await
                }
                "transactions" => {
                    let plan = Transactions {
                        kills: times(4, 20),
                        calm: second * if is_long { 5 } else { 3 },
                        commits_min: if is_long { 500 } else { 50 },
                        gap_half_max: second * 3,
                        gap_max: second * 8,
                        resume_max: second * 10,
                        read_max: second * 6,
                    };
                    transactions(stand, plan).await
                }
                "blackout" => blackout(stand, Blackout { times: times(1, 5), pace }).await,
                "away" => away(stand, Away { short: second * 3, pace }).await,
                "pause" => {
                    let length = if is_long { second * 30 } else { second * 5 };
                    pause(stand, Pause { length, times: times(2, 4), pace }).await
                }
                "rolling" => {
                    rolling(stand, Rolling { rounds: times(1, 4), gap_half_max: second, gap_max: second * 3, pace })
                        .await
                }
                _ => hostile(stand, Hostile { connections: 10_000, scans: 200, gap_max: second * 5, pace }).await,
            }
        };
        tokio::time::timeout(CASE_MAX, case).await.expect("a case ends in time")
    })
}
