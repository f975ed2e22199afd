//! Which runs belong together.

use std::time::Duration;

use lentic_workloads::{WORKLOADS, Workload, find};

use crate::nemesis::Fault;
use crate::runner::Run;

/// A run of a suite: its name, its workloads, its faults, and whether logs and stores are small.
type Row = (&'static str, &'static str, &'static str, bool);

/// A minute each: what every change is tried with.
const SHORT: &[Row] = &[
    ("processes", "all", "kill,pause,rolling,transfer", false),
    ("partitions", "all", "cut,one-way,bridge", true),
    ("packets", "lists,registers,bank,set,retries", "loss,delay,kill", false),
    ("power", "lists,set,bank,orphans", "power-one,power-majority,power-all", true),
    ("syncs", "lists,cas,set,predicate", "slow-sync,sync-error,torn-write", false),
    ("wrong", "lists,ticks,monotonic,causal,set", "clock,damage,disk-full", true),
    ("shapes", "bank,feed,retries,owners", "shape,kill,transfer", true),
];

/// How long faults are struck in a run of the short suite.
const SHORT_TIME: Duration = Duration::from_secs(60);
/// And in one of the long one.
const LONG_TIME: Duration = Duration::from_secs(120);
/// Every so manieth run of the long suite is on five nodes, and those whose faults need more than three.
const FIVE_NODES_EVERY: u64 = 4;

/// The names of the runs of the short suite.
pub fn short_names() -> impl Iterator<Item = &'static str> {
    SHORT.iter().map(|(name, ..)| *name)
}

/// A run of the short suite.
///
/// # Panics
/// If none has this name.
#[must_use]
pub fn short(name: &str, seed: u64) -> Run {
    let row = SHORT.iter().find(|(known, ..)| *known == name);
    let (name, of, faults, is_small) = row.unwrap_or_else(|| panic!("the short suite has no run {name}"));
    let faults = faults_of(faults).expect("the suite names faults that there are");
    let workloads = workloads_of(of).expect("the suite names workloads that there are");
    Run {
        name: (*name).to_owned(),
        workloads,
        time: SHORT_TIME,
        seed,
        nodes: nodes_for(&faults),
        faults,
        shards: 6,
        is_small: *is_small,
        takes_less: true,
    }
}

/// The long suite: every fault under all workloads, and every workload under all faults.
#[must_use]
pub fn long(seed: u64) -> Vec<Run> {
    let all: Vec<&'static Workload> = WORKLOADS.iter().collect();
    let by_fault = Fault::ALL.map(|fault| (format!("all-{fault}"), all.clone(), vec![fault]));
    let by_workload =
        WORKLOADS.iter().map(|workload| (format!("{}-all", workload.name), vec![workload], Fault::ALL.to_vec()));
    let runs = by_fault.into_iter().chain(by_workload).zip(0..);
    let run = |((name, workloads, faults), number): ((String, _, Vec<Fault>), u64)| {
        let nodes = if number % FIVE_NODES_EVERY == 3 { 5 } else { nodes_for(&faults) };
        // Each size half of the times, and always for what damages files that are closed.
        let is_small = number % 2 == 1 || faults.contains(&Fault::Damage);
        Run {
            name,
            workloads,
            faults,
            time: LONG_TIME,
            seed: seed + number,
            nodes,
            shards: 6,
            is_small,
            takes_less: false,
        }
    };
    runs.map(run).collect()
}

/// Three nodes, or five if a fault needs more.
#[must_use]
pub fn nodes_for(faults: &[Fault]) -> usize {
    if faults.iter().any(|fault| fault.nodes_min() > 3) { 5 } else { 3 }
}

/// The workloads that `words` name, with commas between them.
///
/// # Errors
/// The first word that names none.
pub fn workloads_of(words: &str) -> Result<Vec<&'static Workload>, String> {
    if words == "all" {
        return Ok(WORKLOADS.iter().collect());
    }
    let known = || WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    words
        .split(',')
        .map(|word| find(word).ok_or_else(|| format!("no workload is called {word}; there are all, {}", known())))
        .collect()
}

/// The faults that `words` name, with commas between them.
///
/// # Errors
/// The first word that names none.
pub fn faults_of(words: &str) -> Result<Vec<Fault>, String> {
    let mut faults = Vec::new();
    for word in words.split(',') {
        let named = Fault::named(word).ok_or_else(|| {
            let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            let groups = "none, all, processes, partitions, network, disks, power, shape";
            format!("no fault is called {word}; there are {groups}, and one by one {}", known.join(", "))
        })?;
        faults.extend(named);
    }
    faults.sort_unstable();
    faults.dedup();
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_name_what_there_is() {
        for name in short_names() {
            assert!(!short(name, 1).workloads.is_empty() && !short(name, 1).faults.is_empty(), "{name}");
        }
        let faults: std::collections::BTreeSet<Fault> = short_names().flat_map(|name| short(name, 1).faults).collect();
        assert_eq!(faults.len(), Fault::ALL.len(), "the short suite has every fault");
        assert_eq!(long(1).len(), Fault::ALL.len() + WORKLOADS.len());
        for run in long(1).into_iter().chain(short_names().map(|name| short(name, 1))) {
            assert!(
                run.faults.iter().all(|fault| fault.nodes_min() <= run.nodes),
                "{} on {} nodes",
                run.name,
                run.nodes
            );
        }
        assert!(faults_of("kill,earthquake").unwrap_err().contains("earthquake"));
        assert_eq!(faults_of("power,kill,power-all").unwrap().len(), 4, "named twice is there once");
    }
}
