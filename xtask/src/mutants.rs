//! Planted bugs: a suite that does not catch them has shown nothing.
//!
//! A mutant is a few words of product code behind `mutant!("name")` (`server/types/src/mutant.rs`), at a place that carries a
//! promise. One build holds them all, and a run plants one: seeds run until one fails. What only real disks and processes can
//! see is planted in real nodes, and faults are struck at them. Cargo is given a wrapper that passes
//! the `cfg` to the crates of the workspace alone: so the flags in .cargo/config.toml stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::tidy::Tree;

/// The mutants: the name, and what is wrong with it.
const MUTANTS: &[(&str, &str)] = &[
    ("no-rule-w", "a batch is stamped with a tick fetched before it was gathered"),
    ("no-rule-r", "a read at a version does not raise the floor of later stamps"),
    ("no-read-index", "a read asks no quorum whether this node still leads"),
    ("no-vote-sync", "a vote is answered before it is synced"),
    ("vote-for-older-log", "a voter takes every candidate's log for longer than its own"),
    ("ack-on-failed-disk", "entries that the disk has failed to keep are acknowledged"),
    ("damage-served", "the log does not look at the checksums of its records"),
    ("ack-before-sync", "the log acknowledges entries before they are synced"),
    ("no-answers", "an answer is not kept for retries"),
    ("answers-not-loaded", "a replica that starts has forgotten the answers"),
    ("age-not-loaded", "a replica that starts has forgotten how old its shard is"),
    ("answers-not-in-snapshot", "a replica snapshot leaves the answers out"),
    ("applied-not-atomic", "data and applied index are two batches"),
    ("lossy-snapshot", "a replica snapshot leaves out all but its first file"),
    ("purge-undurable", "the log is purged up to what is applied, not up to what is flushed"),
    ("oracle-no-window", "a new leader's ticks begin at its clock, not at the end of the window"),
    ("oracle-no-confirm", "the oracle asks no quorum whether it still leads"),
    ("retry-new-key", "the client sends a write again under another key"),
    ("scan-not-pinned", "the pages of a scan are read at versions of their own"),
    ("feed-resume-off-by-one", "a feed that resumes takes the version that it was in for told"),
    ("feed-past-locks", "a feed does not wait for transactions that may commit below what it tells"),
    ("no-abort-fence", "a recovery that finds no prepare does not keep a late one out"),
    ("commit-at-lowest", "a transaction commits at the lowest version of its prepares"),
    ("reads-not-validated", "a commit does not look whether the keys that were read have changed"),
    ("no-read-locks", "a prepared transaction does not hold what it has read"),
    ("read-past-locks", "a read does not wait for a transaction that holds its key"),
    ("no-sweep", "nobody ends the transactions of a coordinator that is gone"),
    ("locks-not-loaded", "a replica that starts has forgotten the locks"),
    ("take-not-atomic", "a range is taken in the anchor's shard alone"),
    ("mask-ignored", "reads of keys do not look at what rollbacks hide, and scans do"),
    ("fences-not-loaded", "a replica that starts has forgotten who owns what"),
    ("gc-above-pin", "GC collects what a pin keeps"),
    ("branch-deletes-go", "GC lets go of a branch's deletes, which hide what its parent has"),
    ("branch-reads-on", "a branch reads what was written to its parent later"),
    ("branch-not-pinned", "what a branch has from its parent is not kept from GC"),
    ("branch-not-in-snapshot", "a replica snapshot leaves out what rides in the group"),
    ("follower-unapplied", "a replica answers up to what its leader has told before it has applied it"),
    ("follower-past-locks", "a replica answers at versions at which a transaction may still commit"),
    ("pins-not-loaded", "a replica that starts has forgotten the pins"),
    ("ttl-late", "readers see a value for a tenth of a second longer than it lives"),
    ("ttl-not-loaded", "a replica that starts has forgotten how long its table's values live"),
    ("settle-early", "a node is told to clear what it has of a shard while it still votes there"),
    ("epoch-of-the-entry", "a request that was routed by a shard's old shape is proposed as if by the new one"),
    ("lock-lost-at-split", "a shard that is cut has forgotten which keys open transactions hold"),
    ("fence-lost-at-split", "what is cut off a shard has forgotten who owns what"),
    ("mask-lost-at-split", "what is cut off a shard has forgotten what rollbacks hide"),
    ("answers-lost-at-split", "what is cut off a shard has forgotten the answers"),
    (
        "no-shape-check-on-read",
        "a read is not asked by which shape of the shard it was routed, nor whether its keys are there",
    ),
    ("get-at-old-tick", "a get judges ends by the newest tick that its node happens to have"),
];

