//! Benchmarks by name.
//!
//! A macro benchmark is a sub-command of the program `lentic-bench`: it prints a line for each figure with its target
//! and keeps the run in target/bench/NAME.json. `micro` is criterion's.

use crate::stage::{Stage, Work};

/// What can be run: the name, and what it measures.
const BENCHES: &[(&str, &str)] = &[
    ("engine", "apply and reads of one shard on RocksDB, beside bare RocksDB in the same run"),
    ("vs-etcd", "a cluster of three processes beside one of etcd, which is installed if it is missing"),
    ("txn", "transactions of a cluster of three processes, and conditional writes beside etcd's"),
    ("growth", "puts of a cluster as its table grows to ten million keys"),
    ("versions", "checkpoints, rollbacks, reads of history and feeds of a cluster of three processes"),
    (
        "state",
        "a stream task's values, merges, timers and checkpoints, embedded and on a cluster, beside a plain RocksDB",
    ),
    ("nexmark", "six queries of Nexmark over a task's state, embedded and on a cluster, beside a plain RocksDB"),
    ("elastic", "splits, transfers, moves and the balance of a cluster of processes while it is written to"),
    ("log", "group commit of the shared log, beside bare write and fdatasync in the same run"),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The names.
    List,
    /// A run: what it needs, then the benchmark.
    Run(Vec<Stage>),
}

/// Reads the words after `bench`.
pub(crate) fn parse(words: &[&str]) -> Result<Request, String> {
    let name = match words {
        [] => return Ok(Request::List),
        ["micro"] => return Ok(Request::Run(vec![Stage::cargo("bench", "bench -p lentic-bench")])),
        [name] | [name, "--quick"] => name,
        _ => return Err(format!("unknown words after `bench`: {}; expected NAME [--quick]", words.join(" "))),
    };
    if !BENCHES.iter().any(|(known, _)| known == name) {
        return Err(format!("no benchmark is called `{name}`; there are:\n{}", list()));
    }
    let mut stages = Vec::new();
    if ["vs-etcd", "txn"].contains(name) {
        stages.push(Stage { name: "etcd", work: Work::Install("etcd") });
    }
    // The same build as the demo's, so that one serves both.
    stages.push(Stage::cargo("build", "build --quiet --release -p lentic-cli -p lentic-bench --bins"));
    stages.push(Stage::built("bench", "lentic-bench", words));
    Ok(Request::Run(stages))
}

/// One line for each benchmark.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for (name, what) in BENCHES.iter().chain(&[("micro", "single functions, by criterion")]) {
        text += &format!("  {name:<8} {what}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_with_the_list() {
        let message = parse(&["warp"]).unwrap_err();
        assert!(message.contains("`warp`") && message.contains("engine") && message.contains("micro"), "{message}");
        assert!(parse(&["engine", "--slow"]).is_err());
    }

    #[test]
    fn names_become_cargo_runs() {
        assert_eq!(parse(&[]), Ok(Request::List));
        let Ok(Request::Run(quick)) = parse(&["log", "--quick"]) else { panic!("it is a run") };
        assert_eq!(quick[1], Stage::built("bench", "lentic-bench", &["log", "--quick"]));
        let Ok(Request::Run(stages)) = parse(&["vs-etcd"]) else { panic!("it is a run") };
        assert_eq!(stages[0].work, Work::Install("etcd"), "the peer comes first");
    }
}