/// The mutants that only real processes can see: the name, what is wrong with it, and the words for `lentic-jepsen`.
const OF_PROCESSES: &[(&str, &str, &str)] = &[
    (
        "disk-not-synced",
        "the log's file says that it is synced and has not asked the disk",
        "--workload set --faults power-all,power-majority --time 40",
    ),
    (
        "store-not-atomic",
        "the families of a store are flushed one by one",
        "--workload set,bank --faults kill,power-all --small --time 40",
    ),
];

/// Those that only show where shards split, as they do in seeds from here on.
const OF_SPLITS: (&[&str], u64) = (
    &[
        "epoch-of-the-entry",
        "lock-lost-at-split",
        "fence-lost-at-split",
        "mask-lost-at-split",
        "answers-lost-at-split",
        "no-shape-check-on-read",
    ],
    1_000_000,
);
/// Seeds that a mutant may survive at most.
const SEEDS_MAX: u64 = 500;
/// Runs of real processes that it may survive.
const RUNS_MAX: u64 = 5;

/// The seed that caught a mutant, and what was said.
type Caught = Option<(u64, String)>;

/// How many were run, and how many of them survived.
#[derive(Default)]
struct Count {
    run: usize,
    survived: usize,
}

/// Runs the mutants that `words` name, or all, and prints a row of a table for each as it ends. True if all were caught.
pub(crate) fn run(root: &Path, words: &[&str]) -> bool {
    match run_all(root, words) {
        Ok(Count { run, survived }) => {
            println!("{run} mutants, {survived} survived");
            survived == 0
        }
        Err(message) => {
            eprintln!("xtask: {message}");
            false
        }
    }
}

fn run_all(root: &Path, words: &[&str]) -> Result<Count, String> {
    let names = names();
    if let Some(unknown) = words.iter().find(|word| !names.contains(**word)) {
        let names: Vec<_> = names.into_iter().collect();
        return Err(format!("no mutant is called `{unknown}`; there are {}", names.join(", ")));
    }
    compare(&planted(&Tree::load(root)?))?;
    let is_asked = |name: &str| words.is_empty() || words.contains(&name);
    let mut count = Count::default();
    let mut add = |name, what, hunt: &mut dyn FnMut() -> Result<Caught, String>| {
        if count.run == 0 {
            println!("| mutant | what is wrong | first seed that fails | what it says |\n|---|---|---|---|");
        }
        let began = Instant::now();
        let caught = hunt()?;
        println!("{}", row(name, what, caught.as_ref(), began.elapsed().as_secs_f64()));
        count.run += 1;
        count.survived += usize::from(caught.is_none());
        Ok::<(), String>(())
    };
    let simulated: Vec<_> = MUTANTS.iter().filter(|(name, _)| is_asked(name)).collect();
    if !simulated.is_empty() {
        let program = build(root, &["-p", "lentic-sim", "--bin", "lentic-sim"])?.join("lentic-sim");
        for (name, what) in simulated {
            add(name, what, &mut || hunt(root, &program, name))?;
        }
    }
    let real: Vec<_> = OF_PROCESSES.iter().filter(|(name, ..)| is_asked(name)).collect();
    if !real.is_empty() {
        let program = build(root, &["-p", "lentic-cli", "-p", "lentic-jepsen", "--bins"])?.join("lentic-jepsen");
        for (name, what, words) in real {
            add(name, what, &mut || strike(root, &program, name, words))?;
        }
    }
    Ok(count)
}

/// The names of all mutants.
fn names() -> BTreeSet<&'static str> {
    MUTANTS.iter().map(|(name, _)| *name).chain(OF_PROCESSES.iter().map(|(name, ..)| *name)).collect()
}

/// Builds programs with all mutants in them. Returns the folder that has them.
fn build(root: &Path, what: &[&str]) -> Result<PathBuf, String> {
    eprintln!("xtask: building");
    let target = root.join("target/mutants");
    let wrapper = target.join("rustc-with-mutants");
    write_wrapper(&wrapper).map_err(|error| format!("cannot write {}: {error}", wrapper.display()))?;
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet"])
        .args(what)
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(root)
        .status();
    match built {
        Ok(status) if status.success() => Ok(target.join("debug")),
        Ok(status) => Err(format!("building ended with {status}")),
        Err(error) => Err(format!("cannot start cargo: {error}")),
    }
}

fn write_wrapper(path: &Path) -> std::io::Result<()> {
    let text = "#!/bin/sh\nexec \"$@\" --cfg 'mutant=\"any\"'\n";
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("a wrapper is in a folder"))?;
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o755))
}

/// Runs seeds until one fails. The seed, and the first line of what it said.
fn hunt(root: &Path, program: &Path, name: &str) -> Result<Caught, String> {
    let (splits, from) = OF_SPLITS;
    let (seeds, from) = (SEEDS_MAX.to_string(), if splits.contains(&name) { from } else { 1 }.to_string());
    let words = ["--mutant", name, "--seeds", &seeds, "--from", &from, "--first"];
    let output = Command::new(program).args(words).current_dir(root).output();
    let output = output.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let found = caught(&String::from_utf8_lossy(&output.stdout));
    match (found, output.status.success()) {
        (None, false) => Err(format!("{} ended with {} and named no seed", program.display(), output.status)),
        (found, _) => Ok(found),
    }
}

/// Strikes at real processes until a run says that a promise is broken. The seed of the run, and what it said.
fn strike(root: &Path, program: &Path, name: &str, words: &str) -> Result<Caught, String> {
    for seed in 1..=RUNS_MAX {
        let seed_word = seed.to_string();
        let words = words.split(' ').chain(["--seed", &seed_word]);
        let output = Command::new(program).args(words).env("PLANTED_BUG", name).current_dir(root).output();
        let output = output.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let broken = text.lines().find_map(|line| line.strip_prefix("BROKEN "));
        match (broken, output.status.success()) {
            (Some(reason), _) => return Ok(Some((seed, reason.to_owned()))),
            (None, true) => {}
            (None, false) => {
                let tail = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{} ended with {} and no verdict: {tail}", program.display(), output.status));
            }
        }
    }
    Ok(None)
}

/// The lowest seed that failed.
fn caught(text: &str) -> Caught {
    let failure = |line: &str| {
        let (seed, rest) = line.strip_prefix("seed ")?.split_once(" at commit ")?;
        let (_, reason) = rest.split_once(": ")?;
        Some((seed.parse().ok()?, reason.to_owned()))
    };
    text.lines().filter_map(failure).min()
}

fn row(name: &str, what: &str, caught: Option<&(u64, String)>, seconds: f64) -> String {
    match caught {
        Some((seed, reason)) => format!("| `{name}` | {what} | {seed} ({seconds:.0} s) | {} |", short(reason)),
        None => format!("| `{name}` | {what} | none ({seconds:.0} s) | |"),
    }
}

/// What fits a table.
fn short(reason: &str) -> String {
    const LENGTH_MAX: usize = 120;
    let text: String = reason.chars().take(LENGTH_MAX).collect();
    text.replace('|', "/")
}

/// The names planted in product code.
fn planted(tree: &Tree) -> BTreeSet<String> {
    let lines = tree.files().filter(|file| file.path.starts_with("server/") || file.path.starts_with("client/"));
    let lines = lines.filter(|file| !file.path.ends_with("types/src/mutant.rs"));
    let lines = lines.filter_map(|file| file.source.as_ref()).flat_map(|source| &source.lines);
    let named = lines.flat_map(|line| line.text.split("mutant!(\"").skip(1));
    named.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// The table above and the code say the same.
fn compare(planted: &BTreeSet<String>) -> Result<(), String> {
    let listed: BTreeSet<String> = names().into_iter().map(str::to_owned).collect();
    let differs: Vec<_> = listed.symmetric_difference(planted).cloned().collect();
    match differs.as_slice() {
        [] => Ok(()),
        names => Err(format!("xtask/src/mutants.rs and the code have not the same mutants: {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_is_planted_and_listed() {
        let tree = Tree::load(&crate::root()).expect("the tree can be read");
        assert_eq!(compare(&planted(&tree)), Ok(()));
    }

    #[test]
    fn the_lowest_seed_is_told() {
        let text = "seed 12 at commit abc: late: very\nrun it again: x\nseed 9 at commit abc: lost\n3 seeds, 2 failed";
        assert_eq!(caught(text), Some((9, "lost".to_owned())));
        assert_eq!(caught("300 seeds, 0 failed"), None);
    }
}
